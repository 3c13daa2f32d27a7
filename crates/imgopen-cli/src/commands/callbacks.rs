//! `imgopen callbacks`.

use anyhow::Context;
use imgopen_service::data_dir::Access;
use imgopen_service::{CallbackFilter, CallbackId, CallbackRow, Clock, TaskId};
use serde_json::{Value, json};

use super::{data, listen};
use crate::args::callbacks::Callbacks;
use crate::output::{print, print_json};

/// Runs the command.
pub fn run(command: Callbacks, as_json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Callbacks::Listen(args) => runtime.block_on(listen::run(&args, as_json)),
        Callbacks::List { task, state, limit, rows } => runtime.block_on(async {
            let store = data::open(&rows, Access::Reading).await?;
            let filter = CallbackFilter { key: None, task: task.map(TaskId), states: state };
            let page = store.list_callbacks(filter, None, limit).await;
            data::close(&*store).await;
            show(&page?.rows, as_json)
        }),
        Callbacks::Resend { id, rows } => runtime.block_on(async {
            let store = data::open(&rows, Access::Writing).await?;
            let found = store.redeliver(None, CallbackId(id.clone()), Clock::system().now()).await;
            data::close(&*store).await;
            let callback = found?
                .with_context(|| format!("there is no callback {id:?}; `imgopen callbacks list` shows the newest"))?;
            show(&[callback], as_json)
        }),
    }
}

fn show(callbacks: &[CallbackRow], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return print_json(&callbacks.iter().map(json_of).collect::<Value>());
    }
    if callbacks.is_empty() {
        return print("no callbacks found");
    }
    print(&callbacks.iter().map(text_of).collect::<Vec<_>>().join("\n\n"))
}

fn text_of(callback: &CallbackRow) -> String {
    let next = callback.next_at.map_or(String::new(), |at| format!(", next attempt {}", at.rfc3339()));
    let mut text = format!(
        "{}  {}{next}\n  task {} of {}\n  to {}",
        callback.id,
        callback.state,
        callback.task,
        callback.created_at.rfc3339(),
        callback.url
    );
    for attempt in &callback.tries {
        let at = attempt.started_at.rfc3339();
        text +=
            &format!("\n  attempt {:<3} {at:<26} {:>6} ms  {}", attempt.number, attempt.duration_ms, attempt.outcome);
    }
    text
}

fn json_of(callback: &CallbackRow) -> Value {
    let attempts = callback.tries.iter().map(|attempt| {
        json!({
            "number": attempt.number,
            "started_at": attempt.started_at.rfc3339(),
            "duration_ms": attempt.duration_ms,
            "http_status": attempt.http_status,
            "outcome": attempt.outcome,
        })
    });
    json!({
        "callback_id": callback.id,
        "task_id": callback.task,
        "access_key_id": callback.key,
        "url": callback.url,
        "state": callback.state.as_str(),
        "created_at": callback.created_at.rfc3339(),
        "next_try_at": callback.next_at.map(|at| at.rfc3339()),
        "tries": attempts.collect::<Value>(),
    })
}
