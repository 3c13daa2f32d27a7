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
    /// Pull packs of neural networks, and show what they do.
    #[arg(long)]
    pub neural: bool,
    #[command(flatten)]
    pub nets: Nets,
}

/// What the demo shows of neural networks.
#[derive(Debug, clap::Args)]
pub struct Nets {
    /// A photograph of yours for them, instead of the bundled portrait.
    #[arg(long, value_name = "FILE", requires = "neural")]
    pub photo: Option<PathBuf>,
    /// A pack to pull; repeatable [default: all under licences that need not be accepted, or are].
    #[arg(long = "pack", value_name = "NAME", requires = "neural")]
    pub packs: Vec<String>,
    /// A licence that you accept, by its id; repeatable.
    #[arg(long = "accept-licence", alias = "accept-license", value_name = "ID", requires = "neural")]
    pub accepted: Vec<String>,
    /// The directory of the models [default: models in the directory of --keep, or in imgopen-data].
    #[arg(long, value_name = "DIR", requires = "neural")]
    pub models: Option<PathBuf>,
}
