//! What one process of a fleet does for all of them.

use std::time::Duration;

use imgopen_store::{Duty, StoreError};

use crate::context::Context;

/// How long a process keeps a duty without taking it again. Longer than the pauses between passes, so that it stays with one.
const HOLD: Duration = Duration::from_secs(90);

/// Takes a duty, or keeps it. `false` if another process has it. The only process of its database has all.
pub async fn take(context: &Context, duty: Duty) -> Result<bool, StoreError> {
    match &context.fleet {
        Some(fleet) => context.store.take_duty(duty, fleet.owner(), HOLD).await,
        None => Ok(true),
    }
}
