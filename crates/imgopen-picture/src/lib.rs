#![doc = include_str!("../README.md")]

mod decode;
mod encode;
mod flatten;
mod header;
mod jpeg;
mod metadata;
pub mod parallel;
mod problem;
mod user_comment;

pub use decode::{Decoded, InputError, decode, decode_input, inspect};
pub use encode::{Attached, EncodeError, MAX_JPEG_SIDE, MAX_WEBP_SIDE, check_sides, encode, encode_output};
pub use flatten::flatten;
pub use header::{Chroma, Header};
pub use imgopen_engine::{Format, PictureLimits};
pub use metadata::{description, parameters};
pub use problem::Problem;
