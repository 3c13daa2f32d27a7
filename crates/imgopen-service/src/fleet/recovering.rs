//! Recovers the runs of processes that died, as long as this one is well itself.

use std::sync::Arc;
use std::time::Duration;

use imgopen_store::Proof;
use tracing::{debug, info};

use super::jitter;
use crate::context::Context;
use crate::upkeep::recovery::{Recovered, recover};

/// The pause between two looks. All processes look, each at times of its own.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];

/// Recovers until the service stops.
pub async fn run(context: Arc<Context>) {
    let Some(fleet) = &context.fleet else { return };
    let [least, most] = PAUSES;
    loop {
        tokio::select! {
            // With a short lease, runs are to be taken over soon.
            () = tokio::time::sleep(jitter(least.min(fleet.lease()), most.min(fleet.lease() * 2))) => {}
            () = context.stopping.cancelled() => return,
        }
        let healthy_for = fleet.healthy_for();
        if healthy_for.is_zero() {
            continue;
        }
        match recover(&context, Proof::Lease { healthy_for }).await {
            Ok(Recovered { requeued: 0, failed: 0 }) => {}
            Ok(Recovered { requeued, failed }) => {
                context.metrics.recovered(requeued + failed);
                fleet.work.notify_one();
                info!(requeued, failed, "recovered what processes left that died");
            }
            // Heartbeats say whether the database is away.
            Err(error) => debug!(%error, "runs of processes that died could not be recovered; trying again"),
        }
    }
}
