//! A request for pictures in a form that knows neither the operation that it came by nor the back end that it goes to.
//!
//! What the caller left out is filled in here, so that every back end is sent the same values and none falls back on its own.

mod control;
mod fields;
mod fit;
mod flux;
mod prompt;
mod read;
mod sampling;
mod types;

pub use control::{ControlMode, ControlUnit};
pub use fit::Fit;
pub use flux::FluxVariant;
pub use prompt::{LoraUse, Prompt};
pub use sampling::{Sampling, Schedule};
pub(crate) use types::PIXEL;
pub use types::{Checkpoint, Fill, Generation, Hires, MAX_SIDE, MAX_STEPS, MOST_PICTURES, Mask, Start};
