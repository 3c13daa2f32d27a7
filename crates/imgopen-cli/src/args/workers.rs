//! The arguments of `imgopen workers`.

use clap::Subcommand;

use super::data::Rows;

/// The commands about the processes of a service.
#[derive(Debug, Subcommand)]
pub enum Workers {
    /// List the processes that share the database, the oldest first.
    #[command(after_help = "Example:\n  imgopen workers list --database postgres://imgopen@db.example.com/imgopen")]
    List {
        #[command(flatten)]
        rows: Rows,
    },
    /// Have a process end its tasks and begin no others, so that it can be stopped.
    #[command(after_help = DRAIN)]
    Drain {
        /// The process's id, or the beginning of it.
        id: String,
        #[command(flatten)]
        rows: Rows,
    },
}

const DRAIN: &str = "\
The process hears of it within seconds. `imgopen workers list` shows when it runs nothing any more. One that is started again \
takes tasks again.

Example:
  imgopen workers drain 3f9a --config imgopen.toml";
