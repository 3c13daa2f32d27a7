#![doc = include_str!("../README.md")]

pub mod convert;
mod convolutions;
mod error;
mod guard;
mod model;
mod net;
pub mod onnx;
mod planes;
pub mod runtime;
mod sessions;
mod shapes;
mod tensor;
mod tiles;

pub use error::NetError;
pub use model::{Limits, ModelFile};
pub use net::Net;
pub use planes::Planes;
pub use sessions::{Session, SessionSettings, Sessions};
pub use tensor::{Dimension, ElementType, Port, Tensor, Values, WrongLength};
pub use tiles::Tiles;
