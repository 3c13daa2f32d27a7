//! Limits of one fetch or push: bytes, time, redirects.

use std::time::Duration;

/// The limits of one fetch or push.
///
/// ```
/// use std::time::Duration;
/// use imgopen_fetch::Limits;
///
/// let limits = Limits::default().bytes(64 * 1024).time(Duration::from_secs(10));
/// assert_eq!((limits.bytes, limits.redirects), (65536, 5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Maximum size of the answer's body in bytes, 32 MiB by default. The head is bounded too: hyper accepts at most 100
    /// headers and about 400 KiB.
    pub bytes: u64,
    /// Time limit from resolving the name to the last byte, redirects included; 60 seconds by default.
    pub time: Duration,
    /// Time limit for opening one connection, from resolving the name to the end of the TLS handshake; 10 seconds by default.
    pub connect: Duration,
    /// Maximum number of redirects that a fetch follows, 5 by default. A push follows none.
    pub redirects: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 32 * 1024 * 1024, time: Duration::from_secs(60), connect: Duration::from_secs(10), redirects: 5 }
    }
}

impl Limits {
    /// Sets the maximum size of the body in bytes.
    pub fn bytes(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// Sets the time limit of the whole.
    pub fn time(self, time: Duration) -> Self {
        Self { time, ..self }
    }

    /// Sets the time limit for opening a connection.
    pub fn connect(self, connect: Duration) -> Self {
        Self { connect, ..self }
    }

    /// Sets the maximum number of redirects that a fetch follows.
    pub fn redirects(self, redirects: u8) -> Self {
        Self { redirects, ..self }
    }
}
