//! Local pictures in a request: finding them, and serving them for as long as the server needs them.
//!
//! Each is served read-only at an unguessable path, and nothing else is. The server must be able to reach this machine,
//! which `reach` checks before anything is sent.

pub mod captions;
mod endings;
pub mod local;
pub mod reach;
pub mod server;
