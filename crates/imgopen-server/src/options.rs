//! What an operator may set of the router.

use std::time::Duration;

use imgopen_types::Credentials;

/// Settings of the router.
///
/// ```
/// use imgopen_server::Options;
///
/// let options = Options::default().body_limit(64 * 1024);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The most bytes that a request body may have, as it is sent and decoded; 1 MiB unless set. A larger one is answered with
    /// 413.
    pub body_limit: usize,
    /// How long a caller may take to send a body; 30 seconds unless set. A slower one is answered with 408.
    pub body_timeout: Duration,
    /// The keys that stand for a caller who sends none. Unless set, such a caller is answered with 401.
    pub anonymous: Option<Credentials>,
}

impl Default for Options {
    fn default() -> Self {
        Self { body_limit: 1024 * 1024, body_timeout: Duration::from_secs(30), anonymous: None }
    }
}

impl Options {
    /// Sets the most bytes that a request body may have.
    pub fn body_limit(self, body_limit: usize) -> Self {
        Self { body_limit, ..self }
    }

    /// Sets how long a caller may take to send a body.
    pub fn body_timeout(self, body_timeout: Duration) -> Self {
        Self { body_timeout, ..self }
    }

    /// Lets callers without keys in, as if they had sent these.
    pub fn anonymous(self, keys: Credentials) -> Self {
        Self { anonymous: Some(keys), ..self }
    }
}
