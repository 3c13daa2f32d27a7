#![doc = include_str!("../README.md")]

mod connect;
mod error;
mod fetcher;
mod guard;
mod limits;
mod ports;
mod ranges;
mod resolve;

pub use error::{FetchError, ShownUrl};
pub use fetcher::{Fetched, Fetcher, Posted};
pub use guard::Guard;
pub use http::{HeaderMap, StatusCode};
pub use ipnet::IpNet;
pub use limits::Limits;
pub use url::Url;
