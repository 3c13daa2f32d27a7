//! Which data directory or database a command works on.

use std::path::PathBuf;

/// The data directory of a service, named directly or by the service's settings.
#[derive(Debug, Clone, clap::Args)]
pub struct Data {
    /// The service's data directory [default: imgopen-data].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The service's settings file, which may name its data directory.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The rows of a service: in its data directory, or in the database that its processes share.
#[derive(Debug, Clone, clap::Args)]
pub struct Rows {
    #[command(flatten)]
    pub data: Data,
    /// The service's database of PostgreSQL, if several processes share one.
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
}
