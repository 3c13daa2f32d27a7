//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use imgopen_service::CallbackState;
use ipnet::IpNet;

/// The Img Open image API on your own machines.
#[derive(Debug, Parser)]
#[command(name = "imgopen", version, about, arg_required_else_help = true, propagate_version = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service.
    #[command(after_help = SERVE)]
    Serve(Serve),
    /// Make, list and revoke access keys, also while the service runs.
    #[command(subcommand)]
    Keys(Keys),
    /// Look at the settings.
    #[command(subcommand)]
    Config(Config),
    /// Look at the callbacks, and push one again, also while the service runs.
    #[command(subcommand)]
    Callbacks(Callbacks),
}

const SERVE: &str = "\
Every setting can also come from an environment variable, such as IMGOPEN_SERVE_QUEUE__LENGTH=500 for queue.length, \
or from the file of --config. `imgopen config show` takes the same flags, and prints the settings in force.

Examples:
  imgopen serve --sandbox
  imgopen serve --listen 0.0.0.0:8080 --public-url https://images.example.com
  imgopen serve --data-dir /var/lib/imgopen --allow-network 10.1.0.0/16
  imgopen serve --set queue.length=500 --set assets.lifetime=30d";

/// Flags of the service.
#[derive(Debug, Default, clap::Args)]
pub struct Serve {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// The folder that holds everything [default: imgopen-data].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
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
        #[arg(long, value_parser = callback_state)]
        state: Vec<CallbackState>,
        /// How many at most.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        #[command(flatten)]
        data: Data,
    },
    /// Push a callback again, beginning anew with its tries. A running service does so within a second.
    #[command(after_help = "Example:\n  imgopen callbacks resend msg_0123456789abcdef0123456789abcdef")]
    Resend {
        /// The callback's id.
        id: String,
        #[command(flatten)]
        data: Data,
    },
}

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

fn callback_state(text: &str) -> Result<CallbackState, String> {
    let found = CallbackState::ALL.into_iter().find(|state| state.as_str() == text);
    found.ok_or_else(|| "use one of pending, acknowledged, abandoned".to_owned())
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
