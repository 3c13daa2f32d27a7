//! The arguments of `imgopen models`.

use clap::{Subcommand, ValueEnum};

use super::connection::Connection;

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
}

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
