//! The arguments of `imgopen doctor`.

use super::serve::Serve;

/// The flags of the service that is examined.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    #[command(flatten)]
    pub serve: Serve,
}
