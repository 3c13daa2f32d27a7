//! Spreads work over threads. Results do not depend on their number.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

/// More threads would take the processor from other jobs for little gain.
const MOST_THREADS: usize = 4;

fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS))
}

/// Calls `work` on every item. The assignment to threads is random, so `work` must not depend on the order.
pub fn each<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync) {
    let threads = threads().min(items.len());
    if threads <= 1 {
        return items.into_iter().for_each(work);
    }
    let items = Mutex::new(items.into_iter());
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(item) = next() {
            work(item);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
}

/// Returns the results of `work` on every item, in the order of the items. The assignment to threads is random.
pub fn map<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    each(items.into_iter().zip(&mut results).collect(), |(item, result)| *result = Some(work(item)));
    results.into_iter().flatten().collect()
}

/// As [`map`], for an array.
///
/// # Errors
///
/// The first one, in the order of the items. Work on the others is carried out nevertheless.
pub fn try_array<T: Send, R: Send, E: Send, const N: usize>(
    items: [T; N],
    work: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<[R; N], E> {
    let results = map(Vec::from(items), work).into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(results.try_into().unwrap_or_else(|_| unreachable!("each item has one result")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        for count in [0, 1, 2, 100] {
            let mut items = vec![0; count];
            each(items.iter_mut().collect(), |item| *item += 1);
            assert!(items.iter().all(|item| *item == 1));
        }
    }

    #[test]
    fn results_are_in_order() {
        assert_eq!(map((0..100).collect(), |item| item * 2), (0..200).step_by(2).collect::<Vec<_>>());
        assert_eq!(try_array([1, 2, 3], |item| Ok::<_, ()>(item * 2)), Ok([2, 4, 6]));
        assert_eq!(try_array([1, 2, 3], |item| if item > 1 { Err(item) } else { Ok(item) }), Err(2));
    }
}
