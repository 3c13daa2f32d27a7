//! What the tests and benches of the workspace share: the document's examples, a server that records, sockets that show
//! the wire, and the hand-written code that the generated is measured against. Which operations there are is generated from
//! the documents; what is expected of generated code is read from them by `spec`, past the generator.

pub mod calls;
pub mod document;
/// The documents and the list of their operations, written by `cargo xtask codegen`.
pub mod generated;
pub mod hand;
pub mod load;
pub mod ratio;
pub mod recorder;
pub mod spec;
pub mod values;
pub mod wire;
