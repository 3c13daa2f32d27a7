//! Errors of fetches and pushes, written for the person who chose the address.

use std::error::Error;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use http::StatusCode;

use crate::shown::ShownUrl;

/// Why a fetch or a push failed. Every message names the URL.
///
/// No message contains the address that a name resolves to, nor whether a name without a permitted address exists: the names of
/// the operator's network are nobody else's business. [`detail`](FetchError::detail) has them for the operator's log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The text is not a URL.
    #[error("{url} is not a URL: {problem}; give one such as https://example.com/picture.png")]
    Invalid {
        /// The text.
        url: ShownUrl,
        /// The parser's message.
        problem: String,
    },

    /// The text is too long for a URL.
    #[error("{url} has {length} characters, more than the {limit} that a URL may have")]
    TooLong {
        /// Its beginning.
        url: ShownUrl,
        /// Its length in bytes.
        length: usize,
        /// The maximum length in bytes.
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

    /// The URL contains a user name or a password.
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
        /// The kind of address, such as "a private address".
        kind: &'static str,
    },

    /// The host's name resolves only to addresses that are not on the public internet.
    #[error("{}", no_address(.url))]
    Resolved {
        /// The URL.
        url: ShownUrl,
        /// The first of these addresses.
        address: IpAddr,
        /// The kind of address, such as "a private address".
        kind: &'static str,
    },

    /// The host's name has no address.
    #[error("{}", no_address(.url))]
    Unresolved {
        /// The URL.
        url: ShownUrl,
        /// The resolver's error.
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

    /// The connection failed, or broke before the answer was complete.
    #[error("{url} gave no whole answer: {}", chain(.source))]
    Transport {
        /// The URL.
        url: ShownUrl,
        /// The HTTP client's error.
        source: reqwest::Error,
    },

    /// The server answers in plain text where TLS is expected.
    #[error(
        "{url} answered without the encryption (TLS) that https asks for; give the URL with http://, or the port for https"
    )]
    NoTls {
        /// The URL.
        url: ShownUrl,
    },

    /// The answer to the fetch or push did not come in time, or not all of it.
    #[error("{}", slow(.url, .limit, .received))]
    Timeout {
        /// The URL.
        url: ShownUrl,
        /// [`Limits::time`](crate::Limits::time).
        limit: Duration,
        /// How many bytes of the body had arrived; `None` if no answer had begun.
        received: Option<u64>,
    },

    /// The body came in time, but compressed, although that was not requested, and was not decompressed in time.
    #[error(
        "{url} answered with the encoding `{encoding}`, which was not asked for; all {received} bytes came, but were not \
         decompressed within {} s of the request; serve it without, or faster",
        .limit.as_secs_f64()
    )]
    UnpackTimeout {
        /// The URL.
        url: ShownUrl,
        /// The encoding.
        encoding: &'static str,
        /// How many bytes came.
        received: u64,
        /// [`Limits::time`](crate::Limits::time).
        limit: Duration,
    },

    /// The status of the answer is not a success.
    #[error("{url} answered {status}")]
    Status {
        /// The URL.
        url: ShownUrl,
        /// The HTTP status.
        status: StatusCode,
        /// After which time the server asks to try again, by `Retry-After`.
        retry_after: Option<Duration>,
    },

    /// The body is too large.
    #[error("{url} is larger than {limit} bytes; give a smaller one")]
    TooLarge {
        /// The URL.
        url: ShownUrl,
        /// [`Limits::bytes`](crate::Limits::bytes).
        limit: u64,
    },

    /// The body is compressed, although that was not requested, in a way that is not undone here.
    #[error("{url} answered with the encoding `{encoding}`, which was not asked for; serve it without")]
    Encoding {
        /// The URL.
        url: ShownUrl,
        /// The encoding.
        encoding: String,
    },

    /// The body is not compressed as its header says.
    #[error("{url} answered with the encoding `{encoding}`, but the body is not that ({problem}); serve it without")]
    Packed {
        /// The URL.
        url: ShownUrl,
        /// The encoding.
        encoding: &'static str,
        /// What is wrong with the body.
        problem: String,
    },

    /// The body is compressed, although that was not requested, and its end is missing.
    #[error("{url} gave no whole answer: its body, in the encoding `{encoding}`, ends too early")]
    Cut {
        /// The URL.
        url: ShownUrl,
        /// The encoding.
        encoding: &'static str,
    },

    /// There were too many redirects.
    #[error("{url} leads through more than {limit} redirects; give the URL that they lead to")]
    TooManyRedirects {
        /// The URL that was asked for.
        url: ShownUrl,
        /// [`Limits::redirects`](crate::Limits::redirects).
        limit: u8,
    },

    /// The answer is a redirect without a target.
    #[error("{url} answered {status} without a `Location` that says where to; give the URL itself")]
    NoLocation {
        /// The URL.
        url: ShownUrl,
        /// The HTTP status.
        status: StatusCode,
    },

    /// The target of a redirect failed.
    #[error("{from} redirects, and {source}")]
    Redirected {
        /// The URL that was asked for.
        from: ShownUrl,
        /// The error of the target.
        source: Box<FetchError>,
    },

    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up: {}; check that the system has root certificates", chain(.0))]
    Setup(#[source] reqwest::Error),
}

