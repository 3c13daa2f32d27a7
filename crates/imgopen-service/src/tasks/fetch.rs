//! Fetches one picture, and tries again what may pass: a host that is busy or restarts, a connection that breaks, a body that is
//! cut short, a name that cannot be resolved at the moment.
//!
//! The tries count towards the time limit of the run, like everything that it does. A place for fetching is kept meanwhile.

use std::sync::OnceLock;
use std::time::Duration;

use imgopen_fetch::{FetchError, Fetched, Fetcher, Limits};
use tokio::time::Instant;
use tracing::info;

/// The pauses before further tries, unless a host asks for longer ones by `Retry-After`.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15), Duration::from_secs(30)];

/// How often a host is tried again that cannot be connected to, or not even found: most often its URL is wrong.
const AGAIN_UNCONNECTED: usize = 2;

/// How often a file is fetched again that is empty: most often it stays so.
const AGAIN_EMPTY: usize = 1;

/// The part of a run's time limit that pauses may take if no host asks for them.
const PART: u32 = 10;

/// The time that a run has for fetching, counted from its first fetch.
#[derive(Debug)]
pub struct Time {
    limit: Duration,
    began: OnceLock<Instant>,
}

impl Time {
    /// Creates the time of a run with that limit.
    pub fn of(limit: Duration) -> Self {
        Self { limit, began: OnceLock::new() }
    }

    fn begin(&self) {
        self.began.get_or_init(Instant::now);
    }

    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.began.get_or_init(Instant::now).elapsed())
    }
}

/// Fetches a picture, and tries again what may pass, as long as the time of the run allows it.
///
/// # Errors
///
/// That of the last try.
pub async fn fetch(fetcher: &Fetcher, url: &str, limits: &Limits, time: &Time) -> Result<Fetched, FetchError> {
    fetch_with(&PAUSES, fetcher, url, limits, time).await
}

/// The same with other pauses.
async fn fetch_with(
    pauses: &[Duration],
    fetcher: &Fetcher,
    url: &str,
    limits: &Limits,
    time: &Time,
) -> Result<Fetched, FetchError> {
    let mut unasked = time.limit / PART;
    time.begin();
    for (again, own) in pauses.iter().enumerate() {
        let outcome = fetcher.get(url, limits).await;
        let Some(pause) = pause_after(&outcome, again, *own, &mut unasked, time.left()) else { return outcome };
        let error = outcome.err().map(|error| error.to_string());
        info!(
            error = error.as_deref().unwrap_or("the file is empty"),
            ?pause,
            "fetching a picture again after a pause"
        );
        tokio::time::sleep(pause).await;
    }
    fetcher.get(url, limits).await
}

/// Returns how long to wait before the next try, or `None` if there is no point in one, or no time left for it.
fn pause_after(
    outcome: &Result<Fetched, FetchError>,
    again: usize,
    own: Duration,
    unasked: &mut Duration,
    left: Duration,
) -> Option<Duration> {
    let asked = outcome.as_ref().err().and_then(FetchError::retry_after).unwrap_or_default();
    if again >= times(outcome) || asked.max(own) >= left {
        return None;
    }
    if asked < own {
        *unasked = unasked.checked_sub(own)?;
    }
    Some(asked.max(own))
}

/// Returns how often it is worth trying again after that outcome. If this machine is at fault, the whole run is put off instead.
fn times(outcome: &Result<Fetched, FetchError>) -> usize {
    match outcome {
        Ok(fetched) if fetched.bytes.is_empty() => AGAIN_EMPTY,
        Err(error) if !error.is_retryable() || error.is_fault_of_server() => 0,
        Err(error) if error.is_unconnected() => AGAIN_UNCONNECTED,
        Err(_) => usize::MAX,
        Ok(_) => 0,
    }
}

