//! How a pull is done.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::cancel::Cancel;

/// How a pull is done.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// The ids of the licences that the operator has accepted.
    pub accepted: Vec<String>,
    /// How long `pip` or `npm` may take, and how long another pull is waited for; by default an hour each.
    pub limit: Duration,
    /// Where `pip` and `npm` are looked for, in the form of the variable `PATH`; by default that of this process.
    pub path: Option<OsString>,
    /// A program that starts others by its command `launch`, so that they end with this process.
    pub launcher: Option<PathBuf>,
    /// What ends the pull early.
    pub cancel: Cancel,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            accepted: Vec::new(),
            limit: Duration::from_secs(60 * 60),
            path: None,
            launcher: None,
            cancel: Cancel::default(),
        }
    }
}
