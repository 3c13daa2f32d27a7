//! Whether an engine has room for a run within its pool.
//!
//! The slots of a pool say how many runs its engine takes, but not which: a member of a group of back ends that is busy has no
//! room for a task that needs its model, while another one is idle. So a run takes a slot only while the engine has more free
//! places for its needs than runs of the pool that hold a slot and have not begun yet; those are counted as if each needed
//! the same. They begin soon.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::waiting::{Begin, Taken};

/// Returns how many further runs with some needs an engine could begin now; `None` if its slots alone decide.
type Ask = dyn Fn(&str, &str) -> Option<usize> + Send + Sync;

/// How engines are asked for their room.
#[derive(Clone)]
pub struct Room(Arc<Ask>);

/// The room of an engine, asked for once for all needs that are the same.
pub struct Asked<'a> {
    room: &'a Room,
    /// `None` if the slots of the pool are shared.
    engine: Option<&'a str>,
    /// How many places for fetching the pool has.
    fetching: usize,
    known: RefCell<HashMap<String, Option<usize>>>,
    is_short: Cell<bool>,
}

impl Room {
    /// Asks by a function of the engine's name and the needs.
    pub fn new(ask: impl Fn(&str, &str) -> Option<usize> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// Begins to ask an engine whose pool has that many places for fetching.
    pub fn of<'a>(&'a self, engine: Option<&'a str>, fetching: usize) -> Asked<'a> {
        Asked { room: self, engine, fetching, known: RefCell::default(), is_short: Cell::new(false) }
    }
}

impl Default for Room {
    /// Slots alone decide.
    fn default() -> Self {
        Self::new(|_, _| None)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Room").finish_non_exhaustive()
    }
}

impl Asked<'_> {
    /// Whether a run with these needs may begin in that way. A run for which there is no room now may fetch its pictures
    /// meanwhile, in the first half of the places, so that another one finds a place.
    pub fn lets(&self, needs: &str, begin: Begin, taken: Taken) -> bool {
        let Some(free) = self.free(needs) else { return true };
        let lets = free > taken.starting || (begin == Begin::Fetching && taken.fetching < self.fetching / 2);
        self.is_short.set(self.is_short.get() || !lets);
        lets
    }

    /// Whether a run was asked for that may not begin.
    pub fn is_short(&self) -> bool {
        self.is_short.get()
    }

    fn free(&self, needs: &str) -> Option<usize> {
        let engine = self.engine?;
        if let Some(free) = self.known.borrow().get(needs) {
            return *free;
        }
        let free = (self.room.0)(engine, needs);
        self.known.borrow_mut().insert(needs.to_owned(), free);
        free
    }
}
