//! Engines of other processes, which a process without them can offer but not run.

mod engine;
mod offers;

pub use offers::RemoteOffers;
