//! Why a service cannot be opened, started or served.

use imgopen_fetch::FetchError;
use imgopen_store::{NoRandomness, StoreError};

use crate::assets::AssetError;
use crate::database::OpenError;
use crate::keys::KeyError;
use crate::settings::InvalidSetting;

/// An error of opening or starting the service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is invalid.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The data directory cannot be used.
    #[error("the data directory {directory} cannot be used: {problem}")]
    Directory {
        /// Its path.
        directory: String,
        /// The system's message.
        problem: String,
    },
    /// Another service runs in the data directory.
    #[error("another service runs in the data directory {0}; stop it, or give another directory with --data-dir")]
    Occupied(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The directory of pictures failed.
    #[error(transparent)]
    Assets(#[from] AssetError),
    /// The access keys failed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The machine's clock cannot be right.
    #[error("the machine's clock is at {0}, which cannot be right; set the clock, then start again")]
    Clock(String),
    /// The HTTP client failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The system gave no random numbers.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The system gave no thread for heartbeats.
    #[error(
        "heartbeats cannot begin, because the system gives no thread for them: {0}; end other programs, or raise their limit"
    )]
    Heartbeats(std::io::Error),
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Setting(error) => Self::Setting(error),
            OpenError::Store(error) => Self::Store(error),
        }
    }
}

/// An error that ends the service.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The service could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The port failed.
    #[error("the port failed: {0}")]
    Port(#[from] std::io::Error),
}
