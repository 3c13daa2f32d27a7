//! Times that engines keep.

use std::time::Duration;

/// How often a server is asked, and how long it may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The pause between two questions about a running job.
    pub poll: Duration,
    /// How long the server may take for an answer that needs no work.
    pub answer: Duration,
    /// How long the server may leave such questions unanswered before its job is given up.
    pub silence: Duration,
    /// The pause between two readings of the server's lists.
    pub refresh: Duration,
    /// The same while the server is away.
    pub retry: Duration,
}

impl Default for Timing {
    /// Asks once a second, waits 20 seconds for an answer, gives up after a minute of silence, reads the lists once a minute, and looks every five seconds
    /// for a server that is away.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { poll: seconds(1), answer: seconds(20), silence: seconds(60), refresh: seconds(60), retry: seconds(5) }
    }
}
