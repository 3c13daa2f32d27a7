//! The arguments of `imgopen demo`.

use std::path::PathBuf;

/// The flags of the demo.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// The directory for the results.
    #[arg(long, short, value_name = "DIR", default_value = "imgopen-demo")]
    pub output: PathBuf,
    /// A directory for the service's data; without it, the data is deleted at the end.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}
