#![doc = include_str!("../README.md")]

pub mod memory;
mod models;
mod readers;
mod router;
pub mod seeds;
mod start;

pub use models::{models, ncnn_files};
pub use readers::readers;
pub use router::router;
pub use start::start;
