//! Which server a command calls, and with which key.

use std::path::PathBuf;

use imgopen_client::{Client, Credentials};

/// The server of `imgopen serve`.
const HERE: &str = "http://127.0.0.1:8080";

/// The server and the access key. The secret has no flag, because every user of a machine can read its command lines.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The server.
    #[arg(long, value_name = "URL", env = Client::BASE_URL_VARIABLE, hide_env_values = true, value_parser = url,
          default_value = HERE)]
    pub url: String,
    /// The id of the access key; not needed for a server started with --open.
    #[arg(long, value_name = "ID", env = Credentials::ID_VARIABLE, hide_env_values = true)]
    pub access_key_id: Option<String>,
    /// A file with the secret of the access key, instead of the variable IMGOPEN_ACCESS_KEY_SECRET.
    #[arg(long, value_name = "FILE")]
    pub access_key_secret_file: Option<PathBuf>,
}

/// An empty variable counts as unset: a compose file makes one of what is not set outside.
fn url(text: &str) -> Result<String, std::convert::Infallible> {
    let is_unset = || std::env::var_os(Client::BASE_URL_VARIABLE).is_some_and(|value| value.is_empty());
    let url = if text.is_empty() && is_unset() { HERE } else { text };
    Ok(url.to_owned())
}
