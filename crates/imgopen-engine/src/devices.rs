//! Devices that engines share, such as a GPU: one job at a time on each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The devices of a server by their names. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Devices {
    devices: Arc<Mutex<BTreeMap<String, Arc<Device>>>>,
}

/// What keeps something in a device's memory between its jobs.
pub trait Tenant: Send + Sync {
    /// Frees the memory, as far as it can. Called before a job of another tenant begins, while none runs.
    fn vacate(&self) -> BoxFuture<'_, ()>;
}

/// A device that a job holds. Dropping it lets the next one begin.
#[must_use = "the device is free again once this is dropped"]
pub struct DeviceGuard {
    device: Arc<Device>,
    /// Who holds it.
    name: String,
    _turn: Option<OwnedSemaphorePermit>,
}

struct Device {
    state: Mutex<State>,
    /// One permit, given in the order in which it is asked for.
    turn: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    tenants: BTreeMap<String, Weak<dyn Tenant>>,
    /// Who had the device last.
    last: Option<String>,
}

impl Devices {
    /// The name under which the trainer takes devices. No other tenant may have it.
    pub const TRAINER: &str = "trainer";

    /// Notes who is to free a device's memory when others need it.
    pub fn register(&self, device: &str, name: &str, tenant: Weak<dyn Tenant>) {
        self.device(device).lock().tenants.insert(name.to_owned(), tenant);
    }

    /// Waits until no other job has the device, in the order of the calls. If another tenant had it last, the others are asked to
    /// free its memory first.
    pub async fn take(&self, device: &str, name: &str) -> DeviceGuard {
        let guard = self.turn(device, name).await;
        guard.clear().await;
        guard
    }

    /// Waits for the device as [`take`](Self::take) does, and leaves its memory as it is until [`DeviceGuard::clear`]: for a job
    /// that may not need the device any more.
    pub async fn turn(&self, device: &str, name: &str) -> DeviceGuard {
        let device = self.device(device);
        // The semaphore is never closed.
        let turn = device.turn.clone().acquire_owned().await.ok();
        DeviceGuard { device, name: name.to_owned(), _turn: turn }
    }

    /// The same without waiting; `None` if another job has the device or waits for it.
    pub fn try_turn(&self, device: &str, name: &str) -> Option<DeviceGuard> {
        let device = self.device(device);
        let turn = device.turn.clone().try_acquire_owned().ok()?;
        Some(DeviceGuard { device, name: name.to_owned(), _turn: Some(turn) })
    }

    /// Returns whether a job has the device.
    pub fn is_taken(&self, device: &str) -> bool {
        self.device(device).turn.available_permits() == 0
    }

    fn device(&self, name: &str) -> Arc<Device> {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.entry(name.to_owned()).or_default().clone()
    }
}

impl DeviceGuard {
    /// Has the other tenants free the device's memory, if another one had it last.
    pub async fn clear(&self) {
        let others: Vec<_> = {
            let state = self.device.lock();
            if state.last.as_ref() == Some(&self.name) {
                return;
            }
            let others = state.tenants.iter().filter(|(other, _)| **other != self.name);
            others.filter_map(|(_, tenant)| tenant.upgrade()).collect()
        };
        for other in others {
            other.vacate().await;
        }
        self.device.lock().last = Some(self.name.clone());
    }
}

impl Device {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Device {
    fn default() -> Self {
        Self { state: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl fmt::Debug for DeviceGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceGuard").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("last", &self.lock().last).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::FutureExt;

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicU32);

    impl Tenant for Counting {
        fn vacate(&self) -> BoxFuture<'_, ()> {
            self.0.fetch_add(1, Ordering::SeqCst);
            futures_util::future::ready(()).boxed()
        }
    }

    #[tokio::test]
    async fn one_job_at_a_time_has_a_device_and_the_last_tenant_frees_it_for_the_next() {
        let devices = Devices::default();
        let (one, two) = (Arc::new(Counting::default()), Arc::new(Counting::default()));
        for (name, tenant) in [("one", &one), ("two", &two)] {
            let tenant: Arc<dyn Tenant> = tenant.clone();
            devices.register("gpu0", name, Arc::downgrade(&tenant));
        }
        let counts = || (one.0.load(Ordering::SeqCst), two.0.load(Ordering::SeqCst));
        let first = devices.take("gpu0", "one").await;
        assert_eq!(counts(), (0, 1));
        assert!(devices.is_taken("gpu0") && !devices.is_taken("gpu1"));
        assert!(devices.take("gpu0", "two").now_or_never().is_none());
        assert!(devices.take("gpu1", "two").now_or_never().is_some());
        // Another turn leaves the memory as it is, and one who waits goes before one who only tries.
        let mut waits = Box::pin(devices.turn("gpu0", "two"));
        assert!((&mut waits).now_or_never().is_none());
        drop(first);
        assert!(devices.try_turn("gpu0", "one").is_none());
        drop(waits.await);
        // It has the memory already.
        drop(devices.take("gpu0", "one").await);
        assert_eq!(counts(), (0, 1));
        drop(devices.take("gpu0", "two").await);
        assert_eq!(counts(), (1, 1));
        assert!(!devices.is_taken("gpu0"));
    }
}
