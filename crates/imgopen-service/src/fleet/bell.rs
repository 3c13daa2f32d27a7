//! Hears what other processes announce. What is missed is found by looking.

use std::sync::Arc;

use futures_util::StreamExt;
use imgopen_store::{KeyId, Ring};

use crate::context::Context;
use crate::dispatch::Slot;
use crate::tasks::needs::Needs;

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
        Ring::Task { operation, key, needs } => {
            if fleet.may_run(&operation) && needs_look(context, key, needs) {
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

/// Hints at a task that was queued, so that it begins without a look at the database. Returns whether it can run here but has to be
/// found by a look, because other keys wait that are not hinted at.
fn needs_look(context: &Context, key: KeyId, needs: String) -> bool {
    if !context.settings.role.runs_tasks() {
        return false;
    }
    let slot = Needs::parse(&needs).slot_here(context, key);
    slot.is_some_and(|slot| !context.dispatch.hint_heard(&Slot { needs, ..slot }))
}
