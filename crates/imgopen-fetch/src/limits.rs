//! What one fetch or push may cost: bytes, time, redirects.

use std::time::Duration;

/// What one fetch or push may cost.
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
    /// The most bytes that the body of the answer may have; 32 MiB unless set. Its head is bounded too: hyper takes at
    /// most 100 headers and about 400 KiB.
    pub bytes: u64,
    /// How long the whole may take, from resolving the name to the last byte, redirects included; 60 seconds unless
    /// set.
    pub time: Duration,
    /// How long one connection may take to be made, from resolving the name to the end of the TLS handshake; 10 seconds
    /// unless set.
    pub connect: Duration,
    /// The most redirects that a fetch follows; 5 unless set. A push follows none.
    pub redirects: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 32 * 1024 * 1024, time: Duration::from_secs(60), connect: Duration::from_secs(10), redirects: 5 }
    }
}

impl Limits {
    /// Sets the most bytes that the body may have.
    pub fn bytes(self, bytes: u64) -> Self {
        Self { bytes, ..self }
    }

    /// Sets how long the whole may take.
    pub fn time(self, time: Duration) -> Self {
        Self { time, ..self }
    }

    /// Sets how long one connection may take to be made.
    pub fn connect(self, connect: Duration) -> Self {
        Self { connect, ..self }
    }

    /// Sets the most redirects that a fetch follows.
    pub fn redirects(self, redirects: u8) -> Self {
        Self { redirects, ..self }
    }
}
