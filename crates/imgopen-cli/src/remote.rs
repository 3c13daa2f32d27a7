//! The server that a command calls, and what its errors mean.

use std::env::VarError;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use imgopen_client::{Client, ClientBuilder, Credentials, Error};
use imgopen_types::{HOSTED_URL, Operation};
use serde_json::{Value, json};

use crate::args::connection::Connection;
use crate::failure::{Exit, Failure};
use crate::output::note;
use crate::random::random_hex;
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
        return match std::env::var(SECRET) {
            Ok(secret) => Ok(Some(secret).filter(|secret| !secret.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => {
                Err(Failure::usage(format!("the variable {SECRET} is not UTF-8; copy the secret again")).into())
            }
        };
    };
    let cannot = || format!("--access-key-secret-file: cannot read {}", file.display());
    Ok(Some(text::read(file).with_context(cannot)?.trim().to_owned()))
}

/// How long a command that has no `--timeout` makes a call again while the server puts it off.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The shortest pause before a call that was put off is made again.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

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

    /// Sends a request as [`Remote::answered`] does. A submit has one key however often it is sent, if the server takes keys: an
    /// attempt that seemed to fail may have started a task.
    ///
    /// # Errors
    ///
    /// Those of the last call.
    pub async fn send(
        &self,
        operation: &'static Operation,
        request: &Value,
        parameters: &[(&str, String)],
        within: Duration,
        quiet: bool,
    ) -> Result<Value, Error> {
        let key = self.idempotency_key(operation)?;
        let is_safe = key.is_some() || operation.idempotent;
        let send = async |client: &Client| {
            let call = client.dynamic(operation).body(request.clone());
            let call = parameters.iter().fold(call, |call, (name, value)| call.parameter(*name, value));
            let call = match &key {
                Some(key) => call.idempotency_key(key),
                None => call,
            };
            call.send().await
        };
        self.answered(within, is_safe, quiet, send).await
    }

    fn idempotency_key(&self, operation: &Operation) -> Result<Option<String>, Error> {
        if !self.client.settings().idempotency_keys || operation.caller_id.is_none() {
            return Ok(None);
        }
        let failed = |error: anyhow::Error| Error::InvalidRequest(format!("no idempotency key can be made: {error:#}"));
        random_hex().and_then(|key| Ok(Some(key + &random_hex()?))).map_err(failed)
    }

    /// Makes a call that changes nothing, as [`Remote::answered`] does.
    ///
    /// # Errors
    ///
    /// Those of the last call.
    pub async fn query<T>(&self, call: impl AsyncFn(&Client) -> Result<T, Error>) -> Result<T, Error> {
        self.answered(PATIENCE, true, false, call).await
    }

    /// Makes a call, which has the client's own retries, and makes it again while the server puts it off, as long as there is time
    /// for the pauses that it asks for. A call that is not safe to repeat is made again only if it was surely not processed.
    ///
    /// # Errors
    ///
    /// Those of the last call.
    pub async fn answered<T>(
        &self,
        within: Duration,
        is_safe: bool,
        quiet: bool,
        call: impl AsyncFn(&Client) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (start, own) = (Instant::now(), self.client.settings().retry.longest_wait);
        loop {
            let error = match call(&self.client).await {
                Err(error) => error,
                answer => return answer,
            };
            let left = within.saturating_sub(start.elapsed());
            let Some(pause) = pause(&error, is_safe, own, left) else { return Err(error) };
            if !quiet {
                note(&format!("the request is sent again in {} s: {error}", pause.as_secs_f64().ceil()));
            }
            tokio::time::sleep(pause).await;
        }
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
            Error::Status { status: redirect, .. } if redirect.is_redirection() => {
                let fix = "redirects are not followed, because the access key would be sent along; give the address that it \
                           leads to with --url or IMGOPEN_BASE_URL";
                let message = format!("{} answered with a redirect ({}); {fix}", self.url(), redirect.as_u16());
                Failure::new(Exit::Refused, message).detail(detail)
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

/// Returns how long to wait before a call is made again; `None` if the server has not put it off, or for longer than there is time.
/// A call that may have been processed is not put off by a pause up to `own`, because the client has kept that and tried again.
fn pause(error: &Error, is_safe: bool, own: Duration, left: Duration) -> Option<Duration> {
    let asked = error.retry_after()?;
    let is_put_off = error.is_unprocessed() || (is_safe && error.is_retryable() && asked > own);
    Some(asked.max(SHORTEST_PAUSE)).filter(|pause| is_put_off && *pause <= left)
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn a_server_may_put_a_call_off_as_long_as_there_is_time() {
        let pause = |status: u16, asked: Option<u64>, is_safe: bool, left: u64| {
            let status = StatusCode::from_u16(status).unwrap();
            let retry_after = asked.map(Duration::from_secs);
            let error = Error::Status { status, envelope: None, retry_after, body: Default::default() };
            let pause = pause(&error, is_safe, Duration::from_secs(10), Duration::from_secs(left));
            pause.map(|pause| pause.as_secs())
        };
        for is_safe in [true, false] {
            assert_eq!(pause(429, Some(12), is_safe, 120), Some(12));
            assert_eq!(pause(429, Some(120), is_safe, 120), Some(120));
            assert_eq!(pause(425, Some(0), is_safe, 120), Some(1));
            assert_eq!(pause(429, Some(121), is_safe, 120), None);
            assert_eq!(pause(429, None, is_safe, 120), None);
            assert_eq!(pause(404, Some(12), is_safe, 120), None);
        }
        assert_eq!(pause(503, Some(12), true, 120), Some(12));
        assert_eq!(pause(503, Some(12), false, 120), None, "it may have been processed");
        assert_eq!(pause(503, Some(10), true, 120), None, "the client has kept that pause by itself");
    }

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
