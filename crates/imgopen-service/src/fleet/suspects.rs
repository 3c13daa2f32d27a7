//! Tasks during whose runs processes died run alone in the process that claims them, so that it is known which of them is to blame.

use std::time::Duration;

use imgopen_store::{RunId, TaskRow};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::alone::{ALONE, Alone};
use crate::context::Context;
use crate::upkeep::suspicion::is_suspect;

/// The pause between two looks at what else runs here.
const POLL: Duration = Duration::from_millis(100);

/// That another task runs alone here, so that this one is for another process, or for later.
#[derive(Debug, PartialEq, Eq)]
pub struct Occupied;

/// Waits until a claimed task may run. One that is not suspected runs at once.
///
/// For a suspect, this process begins no other run until the run has ended, or has been alone for long enough, and it waits for the
/// runs that there are. If those take too long, it runs beside them.
///
/// # Errors
///
/// When another task runs alone here already.
pub async fn enter(context: &Context, task: &TaskRow, run: &RunId) -> Result<Option<Alone>, Occupied> {
    let Some(fleet) = &context.fleet else { return Ok(None) };
    // The claim has counted this run.
    if !is_suspect(&context.settings, &task.operation, task.attempt - 1) {
        return Ok(None);
    }
    let began = Instant::now();
    let alone = fleet.gate.close(run, context.clock.uptime()).ok_or(Occupied)?;
    let (id, attempt) = (&task.id, task.attempt);
    info!(task = %id, attempt, "task run alone in this process, because processes died during earlier runs");
    while context.running.beside(run) > 0 {
        if began.elapsed() >= ALONE {
            warn!(task = %id, "task not run alone, because others take too long; it may still end the process");
            break;
        }
        sleep(POLL).await;
    }
    alone.begins(context.clock.uptime());
    Ok(Some(alone))
}

/// Waits until another task is to run alone here. A run that has not begun in its engine then gives its task back: it would wait for
/// a slot that the other one may have, while that one waits for it.
pub async fn to_give_way(context: &Context, run: &RunId) {
    let Some(fleet) = &context.fleet else { return std::future::pending().await };
    while !fleet.gate.is_closed_for_another(run, context.clock.uptime()) {
        sleep(POLL).await;
    }
}
