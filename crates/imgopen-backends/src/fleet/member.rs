//! A member of a fleet.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use imgopen_engine::Tenant;

use super::offers::OfMember;
use super::places::Seat;
use crate::backend::Backend;
use crate::driver::Driver;

/// A back end of a fleet.
pub(super) struct Member {
    backend: Backend,
    driver: Arc<dyn Driver>,
}

impl Member {
    pub(super) fn new(backend: Backend) -> Self {
        Self { driver: backend.driver(), backend }
    }

    pub(super) fn name(&self) -> &str {
        self.driver.name()
    }

    pub(super) fn driver(&self) -> &dyn Driver {
        &*self.driver
    }

    /// A device runs one job at a time.
    pub(super) fn seat(&self) -> Seat {
        let settings = self.driver.settings();
        let jobs = if settings.device.is_some() { 1 } else { settings.jobs.get() };
        Seat { name: self.name().to_owned(), jobs, device: settings.device.clone() }
    }

    pub(super) fn offers(&self) -> OfMember {
        OfMember { name: self.name().to_owned(), offers: self.driver.offers() }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.backend.fmt(f)
    }
}

impl Tenant for Member {
    fn vacate(&self) -> BoxFuture<'_, ()> {
        self.driver.free()
    }
}
