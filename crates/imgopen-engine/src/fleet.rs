//! The engines of other processes beside those of this one.
//!
//! By itself, a registry has the engines of its own process, which alone can run jobs here. A view of the whole fleet is for
//! what callers learn, and for the choice at a submit: the process that runs the task chooses again among its own.

use crate::library::Library;
use crate::model::Model;
use crate::others::Others;
use crate::registry::{Registry, with_owners};
use crate::remote::RemoteOffers;

impl Registry {
    /// Has it know the engines of other processes, too. Unless jobs run here, its own engines only check requests, for engines of
    /// the same name elsewhere.
    #[must_use]
    pub fn in_fleet(self, runs_here: bool) -> Self {
        Self { others: Some(Others::new(runs_here)), ..self }
    }

    /// Returns what this process offers to others. Reading the library blocks.
    pub fn own_offers(&self) -> RemoteOffers {
        let Some(others) = self.others.as_ref().filter(|others| others.runs_here()) else {
            return RemoteOffers::default();
        };
        let library: Vec<Model> = self.library().into_iter().flat_map(Library::models).collect();
        let offers = RemoteOffers::of(self.engines(), library.clone(), with_owners(&library));
        others.set_own(library);
        offers
    }

    /// Replaces what is known of other processes.
    pub fn set_others(&self, others: &[RemoteOffers]) {
        let Some(known) = &self.others else { return };
        let libraries: Vec<_> = others.iter().map(RemoteOffers::library).collect();
        let twin = |name: &str| self.engine(name).cloned();
        let engines = others.iter().zip(&libraries).flat_map(|(other, library)| other.engines(library, twin));
        let engines: Vec<_> = engines.collect();
        known.replace(engines, libraries);
    }

    /// Returns a view of the whole fleet: the engines of this process, if jobs run here, and those of the others. Without a fleet,
    /// the same as this.
    #[must_use]
    pub fn everywhere(&self) -> Self {
        match &self.others {
            None => self.clone(),
            Some(others) if !others.runs_here() => self.elsewhere(),
            Some(others) => {
                let (remote, libraries) = others.known();
                Self { remote, libraries, ..self.clone() }
            }
        }
    }

    /// Returns a view of the engines of other processes alone.
    #[must_use]
    pub fn elsewhere(&self) -> Self {
        let (remote, libraries) = self.others.as_ref().map(Others::known).unwrap_or_default();
        Self { engines: Vec::new(), library: None, remote, libraries, ..self.clone() }
    }
}
