//! The command line.

pub mod remote;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use imgopen_service::CallbackState;
use ipnet::IpNet;

use crate::run::Call;
use remote::{Models, Tasks, Train};

/// The Img Open image API: calls any server of it, and is one itself.
#[derive(Debug, Parser)]
#[command(name = "imgopen", version, arg_required_else_help = true, propagate_version = true)]
#[command(after_help = ALL)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what the program does, without any set-up: a service, a few tasks, their results.
    #[command(after_help = DEMO)]
    Demo(Demo),
    /// Call an operation of the API: start a task and save what it makes, or ask for something.
    #[command(subcommand, after_help = RUN)]
    Run(Box<Call>),
    /// Show, list, await and cancel tasks.
    #[command(subcommand, name = "task", after_help = TASK)]
    Tasks(Tasks),
    /// Look at the models that requests can name.
    #[command(subcommand, after_help = "Example:\n  imgopen models list --kind lora")]
    Models(Models),
    /// Train a LoRA, and wait for it.
    #[command(subcommand, after_help = "Example:\n  imgopen train submit --images photos/ --max-epochs 20")]
    Train(Train),
    /// Run the service.
    #[command(after_help = SERVE)]
    Serve(Serve),
    /// Make, list and revoke access keys, also while the service runs.
    #[command(subcommand, after_help = "Example:\n  imgopen keys create --name \"my application\"")]
    Keys(Keys),
    /// Look at the settings.
    #[command(subcommand, after_help = "Example:\n  imgopen config show --config imgopen.toml")]
    Config(Config),
    /// Receive callbacks; look at those of a service, and push one again, also while it runs.
    #[command(subcommand, after_help = CALLBACKS)]
    Callbacks(Callbacks),
    /// Print what a shell needs to complete commands and flags.
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

const ALL: &str = "\
Examples:
  imgopen demo
  imgopen serve --sandbox
  imgopen run enlarge_image --source-image photo.png --scale 2

Exit codes:
  0    all went well
  1    something failed: a file, the network, the program itself
  2    the command line, the settings or the request is wrong, and nothing was sent
  3    the server refused, or failed on the request
  4    the task failed or was cancelled
  5    the time was over; the task goes on
  130  Ctrl-C while waiting; the task goes on";

const DEMO: &str = "\
Needs no network, no key and no settings. What it makes lies in imgopen-demo/.

Examples:
  imgopen demo
  imgopen demo --output /tmp/demo --keep /tmp/demo-data";

const RUN: &str = "\
A flag for each field, the pictures of this machine as well as URLs. `imgopen run OPERATION --help` shows them.

Examples:
  imgopen run enlarge_image --source-image photo.png --scale 2
  imgopen run text_to_image --request request.json --seed 7 --output lighthouse.png
  echo '{\"pageSize\": 10, \"pageNum\": 1}' | imgopen run list_models";

const TASK: &str = "\
Examples:
  imgopen task list --state running
  imgopen task wait my-picture-1 --operation text_to_image --output results/";

const CALLBACKS: &str = "\
Examples:
  imgopen callbacks listen
  imgopen callbacks list --state abandoned";

const COMPLETIONS: &str = "\
Examples:
  imgopen completions bash > ~/.local/share/bash-completion/completions/imgopen
  imgopen completions zsh > ~/.zfunc/_imgopen
  imgopen completions fish > ~/.config/fish/completions/imgopen.fish";

const SERVE: &str = "\
Every setting can also come from an environment variable, such as IMGOPEN_SERVE_QUEUE__LENGTH=500 for queue.length, \
or from the file of --config. `imgopen config show` takes the same flags, and prints the settings in force.

Examples:
  imgopen serve --sandbox
  imgopen serve --listen 0.0.0.0:8080 --public-url https://images.example.com
  imgopen serve --data-dir /var/lib/imgopen --allow-network 10.1.0.0/16
  imgopen serve --set queue.length=500 --set assets.lifetime=30d";

/// Flags of the demo.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// The folder for the results.
    #[arg(long, short, value_name = "DIR", default_value = "imgopen-demo")]
    pub output: PathBuf,
    /// A folder to keep the service's data in; they are thrown away unless it is given.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Flags of the receiver of callbacks.
#[derive(Debug, clap::Args)]
pub struct Listen {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
    /// A file with the signing secret of the access key, whsec_…, in place of the variable IMGOPEN_SIGNING_SECRET. Several
    /// stand on lines of their own, while one is replaced; the flag may be given several times.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Vec<PathBuf>,
    /// End after the first push that is taken.
    #[arg(long)]
    pub once: bool,
    /// Print a line of JSON for each push.
    #[arg(long)]
    pub json: bool,
}

