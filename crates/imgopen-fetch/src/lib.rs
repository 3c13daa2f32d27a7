#![doc = include_str!("../README.md")]

mod connect;
mod error;
mod fetcher;
mod guard;
mod limits;
mod ports;
mod ranges;
mod resolve;
mod retry_after;
mod shown;
mod unpack;

pub use error::FetchError;
pub use fetcher::{Fetched, Fetcher, Posted};
pub use guard::Guard;
pub use http::{HeaderMap, StatusCode};
pub use ipnet::IpNet;
pub use limits::Limits;
pub use retry_after::retry_after;
pub use shown::ShownUrl;
pub use url::Url;
