//! Model files in the format of ONNX: what they contain, within limits, and how they are written.

pub(crate) mod builder;
pub(crate) mod fields;
mod initializer;
pub(crate) mod outline;
pub(crate) mod wire;

pub use self::builder::{Builder, Setting, TooLarge, Weights};
pub use self::initializer::last_initializer;
