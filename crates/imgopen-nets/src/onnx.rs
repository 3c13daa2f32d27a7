//! Model files in the format of ONNX: what they contain, within limits, and how they are written.

pub(crate) mod builder;
pub(crate) mod fields;
pub(crate) mod outline;
pub(crate) mod wire;

pub use self::builder::{Builder, Setting, TooLarge, Weights};
