//! The numbers of tasks in the database, which are counted at most every few seconds, because that reads all that wait.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

/// How long numbers are good for, and how long it is believed that they cannot be counted.
const TRUST: Duration = Duration::from_secs(10);

/// The longest time that callers wait for a count.
const LONGEST: Duration = Duration::from_secs(2);

/// The last numbers.
#[derive(Debug, Default)]
pub struct Counts(Mutex<Option<(Duration, Numbers)>>);

/// What the database has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Queued tasks.
    pub queued: usize,
    /// Running tasks.
    pub running: usize,
    /// Bytes of result pictures that are kept.
    pub asset_bytes: i64,
    /// Files that nothing in the database accounts for, as last counted.
    pub unknown: i64,
    /// Processes whose lease has not ended.
    pub processes: usize,
}

impl Counts {
    /// Returns numbers that are some seconds old at most, at this time since the start. If they cannot be counted, the last ones.
    ///
    /// # Errors
    ///
    /// When they cannot be counted, and never could. `late` is the error of a count that takes too long.
    pub async fn lately<E>(
        &self,
        now: Duration,
        count: impl Future<Output = Result<Numbers, E>>,
        late: impl FnOnce() -> E,
    ) -> Result<Numbers, E> {
        let mut last = self.0.lock().await;
        if let Some((at, numbers)) = *last
            && now.saturating_sub(at) < TRUST
        {
            return Ok(numbers);
        }
        let counted = timeout(LONGEST, count).await.unwrap_or_else(|_| Err(late()));
        let numbers = match (counted, *last) {
            (Ok(numbers), _) | (Err(_), Some((_, numbers))) => numbers,
            (Err(error), None) => return Err(error),
        };
        *last = Some((now, numbers));
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn numbers_are_counted_every_few_seconds() {
        let counts = Counts::default();
        let ask = async |seconds, counted: Result<usize, &'static str>| {
            let numbers = async { counted.map(|queued| Numbers { queued, ..Numbers::default() }) };
            counts.lately(Duration::from_secs(seconds), numbers, || "late").await.map(|numbers| numbers.queued)
        };
        assert_eq!(ask(0, Err("away")).await, Err("away"));
        assert_eq!(ask(1, Ok(1)).await, Ok(1));
        assert_eq!(ask(10, Ok(2)).await, Ok(1));
        assert_eq!(ask(11, Ok(2)).await, Ok(2));
        assert_eq!(ask(60, Err("away")).await, Ok(2));
        // They are not asked for again at once.
        assert_eq!(ask(69, Ok(3)).await, Ok(2));
        assert_eq!(ask(70, Ok(3)).await, Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_takes_long_is_given_up() {
        let counts = Counts::default();
        let ask = async |seconds| {
            let never = std::future::pending::<Result<Numbers, &str>>();
            counts.lately(Duration::from_secs(seconds), never, || "late").await
        };
        assert_eq!(ask(0).await, Err("late"));
        let numbers = Numbers { queued: 1, ..Numbers::default() };
        assert_eq!(counts.lately(Duration::from_secs(1), async { Ok(numbers) }, || "late").await, Ok(numbers));
        assert_eq!(ask(20).await, Ok(numbers));
    }
}
