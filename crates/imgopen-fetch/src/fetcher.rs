//! The client itself: fetching and pushing under a guard and limits.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Client, Response};
use url::Url;

use crate::connect::{self, ConnectLimit, ConnectTimeout};
use crate::error::{FetchError, ShownUrl};
use crate::resolve::{self, GuardedResolver, NoAddress};
use crate::{Guard, Limits};

/// How long a connection may lie unused. Strangers choose the hosts, so connections are rarely used again.
const IDLE: Duration = Duration::from_secs(15);

/// How many connections to one host may lie unused.
const IDLE_PER_HOST: usize = 2;

/// An HTTP client under a [`Guard`]. Clones share one pool of connections.
///
/// A name is resolved once for each connection, the addresses are checked, and the connection goes to one of those that
/// passed: nothing is resolved again between. A connection that lies in the pool goes to an address that was checked, and a
/// guard never changes, so it may be used again whatever the name resolves to by then.
#[derive(Debug, Clone)]
pub struct Fetcher {
    guard: Guard,
    client: Client,
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// Where it lay in the end, after redirects.
    pub url: Url,
    /// The `Content-Type` that the server gave, if it is a text.
    pub content_type: Option<String>,
    /// The body, whole.
    pub bytes: Bytes,
}

/// The answer to a push, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Posted {
    /// The HTTP status. A redirect's too: none is followed.
    pub status: StatusCode,
    /// The headers, such as `Retry-After`.
    pub headers: HeaderMap,
    /// The body, cut at [`Limits::bytes`].
    pub body: Bytes,
}

impl Fetcher {
    /// A client under that guard, which resolves names as this machine does.
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up, because the system has no root certificates.
    pub fn new(guard: Guard) -> Result<Self, FetchError> {
        Self::with_resolver(guard, resolve::by_system)
    }

    /// A client that resolves names by that function. What it returns is checked like any other answer, so tests can give
    /// a name any addresses, and others at every call.
    ///
    /// ```
    /// use std::net::{IpAddr, Ipv4Addr};
    /// use imgopen_fetch::{Fetcher, Guard, Limits};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let inside = |_name: String| async { Ok(vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5))]) };
    /// let fetcher = Fetcher::with_resolver(Guard::default(), inside)?;
    /// let refused = fetcher.get("http://pictures.example/cat.png", &Limits::default()).await.unwrap_err();
    /// assert!(refused.to_string().contains("resolves to 10.0.0.5, a private address"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When TLS cannot be set up, because the system has no root certificates.
    pub fn with_resolver<L, F>(guard: Guard, lookup: L) -> Result<Self, FetchError>
    where
        L: Fn(String) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        let client = Client::builder()
            .user_agent(concat!("imgopen/", env!("CARGO_PKG_VERSION")))
            // A proxy would resolve and connect itself, past the guard.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(GuardedResolver::new(guard.clone(), lookup))
            .connector_layer(ConnectLimit)
            .http1_only()
            // What another crate of the program turns on must not unpack bodies here: only packed bytes are counted.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build()
            .map_err(FetchError::Setup)?;
        Ok(Self { guard, client })
    }

    /// The guard that it is under.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Fetches what lies at the URL, following redirects. Each is checked like the first.
    ///
    /// # Errors
    ///
    /// When the URL or what it resolves to is refused, nothing or no success is answered, or a limit is passed.
    pub async fn get(&self, url: &str, limits: &Limits) -> Result<Fetched, FetchError> {
        let asked = self.guard.check(url)?;
        let fetching = connect::within(limits.connect, self.follow(asked.clone(), limits));
        match tokio::time::timeout(limits.time, fetching).await {
            Ok(fetched) => fetched,
            Err(_) => Err(FetchError::Timeout { url: ShownUrl::of(&asked), limit: limits.time }),
        }
    }

    /// Pushes a body to the URL. No redirect is followed.
    ///
    /// # Errors
    ///
    /// When the URL or what it resolves to is refused, nothing is answered, or the time is up before the answer is whole.
    /// An answer whose status is no success is no error.
    pub async fn post(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
        limits: &Limits,
    ) -> Result<Posted, FetchError> {
        let url = self.guard.check(url)?;
        let pushing = connect::within(limits.connect, self.push(&url, headers, body, limits));
        match tokio::time::timeout(limits.time, pushing).await {
            Ok(posted) => posted,
            Err(_) => Err(FetchError::Timeout { url: ShownUrl::of(&url), limit: limits.time }),
        }
    }

    async fn follow(&self, asked: Url, limits: &Limits) -> Result<Fetched, FetchError> {
        let mut url = asked.clone();
        let behind = |error, followed| match followed {
            0 => error,
            _ => FetchError::Redirected { from: ShownUrl::of(&asked), source: Box::new(error) },
        };
        for followed in 0..=limits.redirects {
            match self.fetch(&url, limits).await.map_err(|error| behind(error, followed))? {
                Step::Arrived(fetched) => return Ok(fetched),
                Step::Redirect(next) => url = self.guard.check(next.as_str()).map_err(|error| behind(error, 1))?,
            }
        }
        Err(FetchError::TooManyRedirects { url: ShownUrl::of(&asked), limit: limits.redirects })
    }

    async fn fetch(&self, url: &Url, limits: &Limits) -> Result<Step, FetchError> {
        let request = self.client.get(url.clone()).header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let response = request.send().await.map_err(|error| failure(url, error))?;
        let status = response.status();
        if is_redirect(status) {
            return target(url, &response).map(Step::Redirect);
        }
        if !status.is_success() {
            return Err(FetchError::Status { url: ShownUrl::of(url), status });
        }
        check_encoding(url, &response)?;
        let content_type = text(response.headers(), CONTENT_TYPE.as_str());
        let bytes = read_whole(url, response, limits.bytes).await?;
        Ok(Step::Arrived(Fetched { url: url.clone(), content_type, bytes }))
    }

    async fn push(&self, url: &Url, headers: HeaderMap, body: Bytes, limits: &Limits) -> Result<Posted, FetchError> {
        let request = self.client.request(Method::POST, url.clone()).headers(headers).body(body);
        let mut response = request.send().await.map_err(|error| failure(url, error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(url, error))? {
            let room = usize::try_from(limits.bytes).unwrap_or(usize::MAX) - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() >= room {
                break;
            }
        }
        Ok(Posted { status, headers, body: body.into() })
    }
}

