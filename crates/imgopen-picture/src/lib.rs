#![doc = include_str!("../README.md")]

mod carried;
mod colors;
mod decode;
mod described;
mod encode;
mod expansion;
mod flatten;
mod header;
mod jpeg;
mod mask;
mod metadata;
mod notes;
mod orientation;
mod others;
pub mod parallel;
mod problem;
mod results;
mod shades;

pub use carried::Carried;
pub use colors::{to_space_of, to_srgb};
pub use decode::{Decoded, InputError, decode, decode_input, inspect};
pub use described::with_description;
pub use encode::{Attached, EncodeError, MAX_JPEG_SIDE, MAX_WEBP_SIDE, check_sides, encode, encode_output};
pub use expansion::{Expansion, LONGEST_SIDE, centred};
pub use flatten::flatten;
pub use header::{Chroma, Header};
pub use imgopen_engine::{Format, PictureLimits};
pub use mask::{mask_shades, read_mask};
pub use metadata::{comfyui_prompt, description, parameters};
pub use notes::{notes, with_notes};
pub use orientation::is_upright;
pub use problem::Problem;
pub use results::{convert, write, write_like, write_png};