/// Flags of the service.
#[derive(Debug, Default, clap::Args)]
pub struct Serve {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// The folder that holds everything [default: imgopen-data].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The folder of the models, as the Stable Diffusion web UI or ComfyUI has it [default: models in the data folder].
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Serve operations without a real engine with labelled test cards.
    #[arg(long)]
    pub sandbox: bool,
    /// Serve callers without a key; only on a loopback address.
    #[arg(long)]
    pub open: bool,
    /// A private network that pictures may be fetched from and callbacks pushed to; may be given several times.
    #[arg(long, value_name = "CIDR")]
    pub allow_network: Vec<IpNet>,
    /// The address under which callers reach the service; URLs of pictures begin with it.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// How many tasks run at once [default: the number of cores].
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// How logs are written.
    #[arg(long, value_name = "FORM")]
    pub log: Option<Log>,
    /// Any other setting; may be given several times.
    #[arg(long, value_name = "SETTING=VALUE")]
    pub set: Vec<String>,
    /// A file of settings, in TOML.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Log {
    /// A line of text each.
    Human,
    /// A JSON object each.
    Json,
}

/// Access keys.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key; its secret is shown this once.
    #[command(after_help = "Example:\n  imgopen keys create --name \"my application\" --json")]
    Create {
        /// What you call it.
        #[arg(long, default_value = "")]
        name: String,
        #[command(flatten)]
        data: Data,
    },
    /// Show all keys, without their secrets.
    #[command(after_help = "Example:\n  imgopen keys list --data-dir /var/lib/imgopen")]
    List {
        #[command(flatten)]
        data: Data,
    },
    /// Revoke a key for good. A running service refuses it within a second.
    #[command(after_help = "Example:\n  imgopen keys revoke ak_0123456789abcdef")]
    Revoke {
        /// The key's id.
        id: String,
        #[command(flatten)]
        data: Data,
    },
}

/// Settings.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print the settings in force, and where each comes from.
    #[command(after_help = "Example:\n  imgopen config show --config imgopen.toml --set queue.length=500")]
    Show {
        #[command(flatten)]
        serve: Serve,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Callbacks.
#[derive(Debug, Subcommand)]
pub enum Callbacks {
    /// Show callbacks with every try, the newest first.
    #[command(after_help = "Example:\n  imgopen callbacks list --state abandoned")]
    List {
        /// Only those of this task.
        #[arg(long, value_name = "ID")]
        task: Option<String>,
        /// Only those in this state; may be given several times.
        #[arg(long, value_parser = callback_states())]
        state: Vec<CallbackState>,
        /// How many at most.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        #[command(flatten)]
        data: Data,
    },
    /// Receive callbacks, and show each with whether its signature is right.
    #[command(after_help = LISTEN)]
    Listen(Listen),
    /// Push a callback again, beginning anew with its tries. A running service does so within a second.
    #[command(after_help = "Example:\n  imgopen callbacks resend msg_0123456789abcdef0123456789abcdef")]
    Resend {
        /// The callback's id.
        id: String,
        #[command(flatten)]
        data: Data,
    },
}

const LISTEN: &str = "\
Example, in two shells:
  imgopen callbacks listen --secret-file signing-secret
  imgopen run enlarge_image --source-image photo.png --scale 2 \\
      --callback-url http://127.0.0.1:9000/enlarge_image";

/// Where the data lie, and how to print.
#[derive(Debug, clap::Args)]
pub struct Data {
    /// The service's data folder [default: imgopen-data].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The service's file of settings, for its data folder.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// Whether the output is to be JSON, failures included.
    pub fn is_json(&self) -> bool {
        match &self.command {
            Command::Demo(demo) => demo.json,
            Command::Run(call) => call.options.is_json(),
            Command::Tasks(Tasks::Show { which } | Tasks::Wait { which, .. }) => which.json,
            Command::Tasks(Tasks::List { json, .. } | Tasks::Cancel { json, .. }) => *json,
            Command::Models(Models::List { json, .. }) => *json,
            Command::Train(Train::Submit(submit)) => submit.call.options.is_json(),
            Command::Train(Train::Wait { json, .. }) => *json,
            Command::Keys(Keys::Create { data, .. } | Keys::List { data } | Keys::Revoke { data, .. }) => data.json,
            Command::Config(Config::Show { json, .. }) => *json,
            Command::Callbacks(Callbacks::List { data, .. } | Callbacks::Resend { data, .. }) => data.json,
            Command::Callbacks(Callbacks::Listen(listen)) => listen.json,
            Command::Serve(_) | Command::Completions { .. } => false,
        }
    }
}

fn callback_states() -> impl TypedValueParser<Value = CallbackState> {
    let find = |text: String| CallbackState::ALL.into_iter().find(|state| state.as_str() == text);
    let names = PossibleValuesParser::new(CallbackState::ALL.map(CallbackState::as_str));
    names.try_map(move |text| find(text).ok_or("no state of a callback"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }
}
