#![doc = include_str!("../README.md")]

mod auditor;
mod described;
mod devices;
mod engine;
mod error;
mod fleet;
mod job;
pub mod library;
mod model;
mod monitor;
mod named;
mod offer;
mod others;
mod picture;
mod preprocessing;
mod registry;
mod remote;
mod request;
pub mod tags;

pub use auditor::{AuditLabel, Auditor};
pub use described::Described;
pub use devices::{DeviceGuard, Devices, Tenant};
pub use engine::{BackendStatus, Engine, Expected, Slots};
pub use error::EngineError;
pub use job::{FetchInput, Input, Job, Output, OutputFile};
pub use library::Library;
pub use model::{Model, ModelKind};
pub use monitor::{Checks, Monitor, Part, Progress, Watch};
pub use named::{NamedKind, NamedModel};
pub use offer::{FieldValues, Grade, Inputs, Models, Offer, UnknownGrade};
pub use picture::{Format, Picture, PictureLimits, UnknownFormat};
pub use preprocessing::{Preprocessing, Resolution};
pub use registry::{Choice, Registry, Unavailable};
pub use remote::RemoteOffers;
pub use request::{JobRequest, TaskOptions};
