//! The arguments of `imgopen keys`.

use clap::Subcommand;

use super::data::Data;

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
        data: Data,
    },
    /// List all keys, without their secrets.
    #[command(after_help = "Example:\n  imgopen keys list --data-dir /var/lib/imgopen")]
    List {
        #[command(flatten)]
        data: Data,
    },
    /// Revoke a key permanently; a running service rejects it within a second.
    #[command(after_help = "Example:\n  imgopen keys revoke ak_0123456789abcdef")]
    Revoke {
        /// The key's id.
        id: String,
        #[command(flatten)]
        data: Data,
    },
}
