//! Requests: the flags of an operation, their help texts, and the request that they and a JSON document make up.

pub mod argument;
pub mod describe;
pub mod draft;
pub mod example;
pub mod fault;
pub mod flags;
pub mod paths;
mod value;
