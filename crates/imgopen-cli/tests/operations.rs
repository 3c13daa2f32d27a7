//! To be written.
#[test]
fn nothing() {}
