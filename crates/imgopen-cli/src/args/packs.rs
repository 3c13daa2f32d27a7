//! The arguments of `imgopen models packs`, `imgopen models pull` and `imgopen models remove`.

use std::path::PathBuf;
use std::time::Duration;

use super::data::Data;
use super::keys::duration;

/// Which models directory a command works on.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// The directory of the models [default: models in the data directory].
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    #[command(flatten)]
    pub data: Data,
}

/// The arguments of the list of packs.
#[derive(Debug, Clone, clap::Args)]
pub struct Packs {
    /// A catalogue of packs, in TOML, instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    pub catalogue: Option<PathBuf>,
    #[command(flatten)]
    pub place: Place,
}

/// The arguments of a pull.
#[derive(Debug, Clone, clap::Args)]
pub struct Pull {
    /// The packs; `imgopen models packs` lists them.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// The archive of the package, or a directory that holds those of all packs that are named, instead of the registry.
    #[arg(long, value_name = "FILE|DIR")]
    pub from: Option<PathBuf>,
    /// A licence that you accept, by its id; repeatable.
    #[arg(long = "accept-licence", alias = "accept-license", value_name = "ID")]
    pub accepted: Vec<String>,
    /// How long fetching one package may take.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1h")]
    pub timeout: Duration,
    /// A catalogue of packs, in TOML, instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    pub catalogue: Option<PathBuf>,
    #[command(flatten)]
    pub place: Place,
}

/// The arguments of a removal.
#[derive(Debug, Clone, clap::Args)]
pub struct Remove {
    /// The packs.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// A catalogue of packs, in TOML, instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    pub catalogue: Option<PathBuf>,
    #[command(flatten)]
    pub place: Place,
}
