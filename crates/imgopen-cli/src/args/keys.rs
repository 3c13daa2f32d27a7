//! The arguments of `imgopen keys`.

use std::time::Duration;

use clap::Subcommand;
use imgopen_service::durations;

use super::data::Rows;

/// The commands about access keys.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Create a key and show its secrets, which are not shown again.
    #[command(after_help = "Example:\n  imgopen keys create --name \"my application\" --json")]
    Create {
        /// A name for the key, shown in lists.
        #[arg(long, default_value = "")]
        name: String,
        #[command(flatten)]
        rows: Rows,
    },
    /// List all keys, without their secrets.
    #[command(after_help = "Example:\n  imgopen keys list --data-dir /var/lib/imgopen")]
    List {
        #[command(flatten)]
        rows: Rows,
    },
    /// Revoke a key permanently; a running service rejects it within a second.
    #[command(after_help = "Example:\n  imgopen keys revoke ak_0123456789abcdef")]
    Revoke {
        /// The key's id.
        id: String,
        #[command(flatten)]
        rows: Rows,
    },
    /// Replace the secret that a key's callbacks are signed with, and show the new one, which is not shown again.
    #[command(after_help = ROTATE_SECRET)]
    RotateSecret {
        /// The key's id.
        id: String,
        /// How long callbacks are signed with the old secret too; 0s if it has leaked.
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "24h")]
        overlap: Duration,
        #[command(flatten)]
        rows: Rows,
    },
}

const ROTATE_SECRET: &str = "\
Until the overlap ends, callbacks carry a signature by each secret, so that receivers can change over without rejecting one. \
A running service takes the new secret within a second.

Examples:
  imgopen keys rotate-secret ak_0123456789abcdef
  imgopen keys rotate-secret ak_0123456789abcdef --overlap 7d --json";

/// Reads a duration such as `24h` or `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    durations::parse(text).ok_or_else(|| format!("give {}", durations::EXPECTED))
}
