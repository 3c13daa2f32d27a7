//! The documents in `spec/` as they are written: found and loaded (`source`), parsed with lines (`yaml`), walked by
//! pointers (`cursor`), known by the kinds of their objects (`outline`) and as wholes (`contents`).
//!
//! Linting, comparing and the model stand on this; it knows none of them.

pub mod contents;
pub mod cursor;
pub mod outline;
pub mod source;
pub mod yaml;
