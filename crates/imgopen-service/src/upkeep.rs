//! Upkeep: recovering the runs of dead owners, and deleting what has expired or is orphaned.

pub(crate) mod recovery;
pub(crate) mod retention;
pub(crate) mod sweep;
mod watch;
