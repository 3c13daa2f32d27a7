#![doc = include_str!("../README.md")]

pub mod memory;
mod readers;
mod router;
pub mod seeds;
mod start;

pub use readers::readers;
pub use router::router;
pub use start::start;
