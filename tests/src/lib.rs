//! What the tests of the workspace share: the document's examples, a server that records, and sockets that show the wire.

pub mod calls;
pub mod document;
pub mod recorder;
pub mod values;
pub mod wire;
