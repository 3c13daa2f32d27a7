//! Accepting tasks, in SQL. Unique keys decide among submits at the same moment, in whatever process they are.

use std::collections::HashSet;

use deadpool_postgres::{Client, GenericClient};
use imgopen_store::{NewTask, Submitted};

use crate::problem::Problem;
use crate::statement::{rows, some_row};
use crate::tasks::by_id;
use crate::values::{escape, escaped};

/// How many times a submit is tried that finds another one's place taken and, a moment later, free again.
const TRIES: usize = 5;

/// Inserts a task, unless its idempotency key is in use. Returns a row if it did.
macro_rules! insert {
    ($rest:literal) => {
        concat!(
            "WITH remembered AS (
                INSERT INTO idempotency (key_id, idempotency_key, task_id, expires_at)
                SELECT $2, $13::text, $1, $14::bigint WHERE $13::text IS NOT NULL
                ON CONFLICT (key_id, idempotency_key)
                DO UPDATE SET task_id = excluded.task_id, expires_at = excluded.expires_at
                    WHERE idempotency.expires_at <= $12::bigint
                RETURNING 1
            )
            INSERT INTO tasks (id, key_id, operation, needs, caller_id, unique_id, request, options, plan, callback_url,
                               reserves, created_at)
            SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::bigint
            WHERE $13::text IS NULL OR EXISTS (SELECT 1 FROM remembered) ",
            $rest,
            " RETURNING 1"
        )
    };
}

/// Only the platform's id is unique.
const INSERT: &str = insert!("");

/// Returns no row either if something else of the task is taken. What it has remembered is then to be undone.
const INSERT_IF_FREE: &str = insert!("ON CONFLICT DO NOTHING");

/// Many tasks, of which only the platform's ids are unique. Returns the ids of those that it inserts.
const INSERT_ALL: &str = "INSERT INTO tasks (id, key_id, operation, needs, caller_id, request, options, plan, callback_url, created_at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                         $10::bigint[])
    ON CONFLICT (id) DO NOTHING RETURNING id";

const REMEMBERED: &str =
    "SELECT task_id FROM idempotency WHERE key_id = $1 AND idempotency_key = $2 AND expires_at > $3";

const OF_UNIQUE_ID: &str = "SELECT id FROM tasks
    WHERE key_id = $1 AND operation = $2 AND text_digest(caller_id) = text_digest($3) AND unique_id";

const IS_RESERVED: &str = "SELECT 1 FROM tasks
    WHERE text_digest(reserves) = text_digest($1) AND reserves IS NOT NULL AND state IN ('queued', 'running')";

const IS_MADE: &str = "SELECT 1 FROM tasks
    WHERE text_digest(reserves) = text_digest($1) AND reserves IS NOT NULL AND state = 'succeeded' LIMIT 1";

const HAS_ID: &str = "SELECT 1 FROM tasks WHERE id = $1";

/// Accepts a task. One that may have been accepted by an earlier try is looked for before, and if its id turns out to be taken.
pub async fn submit(client: &mut Client, task: &NewTask, again: bool) -> Result<Submitted, Problem> {
    for _ in 0..TRIES {
        if again && by_id(&*client, &task.key, task.id.as_str()).await?.is_some() {
            return Ok(Submitted::New);
        }
        match insert(client, task).await {
            Ok(true) => return Ok(Submitted::New),
            Ok(false) => {}
            // The earlier try was carried out meanwhile.
            Err(problem) if again && problem.is_taken() => continue,
            Err(problem) if problem.is_taken() => {}
            Err(problem) => return Err(problem),
        }
        // What was in the way is committed. It may be deleted, ended or expired by now.
        if let Some(earlier) = repeated(client, task).await? {
            return Ok(earlier);
        }
        if is_reserved(client, task).await? || is_made(&*client, task).await? {
            return Ok(Submitted::Reserved);
        }
        if !again && some_row(&*client, HAS_ID, &[&task.id.as_str()]).await?.is_some() {
            return Ok(Submitted::IdTaken);
        }
    }
    Err(Problem::contended(format!("the task {} was in the way of others {TRIES} times", task.id)))
}

/// Whether nothing but its id can be in the way of a task, so that it may share a statement with others.
pub fn may_share(task: &NewTask) -> bool {
    !task.unique_id && task.reserves.is_none() && task.idempotency.is_none()
}

/// Accepts tasks that may share a statement, and returns for each whether it did. The others, or all if the server refuses one of
/// them, are to be submitted alone. Those that an earlier try may have accepted are looked for.
pub async fn submit_all(client: &mut Client, tasks: &[NewTask], again: bool) -> Result<Vec<bool>, Problem> {
    let inserted = match insert_all(client, tasks).await {
        Err(problem) if problem.is_refused() => HashSet::new(),
        outcome => outcome?,
    };
    let mut accepted = Vec::with_capacity(tasks.len());
    for task in tasks {
        let is_new = inserted.contains(task.id.as_str());
        accepted.push(is_new || (again && by_id(&*client, &task.key, task.id.as_str()).await?.is_some()));
    }
    Ok(accepted)
}