/// Returns the message of a fetch that has failed, for the caller of the task.
pub fn message(error: &FetchError, time: &Time) -> String {
    let asked = error.retry_after().filter(|asked| error.is_retryable() && *asked >= time.left());
    match asked {
        Some(asked) => format!("{error} and asks to wait {} s, longer than the task may take", asked.as_secs()),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use imgopen_fetch::Guard;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const GOOD: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 7\r\n\r\npicture";

    /// A host that gives these answers in turn, then the last one, closing each connection, and the number of tries.
    async fn host(answers: &'static [&'static str]) -> (Fetcher, String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, tries) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = tries.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = answers[count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let fetcher = Fetcher::new(Guard::new(vec!["127.0.0.0/8".parse().unwrap()])).unwrap();
        (fetcher, format!("http://{address}/a.png"), tries)
    }

    /// The limit of a run that has time for all pauses.
    const LONG: Duration = Duration::from_secs(600);

    /// Fetches from such a host, in a run with that limit. Returns the outcome and the number of tries.
    async fn fetched_within(
        limit: Duration,
        answers: &'static [&'static str],
    ) -> (Result<Fetched, FetchError>, usize, Time) {
        let (fetcher, url, tries) = host(answers).await;
        let (pauses, time) = (PAUSES.map(|pause| pause / 1000), Time::of(limit));
        let outcome = fetch_with(&pauses, &fetcher, &url, &Limits::default(), &time).await;
        (outcome, tries.load(Ordering::SeqCst), time)
    }

    async fn fetched(answers: &'static [&'static str]) -> (Result<Fetched, FetchError>, usize) {
        let (outcome, tries, _) = fetched_within(LONG, answers).await;
        (outcome, tries)
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again() {
        for first in [
            "HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 429 Slower\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 408 Late\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\npic",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            // The header of zlib alone.
            "HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\ncontent-length: 2\r\nconnection: close\r\n\r\nx\x01",
            "",
        ] {
            let answers: &'static [&'static str] = vec![first, GOOD].leak();
            let (outcome, tries) = fetched(answers).await;
            assert_eq!((outcome.unwrap().bytes, tries), ("picture".into(), 2), "{first:?}");
        }
    }

    #[tokio::test]
    async fn what_will_not_pass_is_not() {
        let (outcome, tries) =
            fetched(&["HTTP/1.1 404 Gone\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", GOOD]).await;
        assert!(matches!(outcome, Err(FetchError::Status { .. })), "{outcome:?}");
        assert_eq!(tries, 1);
    }

    #[tokio::test]
    async fn a_host_that_is_away_for_a_while_is_outlasted() {
        const BUSY: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let (outcome, tries) = fetched(&[BUSY, BUSY, BUSY, BUSY, GOOD]).await;
        assert_eq!((outcome.unwrap().bytes, tries), ("picture".into(), 5));
        let (outcome, tries) = fetched(&[BUSY]).await;
        assert!(matches!(outcome, Err(FetchError::Status { .. })), "{outcome:?}");
        assert_eq!(tries, 5, "the tries come to an end");
        // Pauses of 1, 4 and 15 ms, of which a tenth of 60 ms has room for two.
        let (outcome, tries, _) = fetched_within(Duration::from_millis(60), &[BUSY]).await;
        assert!(outcome.is_err());
        assert!(tries <= 3, "{tries}");
    }

    #[tokio::test]
    async fn a_host_may_ask_for_a_pause_within_the_time_of_the_task() {
        for (header, left, pause) in [
            ("", 600, Some(1)),
            ("retry-after: 0\r\n", 600, Some(1)),
            ("retry-after: 90\r\n", 600, Some(90)),
            ("retry-after: 90\r\n", 90, None),
            ("retry-after: 3600\r\n", 600, None),
            ("retry-after: 3600\r\n", 86_400, Some(3600)),
        ] {
            let answer = format!("HTTP/1.1 503 Busy\r\n{header}content-length: 0\r\n\r\n").leak();
            let (fetcher, url, _) = host(vec![&*answer].leak()).await;
            let outcome = fetcher.get(&url, &Limits::default()).await;
            let mut unasked = PAUSES[0];
            let found = pause_after(&outcome, 3, PAUSES[0], &mut unasked, Duration::from_secs(left));
            assert_eq!(found, pause.map(Duration::from_secs), "{header:?}");
        }
    }

    #[tokio::test]
    async fn a_pause_that_is_too_long_is_named() {
        let answers = &["HTTP/1.1 429 Slower\r\nretry-after: 90\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"];
        let (outcome, tries, time) = fetched_within(Duration::from_secs(60), answers).await;
        let message = message(&outcome.unwrap_err(), &time);
        assert!(
            message.ends_with("answered 429 Too Many Requests and asks to wait 90 s, longer than the task may take"),
            "{message}"
        );
        assert_eq!(tries, 1);
    }

    #[tokio::test]
    async fn a_host_that_cannot_be_connected_to_is_tried_three_times() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let fetcher = Fetcher::new(Guard::new(vec!["127.0.0.0/8".parse().unwrap()])).unwrap();
        let outcome = fetcher.get(&format!("http://{closed}/a.png"), &Limits::default()).await;
        assert_eq!(times(&outcome), 2, "{outcome:?}");
    }
}
