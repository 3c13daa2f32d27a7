//! The arguments of `imgopen move`.

use std::path::PathBuf;

/// The arguments of a move.
#[derive(Debug, clap::Args)]
pub struct Move {
    /// The data directory of the service, which must be stopped.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// The database of PostgreSQL to move into; it must be empty.
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// The bucket to copy the pictures to, as for `imgopen serve`. Without one, they stay in the data directory.
    #[arg(long, value_name = "URL")]
    pub storage: Option<String>,
    /// Look only: count what there is, and check that it can be moved.
    #[arg(long)]
    pub dry_run: bool,
    /// Move what there is although pictures are missing in the data directory.
    #[arg(long)]
    pub incomplete: bool,
    /// Any other setting of the processes to come, such as storage.endpoint; repeatable.
    #[arg(long, value_name = "SETTING=VALUE")]
    pub set: Vec<String>,
    /// Their settings file, which may name the database and the bucket.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
