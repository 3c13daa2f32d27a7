//! How a client is built: base URL, access key, retries, limits and timeouts.

use std::collections::HashMap;
use std::env::{self, VarError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use imgopen_types::{Credentials, MissingKey, operations};
use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::{Client, Error, Retry};

/// How long an idle connection is kept: well below what servers allow, 60 seconds for `imgopen serve`. A request sent on a
/// connection that the server is just closing is lost, and whether it arrived is not known.
const IDLE: Duration = Duration::from_secs(15);

/// The settings of a client beside its connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The access key, sent with every call. Without one no key headers are sent.
    pub credentials: Option<Credentials>,
    /// When a call that is safe to repeat is retried.
    pub retry: Retry,
    /// Maximum size of an answer in bytes; 16 MiB by default.
    pub answer_limit: usize,
    /// Whether every submit has an `Idempotency-Key`, and is repeated like a query; not by default.
    pub idempotency_keys: bool,
    pub(crate) prepared: Arc<Prepared>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            credentials: None,
            retry: Retry::default(),
            answer_limit: 16 * 1024 * 1024,
            idempotency_keys: false,
            prepared: Arc::default(),
        }
    }
}

/// What is the same for every call and takes time to make: it is made once and copied.
#[derive(Default)]
pub(crate) struct Prepared {
    /// The headers of every request; those that carry the access key are checked.
    pub headers: HeaderMap,
    /// The addresses of the operations whose path has no variable part, by their ids.
    urls: HashMap<&'static str, Url>,
}

impl Prepared {
    fn new(base_url: &str, credentials: Option<&Credentials>) -> Result<Self, BuildError> {
        let json = HeaderValue::from_static("application/json");
        let mut headers = HeaderMap::from_iter([(ACCEPT, json.clone()), (CONTENT_TYPE, json)]);
        if let Some(keys) = credentials {
            headers.extend(key_headers(keys)?);
        }
        let fixed = operations::ALL.iter().filter(|operation| operation.parameters.is_empty());
        let urls = fixed.map(|operation| {
            let url = Url::parse(&format!("{base_url}{}", operation.path))
                .map_err(|error| BuildError::BaseUrl { url: base_url.to_owned(), problem: error.to_string() });
            Ok((operation.id, url?))
        });
        Ok(Self { headers, urls: urls.collect::<Result<_, BuildError>>()? })
    }

