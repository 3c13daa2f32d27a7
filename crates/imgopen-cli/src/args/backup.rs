//! The arguments of `imgopen backup` and `imgopen restore`.

use std::path::PathBuf;

use super::data::Data;

/// The arguments of a backup.
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// The directory to make; it must not exist yet.
    #[arg(value_name = "BACKUP")]
    pub target: PathBuf,
    /// Make hard links of pictures where possible, which takes no space, but is lost with the disk.
    #[arg(long)]
    pub link: bool,
    /// Back up what there is although pictures are missing in the data directory.
    #[arg(long)]
    pub incomplete: bool,
    /// The bucket that has the pictures, as for `imgopen serve`; they stay there, and the backup names it.
    #[arg(long, value_name = "URL")]
    pub storage: Option<String>,
    #[command(flatten)]
    pub data: Data,
    /// The service's database of PostgreSQL, if several processes share one; its own tools copy it.
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
}

/// The arguments of a restore.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// The directory that `imgopen backup` made.
    #[arg(value_name = "BACKUP")]
    pub backup: PathBuf,
    /// Move aside what is in the data directory; without it, the data directory must be empty or missing.
    #[arg(long)]
    pub replace: bool,
    /// Restore what there is although pictures are missing in the backup.
    #[arg(long)]
    pub incomplete: bool,
    #[command(flatten)]
    pub data: Data,
    /// The service's database of PostgreSQL, if several processes share one; its own tools copy it.
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
}
