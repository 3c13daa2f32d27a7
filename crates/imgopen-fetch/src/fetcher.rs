//! The client: fetches and pushes under a guard and limits.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::{Client, Response};
use url::Url;

use crate::connect::{self, ConnectLimit, ConnectTimeout};
use crate::error::{FetchError, is_own};
use crate::resolve::{self, GuardedResolver, NoAddress};
use crate::retry_after::retry_after;
use crate::shown::ShownUrl;
use crate::unpack::{Packing, Unpacking};
use crate::{Guard, Limits};

/// How long the pool keeps an idle connection. Strangers choose the hosts, so connections are rarely reused.
const IDLE: Duration = Duration::from_secs(15);

/// How many idle connections to one host the pool keeps.
const IDLE_PER_HOST: usize = 2;

/// An HTTP client under a [`Guard`]. Clones share one pool of connections.
///
/// For each connection, a name is resolved once, its addresses are checked, and the connection goes to one that passed;
/// nothing is resolved again in between. A pooled connection goes to a checked address and a guard never changes, so it may be
/// reused even if the name has since changed its addresses.
#[derive(Debug, Clone)]
pub struct Fetcher {
    guard: Guard,
    client: Client,
}

/// The result of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// The URL that answered, after redirects.
    pub url: Url,
    /// The `Content-Type` of the answer, if it is valid ASCII.
    pub content_type: Option<String>,
    /// The complete body.
    pub bytes: Bytes,
}

/// The answer to a push, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Posted {
    /// The HTTP status, which may be that of a redirect, since none is followed.
    pub status: StatusCode,
    /// The headers, such as `Retry-After`.
    pub headers: HeaderMap,
    /// The body, cut at [`Limits::bytes`].
    pub body: Bytes,
}

impl Fetcher {
    /// Creates a client that resolves names with the system's resolver.
    ///
    /// # Errors
    ///
    /// If TLS cannot be set up because the system has no root certificates.
    pub fn new(guard: Guard) -> Result<Self, FetchError> {
        Self::with_resolver(guard, resolve::by_system)
    }

    /// Creates a client that resolves names with a function. Its answers are checked like the system's, so that tests can give
    /// a name any addresses, and different ones at every call.
    ///
    /// ```
    /// use std::net::{IpAddr, Ipv4Addr};
    /// use imgopen_fetch::{Fetcher, Guard, Limits};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let inside = |_name: String| async { Ok(vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5))]) };
    /// let fetcher = Fetcher::with_resolver(Guard::default(), inside)?;
    /// let rejected = fetcher.get("http://pictures.example/cat.png", &Limits::default()).await.unwrap_err();
    /// assert!(rejected.to_string().contains("was not found, or has no address that may be reached"));
    /// assert_eq!(rejected.detail().as_deref(), Some("it resolves to 10.0.0.5, a private address"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If TLS cannot be set up because the system has no root certificates.
    pub fn with_resolver<L, F>(guard: Guard, lookup: L) -> Result<Self, FetchError>
    where
        L: Fn(String) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        let client = Client::builder()
            .user_agent(concat!("imgopen/", env!("CARGO_PKG_VERSION")))
            // A proxy would resolve names and connect without the guard.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(GuardedResolver::new(guard.clone(), lookup))
            .connector_layer(ConnectLimit)
            .http1_only()
            // Another crate of the program may enable these features of reqwest; decompressed bytes would not be counted.
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

    /// The guard that every address is checked by.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Fetches a URL, following redirects. Each target is checked like the first URL.
    ///
    /// # Errors
    ///
    /// If the URL or its addresses are rejected, the request fails, the status is not a success, or a limit is exceeded.
    pub async fn get(&self, url: &str, limits: &Limits) -> Result<Fetched, FetchError> {
        let asked = self.guard.check(url)?;
        let progress = Progress::new();
        let fetching = connect::within(limits.connect, self.follow(asked.clone(), limits, &progress));
        match tokio::time::timeout(limits.time, fetching).await {
            Ok(fetched) => fetched,
            Err(_) => Err(progress.timeout(&asked, limits.time)),
        }
    }

