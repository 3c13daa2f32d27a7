//! The arguments of the hidden command by which the service runs a net in a process of its own.

use std::num::NonZeroUsize;
use std::path::PathBuf;

/// A process that runs a net. What runs it is as in the settings below `nets`.
#[derive(Debug, clap::Args)]
pub struct Net {
    /// The threads that run it.
    #[arg(long)]
    pub threads: NonZeroUsize,
    /// The library of ONNX Runtime.
    #[arg(long, value_name = "FILE")]
    pub library: Option<PathBuf>,
    /// What runs nets for ONNX Runtime, the preferred first; repeatable.
    #[arg(long = "provider", value_name = "NAME")]
    pub providers: Vec<String>,
}
