//! Converts model files of other formats to ONNX. Weights are carried over bit for bit: those of half precision stay so in the
//! file.
//!
//! The files are read as what they are: files of strangers. A broken one is an error that says what is wrong, and nothing is
//! reserved for what a file only claims to have. What has no exact counterpart is refused by name.

pub mod efficientnet;
mod error;
pub mod ncnn;
pub mod tflite;
mod torch;

pub use error::ConvertError;
