//! Starts the parts that must not end again when they end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tracing::{error, info};

use crate::context::Context;

/// The pause before the first new start, doubled with each that follows.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a part must work before its next end counts as the first.
const WELL: Duration = Duration::from_secs(300);

/// Runs a part until the service stops. If it panics or returns before, that is counted and reported, and the part is
/// started again after a pause.
pub async fn supervise<F: Future<Output = ()>>(
    context: Arc<Context>,
    part: &'static str,
    run: impl Fn(Arc<Context>) -> F,
) {
    let mut pause = PAUSE;
    loop {
        let began = tokio::time::Instant::now();
        let panicked = AssertUnwindSafe(run(context.clone())).catch_unwind().await.is_err();
        if context.stopping.is_cancelled() {
            return;
        }
        if began.elapsed() >= WELL {
            pause = PAUSE;
        }
        context.metrics.restarted(part);
        context.health.fault(part, format!("a part of the service ended: {part}"));
        error!(
            part,
            panicked,
            ?pause,
            "a part of the service ended, which is a bug; it is started again after a pause"
        );
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = context.stopping.cancelled() => return,
        }
        pause = (pause * 2).min(LONGEST);
        info!(part, "started again");
        context.health.well(part);
    }
}
