//! The server that a command talks to, and what its refusals mean.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context;
use imgopen_client::{Client, ClientBuilder, Credentials, Error};
use imgopen_types::HOSTED_URL;
use serde_json::json;

use crate::failure::{Exit, Failure};

/// The environment variable of the secret, which must not stand on a command line, where every user of the machine sees it.
const SECRET: &str = Credentials::SECRET_VARIABLE;

/// Which server, and with which key.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The server.
    #[arg(long, value_name = "URL", env = Client::BASE_URL_VARIABLE, hide_env_values = true,
          default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// The access key's id; a server that is started with --open needs none.
    #[arg(long, value_name = "ID", env = Credentials::ID_VARIABLE, hide_env_values = true)]
    pub access_key_id: Option<String>,
    /// A file that holds the access key's secret, in place of the variable IMGOPEN_ACCESS_KEY_SECRET.
    #[arg(long, value_name = "FILE")]
    pub access_key_secret_file: Option<PathBuf>,
}

/// A server that can be called.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The calls.
    pub client: Client,
}

impl Connection {
    /// Makes the client.
    ///
    /// # Errors
    ///
    /// When the address cannot be called or the key is not whole.
    pub fn open(&self) -> anyhow::Result<Remote> {
        let mut builder = client(&self.url);
        if let Some(credentials) = self.credentials()? {
            builder = builder.credentials(credentials);
        }
        let client = builder.build().map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Remote { client })
    }

    fn credentials(&self) -> anyhow::Result<Option<Credentials>> {
        let id = self.access_key_id.clone().filter(|id| !id.is_empty());
        match (id, self.secret()?) {
            (Some(id), Some(secret)) => Ok(Some(Credentials::new(id, secret))),
            (None, None) => Ok(None),
            (Some(_), None) => {
                let fix = format!("set {SECRET}, or give a file that holds it with --access-key-secret-file");
                Err(Failure::usage(format!("the access key's id is given, but not its secret; {fix}")).into())
            }
            (None, Some(_)) => {
                let fix = format!("set {}, or give it with --access-key-id", Credentials::ID_VARIABLE);
                Err(Failure::usage(format!("the access key's secret is given, but not its id; {fix}")).into())
            }
        }
    }

    fn secret(&self) -> anyhow::Result<Option<String>> {
        let Some(file) = &self.access_key_secret_file else {
            return Ok(std::env::var(SECRET).ok().filter(|secret| !secret.is_empty()));
        };
        let cannot = || format!("the secret's file {} cannot be read", file.display());
        Ok(Some(std::fs::read_to_string(file).with_context(cannot)?.trim().to_owned()))
    }
}

/// Begins a client of a server. One on this machine is not reached through a proxy.
pub fn client(url: &str) -> ClientBuilder {
    let builder = Client::builder(url);
    if is_here(url) { builder.no_proxy() } else { builder }
}

/// Begins a plain HTTP client for an address, in the same way.
pub fn http(url: &str) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder();
    if is_here(url) { builder.no_proxy() } else { builder }
}

/// Whether an address is this machine's own.
fn is_here(url: &str) -> bool {
    let parsed = reqwest::Url::parse(url.trim()).ok();
    let host = parsed.as_ref().and_then(|url| url.host_str()).unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

impl Remote {
    /// The server's address.
    pub fn url(&self) -> &str {
        self.client.base_url()
    }

    /// Whether it is the vendor's own server.
    pub fn is_hosted(&self) -> bool {
        let host = |url: &str| reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        host(self.url()) == host(HOSTED_URL)
    }

    /// What an error of a call means here, and what to do.
    pub fn explain(&self, error: Error) -> Failure {
        let status = error.status().map(|status| status.as_u16());
        let code = error.envelope().map(|envelope| envelope.code.clone());
        let detail = json!({ "http_status": status, "code": code });
        match &error {
            Error::InvalidRequest(_) => Failure::usage(error.to_string()),
            Error::Transport(cause) if cause.is_connect() => {
                let fix = "start one with `imgopen serve`, or give another address with --url or IMGOPEN_BASE_URL";
                Failure::new(Exit::Failed, format!("no server answers at {}; {fix} ({error})", self.url()))
            }
            Error::Status { .. } if status == Some(401) && self.client.settings().credentials.is_none() => {
                let fix = format!("set {} and {SECRET} to those of your access key", Credentials::ID_VARIABLE);
                Failure::new(Exit::Refused, format!("{} wants an access key; {fix}", self.url())).detail(detail)
            }
            Error::Status { .. } | Error::Code { .. } => {
                let told = error.envelope().map(|envelope| envelope.msg.clone());
                let told = told.unwrap_or_else(|| error.to_string());
                let status = status.map_or(String::new(), |status| format!(" ({status})"));
                Failure::new(Exit::Refused, format!("the server refused{status}: {told}")).detail(detail)
            }
            Error::Decode { .. } | Error::MissingData { .. } => {
                let fix = "is it an Img Open server?";
                Failure::new(
                    Exit::Refused,
                    format!("{} answered otherwise than the contract says; {fix} {error}", self.url()),
                )
            }
            _ => Failure::new(Exit::Failed, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_addresses() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", true),
            ("http://127.9.9.9/a.png", true),
            ("http://localhost:8080", true),
            ("http://[::1]:8080", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://10.0.0.1", false),
            ("https://example.com/127.0.0.1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(is_here(url), expected, "{url}");
        }
    }
}
