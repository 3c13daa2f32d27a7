//! Fetches one picture, and tries again what may pass: a host that is busy or restarts, a connection that breaks, a name that
//! cannot be resolved at the moment.
//!
//! The tries count towards the time limit of the run, like everything that it does. A place for fetching is kept meanwhile.

use std::time::Duration;

use imgopen_fetch::{FetchError, Fetched, Fetcher, Limits};
use tracing::info;

/// The pauses before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// The longest pause that a host may ask for by `Retry-After`. The fetch fails if it asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Fetches a picture, by up to three tries.
///
/// # Errors
///
/// That of the last try.
pub async fn fetch(fetcher: &Fetcher, url: &str, limits: &Limits) -> Result<Fetched, FetchError> {
    fetch_with(&PAUSES, fetcher, url, limits).await
}

/// The same with other pauses.
async fn fetch_with(pauses: &[Duration], fetcher: &Fetcher, url: &str, limits: &Limits) -> Result<Fetched, FetchError> {
    let mut pauses = pauses.iter();
    loop {
        let error = match fetcher.get(url, limits).await {
            Ok(fetched) => return Ok(fetched),
            Err(error) => error,
        };
        let Some(pause) = pauses.next().and_then(|pause| pause_after(&error, *pause)) else { return Err(error) };
        info!(%error, ?pause, "a picture cannot be fetched; trying again after a pause");
        tokio::time::sleep(pause).await;
    }
}

/// Returns how long to wait before the next try, or `None` if there is no point in one: the error will not pass, or not soon
/// enough, or this machine is at fault, so that the whole run is put off.
fn pause_after(error: &FetchError, pause: Duration) -> Option<Duration> {
    if !error.is_retryable() || error.is_fault_of_server() {
        return None;
    }
    let asked = error.retry_after().unwrap_or_default();
    (asked <= LONGEST_PAUSE).then_some(asked.max(pause))
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

    /// Fetches from such a host. Returns the outcome and the number of tries.
    async fn fetched(answers: &'static [&'static str]) -> (Result<Fetched, FetchError>, usize) {
        let (fetcher, url, tries) = host(answers).await;
        let pauses = PAUSES.map(|pause| pause / 1000);
        let outcome = fetch_with(&pauses, &fetcher, &url, &Limits::default()).await;
        (outcome, tries.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again() {
        for first in [
            "HTTP/1.1 503 Busy\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 429 Slower\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 408 Late\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\npic",
            "",
        ] {
            let answers: &'static [&'static str] = vec![first, GOOD].leak();
            let (outcome, tries) = fetched(answers).await;
            assert_eq!((outcome.unwrap().bytes, tries), ("picture".into(), 2), "{first:?}");
        }
    }

    #[tokio::test]
    async fn what_will_not_pass_soon_is_not() {
        for only in [
            "HTTP/1.1 404 Gone\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 503 Busy\r\nretry-after: 3600\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        ] {
            let answers: &'static [&'static str] = vec![only, GOOD].leak();
            let (outcome, tries) = fetched(answers).await;
            assert!(matches!(outcome, Err(FetchError::Status { .. })), "{outcome:?}");
            assert_eq!(tries, 1, "{only:?}");
        }
    }

    #[tokio::test]
    async fn a_host_may_ask_for_a_pause_of_up_to_a_minute() {
        for (header, pause) in [
            ("", Some(1)),
            ("retry-after: 0\r\n", Some(1)),
            ("retry-after: 60\r\n", Some(60)),
            ("retry-after: 61\r\n", None),
        ] {
            let answer = format!("HTTP/1.1 503 Busy\r\n{header}content-length: 0\r\nconnection: close\r\n\r\n").leak();
            let (fetcher, url, _) = host(vec![&*answer].leak()).await;
            let error = fetcher.get(&url, &Limits::default()).await.unwrap_err();
            assert_eq!(pause_after(&error, PAUSES[0]), pause.map(Duration::from_secs), "{header:?}");
        }
    }

    #[tokio::test]
    async fn the_tries_come_to_an_end() {
        let (outcome, tries) =
            fetched(&["HTTP/1.1 500 Broken\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"]).await;
        assert!(matches!(outcome, Err(FetchError::Status { .. })), "{outcome:?}");
        assert_eq!(tries, 3);
    }
}
