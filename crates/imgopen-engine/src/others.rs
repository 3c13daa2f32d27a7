//! What is known of other processes, and what this one has said of itself.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::engine::Engine;
use crate::model::Model;
use crate::named::NamedModel;

/// Engines of other processes.
pub(crate) type Engines = Vec<Arc<dyn Engine>>;

/// Models directories of other processes.
pub(crate) type Libraries = Vec<Arc<[Model]>>;

/// What is known of other processes. Clones share it.
#[derive(Clone)]
pub(crate) struct Others {
    runs_here: bool,
    known: Arc<RwLock<Known>>,
}

#[derive(Default)]
struct Known {
    /// The models directory of this process, as it was last published.
    own: Vec<Model>,
    engines: Engines,
    libraries: Libraries,
}

impl Others {
    /// Knows of none. `runs_here` says whether jobs run in this process.
    pub fn new(runs_here: bool) -> Self {
        Self { runs_here, known: Arc::default() }
    }

    pub fn runs_here(&self) -> bool {
        self.runs_here
    }

    /// Notes what the models directory of this process has.
    pub fn set_own(&self, library: Vec<Model>) {
        self.write().own = library;
    }

    /// Whether the models directory of this process lists a model.
    pub fn has_own(&self, named: &NamedModel) -> bool {
        self.read().own.iter().any(|model| named.is(model))
    }

    pub fn replace(&self, engines: Engines, libraries: Libraries) {
        let mut known = self.write();
        known.engines = engines;
        known.libraries = libraries;
    }

    /// Returns the engines of other processes, and their models directories.
    pub fn known(&self) -> (Engines, Libraries) {
        let known = self.read();
        (known.engines.clone(), known.libraries.clone())
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Others").field("runs_here", &self.runs_here).finish_non_exhaustive()
    }
}