async fn insert_all(client: &Client, tasks: &[NewTask]) -> Result<HashSet<String>, Problem> {
    let ids: Vec<_> = tasks.iter().map(|task| task.id.as_str()).collect();
    let keys: Vec<_> = tasks.iter().map(|task| task.key.as_str()).collect();
    let operations: Vec<_> = tasks.iter().map(|task| task.operation).collect();
    let needs: Vec<_> = tasks.iter().map(|task| escape(&task.needs)).collect();
    let caller_ids: Vec<_> = tasks.iter().map(|task| escape(&task.caller_id)).collect();
    let requests: Vec<_> = tasks.iter().map(|task| task.request.as_str()).collect();
    let options: Vec<_> = tasks.iter().map(|task| task.options.as_ref().map(ToString::to_string)).collect();
    let plans: Vec<_> = tasks.iter().map(|task| task.plan.as_ref().map(ToString::to_string)).collect();
    let urls: Vec<_> = tasks.iter().map(|task| escaped(task.callback_url.as_ref())).collect();
    let moments: Vec<_> = tasks.iter().map(|task| task.created_at.0).collect();
    let inserted = rows(
        client,
        INSERT_ALL,
        &[&ids, &keys, &operations, &needs, &caller_ids, &requests, &options, &plans, &urls, &moments],
    )
    .await?;
    inserted.iter().map(|row| -> Result<String, Problem> { Ok(row.try_get(0)?) }).collect()
}

/// Inserts a task if nothing is in its way.
async fn insert(client: &mut Client, task: &NewTask) -> Result<bool, Problem> {
    if !task.unique_id && task.reserves.is_none() {
        return write(&*client, INSERT, task).await;
    }
    let transaction = client.transaction().await?;
    // Of the same name, no task can become active from now on, and one that has succeeded is seen.
    let is_new = write(&transaction, INSERT_IF_FREE, task).await? && !is_made(&transaction, task).await?;
    if is_new {
        transaction.commit().await?;
    } else {
        transaction.rollback().await?;
    }
    Ok(is_new)
}

async fn write<C: GenericClient>(client: &C, sql: &str, task: &NewTask) -> Result<bool, Problem> {
    let NewTask { id, key, operation, needs, caller_id, unique_id, request, options, plan, .. } = task;
    let options = options.as_ref().map(ToString::to_string);
    let plan = plan.as_ref().map(ToString::to_string);
    let idempotency = task.idempotency.as_ref();
    let inserted = rows(
        client,
        sql,
        &[
            &id.as_str(),
            &key.as_str(),
            operation,
            &escape(needs),
            &escape(caller_id),
            unique_id,
            request,
            &options,
            &plan,
            &escaped(task.callback_url.as_ref()),
            &escaped(task.reserves.as_ref()),
            &task.created_at.0,
            &idempotency.map(|idempotency| escape(&idempotency.key)),
            &idempotency.map(|idempotency| idempotency.expires_at.0),
        ],
    )
    .await?;
    Ok(!inserted.is_empty())
}

pub async fn repeated(client: &mut Client, task: &NewTask) -> Result<Option<Submitted>, Problem> {
    let mut id: Option<String> = None;
    if let Some(idempotency) = &task.idempotency {
        let key = escape(&idempotency.key);
        let row = some_row(&*client, REMEMBERED, &[&task.key.as_str(), &key, &task.created_at.0]).await?;
        id = row.map(|row| row.try_get(0)).transpose()?;
    }
    if id.is_none() && task.unique_id {
        let caller_id = escape(&task.caller_id);
        let row = some_row(&*client, OF_UNIQUE_ID, &[&task.key.as_str(), &task.operation, &caller_id]).await?;
        id = row.map(|row| row.try_get(0)).transpose()?;
    }
    let Some(id) = id else { return Ok(None) };
    let Some(earlier) = by_id(&*client, &task.key, &id).await? else { return Ok(None) };
    let is_same = earlier.operation == task.operation && earlier.request == task.request;
    let earlier = Box::new(earlier);
    Ok(Some(if is_same { Submitted::Again(earlier) } else { Submitted::Conflict(earlier) }))
}

/// Whether an active task has reserved the same name.
async fn is_reserved(client: &mut Client, task: &NewTask) -> Result<bool, Problem> {
    let Some(name) = &task.reserves else { return Ok(false) };
    Ok(some_row(&*client, IS_RESERVED, &[&escape(name)]).await?.is_some())
}

/// Whether a task that has succeeded reserved the same name, if that matters.
async fn is_made<C: GenericClient>(client: &C, task: &NewTask) -> Result<bool, Problem> {
    let Some(name) = task.reserves.as_ref().filter(|_| task.reserves_made) else { return Ok(false) };
    Ok(some_row(client, IS_MADE, &[&escape(name)]).await?.is_some())
}
