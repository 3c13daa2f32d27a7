//! Reports the ends of tasks.

use imgopen_store::TaskRow;
use tracing::info;

use crate::answers::operation_id;
use crate::context::Context;

/// Reports the end of a task: in metrics, in the log, and to waiting calls and the callback loop.
pub fn announce(context: &Context, task: &TaskRow) {
    let run = task.started_at.and_then(|start| Some(task.finished_at?.since(start)));
    let (id, state) = (operation_id(task), task.state.as_str());
    context.absences.over(&task.id);
    context.metrics.finished(id, task.engine.as_deref(), state, run);
    info!(task = %task.id, operation = id, state, engine = task.engine, failure = task.failure, ?run, "task ended");
    // An error means that no call is waiting.
    let _ = context.endings.send(task.id.clone());
    if task.callback_url.is_some() {
        context.pushes.notify_one();
    }
}
