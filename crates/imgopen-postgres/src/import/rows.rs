//! Rows of another store as JSON, and the statements that insert them. One parameter holds a whole page.

use imgopen_store::{
    ExpiredFile, ExportedAnswer, ExportedAsset, ExportedAttempt, ExportedCallback, ExportedTask, KeyRow, Note,
    OrphanedRun, Rows,
};
use serde_json::{Value, json};

use crate::problem::Problem;
use crate::values::{escape, escaped, milliseconds};

/// A table, and its columns with their types.
type Table = (&'static str, &'static [(&'static str, &'static str)]);

const KEYS: Table = (
    "keys",
    &[
        ("id", "text"),
        ("name", "text"),
        ("secret_hash", "bytea"),
        ("signing_secret", "text"),
        ("previous_secrets", "text"),
        ("created_at", "bigint"),
        ("revoked_at", "bigint"),
    ],
);

const TASKS: Table = (
    "tasks",
    &[
        ("seq", "bigint"),
        ("id", "text"),
        ("key_id", "text"),
        ("operation", "text"),
        ("needs", "text"),
        ("caller_id", "text"),
        ("unique_id", "boolean"),
        ("request", "text"),
        ("options", "text"),
        ("plan", "text"),
        ("reserves", "text"),
        ("callback_url", "text"),
        ("state", "text"),
        ("attempt", "bigint"),
        ("run", "text"),
        ("owner", "text"),
        ("output", "text"),
        ("failure", "text"),
        ("engine", "text"),
        ("grade", "text"),
        ("created_at", "bigint"),
        ("started_at", "bigint"),
        ("finished_at", "bigint"),
        ("deferrals", "bigint"),
        ("deferred_at", "bigint"),
        ("deferred_for", "bigint"),
        ("crashes_alone", "bigint"),
    ],
);

const IDEMPOTENCY: Table =
    ("idempotency", &[("key_id", "text"), ("idempotency_key", "text"), ("task_id", "text"), ("expires_at", "bigint")]);

const ASSETS: Table = (
    "assets",
    &[
        ("token", "text"),
        ("task_id", "text"),
        ("key_id", "text"),
        ("media_type", "text"),
        ("bytes", "bigint"),
        ("created_at", "bigint"),
        ("expires_at", "bigint"),
        ("deleted_at", "bigint"),
        ("name", "text"),
    ],
);

const CALLBACKS: Table = (
    "callbacks",
    &[
        ("seq", "bigint"),
        ("id", "text"),
        ("task_id", "text"),
        ("key_id", "text"),
        ("url", "text"),
        ("origin", "text"),
        ("body", "text"),
        ("state", "text"),
        ("starts", "bigint"),
        ("rung", "bigint"),
        ("tries", "bigint"),
        ("deferrals", "bigint"),
        ("deferred_at", "bigint"),
        ("deferred_for", "bigint"),
        ("next_at", "bigint"),
        ("pause", "bigint"),
        ("created_at", "bigint"),
    ],
);

const ATTEMPTS: Table = (
    "callback_tries",
    &[
        ("callback_id", "text"),
        ("number", "bigint"),
        ("started_at", "bigint"),
        ("duration_ms", "bigint"),
        ("http_status", "bigint"),
        ("outcome", "text"),
    ],
);

const ORPHANED_RUNS: Table = ("orphaned_runs", &[("run", "text"), ("since", "bigint")]);

const EXPIRED_FILES: Table = ("expired_files", &[("token", "text"), ("since", "bigint")]);

const NOTES: Table = ("notes", &[("name", "text"), ("value", "bigint")]);

/// Returns the statement that inserts rows of this kind from a parameter with their JSON.
pub fn statement(rows: &Rows) -> String {
    let ((table, columns), conflict) = match rows {
        Rows::Notes(_) => (NOTES, "(name) DO UPDATE SET value = excluded.value"),
        Rows::Keys(_) => (KEYS, "DO NOTHING"),
        Rows::Tasks(_) => (TASKS, "DO NOTHING"),
        Rows::Idempotency(_) => (IDEMPOTENCY, "DO NOTHING"),
        Rows::Assets(_) => (ASSETS, "DO NOTHING"),
        Rows::Callbacks(_) => (CALLBACKS, "DO NOTHING"),
        Rows::Attempts(_) => (ATTEMPTS, "DO NOTHING"),
        Rows::OrphanedRuns(_) => (ORPHANED_RUNS, "DO NOTHING"),
        Rows::ExpiredFiles(_) => (EXPIRED_FILES, "DO NOTHING"),
    };
    let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let typed = columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect::<Vec<_>>().join(", ");
    // The places of rows stay what they were.
    let places = if columns.iter().any(|(name, _)| *name == "seq") { "OVERRIDING SYSTEM VALUE" } else { "" };
    format!(
        "INSERT INTO {table} ({names}) {places} SELECT {names} FROM json_to_recordset($1::text::json) AS r({typed})
         ON CONFLICT {conflict}"
    )
}

