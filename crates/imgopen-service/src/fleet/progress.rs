//! The progress of running tasks, wherever they run.

use std::collections::HashMap;

use imgopen_store::{LiveProgress, RunProgress, State, TaskId, TaskRow};
use tracing::debug;

use super::watching::WATCHED;
use crate::context::Context;
use crate::live::Live;

/// Returns the progress of a task, if it runs, and has its previews shown for a while if it runs elsewhere.
pub async fn watched(context: &Context, task: &TaskRow) -> Option<Live> {
    if task.state == State::Running {
        watch(context, task).await;
    }
    of(context, task).await
}

/// Returns the progress of a task, if it runs.
pub async fn of(context: &Context, task: &TaskRow) -> Option<Live> {
    of_all(context, std::slice::from_ref(task)).await.remove(&task.id)
}

/// Returns the progress of those of the tasks that run. What runs elsewhere and cannot be read has none.
pub async fn of_all(context: &Context, tasks: &[TaskRow]) -> HashMap<TaskId, Live> {
    let (urls, is_shared) = (context.urls(), context.fleet.is_some());
    let (mut found, mut elsewhere) = (HashMap::new(), Vec::new());
    for task in tasks.iter().filter(|task| task.state == State::Running) {
        match context.running.live(task.run.as_ref(), urls, is_shared) {
            Some(live) => drop(found.insert(task.id.clone(), live)),
            None => elsewhere.push(task.id.clone()),
        }
    }
    if !is_shared || elsewhere.is_empty() {
        return found;
    }
    match context.store.live(elsewhere).await {
        Ok(reported) => found.extend(reported.into_iter().map(|LiveProgress { task, progress }| {
            let RunProgress { percent, step, steps, engine, grade, preview, .. } = progress;
            let preview = preview.map(|token| urls.preview(&token));
            (task, Live { percent, step, steps, preview, engine: engine.zip(grade) })
        })),
        // The task itself is what was asked for.
        Err(error) => debug!(%error, "the progress of tasks elsewhere could not be read"),
    }
    found
}

/// Has a task's process store previews for a while, because somebody asks for them.
async fn watch(context: &Context, task: &TaskRow) {
    let Some(fleet) = &context.fleet else { return };
    let now = context.clock.uptime();
    if let Some(run) = task.run.clone().filter(|run| context.running.has(run)) {
        return context.running.watched(&[run], now + WATCHED);
    }
    if !fleet.watching.is_due(&task.id, now) {
        return;
    }
    if let Err(error) = context.store.watch(task.id.clone(), WATCHED).await {
        debug!(task = %task.id, %error, "previews could not be asked for");
    }
}
