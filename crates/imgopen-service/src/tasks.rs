//! Tasks: accepted, run by engines, cancelled.

pub(crate) mod cancel;
pub(crate) mod inputs;
pub(crate) mod needs;
pub(crate) mod submit;
pub(crate) mod worker;
