//! Hears what other processes announce. What is missed is found by looking.

use std::sync::Arc;

use futures_util::StreamExt;
use imgopen_store::Ring;

use crate::context::Context;

/// Hears announcements until the service stops.
pub async fn run(context: Arc<Context>) {
    let Some(mut bell) = context.store.doorbell() else { return context.stopping.cancelled().await };
    loop {
        tokio::select! {
            ring = bell.next() => match ring {
                Some(ring) => heard(&context, ring),
                None => return,
            },
            () = context.stopping.cancelled() => return,
        }
    }
}

fn heard(context: &Context, ring: Ring) {
    let Some(fleet) = &context.fleet else { return };
    match ring {
        Ring::Work(operation) => {
            if operation.is_none_or(|operation| fleet.may_run(&operation)) {
                fleet.work.notify_one();
            }
        }
        Ring::Ended => {
            fleet.ended.notify_one();
            context.pushes.notify_one();
        }
        Ring::Cancelled(run) => context.running.cancel(&run),
    }
}
