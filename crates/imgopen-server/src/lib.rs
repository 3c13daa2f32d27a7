#![doc = include_str!("../README.md")]

mod call;
mod caller;
mod failure;
mod options;
mod routing;

#[rustfmt::skip]
mod generated;

pub use call::Keys;
pub use caller::Caller;
pub use failure::Failure;
pub use generated::*;
pub use imgopen_types::Credentials;
pub use options::Options;
pub use routing::complete;
