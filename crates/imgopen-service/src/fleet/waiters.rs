//! Looks for the ends of tasks that calls wait for here and that may run elsewhere: one question for all calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::jitter;
use crate::context::Context;

/// The pause between two questions while a call waits, unless an end is announced.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(250)];

/// The shortest pause between two, however many ends are announced.
const LEAST: Duration = Duration::from_millis(20);

/// Looks until the service stops and no call waits.
pub async fn run(context: Arc<Context>) {
    let Some(fleet) = &context.fleet else { return };
    while !context.ending.is_cancelled() {
        let tasks = fleet.waiting.tasks();
        if tasks.is_empty() {
            if context.stopping.is_cancelled() {
                return;
            }
            tokio::select! {
                () = fleet.waiting.changed() => {}
                () = context.stopping.cancelled() => {}
            }
            continue;
        }
        let began = Instant::now();
        match context.store.ended(tasks).await {
            Ok(ended) => ended.into_iter().for_each(|task| {
                // An error means that no call waits any more.
                let _ = context.endings.send(task);
            }),
            Err(error) => debug!(%error, "the ends of tasks could not be looked for; trying again"),
        }
        let [least, most] = PAUSES;
        tokio::select! {
            () = tokio::time::sleep(jitter(least, most)) => {}
            () = fleet.ended.notified() => sleep_until(began + LEAST).await,
            () = context.ending.cancelled() => {}
        }
    }
}
