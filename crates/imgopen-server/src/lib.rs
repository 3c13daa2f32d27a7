#![doc = include_str!("../README.md")]

mod body;
mod call;
mod caller;
mod coding;
mod documents;
mod failure;
mod options;
mod refusal;
mod routing;

#[rustfmt::skip]
mod generated;

pub use call::Keys;
pub use caller::Caller;
pub use failure::Failure;
pub use generated::*;
pub use imgopen_types::Credentials;
pub use options::Options;
pub use refusal::Refusal;
pub use routing::complete;
