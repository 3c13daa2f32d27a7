//! Upkeep: recovering the runs of dead owners, deleting what has expired or is orphaned, and noticing what was lost or is back.

pub(crate) mod duties;
pub(crate) mod recovery;
pub(crate) mod retention;
pub(crate) mod returns;
pub(crate) mod supervision;
mod survey;
pub(crate) mod suspicion;
pub(crate) mod sweep;
pub(crate) mod unknown;
mod watch;
pub(crate) mod watermark;
