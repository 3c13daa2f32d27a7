#![doc = include_str!("../README.md")]

pub mod blocking;
mod brightness;
mod fields;
pub mod fill;
pub mod lanczos;
pub mod memory;
mod morphology;
pub mod parts;
pub mod preprocess;
pub mod prompts;
pub mod sandbox;
pub mod style;
pub mod watermark;

pub use fill::Fill;
pub use lanczos::Lanczos;
pub use preprocess::Preprocessors;
pub use prompts::Prompts;
pub use sandbox::Sandbox;
pub use style::Style;
pub use watermark::Watermark;

use imgopen_engine::Registry;

/// Returns a registry of the classical tools, which need no weights.
pub fn classical() -> Registry {
    Registry::default()
        .with(Fill::new())
        .with(Lanczos::new())
        .with(Preprocessors::new())
        .with(Prompts::new())
        .with(Style::new())
        .with(Watermark::new())
}
