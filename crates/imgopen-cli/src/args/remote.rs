//! The arguments of the commands that talk to a server.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand, ValueEnum};
use imgopen_types::operations;

use crate::flags;
use crate::remote::Connection;
use crate::run::{self, Call, TRAINING_TIMEOUT, Waiting};

/// Tasks that were started before.
#[derive(Debug, Clone, Subcommand)]
pub enum Tasks {
    /// Show a task.
    #[command(after_help = "\
Examples:
  imgopen task show img0000017699999999990001
  imgopen task show my-picture-1 --operation text_to_image")]
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// List the tasks of your access key, the newest first. Only servers of one's own can.
    #[command(after_help = "Example:\n  imgopen task list --state failed --operation enlarge_image --limit 5")]
    List {
        /// Only those in this state; may be given several times.
        #[arg(long = "state", value_name = "STATE", value_parser = ["queued", "running", "succeeded", "failed", "cancelled"])]
        states: Vec<String>,
        /// Only those that this operation started; may be given several times.
        #[arg(long = "operation", value_name = "OPERATION", value_parser = flags::jobs(), hide_possible_values = true)]
        operations: Vec<String>,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = limit)]
        limit: usize,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Wait for a task and save what it made.
    #[command(after_help = "\
Examples:
  imgopen task wait img0000017699999999990001 --output results/
  imgopen task wait my-picture-1 --operation text_to_image --timeout 1h")]
    Wait {
        #[command(flatten)]
        wait: Waiting,
        #[command(flatten)]
        which: Which,
    },
    /// Cancel a task that waits or runs. Only servers of one's own can.
    #[command(after_help = "Example:\n  imgopen task cancel img0000017699999999990001")]
    Cancel {
        /// The task's id, or the one that you gave it.
        id: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

/// One task.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The task's id, or the one that you gave it.
    pub id: String,
    /// The operation that started it; needed where the server cannot look it up, as the hosted one.
    #[arg(long, value_parser = flags::jobs(), hide_possible_values = true)]
    pub operation: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub connection: Connection,
}

/// Models that requests can name.
#[derive(Debug, Clone, Subcommand)]
pub enum Models {
    /// List the models, of one kind or of all.
    #[command(after_help = "Example:\n  imgopen models list --kind checkpoint --name photon")]
    List {
        /// Only those of this kind; may be given several times.
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<ModelKind>,
        /// Only those whose name holds this text.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

/// The kinds of models: checkpoints, which make pictures; LoRAs and embeddings, which prompts name; VAEs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModelKind {
    Checkpoint,
    Lora,
    Vae,
    Embedding,
}

impl ModelKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Checkpoint, Self::Lora, Self::Vae, Self::Embedding];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Lora => "lora",
            Self::Vae => "vae",
            Self::Embedding => "embedding",
        }
    }
}

/// Training.
#[derive(Debug, Clone, Subcommand)]
pub enum Train {
    /// Train a LoRA, from a folder of pictures or from URLs.
    Submit(Box<SubmitTraining>),
    /// Wait for a training and save its LoRA.
    #[command(after_help = "Example:\n  imgopen train wait my-training-1 --timeout 12h --output loras/")]
    #[command(mut_arg("timeout", |argument| argument.default_value(TRAINING_TIMEOUT)))]
    Wait {
        /// The id that you gave the training, or that was made up for it.
        id: String,
        #[command(flatten)]
        wait: Waiting,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connection: Connection,
    },
}

/// The operation `submit_training`, with the pictures of a folder.
#[derive(Debug, Clone)]
pub struct SubmitTraining {
    /// The call.
    pub call: Call,
    /// The folder.
    pub images: Option<PathBuf>,
}

const SUBMIT_TRAINING: &str = "\
Examples:
  imgopen train submit --images photos/ --max-epochs 20
  imgopen train submit --task-id my-training-1 --images photos/ --no-wait";

impl Args for SubmitTraining {
    fn augment_args(command: Command) -> Command {
        let images = clap::Arg::new("images").long("images").value_name("DIR").help_heading("Required fields");
        let images = images.help("A folder whose pictures are the training pictures, in place of --file-url-list");
        let images = images.value_parser(clap::value_parser!(PathBuf)).conflicts_with("fileUrlList").display_order(0);
        run::operation_command(command.arg(images), &operations::SUBMIT_TRAINING).after_help(SUBMIT_TRAINING)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SubmitTraining {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let call = Call::of(&operations::SUBMIT_TRAINING, matches)?;
        let call = Call { command: "train submit".to_owned(), ..call };
        Ok(Self { call, images: matches.get_one("images").cloned() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn limit(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|limit| *limit > 0).ok_or_else(|| "give a whole number of at least 1".to_owned())
}
