//! The arguments of the hidden commands by which the service starts programs.

use std::ffi::OsString;
use std::num::NonZeroI32;

/// A program that is to end with the service.
#[derive(Debug, clap::Args)]
pub struct Launch {
    /// The process that starts it; its parent unless given.
    #[arg(long, value_name = "PID")]
    pub parent: Option<NonZeroI32>,
    /// Whether all processes that it starts end with the service too.
    #[arg(long)]
    pub group: bool,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    pub command: Vec<OsString>,
}

/// Processes that are to end with the service.
#[derive(Debug, clap::Args)]
pub struct Guard {
    /// The service.
    pub parent: NonZeroI32,
    /// The process group, which has the id of the program.
    pub group: NonZeroI32,
}
