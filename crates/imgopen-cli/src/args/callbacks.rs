//! The arguments of `imgopen callbacks`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use imgopen_service::CallbackState;

use super::address;
use super::data::Rows;

/// The commands about callbacks.
#[derive(Debug, Subcommand)]
pub enum Callbacks {
    /// List callbacks with every delivery attempt, newest first.
    #[command(after_help = "Example:\n  imgopen callbacks list --state abandoned")]
    List {
        /// Only callbacks of this task.
        #[arg(long, value_name = "ID")]
        task: Option<String>,
        /// Only callbacks in this state; repeatable.
        #[arg(long, value_parser = callback_states())]
        state: Vec<CallbackState>,
        /// The most callbacks to list.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        #[command(flatten)]
        rows: Rows,
    },
    /// Receive callbacks, and print each with whether its signature is valid.
    #[command(after_help = LISTEN)]
    Listen(Listen),
    /// Push a callback again, from its first delivery attempt; a running service does so within a second.
    #[command(after_help = "Example:\n  imgopen callbacks resend msg_0123456789abcdef0123456789abcdef")]
    Resend {
        /// The callback's id.
        id: String,
        #[command(flatten)]
        rows: Rows,
    },
}

/// The flags of the receiver of callbacks.
#[derive(Debug, clap::Args)]
pub struct Listen {
    /// The address to listen on, or a name; a port alone, such as :9000, is one of this machine, and port 0 a free one.
    #[arg(long, value_name = "ADDR:PORT", value_parser = address::listen, default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
    /// A file with the signing secret of the access key, whsec_…, instead of the variable IMGOPEN_SIGNING_SECRET. While a
    /// secret is being replaced, put both in the file, one on each line; the flag is repeatable, too.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Vec<PathBuf>,
    /// Exit after the first accepted push.
    #[arg(long)]
    pub once: bool,
}

const LISTEN: &str = "\
Example, in two shells:
  imgopen callbacks listen --secret-file signing-secret
  imgopen run enlarge_image --source-image photo.png --scale 2 \\
      --callback-url http://127.0.0.1:9000/enlarge_image";

fn callback_states() -> impl TypedValueParser<Value = CallbackState> {
    let find = |text: String| CallbackState::ALL.into_iter().find(|state| state.as_str() == text);
    let names = PossibleValuesParser::new(CallbackState::ALL.map(CallbackState::as_str));
    names.try_map(move |text| find(text).ok_or("not a state of a callback"))
}
