//! `imgopen callbacks`.

use anyhow::Context;
use imgopen_service::{CallbackFilter, CallbackId, CallbackRow, Clock, TaskId};
use serde_json::{Value, json};

use crate::keys::open_existing;
use crate::output::{print, print_json};
use crate::{args, listen};

/// Carries the command out.
pub fn run(command: args::Callbacks) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        args::Callbacks::Listen(flags) => runtime.block_on(listen::run(&flags)),
        args::Callbacks::List { task, state, limit, data } => runtime.block_on(async {
            let store = open_existing(&data)?;
            let filter = CallbackFilter { key: None, task: task.map(TaskId), states: state };
            let page = store.list_callbacks(filter, None, limit).await?;
            show(&page.rows, data.json)
        }),
        args::Callbacks::Resend { id, data } => runtime.block_on(async {
            let store = open_existing(&data)?;
            let found = store.redeliver(None, CallbackId(id.clone()), Clock::system().now()).await?;
            let callback = found
                .with_context(|| format!("no callback has the id {id}; `imgopen callbacks list` shows the newest"))?;
            show(&[callback], data.json)
        }),
    }
}

fn show(callbacks: &[CallbackRow], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return print_json(&callbacks.iter().map(told).collect::<Value>());
    }
    if callbacks.is_empty() {
        return print("there is no such callback");
    }
    print(&callbacks.iter().map(shown).collect::<Vec<_>>().join("\n\n"))
}

fn shown(callback: &CallbackRow) -> String {
    let next = callback.next_at.map_or(String::new(), |at| format!(", next try {}", at.rfc3339()));
    let mut text = format!(
        "{}  {}{next}\n  task {} of {}\n  to {}",
        callback.id,
        callback.state,
        callback.task,
        callback.created_at.rfc3339(),
        callback.url
    );
    for one in &callback.tries {
        let at = one.started_at.rfc3339();
        text += &format!("\n  try {:<3} {at:<26} {:>6} ms  {}", one.number, one.duration_ms, one.outcome);
    }
    text
}

fn told(callback: &CallbackRow) -> Value {
    let tries = callback.tries.iter().map(|one| {
        json!({
            "number": one.number,
            "started_at": one.started_at.rfc3339(),
            "duration_ms": one.duration_ms,
            "http_status": one.http_status,
            "outcome": one.outcome,
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
        "tries": tries.collect::<Value>(),
    })
}
