#![doc = include_str!("../README.md")]

mod engine;
mod error;
mod job;
pub mod library;
mod monitor;
mod picture;
mod registry;

pub use engine::{Engine, FieldValues, Grade, Inputs, Model, ModelKind, Models, Offer, UnknownGrade};
pub use error::EngineError;
pub use job::{Input, Job, Output};
pub use library::Library;
pub use monitor::{Monitor, Progress, Watch};
pub use picture::{Format, Picture, PictureLimits, UnknownFormat};
pub use registry::{Choice, Registry, Unavailable};
