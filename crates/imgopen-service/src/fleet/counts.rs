//! The numbers of tasks in the database, which are counted at most every few seconds, because that reads all that wait.

use std::time::Duration;

use tokio::sync::Mutex;

/// How long numbers are good for.
const TRUST: Duration = Duration::from_secs(10);

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
    /// When they cannot be counted, and never could.
    pub async fn lately<E>(
        &self,
        now: Duration,
        count: impl Future<Output = Result<Numbers, E>>,
    ) -> Result<Numbers, E> {
        let mut last = self.0.lock().await;
        if let Some((at, numbers)) = *last
            && now.saturating_sub(at) < TRUST
        {
            return Ok(numbers);
        }
        match (count.await, *last) {
            (Ok(numbers), _) => {
                *last = Some((now, numbers));
                Ok(numbers)
            }
            (Err(_), Some((_, numbers))) => Ok(numbers),
            (Err(error), None) => Err(error),
        }
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
            counts.lately(Duration::from_secs(seconds), numbers).await.map(|numbers| numbers.queued)
        };
        assert_eq!(ask(0, Err("away")).await, Err("away"));
        assert_eq!(ask(1, Ok(1)).await, Ok(1));
        assert_eq!(ask(10, Ok(2)).await, Ok(1));
        assert_eq!(ask(11, Ok(2)).await, Ok(2));
        assert_eq!(ask(60, Err("away")).await, Ok(2));
    }
}
