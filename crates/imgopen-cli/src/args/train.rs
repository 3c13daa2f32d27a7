//! The arguments of `imgopen train`.

use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use imgopen_types::operations;

use super::connection::Connection;
use super::job::{TRAINING_TIMEOUT, Waiting};
use super::run::{Call, operation_command};

/// The commands about trainings.
#[derive(Debug, Clone, Subcommand)]
pub enum Train {
    /// Train a LoRA from a directory of pictures or from URLs.
    Submit(Box<SubmitTraining>),
    /// Wait for a training and save its LoRA.
    #[command(after_help = "Example:\n  imgopen train wait my-training-1 --timeout 12h --output loras/")]
    #[command(mut_arg("timeout", |argument| argument.default_value(TRAINING_TIMEOUT)))]
    Wait {
        /// The id that you gave the training, or that was generated for it.
        id: String,
        #[command(flatten)]
        wait: Waiting,
        #[command(flatten)]
        connection: Connection,
    },
}

/// The operation `submit_training`, with the pictures of a directory.
#[derive(Debug, Clone)]
pub struct SubmitTraining {
    /// The call, without the pictures of `images`.
    pub call: Call,
    /// The directory with the pictures.
    pub images: Option<PathBuf>,
}

const IMAGES: &str = "\
A directory with the training pictures, instead of --file-url-list; the first line of a text file beside a picture, a.txt or \
a.caption for a.png, is its caption";

const SUBMIT_TRAINING: &str = "\
Examples:
  imgopen train submit --images photos/ --max-epochs 20
  imgopen train submit --task-id my-training-1 --images photos/ --no-wait";

impl Args for SubmitTraining {
    fn augment_args(command: Command) -> Command {
        let images = clap::Arg::new("images").long("images").value_name("DIR").help_heading("Required fields");
        let images = images.help(IMAGES);
        let images = images.value_parser(clap::value_parser!(PathBuf)).conflicts_with("fileUrlList").display_order(0);
        operation_command(command.arg(images), &operations::SUBMIT_TRAINING).after_help(SUBMIT_TRAINING)
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
