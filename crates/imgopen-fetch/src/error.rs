//! What can go wrong with a fetch or a push, told so that the one who chose the address can mend it.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use url::Url;

/// Why a fetch or a push did not succeed. Every message names the address.
///
/// A message tells what an address resolves to. Where that must stay inside, show strangers less.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The text is no URL.
    #[error("{url} is not a URL: {problem}; give one such as https://example.com/picture.png")]
    Invalid {
        /// The text.
        url: ShownUrl,
        /// What is wrong with it.
        problem: String,
    },

    /// The text is too long for a URL.
    #[error("{url} has {length} characters, more than the {limit} that a URL may have")]
    TooLong {
        /// How it begins.
        url: ShownUrl,
        /// Its length in bytes.
        length: usize,
        /// The most bytes.
        limit: usize,
    },

    /// The scheme is neither `http` nor `https`.
    #[error("{url} has the scheme `{scheme}`; only http and https are allowed")]
    Scheme {
        /// The URL.
        url: ShownUrl,
        /// Its scheme.
        scheme: String,
    },

    /// The URL holds a user name or a password.
    #[error("{url} holds a user name or a password, which would be sent along; leave them out")]
    UserInfo {
        /// The URL without them.
        url: ShownUrl,
    },

    /// The port belongs to another protocol.
    #[error("{url} names port {port}, which belongs to another protocol than HTTP; serve it on another port")]
    Port {
        /// The URL.
        url: ShownUrl,
        /// Its port.
        port: u16,
    },

    /// The host is this machine, or an address that is not on the public internet.
    #[error("{url} is at {address}, {kind}; the operator can allow it with --allow-network")]
    Address {
        /// The URL.
        url: ShownUrl,
        /// The host's address.
        address: IpAddr,
        /// What kind of address that is, such as "a private address".
        kind: &'static str,
    },

    /// The host's name has only addresses that are not on the public internet.
    #[error("{url} resolves to {address}, {kind}; the operator can allow it with --allow-network")]
    Resolved {
        /// The URL.
        url: ShownUrl,
        /// The first of the addresses.
        address: IpAddr,
        /// What kind of address that is, such as "a private address".
        kind: &'static str,
    },

    /// The host's name has no address.
    #[error("the host of {url} was not found: {source}; check its name")]
    Unresolved {
        /// The URL.
        url: ShownUrl,
        /// What the resolver says.
        source: io::Error,
    },

    /// No connection was made in time.
    #[error("{url} could not be connected to within {} s; check that its server runs", .limit.as_secs_f64())]
    ConnectTimeout {
        /// The URL.
        url: ShownUrl,
        /// [`Limits::connect`](crate::Limits::connect).
        limit: Duration,
    },

    /// No connection was made, or it broke before the answer was whole.
    #[error("{url} gave no whole answer: {}", chain(.source))]
    Transport {
        /// The URL.
        url: ShownUrl,
        /// What happened.
        source: reqwest::Error,
    },

    /// The whole took too long.
    #[error("{url} did not answer within {} s", .limit.as_secs_f64())]
    Timeout {
        /// The URL.
        url: ShownUrl,
        /// [`Limits::time`](crate::Limits::time).
        limit: Duration,
    },

    /// The answer is no success.
    #[error("{url} answered {status}")]
    Status {
        /// The URL.
        url: ShownUrl,
        /// The HTTP status.
        status: StatusCode,
    },

    /// The body is too large.
    #[error("{url} is larger than {limit} bytes; give a smaller one")]
    TooLarge {
        /// The URL.
        url: ShownUrl,
        /// [`Limits::bytes`](crate::Limits::bytes).
        limit: u64,
    },

    /// The body is compressed, although none was asked for so. It is not unpacked: a small body could become a huge one.
    #[error("{url} answered with the encoding `{encoding}`, which was not asked for; serve it without")]
    Encoding {
        /// The URL.
        url: ShownUrl,
        /// The encoding.
        encoding: String,
    },

    /// There were too many redirects.
    #[error("{url} leads through more than {limit} redirects; give the URL that they lead to")]
    TooManyRedirects {
        /// The URL that was asked for.
        url: ShownUrl,
        /// [`Limits::redirects`](crate::Limits::redirects).
        limit: u8,
    },

    /// The answer is a redirect that does not say where to.
    #[error("{url} answered {status} without a `Location` that says where to; give the URL itself")]
    NoLocation {
        /// The URL.
        url: ShownUrl,
        /// The HTTP status.
        status: StatusCode,
    },

    /// What the URL redirects to failed.
    #[error("{from} redirects, and {source}")]
    Redirected {
        /// The URL that was asked for.
        from: ShownUrl,
        /// What went wrong behind it.
        source: Box<FetchError>,
    },

    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up: {}; check that the system has root certificates", chain(.0))]
    Setup(#[source] reqwest::Error),
}

impl FetchError {
    /// Whether another try may succeed: the network, the name service or the server failed in a way that passes (408, 429
    /// or 5xx, 501 apart).
    pub fn is_retryable(&self) -> bool {
        match self {
            FetchError::Unresolved { .. } | FetchError::ConnectTimeout { .. } => true,
            FetchError::Transport { .. } | FetchError::Timeout { .. } => true,
            FetchError::Status { status, .. } => is_passing(*status),
            FetchError::Redirected { source, .. } => source.is_retryable(),
            _ => false,
        }
    }

    /// Whether the guard's policy forbids the address, rather than something having failed on the way.
    pub fn is_refusal(&self) -> bool {
        match self {
            FetchError::Scheme { .. } | FetchError::UserInfo { .. } | FetchError::Port { .. } => true,
            FetchError::Address { .. } | FetchError::Resolved { .. } => true,
            FetchError::Redirected { source, .. } => source.is_refusal(),
            _ => false,
        }
    }
}

fn is_passing(status: StatusCode) -> bool {
    let asked = status == StatusCode::REQUEST_TIMEOUT || status == StatusCode::TOO_MANY_REQUESTS;
    asked || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

/// A URL as messages show it: without user name, password, query and fragment, for these may hold secrets, and cut where
/// it gets long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownUrl(String);

impl ShownUrl {
    const LONGEST: usize = 200;

    /// Shows a text that need not be a URL.
    pub(crate) fn of_text(text: &str) -> Self {
        match Url::parse(text) {
            Ok(url) if url.has_host() => Self::of(&url),
            // Where user information would end cannot be told, so nothing after a scheme is safe to show.
            _ if text.contains('@') => Self("the given text".to_owned()),
            _ => Self::cut(&format!("{:?}", text.split(['?', '#']).next().unwrap_or_default())),
        }
    }

    /// Shows how a text begins that is too long to be parsed.
    pub(crate) fn of_start(text: &str) -> Self {
        Self::of_text(text.char_indices().nth(Self::LONGEST).map_or(text, |(end, _)| &text[..end]))
    }

    /// Shows a URL.
    pub(crate) fn of(url: &Url) -> Self {
        let mut shown = url.clone();
        // These fail only for URLs that cannot hold any.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.set_fragment(None);
        shown.set_query(url.query().map(|_| ""));
        let text = shown.as_str();
        Self::cut(&if url.query().is_some() { format!("{text}…") } else { text.to_owned() })
    }

    fn cut(text: &str) -> Self {
        match text.char_indices().nth(Self::LONGEST) {
            Some((end, _)) => Self(format!("{}…", &text[..end])),
            None => Self(text.to_owned()),
        }
    }
}

impl fmt::Display for ShownUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error's causes, for reqwest's own text leaves them out.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
