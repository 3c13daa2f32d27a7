//! The arguments of `imgopen config`.

use clap::Subcommand;

use super::serve::Serve;

/// The commands about settings.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print the settings in force and the source of each.
    #[command(after_help = "Example:\n  imgopen config show --config imgopen.toml --set queue.length=500")]
    Show {
        #[command(flatten)]
        serve: Serve,
    },
}
