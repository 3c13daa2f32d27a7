//! Tasks: submitting, running and cancelling them.

mod announce;
pub(crate) mod audit;
pub(crate) mod cancel;
pub(crate) mod ending;
pub(crate) mod faults;
mod fetch;
pub(crate) mod inputs;
mod named;
pub(crate) mod needs;
mod run;
pub(crate) mod submit;
mod terms;
pub(crate) mod worker;
