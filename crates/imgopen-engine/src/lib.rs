#![doc = include_str!("../README.md")]

mod auditor;
mod devices;
mod engine;
mod error;
mod job;
pub mod library;
mod model;
mod monitor;
mod offer;
mod picture;
mod preprocessing;
mod registry;
mod request;
pub mod tags;

pub use auditor::{AuditLabel, Auditor};
pub use devices::{DeviceGuard, Devices, Tenant};
pub use engine::{BackendStatus, Engine, Expected, Slots};
pub use error::EngineError;
pub use job::{FetchInput, Input, Job, Output, OutputFile};
pub use library::Library;
pub use model::{Model, ModelKind};
pub use monitor::{Checks, Monitor, Part, Progress, Watch};
pub use offer::{FieldValues, Grade, Inputs, Models, Offer, UnknownGrade};
pub use picture::{Format, Picture, PictureLimits, UnknownFormat};
pub use preprocessing::{Preprocessing, Resolution};
pub use registry::{Choice, Registry, Unavailable};
pub use request::{JobRequest, TaskOptions};