impl FetchError {
    /// Returns what the message leaves out of a name's addresses, for the operator's log alone.
    pub fn detail(&self) -> Option<String> {
        match self {
            FetchError::Resolved { address, kind, .. } => Some(format!("it resolves to {address}, {kind}")),
            FetchError::Unresolved { source, .. } => Some(format!("it was not found: {source}")),
            FetchError::Redirected { source, .. } => source.detail(),
            _ => None,
        }
    }

    /// Whether another attempt may succeed: the network or name resolution failed, the end of the body is missing, or the server
    /// answered 408, 425, 429 or 5xx except 501 and 505.
    ///
    /// A name without a permitted address counts as one that was not found: as the message, the time until the last attempt
    /// must not show which of them it is.
    pub fn is_retryable(&self) -> bool {
        match self {
            FetchError::Unresolved { .. } | FetchError::Resolved { .. } | FetchError::ConnectTimeout { .. } => true,
            FetchError::Transport { .. } | FetchError::Timeout { .. } | FetchError::UnpackTimeout { .. } => true,
            FetchError::Cut { .. } => true,
            FetchError::Status { status, .. } => is_temporary(*status),
            FetchError::Redirected { source, .. } => source.is_retryable(),
            _ => false,
        }
    }

    /// Whether no connection was made: the name has no address, or nothing answers there.
    pub fn is_unconnected(&self) -> bool {
        match self {
            FetchError::Unresolved { .. } | FetchError::Resolved { .. } | FetchError::ConnectTimeout { .. } => true,
            FetchError::Transport { source, .. } => source.is_connect(),
            FetchError::Redirected { source, .. } => source.is_unconnected(),
            _ => false,
        }
    }

    /// Returns after which time the server asks to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            FetchError::Status { retry_after, .. } => *retry_after,
            FetchError::Redirected { source, .. } => source.retry_after(),
            _ => None,
        }
    }

    /// Whether this machine is at fault, not the address or its server: no descriptor, port or memory is free for a
    /// connection, or no network leads to the address.
    ///
    /// Which errors of a network are this machine's cannot always be known: a name server that does not answer and a
    /// firewall that drops packets count as the other side's.
    pub fn is_local(&self) -> bool {
        self.is_by(is_own)
    }

    /// Whether this machine has no descriptor or no memory left for a connection. Unlike a network that cannot be reached,
    /// nobody can bring that about by naming an address.
    pub fn is_exhaustion(&self) -> bool {
        self.is_by(is_lack)
    }

    /// Whether another server, or this one at another time, would not fail on the same address: it has no descriptor or no
    /// memory left, or no network at all. An address of IPv6 cannot be reached from a machine that has IPv4 only, however
    /// long one waits; that is the fault of the address.
    pub fn is_fault_of_server(&self) -> bool {
        self.is_exhaustion() || (self.is_local() && !has_network())
    }

    /// Whether an error of the system of that kind is the cause.
    fn is_by(&self, kind: fn(&io::Error) -> bool) -> bool {
        match self {
            FetchError::Unresolved { source, .. } => kind(source),
            FetchError::Transport { source, .. } => {
                let mut cause: Option<&(dyn Error + 'static)> = Some(source);
                while let Some(inner) = cause {
                    if inner.downcast_ref::<io::Error>().is_some_and(kind) {
                        return true;
                    }
                    cause = inner.source();
                }
                false
            }
            FetchError::Redirected { source, .. } => source.is_by(kind),
            _ => false,
        }
    }

    /// Whether the guard rejected the address, as opposed to a failure of the network or the server.
    pub fn is_refusal(&self) -> bool {
        match self {
            FetchError::Scheme { .. } | FetchError::UserInfo { .. } | FetchError::Port { .. } => true,
            FetchError::Address { .. } | FetchError::Resolved { .. } => true,
            FetchError::Redirected { source, .. } => source.is_refusal(),
            _ => false,
        }
    }
}

