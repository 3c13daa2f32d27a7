//! Jobs: submitting them, waiting for them, and saving their results.

pub mod answer;
pub mod handle;
pub mod lookup;
pub mod outcome;
pub mod progress;
mod save;
pub mod submit;
pub mod target;
pub mod wait;
