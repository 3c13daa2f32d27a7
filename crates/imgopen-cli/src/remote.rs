//! The server that a command calls, and what its errors mean.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use imgopen_client::{Client, ClientBuilder, Credentials, Error};
use imgopen_types::HOSTED_URL;
use serde_json::json;

use crate::args::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::text;

/// The environment variable of the secret.
const SECRET: &str = Credentials::SECRET_VARIABLE;

/// A server, and the key to call it with.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The client, with its retries.
    pub client: Client,
}

/// Reads the access key from flags, files and the environment.
fn credentials(connection: &Connection) -> anyhow::Result<Option<Credentials>> {
    let id = connection.access_key_id.clone().filter(|id| !id.is_empty());
    match (id, secret(connection)?) {
        (Some(id), Some(secret)) => Ok(Some(Credentials::new(id, secret))),
        (None, None) => Ok(None),
        (Some(_), None) => {
            let fix = format!("set {SECRET}, or name a file that holds it with --access-key-secret-file");
            Err(Failure::usage(format!("the access key's id is given, but not its secret; {fix}")).into())
        }
        (None, Some(_)) => {
            let fix = format!("set {}, or give it with --access-key-id", Credentials::ID_VARIABLE);
            Err(Failure::usage(format!("the access key's secret is given, but not its id; {fix}")).into())
        }
    }
}

fn secret(connection: &Connection) -> anyhow::Result<Option<String>> {
    let Some(file) = &connection.access_key_secret_file else {
        return Ok(std::env::var(SECRET).ok().filter(|secret| !secret.is_empty()));
    };
    let cannot = || format!("--access-key-secret-file: cannot read {}", file.display());
    Ok(Some(text::read(file).with_context(cannot)?.trim().to_owned()))
}

/// How long an idle connection is kept: well below what servers allow.
const IDLE: Duration = Duration::from_secs(15);

/// Returns a builder for the client of a server; proxies are not used for a server on this machine. The hosted API documents no
/// `Idempotency-Key`, so a second attempt of a submit there could start a second job.
pub fn client(url: &str) -> ClientBuilder {
    let builder = Client::builder(url).idempotency_keys(!is_hosted(url));
    if is_here(url) { builder.no_proxy() } else { builder }
}

/// Returns a builder for a plain HTTP client, with the same rule for proxies.
pub fn http(url: &str) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder().pool_idle_timeout(IDLE);
    if is_here(url) { builder.no_proxy() } else { builder }
}

/// Whether a URL leads to the vendor's server.
fn is_hosted(url: &str) -> bool {
    let host = |url: &str| reqwest::Url::parse(url.trim()).ok().and_then(|url| url.host_str().map(str::to_owned));
    host(url) == host(HOSTED_URL)
}

/// Whether a URL leads to this machine.
fn is_here(url: &str) -> bool {
    let parsed = reqwest::Url::parse(url.trim()).ok();
    let host = parsed.as_ref().and_then(|url| url.host_str()).unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

impl Remote {
    /// Creates the client for a server.
    ///
    /// # Errors
    ///
    /// If the URL is invalid or half of the access key is missing.
    pub fn open(connection: &Connection) -> anyhow::Result<Self> {
        let mut builder = client(&connection.url);
        if let Some(credentials) = credentials(connection)? {
            builder = builder.credentials(credentials);
        }
        let client = builder.build().map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Self { client })
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        self.client.base_url()
    }

    /// Whether the server is the vendor's.
    pub fn is_hosted(&self) -> bool {
        is_hosted(self.url())
    }

    /// Returns the failure for an error of a call, with how to fix it.
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
                Failure::new(Exit::Refused, format!("{} requires an access key; {fix}", self.url())).detail(detail)
            }
            Error::Status { .. } | Error::Code { .. } => {
                let message = error.envelope().map(|envelope| envelope.msg.clone());
                let message = message.unwrap_or_else(|| error.to_string());
                let status = status.map_or(String::new(), |status| format!(" ({status})"));
                Failure::new(Exit::Refused, format!("the server refused{status}: {message}")).detail(detail)
            }
            Error::Decode { .. } | Error::MissingData { .. } => {
                let fix = "check that it is an Img Open server";
                Failure::new(
                    Exit::Refused,
                    format!("{} did not answer as the API describes; {fix}: {error}", self.url()),
                )
            }
            Error::Deadline { .. } => Failure::new(Exit::TimedOut, error.to_string()),
            _ => Failure::new(Exit::Failed, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_lead_to_this_machine() {
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
