#![doc = include_str!("../README.md")]

mod answer;
mod call;
#[cfg(feature = "callback-receiver")]
pub mod callback;
mod dynamic;
mod error;
mod path;
mod poll;
mod retry;
mod settings;
mod wait;

#[rustfmt::skip]
#[allow(clippy::all, missing_docs)]
mod generated;

pub use answer::{IntoData, retry_after};
pub use dynamic::{Dynamic, Progress, job_id};
pub use error::Error;
pub use generated::*;
pub use imgopen_types::Credentials;
pub use retry::Retry;
pub use settings::{BuildError, ClientBuilder, Settings};
pub use wait::{Job, Task, Wait};