/// Returns rows as that JSON.
pub fn json(rows: &Rows) -> Result<String, Problem> {
    let values: Vec<Value> = match rows {
        Rows::Notes(rows) => rows.iter().map(note).collect(),
        Rows::Keys(rows) => rows.iter().map(key).collect::<Result<_, _>>()?,
        Rows::Tasks(rows) => rows.iter().map(task).collect::<Result<_, _>>()?,
        Rows::Idempotency(rows) => rows.iter().map(answer).collect(),
        Rows::Assets(rows) => rows.iter().map(asset).collect(),
        Rows::Callbacks(rows) => rows.iter().map(callback).collect(),
        Rows::Attempts(rows) => rows.iter().map(attempt).collect(),
        Rows::OrphanedRuns(rows) => rows.iter().map(orphaned).collect(),
        Rows::ExpiredFiles(rows) => rows.iter().map(expired).collect(),
    };
    Ok(Value::Array(values).to_string())
}

fn note((note, value): &(Note, i64)) -> Value {
    json!({ "name": note.as_str(), "value": value })
}

fn key(key: &KeyRow) -> Result<Value, Problem> {
    let hash: String = key.secret_hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let previous = serde_json::to_string(&key.previous_secrets);
    let previous = previous.map_err(|error| Problem::failed(format!("secrets cannot be written: {error}")))?;
    Ok(json!({
        "id": key.id.as_str(),
        "name": escape(&key.name),
        "secret_hash": format!("\\x{hash}"),
        "signing_secret": key.signing_secret,
        "previous_secrets": previous,
        "created_at": key.created_at.0,
        "revoked_at": key.revoked_at.map(|moment| moment.0),
    }))
}

fn task(task: &ExportedTask) -> Result<Value, Problem> {
    let row = &task.row;
    let output = row.output.as_ref().map(serde_json::to_string).transpose();
    let output = output.map_err(|error| Problem::failed(format!("a result cannot be written: {error}")))?;
    Ok(json!({
        "seq": row.seq,
        "id": row.id.as_str(),
        "key_id": row.key.as_str(),
        "operation": row.operation,
        "needs": escape(&row.needs),
        "caller_id": escape(&row.caller_id),
        "unique_id": task.unique_id,
        "request": row.request,
        "options": row.options.as_ref().map(ToString::to_string),
        "plan": row.plan.as_ref().map(ToString::to_string),
        "reserves": escaped(task.reserves.as_ref()),
        "callback_url": escaped(row.callback_url.as_ref()),
        "state": row.state.as_str(),
        "attempt": row.attempt,
        "run": row.run.as_ref().map(|run| run.as_str()),
        "owner": row.owner.as_ref().map(|owner| owner.as_str()),
        "output": output,
        "failure": escaped(row.failure.as_ref()),
        "engine": escaped(row.engine.as_ref()),
        "grade": escaped(row.grade.as_ref()),
        "created_at": row.created_at.0,
        "started_at": row.started_at.map(|moment| moment.0),
        "finished_at": row.finished_at.map(|moment| moment.0),
        "deferrals": row.deferrals,
        "deferred_at": row.deferred_at.map(|moment| moment.0),
        "deferred_for": milliseconds(row.deferred_for),
        "crashes_alone": row.crashes_alone,
    }))
}

fn answer(answer: &ExportedAnswer) -> Value {
    json!({
        "key_id": answer.key.as_str(),
        "idempotency_key": escape(&answer.idempotency.key),
        "task_id": answer.task.as_str(),
        "expires_at": answer.idempotency.expires_at.0,
    })
}

fn asset(asset: &ExportedAsset) -> Value {
    let row = &asset.row;
    json!({
        "token": asset.token.as_str(),
        "task_id": asset.task.as_str(),
        "key_id": asset.key.as_str(),
        "media_type": row.media_type,
        "bytes": i64::try_from(row.bytes).unwrap_or(i64::MAX),
        "created_at": row.created_at.0,
        "expires_at": row.expires_at.map(|moment| moment.0),
        "deleted_at": row.deleted_at.map(|moment| moment.0),
        "name": escaped(row.name.as_ref()),
    })
}

fn callback(callback: &ExportedCallback) -> Value {
    let row = &callback.row;
    json!({
        "seq": row.place,
        "id": row.id.as_str(),
        "task_id": row.task.as_str(),
        "key_id": row.key.as_str(),
        "url": escape(&row.url),
        "origin": escape(&row.origin),
        "body": escape(&row.body),
        "state": row.state.as_str(),
        "starts": row.starts,
        "rung": row.rung,
        "tries": callback.attempts,
        "deferrals": row.deferrals,
        "deferred_at": row.deferred_at.map(|moment| moment.0),
        "deferred_for": milliseconds(row.deferred_for),
        "next_at": row.next_at.map(|moment| moment.0),
        "pause": callback.pause,
        "created_at": row.created_at.0,
    })
}

fn attempt(row: &ExportedAttempt) -> Value {
    let attempt = &row.attempt;
    json!({
        "callback_id": row.callback.as_str(),
        "number": attempt.number,
        "started_at": attempt.started_at.0,
        "duration_ms": attempt.duration_ms,
        "http_status": attempt.http_status,
        "outcome": escape(&attempt.outcome),
    })
}

fn orphaned(orphaned: &OrphanedRun) -> Value {
    json!({ "run": orphaned.run.as_str(), "since": orphaned.since.0 })
}

fn expired(file: &ExpiredFile) -> Value {
    json!({ "token": file.token.as_str(), "since": file.since.0 })
}