/// EMFILE and ENFILE, too many open files, on all Unix systems. The standard library has no kind for them.
const TOO_MANY_FILES: [i32; 2] = [24, 23];

/// Whether an error of the system is about this machine.
pub(crate) fn is_own(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, NetworkDown, NetworkUnreachable};
    is_lack(error) || matches!(error.kind(), AddrNotAvailable | NetworkDown | NetworkUnreachable)
}

/// Whether this machine has no descriptor or no memory left.
fn is_lack(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory
        || error.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code))
}

/// Whether a route leads from this machine to any other. Sends nothing: it only asks the system for a route to addresses that
/// are reserved for documentation.
fn has_network() -> bool {
    let leads = |from: &str, to: &str| UdpSocket::bind(from).and_then(|socket| socket.connect(to)).is_ok();
    leads("0.0.0.0:0", "192.0.2.1:9") || leads("[::]:0", "[2001:db8::1]:9")
}

/// One message for a name that is unknown and one that is known within the operator's network only.
fn no_address(url: &ShownUrl) -> String {
    format!(
        "the host of {url} was not found, or has no address that may be reached; check its name, or have the operator allow \
         its network with --allow-network"
    )
}

/// One message for a server that does not answer, and one for an answer that does not end.
fn slow(url: &ShownUrl, limit: &Duration, received: &Option<u64>) -> String {
    let seconds = limit.as_secs_f64();
    match received {
        None => format!("{url} did not answer within {seconds} s"),
        Some(bytes) => {
            format!("{url} answered too slowly: {bytes} bytes came within {seconds} s, and not all; serve it faster")
        }
    }
}

fn is_temporary(status: StatusCode) -> bool {
    match status.as_u16() {
        // Too early, as some servers say of a repeated beginning of TLS.
        408 | 425 | 429 => true,
        501 | 505 => false,
        _ => status.is_server_error(),
    }
}

/// The error with its causes, which reqwest's message omits.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unresolved(source: io::Error) -> FetchError {
        FetchError::Unresolved { url: ShownUrl("http://a/".to_owned()), source }
    }

    #[test]
    fn faults_of_this_machine_are_recognized() {
        let kinds = [
            (io::ErrorKind::NetworkUnreachable, true),
            (io::ErrorKind::NetworkDown, true),
            (io::ErrorKind::AddrNotAvailable, true),
            (io::ErrorKind::OutOfMemory, true),
            (io::ErrorKind::ConnectionRefused, false),
            (io::ErrorKind::ConnectionReset, false),
            (io::ErrorKind::HostUnreachable, false),
            (io::ErrorKind::TimedOut, false),
            (io::ErrorKind::Other, false),
        ];
        for (kind, is_local) in kinds {
            assert_eq!(unresolved(kind.into()).is_local(), is_local, "{kind:?}");
            assert_eq!(unresolved(kind.into()).is_exhaustion(), kind == io::ErrorKind::OutOfMemory, "{kind:?}");
        }
        for (code, is_local) in [(24, true), (23, true), (2, false)] {
            assert_eq!(unresolved(io::Error::from_raw_os_error(code)).is_local(), is_local, "{code}");
        }
        let behind = FetchError::Redirected {
            from: ShownUrl("http://b/".to_owned()),
            source: Box::new(unresolved(io::ErrorKind::NetworkDown.into())),
        };
        assert!(behind.is_local());
        assert_eq!(behind.is_fault_of_server(), !has_network());
        for (error, is_fault) in [
            (io::Error::from_raw_os_error(24), true),
            (io::ErrorKind::OutOfMemory.into(), true),
            (io::ErrorKind::NetworkUnreachable.into(), !has_network()),
            (io::ErrorKind::ConnectionRefused.into(), false),
        ] {
            assert_eq!(unresolved(error).is_fault_of_server(), is_fault);
        }
    }
}
