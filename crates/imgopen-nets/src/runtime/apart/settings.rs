//! How a net's process is started, and what it may take.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// How a net's process is started, and what it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApartSettings {
    /// The program, which calls [`serve`](super::serve) with its standard input and output.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The name of the runtime that it uses.
    pub runtime: &'static str,
    /// Its [`variant`](crate::runtime::Runtime::variant), such as that of the [settings](crate::runtime::RuntimeSettings::variant)
    /// by which the program chooses it.
    pub variant: String,
    /// The most bytes that a run may take beside the weights.
    pub working: u64,
    /// How long loading may take, and a run, before the process is ended.
    pub patience: Duration,
}