    /// Posts a body to a URL. Redirects are not followed.
    ///
    /// # Errors
    ///
    /// If the URL or its addresses are rejected, the request fails, or the time limit passes before the answer is complete.
    /// A status that is not a success is not an error.
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
            Err(_) => Err(FetchError::Timeout { url: ShownUrl::of(&url), limit: limits.time, received: None }),
        }
    }

    async fn follow(&self, asked: Url, limits: &Limits, progress: &Progress) -> Result<Fetched, FetchError> {
        let mut url = asked.clone();
        let behind = |error, followed| match followed {
            0 => error,
            _ => FetchError::Redirected { from: ShownUrl::of(&asked), source: Box::new(error) },
        };
        for followed in 0..=limits.redirects {
            match self.fetch(&url, limits, progress).await.map_err(|error| behind(error, followed))? {
                Step::Arrived(fetched) => return Ok(fetched),
                Step::Redirect(next) => url = self.guard.check(next.as_str()).map_err(|error| behind(error, 1))?,
            }
        }
        Err(FetchError::TooManyRedirects { url: ShownUrl::of(&asked), limit: limits.redirects })
    }

    async fn fetch(&self, url: &Url, limits: &Limits, progress: &Progress) -> Result<Step, FetchError> {
        let request = self.client.get(url.clone()).header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let response = request.send().await.map_err(|error| failure(url, error))?;
        let status = response.status();
        if is_redirect(status) {
            return target(url, &response).map(Step::Redirect);
        }
        if !status.is_success() {
            let retry_after = retry_after(response.headers(), SystemTime::now());
            return Err(FetchError::Status { url: ShownUrl::of(url), status, retry_after });
        }
        let packing = Packing::of(response.headers());
        let packing = packing.map_err(|encoding| FetchError::Encoding { url: ShownUrl::of(url), encoding })?;
        let content_type = text(response.headers(), CONTENT_TYPE.as_str());
        let bytes = read_whole(url, response, limits.bytes, progress).await?;
        let bytes = match packing {
            Some(packing) => {
                progress.unpack(packing);
                unpacked(url, bytes, packing, limits.bytes).await?
            }
            None => bytes,
        };
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

/// The outcome of one request of a fetch.
enum Step {
    Arrived(Fetched),
    Redirect(Url),
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The target of a redirect.
fn target(url: &Url, response: &Response) -> Result<Url, FetchError> {
    let shown = ShownUrl::of(url);
    // Some servers send raw UTF-8 here.
    let location = response.headers().get(LOCATION).and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    match location {
        None => Err(FetchError::NoLocation { url: shown, status: response.status() }),
        Some(location) => url.join(location).map_err(|error| FetchError::Redirected {
            from: shown,
            source: Box::new(FetchError::Invalid { url: ShownUrl::of_text(location), problem: error.to_string() }),
        }),
    }
}

/// Decompresses a body.
async fn unpacked(url: &Url, body: Bytes, packing: Packing, limit: u64) -> Result<Bytes, FetchError> {
    let url = || ShownUrl::of(url);
    packing.unpack(body, limit).await.map_err(|error| match error {
        Unpacking::TooLarge => FetchError::TooLarge { url: url(), limit },
        Unpacking::Cut => FetchError::Cut { url: url(), encoding: packing.name() },
        Unpacking::Damaged(problem) => FetchError::Packed { url: url(), encoding: packing.name(), problem },
    })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

async fn read_whole(url: &Url, mut response: Response, limit: u64, progress: &Progress) -> Result<Bytes, FetchError> {
    let too_large = || FetchError::TooLarge { url: ShownUrl::of(url), limit };
    if response.content_length().is_some_and(|announced| announced > limit) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    progress.set(0);
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(url, error))? {
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
        progress.set(body.len() as u64);
    }
    Ok(body.freeze())
}

/// How far a fetch has come, for its message if it takes too long.
struct Progress {
    /// How many bytes of a body have arrived.
    received: AtomicU64,
    /// How the body is compressed, once all of it has arrived.
    packing: OnceLock<Packing>,
}

impl Progress {
    /// Stands for no body.
    const NONE: u64 = u64::MAX;

    fn new() -> Self {
        Self { received: AtomicU64::new(Self::NONE), packing: OnceLock::new() }
    }

    fn set(&self, bytes: u64) {
        self.received.store(bytes, Ordering::Relaxed);
    }

    /// Notes that a whole body is decompressed from now on. A fetch has only one.
    fn unpack(&self, packing: Packing) {
        self.packing.get_or_init(|| packing);
    }

    /// Returns the error of a fetch that has come so far when its time was over.
    fn timeout(&self, url: &Url, limit: Duration) -> FetchError {
        let url = ShownUrl::of(url);
        let received = Some(self.received.load(Ordering::Relaxed)).filter(|bytes| *bytes != Self::NONE);
        match (self.packing.get(), received) {
            (Some(packing), Some(received)) => {
                FetchError::UnpackTimeout { url, encoding: packing.name(), received, limit }
            }
            _ => FetchError::Timeout { url, limit, received },
        }
    }
}

/// What rustls reports of an answer in plain text.
const PLAIN_TEXT: &str = "InvalidContentType";

/// Converts the error of a request. Looks for our resolver's and connector's errors among its causes.
fn failure(url: &Url, error: reqwest::Error) -> FetchError {
    let (is_encrypted, url) = (url.scheme() == "https", ShownUrl::of(url));
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(no_address) = inner.downcast_ref::<NoAddress>() {
            return match no_address {
                NoAddress::Refused { address, kind } => FetchError::Resolved { url, address: *address, kind },
                NoAddress::NotFound(error) => FetchError::Unresolved { url, source: copy(error) },
            };
        }
        if let Some(ConnectTimeout(limit)) = inner.downcast_ref::<ConnectTimeout>() {
            return FetchError::ConnectTimeout { url, limit: *limit };
        }
        // reqwest's own message has the URL in it.
        if is_encrypted && !inner.is::<reqwest::Error>() && inner.to_string().contains(PLAIN_TEXT) {
            return FetchError::NoTls { url };
        }
        cause = inner.source();
    }
    // reqwest's message would show the URL with its query.
    FetchError::Transport { url, source: error.without_url() }
}

/// Copies the error of a resolver, with the system's code if it has one.
///
/// The C library's resolver reports "not found" also when it can open neither its files nor a socket. Trying that here shows
/// whether it is so.
fn copy(error: &io::Error) -> io::Error {
    if let Some(code) = error.raw_os_error() {
        return io::Error::from_raw_os_error(code);
    }
    match std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
        Err(own) if is_own(&own) => own,
        _ => io::Error::new(error.kind(), error.to_string()),
    }
}
