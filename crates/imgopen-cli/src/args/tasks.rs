//! The arguments of `imgopen tasks`.

use clap::{Args, Subcommand};

use super::connection::Connection;
use super::job::Waiting;
use crate::request::argument;

/// The commands about tasks that were started before.
#[derive(Debug, Clone, Subcommand)]
pub enum Tasks {
    /// List the tasks of your access key, newest first; only self-hosted servers support this.
    #[command(after_help = "Example:\n  imgopen tasks list --state failed --operation enlarge_image --limit 5")]
    List {
        /// Only tasks in this state; repeatable.
        #[arg(long = "state", value_name = "STATE", value_parser = ["queued", "running", "succeeded", "failed", "cancelled"])]
        states: Vec<String>,
        /// Only tasks of this operation; repeatable.
        #[arg(long = "operation", value_name = "OPERATION", value_parser = argument::jobs(), hide_possible_values = true)]
        operations: Vec<String>,
        /// The most tasks to list.
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = limit)]
        limit: usize,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show a task.
    #[command(after_help = "\
Examples:
  imgopen tasks show img0000017699999999990001
  imgopen tasks show my-picture-1 --operation text_to_image")]
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// Wait for a task and save its results.
    #[command(after_help = "\
Examples:
  imgopen tasks wait img0000017699999999990001 --output results/
  imgopen tasks wait my-picture-1 --operation text_to_image --timeout 1h")]
    Wait {
        #[command(flatten)]
        wait: Waiting,
        #[command(flatten)]
        which: Which,
    },
    /// Cancel a queued or running task; only self-hosted servers support this.
    #[command(after_help = "Example:\n  imgopen tasks cancel img0000017699999999990001")]
    Cancel {
        /// The task's id, or the caller id that you gave it.
        id: String,
        #[command(flatten)]
        connection: Connection,
    },
}

/// Names one task.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The task's id, or the caller id that you gave it.
    pub id: String,
    /// The operation that started the task; required for servers that cannot look it up, such as the hosted one.
    #[arg(long, value_parser = argument::jobs(), hide_possible_values = true)]
    pub operation: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
}

fn limit(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|limit| *limit > 0).ok_or_else(|| "give a whole number of at least 1".to_owned())
}
