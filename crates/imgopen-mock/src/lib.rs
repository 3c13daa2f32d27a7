#![doc = include_str!("../README.md")]

mod path;

#[rustfmt::skip]
#[allow(clippy::all, missing_docs)]
mod generated;

pub use generated::*;
pub use httpmock;
pub use imgopen_client::types;
