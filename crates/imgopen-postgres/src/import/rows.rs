//! Rows of another store as JSON, and the statements that insert them. One parameter holds a whole page.

use imgopen_store::{
    ExpiredFile, ExportedAnswer, ExportedAsset, ExportedAttempt, ExportedCallback, ExportedTask, KeyRow, Note,
    OrphanedRun, Rows,
};
use serde_json::{Value, json};

use crate::problem::Problem;
use crate::values::{escape, escaped, milliseconds};

/// The statements about a table. Their one parameter holds the JSON of rows.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Inserts the rows.
    pub insert: &'static str,
    /// Returns those that have the keys of the rows, as JSON with the same columns.
    pub find: &'static str,
}

/// The statements about a table, by its key and its columns with their types.
macro_rules! table {
    ($table:ident by $key:ident $(and $also:ident)?, $places:literal, $conflict:literal,
     $first:ident $first_type:ident $(, $name:ident $type:ident)* $(,)?) => {
        Table {
            insert: concat!(
                "INSERT INTO ", stringify!($table), " (", stringify!($first), $(", ", stringify!($name),)* ") ", $places,
                " SELECT ", stringify!($first), $(", ", stringify!($name),)*
                " FROM json_to_recordset($1::text::json) AS r(", stringify!($first), " ", stringify!($first_type),
                $(", ", stringify!($name), " ", stringify!($type),)* ") ON CONFLICT ", $conflict
            ),
            find: concat!(
                "SELECT row_to_json(found)::text FROM json_to_recordset($1::text::json) AS r(", stringify!($first), " ",
                stringify!($first_type), $(", ", stringify!($name), " ", stringify!($type),)* "), LATERAL (SELECT ",
                stringify!($first), $(", ", stringify!($name),)* " FROM ", stringify!($table), " t WHERE t.",
                stringify!($key), " = r.", stringify!($key),
                $(" AND t.", stringify!($also), " = r.", stringify!($also),)? ") found"
            ),
        }
    };
}

const KEYS: Table = table!(
    keys by id, "", "DO NOTHING",
    id text, name text, secret_hash bytea, signing_secret text, previous_secrets text, created_at bigint,
    revoked_at bigint
);

/// The places of rows stay what they were.
const TASKS: Table = table!(
    tasks by id, "OVERRIDING SYSTEM VALUE", "DO NOTHING",
    seq bigint, id text, key_id text, operation text, needs text, caller_id text, unique_id boolean, request
    text, options text, plan text, reserves text, callback_url text, state text, attempt bigint, run text,
    owner text, output text, failure text, engine text, grade text, created_at bigint, started_at bigint,
    finished_at bigint, deferrals bigint, deferred_at bigint, deferred_for bigint, crashes_alone bigint
);

const IDEMPOTENCY: Table = table!(
    idempotency by key_id and idempotency_key, "", "DO NOTHING",
    key_id text, idempotency_key text, task_id text, expires_at bigint
);

const ASSETS: Table = table!(
    assets by token, "", "DO NOTHING",
    token text, task_id text, key_id text, media_type text, bytes bigint, created_at bigint, expires_at
    bigint, deleted_at bigint, name text
);

/// The places of rows stay what they were.
const CALLBACKS: Table = table!(
    callbacks by id, "OVERRIDING SYSTEM VALUE", "DO NOTHING",
    seq bigint, id text, task_id text, key_id text, url text, origin text, body text, state text, starts
    bigint, rung bigint, tries bigint, deferrals bigint, deferred_at bigint, deferred_for bigint, next_at
    bigint, pause bigint, created_at bigint
);

const ATTEMPTS: Table = table!(
    callback_tries by callback_id and number, "", "DO NOTHING",
    callback_id text, number bigint, started_at bigint, duration_ms bigint, http_status bigint, outcome text
);

const ORPHANED_RUNS: Table = table!(
    orphaned_runs by run, "", "DO NOTHING",
    run text, since bigint
);

const EXPIRED_FILES: Table = table!(
    expired_files by token, "", "DO NOTHING",
    token text, since bigint
);

const NOTES: Table = table!(
    notes by name, "", "(name) DO UPDATE SET value = excluded.value",
    name text, value bigint
);

/// Returns the statements about rows of this kind.
pub fn table(rows: &Rows) -> Table {
    match rows {
        Rows::Notes(_) => NOTES,
        Rows::Keys(_) => KEYS,
        Rows::Tasks(_) => TASKS,
        Rows::Idempotency(_) => IDEMPOTENCY,
        Rows::Assets(_) => ASSETS,
        Rows::Callbacks(_) => CALLBACKS,
        Rows::Attempts(_) => ATTEMPTS,
        Rows::OrphanedRuns(_) => ORPHANED_RUNS,
        Rows::ExpiredFiles(_) => EXPIRED_FILES,
    }
}

/// Returns each row as that JSON.
pub fn json(rows: &Rows) -> Result<Vec<Value>, Problem> {
    Ok(match rows {
        Rows::Notes(rows) => rows.iter().map(note).collect(),
        Rows::Keys(rows) => rows.iter().map(key).collect::<Result<_, _>>()?,
        Rows::Tasks(rows) => rows.iter().map(task).collect::<Result<_, _>>()?,
        Rows::Idempotency(rows) => rows.iter().map(answer).collect(),
        Rows::Assets(rows) => rows.iter().map(asset).collect(),
        Rows::Callbacks(rows) => rows.iter().map(callback).collect(),
        Rows::Attempts(rows) => rows.iter().map(attempt).collect(),
        Rows::OrphanedRuns(rows) => rows.iter().map(orphaned).collect(),
        Rows::ExpiredFiles(rows) => rows.iter().map(expired).collect(),
    })
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