    /// The address of an operation whose path has no variable part.
    pub(crate) fn url(&self, operation: &str) -> Result<Url, Error> {
        let unknown = || Error::InvalidRequest(format!("`{operation}` has no fixed path"));
        self.urls.get(operation).cloned().ok_or_else(unknown)
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

/// Why a client could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The base URL cannot be called.
    #[error("the base URL {url:?} cannot be called: {problem}; give one such as `https://api.zhiqite.com`")]
    BaseUrl {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An environment variable is not a text.
    #[error("the environment variable `{variable}` is not a text; set it to the server's base URL")]
    Variable {
        /// The name of the variable.
        variable: &'static str,
    },
    /// A part of the access key cannot be sent.
    #[error("the access key's {part} holds a character that no HTTP header can carry; copy it again")]
    Credentials {
        /// The part: id or secret.
        part: &'static str,
    },
    /// The environment does not hold what is needed.
    #[error(transparent)]
    Environment(#[from] MissingKey),
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up: {0}")]
    Http(#[source] reqwest::Error),
}

/// A builder of a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    base_url: String,
    settings: Settings,
    connect_timeout: Duration,
    timeout: Duration,
    no_proxy: bool,
    http: Option<reqwest::Client>,
}

impl Client {
    /// The environment variable that holds the base URL.
    pub const BASE_URL_VARIABLE: &'static str = "IMGOPEN_BASE_URL";

    /// Returns a client of the server at that base URL, such as [`imgopen_types::HOSTED_URL`], with an access key.
    ///
    /// # Errors
    ///
    /// If the base URL or the key is invalid.
    pub fn new(base_url: &str, credentials: Credentials) -> Result<Self, BuildError> {
        Self::builder(base_url).credentials(credentials).build()
    }

    /// Returns a client with the settings of the environment: the base URL in `IMGOPEN_BASE_URL` (the hosted API if it is not set or
    /// empty), the access key in `IMGOPEN_ACCESS_KEY_ID` and `IMGOPEN_ACCESS_KEY_SECRET`.
    ///
    /// # Errors
    ///
    /// Names the variable that is missing or wrong.
    pub fn from_env() -> Result<Self, BuildError> {
        let base_url = match env::var(Self::BASE_URL_VARIABLE) {
            Ok(url) if !url.is_empty() => url,
            Ok(_) | Err(VarError::NotPresent) => imgopen_types::HOSTED_URL.to_owned(),
            // The keys may be meant for another server: never guess where to send them.
            Err(VarError::NotUnicode(_)) => return Err(BuildError::Variable { variable: Self::BASE_URL_VARIABLE }),
        };
        Self::new(&base_url, Credentials::from_env()?)
    }

    /// Returns a builder of a client of the server at that base URL.
    pub fn builder(base_url: &str) -> ClientBuilder {
        ClientBuilder {
            base_url: base_url.to_owned(),
            settings: Settings::default(),
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
            no_proxy: false,
            http: None,
        }
    }

    /// Returns the settings of the client.
    pub fn settings(&self) -> &Settings {
        &self.inner
    }

    /// The base URL, without a slash at its end.
    pub fn base_url(&self) -> &str {
        &self.baseurl
    }
}

impl ClientBuilder {
    /// Sets the access key.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.settings.credentials = Some(credentials);
        self
    }

    /// Sets when a call that is safe to repeat is retried.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.settings.retry = retry;
        self
    }

    /// Sends a generated `Idempotency-Key` with every submit, and repeats submits like queries. Right for servers that support
    /// the header, as `imgopen serve` does: they start one task however often a submit arrives. The hosted API does not document
    /// it, so there a repeated submit might start two.
    pub fn idempotency_keys(mut self, sends: bool) -> Self {
        self.settings.idempotency_keys = sends;
        self
    }

    /// Sets the maximum size of an answer, in bytes.
    pub fn answer_limit(mut self, bytes: usize) -> Self {
        self.settings.answer_limit = bytes;
        self
    }

    /// Sets the timeout for connecting; 10 seconds by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the timeout of one attempt, from connecting to the last byte; 60 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Ignores the proxies that the environment names, as is right for a server on the same machine.
    pub fn no_proxy(mut self) -> Self {
        self.no_proxy = true;
        self
    }

    /// Uses your own HTTP client; the timeouts and proxies set here do not apply to it. It must not follow redirects: the
    /// access key would be sent along. It should keep idle connections shorter than the server does (`pool_idle_timeout`).
    pub fn http_client(mut self, http: reqwest::Client) -> Self {
        self.http = Some(http);
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    ///
    /// If the base URL or the key is invalid.
    pub fn build(mut self) -> Result<Client, BuildError> {
        let base_url = self.base_url.trim().trim_end_matches('/').to_owned();
        check_base_url(&base_url)?;
        self.settings.prepared = Arc::new(Prepared::new(&base_url, self.settings.credentials.as_ref())?);
        let http = match self.http {
            Some(http) => http,
            // The API has no redirects, and reqwest would send the key's headers along to wherever one leads.
            None => {
                let builder = reqwest::Client::builder()
                    .connect_timeout(self.connect_timeout)
                    .timeout(self.timeout)
                    .pool_idle_timeout(IDLE)
                    .redirect(reqwest::redirect::Policy::none());
                let builder = if self.no_proxy { builder.no_proxy() } else { builder };
                builder.build().map_err(BuildError::Http)?
            }
        };
        Ok(Client::new_with_client(&base_url, http, self.settings))
    }
}

fn check_base_url(url: &str) -> Result<(), BuildError> {
    let wrong = |problem: String| Err(BuildError::BaseUrl { url: url.to_owned(), problem });
    match reqwest::Url::parse(url) {
        Ok(parsed) if !parsed.username().is_empty() || parsed.password().is_some() => Err(BuildError::BaseUrl {
            url: "(hidden)".to_owned(),
            problem: "it holds a user name or a password".to_owned(),
        }),
        Err(error) => wrong(error.to_string()),
        Ok(parsed) if !matches!(parsed.scheme(), "http" | "https") => wrong("it is neither http nor https".to_owned()),
        Ok(parsed) if parsed.query().is_some() || parsed.fragment().is_some() => {
            wrong("it has a query or a fragment".to_owned())
        }
        Ok(_) => Ok(()),
    }
}

/// The two headers that carry the access key. HTTP compares header names without regard to case, and the HTTP library
/// sends them in lower case.
fn key_headers(keys: &Credentials) -> Result<[(HeaderName, HeaderValue); 2], BuildError> {
    let header = |name: &str, value: &str, part: &'static str| {
        let unsendable = || BuildError::Credentials { part };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unsendable())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| unsendable())?;
        value.set_sensitive(true);
        Ok::<_, BuildError>((name, value))
    };
    Ok([
        header(Credentials::ID_HEADER, keys.access_key_id(), "id")?,
        header(Credentials::SECRET_HEADER, keys.expose_secret(), "secret")?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_called_is_rejected() {
        for (url, problem) in [
            ("api.zhiqite.com", "relative URL"),
            ("ftp://example.com", "neither http nor https"),
            ("https://example.com/?a=1", "a query"),
            ("", "relative URL"),
            ("https://me:hunter2@example.com", "holds a user name or a password"),
        ] {
            let error = Client::builder(url).build().unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains("hunter2"), "{url}: {error}");
        }
        let client = Client::builder(" http://127.0.0.1:8080/prefix/ ").build().unwrap();
        assert_eq!(client.base_url(), "http://127.0.0.1:8080/prefix");
    }

    #[test]
    fn a_key_that_cannot_be_sent_is_rejected_without_showing_it() {
        let error = Client::new("http://127.0.0.1", Credentials::new("id", "sec\nret")).unwrap_err().to_string();
        assert!(error.contains("the access key's secret") && !error.contains("sec\n"), "{error}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let client = Client::new("http://127.0.0.1", Credentials::new("my-id", "my-secret")).unwrap();
        let shown = format!("{client:?} {:?}", client.text_to_image());
        assert!(shown.contains("my-id") && !shown.contains("my-secret"), "{shown}");
    }
}
