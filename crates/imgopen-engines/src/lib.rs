#![doc = include_str!("../README.md")]

mod brightness;
mod engine;
mod error;
pub mod faces;
mod fields;
pub mod fill;
mod job;
pub mod lanczos;
pub mod library;
mod monitor;
mod morphology;
mod parallel;
pub mod picture;
pub mod preprocess;
pub mod prompts;
mod registry;
pub mod sandbox;
pub mod style;
mod tool;
pub mod watermark;

pub use engine::{Engine, FieldValues, Grade, Inputs, Model, ModelKind, Models, Offer, UnknownGrade};
pub use error::EngineError;
pub use faces::Faces;
pub use fill::Fill;
pub use job::{Format, Input, Job, Output, Picture, PictureLimits, UnknownFormat};
pub use lanczos::Lanczos;
pub use library::Library;
pub use monitor::{Monitor, Progress, Watch};
pub use preprocess::Preprocessors;
pub use prompts::Prompts;
pub use registry::{Choice, Registry, Unavailable};
pub use sandbox::Sandbox;
pub use style::Style;
pub use watermark::Watermark;
