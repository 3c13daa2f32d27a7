//! The memory that runs may take together for their pictures.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit that is counted in, in bytes: a semaphore has fewer permits than a machine has bytes.
const UNIT: u64 = 64 * 1024;

/// A budget of memory. Runs take their turns in the order in which they ask.
#[derive(Debug)]
pub struct Memory {
    free: Arc<Semaphore>,
    total: u32,
}

impl Memory {
    /// A budget of that many bytes.
    pub fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let total = usize::try_from(total).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total: u32::try_from(total).unwrap_or(u32::MAX) }
    }

    /// Takes that many bytes until the permit is dropped, or all that there are if it is more. Waits until they are free.
    pub async fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.total);
        // The semaphore is never closed.
        self.free.clone().acquire_many_owned(units).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_is_more_than_all_waits_for_all() {
        let memory = Memory::new(10 * UNIT);
        let small = memory.take(UNIT + 1).await.unwrap();
        assert_eq!(small.num_permits(), 2);
        let mut huge = Box::pin(memory.take(u64::MAX));
        assert!((&mut huge).now_or_never().is_none());
        // A later caller waits longer, so that the huge one has its turn.
        assert!(memory.take(UNIT).now_or_never().is_none());
        drop(small);
        assert_eq!(huge.await.unwrap().num_permits(), 10);
        assert!(memory.take(0).now_or_never().is_some());
    }
}