/// What one request of a fetch gave.
enum Step {
    Arrived(Fetched),
    Redirect(Url),
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads to.
fn target(url: &Url, response: &Response) -> Result<Url, FetchError> {
    let shown = ShownUrl::of(url);
    // Servers send raw UTF-8 here too.
    let location = response.headers().get(LOCATION).and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    match location {
        None => Err(FetchError::NoLocation { url: shown, status: response.status() }),
        Some(location) => url.join(location).map_err(|error| FetchError::Redirected {
            from: shown,
            source: Box::new(FetchError::Invalid { url: ShownUrl::of_text(location), problem: error.to_string() }),
        }),
    }
}

fn check_encoding(url: &Url, response: &Response) -> Result<(), FetchError> {
    const PACKED: [&str; 7] = ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"];
    let given = text(response.headers(), CONTENT_ENCODING.as_str()).unwrap_or_default().to_ascii_lowercase();
    // Others, such as `identity` and `aws-chunked`, stand on bodies that are as they should be.
    match given.split(',').map(str::trim).find(|encoding| PACKED.contains(encoding)) {
        Some(encoding) => Err(FetchError::Encoding { url: ShownUrl::of(url), encoding: encoding.to_owned() }),
        None => Ok(()),
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

async fn read_whole(url: &Url, mut response: Response, limit: u64) -> Result<Bytes, FetchError> {
    let too_large = || FetchError::TooLarge { url: ShownUrl::of(url), limit };
    if response.content_length().is_some_and(|announced| announced > limit) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(url, error))? {
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// The error of a request, with what our own resolver and connector said if it was they who failed.
fn failure(url: &Url, error: reqwest::Error) -> FetchError {
    let url = ShownUrl::of(url);
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(no_address) = inner.downcast_ref::<NoAddress>() {
            return match no_address {
                NoAddress::Refused { address, kind } => FetchError::Resolved { url, address: *address, kind },
                NoAddress::NotFound(told) => {
                    FetchError::Unresolved { url, source: io::Error::new(told.kind(), told.to_string()) }
                }
            };
        }
        if let Some(ConnectTimeout(limit)) = inner.downcast_ref::<ConnectTimeout>() {
            return FetchError::ConnectTimeout { url, limit: *limit };
        }
        cause = inner.source();
    }
    // Its own text would show the URL with its query.
    FetchError::Transport { url, source: error.without_url() }
}
