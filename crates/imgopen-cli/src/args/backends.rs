//! The arguments of `imgopen backends`.

use clap::Subcommand;

use super::serve::Serve;

/// The commands about back ends.
#[derive(Debug, Subcommand)]
pub enum Backends {
    /// Ask every back end now, and print whether it answers, what it has, and what is missing for each operation.
    #[command(after_help = CHECK)]
    Check {
        #[command(flatten)]
        serve: Serve,
    },
}

const CHECK: &str = "\
Takes the flags of `imgopen serve`, and touches no data directory. Exits with 0 if every back end answers and serves an \
operation, with 1 if one does not, and with 2 if the settings are invalid or name none.

Examples:
  imgopen backends check --backend http://127.0.0.1:8188
  imgopen backends check --config imgopen.toml --json";
