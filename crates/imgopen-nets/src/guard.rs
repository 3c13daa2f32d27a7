//! Panics of runtimes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls a runtime, and turns a panic into an error.
pub(crate) fn guarded<T, E: From<String>>(call: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(message(&*panic).into()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the runtime panicked: {}", text.unwrap_or("it does not say why"))
}
