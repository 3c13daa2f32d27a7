//! Every reader of the contract on the same bytes: requests, answers, pushed bodies.

use imgopen_tests::calls::{build_request, read_request, read_response};
use imgopen_types::{Callback, ReadError, operations};

use crate::memory::{BODIES, bounded};

/// Gives the bytes to every reader.
///
/// # Panics
///
/// When one of them panics or takes too much memory, when the text that it wrote does not read back as the same text, or
/// when it disagrees with its schema.
pub fn readers(bytes: &[u8]) {
    for operation in operations::ALL {
        let id = operation.id;
        judge("request", id, bytes, read_request);
        built(id, bytes);
        judge("answer", id, bytes, read_response);
        if operation.callback.is_some() {
            let read = bounded(BODIES, bytes.len(), id, || Callback::read(id, bytes));
            assert!(read.is_some(), "{id} has a callback, but its body is not read");
        }
    }
}

/// Checks that the builder writes a request as the reader does.
fn built(id: &str, bytes: &[u8]) {
    if let Ok(written) = read_request(id, bytes) {
        let built = build_request(id, bytes).expect("it was read before");
        assert_eq!(built, written, "the builder of {id} writes a request in another way than its type");
    }
}

/// Reads, and reads again what was written: the canonical form must be a fixed point.
fn judge(side: &str, id: &str, bytes: &[u8], read: fn(&str, &[u8]) -> Result<String, ReadError>) {
    let outcome = bounded(BODIES, bytes.len(), id, || read(id, bytes).map_err(|error| error.to_string()));
    match outcome {
        Ok(written) => match read(id, written.as_bytes()) {
            Ok(again) => assert_eq!(again, written, "the {side} of {id} is written in another way when read again"),
            Err(error) => panic!("the {side} of {id} is written as {written}, which is refused: {error}"),
        },
        // If table and type differ, the reader reports a fault of the body.
        Err(error) => assert!(!error.contains("and its schema disagree"), "the {side} of {id}: {error}"),
    }
}
