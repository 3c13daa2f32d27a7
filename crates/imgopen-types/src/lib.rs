#![doc = include_str!("../README.md")]

mod address;
mod admit;
mod callback;
mod choice;
mod credentials;
mod encoding;
mod envelope;
mod job;
#[cfg(feature = "schemars")]
mod json_schema;
mod node;
mod numbers;
pub mod operation;
mod pattern;
mod rules;
pub mod schema;
mod violation;
#[cfg(feature = "webhook")]
pub mod webhook;
mod wire;
mod writer;

#[rustfmt::skip]
mod generated;

pub use address::embedded;
pub use choice::UnknownChoice;
pub use credentials::{Credentials, MissingKey};
pub use encoding::{NotUtf8, utf8};
pub use envelope::{Answer, SUCCESS_CODE, SUCCESS_MSG};
pub use generated::*;
pub use job::{JobReport, JobState};
pub use operation::{JobRequest, Operation, Request};
pub use violation::{Rule, Violation, Violations};
pub use wire::{ReadError, Wire, check, read, read_value};
