//! Callbacks in SQL.

use std::time::Duration;

use deadpool_postgres::Client;
use imgopen_store::{
    ATTEMPTS, CallbackFilter, CallbackId, CallbackRow, CallbackState, ClaimId, Deferral, Delivery, DeliveryAttempt,
    KeyId, Moment, PAGE_BYTES, Page, TaskId,
};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::problem::Problem;
use crate::statement::{change, some_row};
use crate::tasks::page;
use crate::values::{count, duration, escape, json, milliseconds, moment, some_moment, text, unescape};

/// The columns of a callback, in the order that [`read`] expects before the attempts.
macro_rules! columns {
    () => {
        "id, task_id, key_id, url, origin, body, state, starts, rung, deferrals, deferred_at, deferred_for, next_at,
         created_at, seq, claim"
    };
}

pub(crate) use columns;

const _: () = assert!(ATTEMPTS == 100, "the statements below read the last 100 attempts");

/// The last attempts of the callback `c` as JSON, the oldest first.
macro_rules! attempts {
    () => {
        "(SELECT json_agg(json_build_array(number, started_at, duration_ms, http_status, outcome) ORDER BY number)::text
          FROM (SELECT * FROM callback_tries t WHERE t.callback_id = c.id ORDER BY number DESC LIMIT 100) last)"
    };
}

const NEXT: &str = "SELECT next_at FROM callbacks WHERE state = 'pending' AND next_at > $1 ORDER BY next_at LIMIT 1";

/// Without the middle condition, every pending callback would be looked at.
const LIMIT_PAUSES: &str = "UPDATE callbacks SET next_at = $1 + coalesce(pause, $2)
    WHERE state = 'pending' AND next_at > $1 AND next_at > $1 + coalesce(pause, $2)";

/// The condition that a callback is as it was seen.
macro_rules! is_seen {
    () => {
        "state = 'pending' AND starts = $2 AND rung = $3 AND claim IS NOT DISTINCT FROM $4::text"
    };
}

/// The value that a column gets if the callback is as it was seen.
macro_rules! if_seen {
    ($column:literal, $value:literal) => {
        concat!($column, " = CASE WHEN ", is_seen!(), " THEN ", $value, " ELSE ", $column, " END")
    };
}

/// Counts the attempt under the lock of its callback, which numbers it, and changes the rest only if the callback is as it was
/// seen.
const RECORD: &str = concat!(
    "WITH counted AS (
        UPDATE callbacks SET tries = tries + 1, ",
    if_seen!("state", "$5::text"),
    ", ",
    if_seen!("rung", "rung + 1"),
    ", ",
    if_seen!("next_at", "$6::bigint"),
    ", ",
    if_seen!("pause", "$7::bigint"),
    ", ",
    if_seen!("deferrals", "0"),
    ", ",
    if_seen!("deferred_at", "NULL"),
    ", ",
    if_seen!("deferred_for", "0"),
    ", ",
    if_seen!("claim", "NULL"),
    "
        WHERE id = $1 RETURNING tries
    )
    INSERT INTO callback_tries (callback_id, number, started_at, duration_ms, http_status, outcome, claim)
    SELECT $1, counted.tries, $8::bigint, $9::bigint, $10::bigint, $11::text, $4::text FROM counted"
);

const DEFER: &str = concat!(
    "UPDATE callbacks SET next_at = $5, pause = $6, deferrals = deferrals + 1, deferred_at = $7, deferred_for = $8, claim = NULL
     WHERE id = $1 AND ",
    is_seen!()
);

const REDELIVER: &str = concat!(
    "WITH c AS (
        UPDATE callbacks SET state = 'pending', starts = starts + 1, rung = 0, next_at = $3, pause = 0, deferrals = 0,
            deferred_at = NULL, deferred_for = 0, claim = NULL
        WHERE id = $1 AND ($2::text IS NULL OR key_id = $2) RETURNING ",
    columns!(),
    ") SELECT ",
    columns!(),
    ", ",
    attempts!(),
    " FROM c"
);

const PLACE: &str = "SELECT seq FROM callbacks WHERE id = $1 AND key_id = $2";

/// A callback counts with its attempts, but whether it fits on a page is decided without its own. `OFFSET 0` keeps the planner
/// from reading them once for each place that uses them.
const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    ", attempts, found FROM (
        SELECT read.*, count(*) OVER () AS found, row_number() OVER (ORDER BY seq DESC) AS number,
            sum(octet_length(id) + octet_length(task_id) + octet_length(url) + octet_length(origin) + octet_length(body)
                + coalesce(octet_length(attempts), 0)) OVER (ORDER BY seq DESC) - coalesce(octet_length(attempts), 0) AS total
        FROM (SELECT c.*, ",
    attempts!(),
    " AS attempts FROM (
            SELECT * FROM callbacks
            WHERE ($1::text IS NULL OR key_id = $1)
              AND ($2::text IS NULL OR task_id = $2)
              AND ($3::text[] IS NULL OR state = ANY($3))
              AND ($4::bigint IS NULL OR seq < $4)
            ORDER BY seq DESC LIMIT $5::bigint + 1
        ) c OFFSET 0) read
    ) page WHERE number = 1 OR (number <= $5::bigint AND total <= $6::bigint) ORDER BY seq DESC"
);

/// Reads a callback without its attempts.
pub fn read(row: &Row) -> Result<CallbackRow, Problem> {
    let state: &str = row.try_get(6)?;
    let known = CallbackState::ALL.into_iter().find(|known| known.as_str() == state);
    Ok(CallbackRow {
        id: CallbackId(row.try_get(0)?),
        task: TaskId(row.try_get(1)?),
        key: KeyId(row.try_get(2)?),
        url: text(row, 3)?,
        origin: text(row, 4)?,
        body: text(row, 5)?,
        state: known.ok_or_else(|| Problem::failed(format!("a callback has the unknown state {state:?}")))?,
        starts: row.try_get(7)?,
        rung: row.try_get(8)?,
        deferrals: row.try_get(9)?,
        deferred_at: some_moment(row, 10)?,
        deferred_for: duration(row.try_get(11)?),
        next_at: some_moment(row, 12)?,
        created_at: moment(row, 13)?,
        tries: Vec::new(),
        place: row.try_get(14)?,
        claim: row.try_get::<_, Option<String>>(15)?.map(ClaimId),
    })
}

/// Reads a callback with its attempts.
fn with_attempts(row: &Row) -> Result<CallbackRow, Problem> {
    let attempts: Option<&str> = row.try_get(16)?;
    let attempts: Vec<(i64, i64, i64, Option<i64>, String)> = attempts.map(json).transpose()?.unwrap_or_default();
    let tries = attempts.into_iter().map(|(number, started_at, duration_ms, http_status, outcome)| {
        let (started_at, outcome) = (Moment(started_at), unescape(outcome));
        DeliveryAttempt { number, started_at, duration_ms, http_status, outcome }
    });
    Ok(CallbackRow { tries: tries.collect(), ..read(row)? })
}

pub async fn next(client: &mut Client, after: Moment) -> Result<Option<Moment>, Problem> {
    let row = some_row(&*client, NEXT, &[&after.0]).await?;
    row.map(|row| moment(&row, 0)).transpose()
}

pub async fn limit_pauses(client: &mut Client, now: Moment, longest: Duration) -> Result<usize, Problem> {
    change(&*client, LIMIT_PAUSES, &[&now.0, &milliseconds(longest)]).await
}

/// Records an attempt. One of a claim may have been recorded by an earlier try: a claim is that of one attempt.
pub async fn record(client: &mut Client, delivery: &Delivery, again: bool) -> Result<(), Problem> {
    match write_attempt(client, delivery).await {
        Err(problem) if again && problem.is_taken() => Ok(()),
        outcome => outcome,
    }
}

async fn write_attempt(client: &Client, delivery: &Delivery) -> Result<(), Problem> {
    let Delivery { seen, attempt, state, next } = delivery;
    let DeliveryAttempt { started_at, duration_ms, http_status, outcome, .. } = attempt;
    let (at, pause) = next.map(|next| (next.at.0, milliseconds(next.pause))).unzip();
    let claim = seen.claim.as_ref().map(ClaimId::as_str);
    change(
        client,
        RECORD,
        &[
            &seen.id.as_str(),
            &seen.starts,
            &seen.rung,
            &claim,
            &state.as_str(),
            &at,
            &pause,
            &started_at.0,
            duration_ms,
            http_status,
            &escape(outcome),
        ],
    )
    .await
    .map(drop)
}

pub async fn defer(client: &mut Client, deferral: &Deferral) -> Result<(), Problem> {
    let Deferral { seen, now, deferred_for, next } = deferral;
    let (pause, deferred_for) = (milliseconds(next.pause), milliseconds(*deferred_for));
    let claim = seen.claim.as_ref().map(ClaimId::as_str);
    let (id, at) = (seen.id.as_str(), next.at.0);
    change(&*client, DEFER, &[&id, &seen.starts, &seen.rung, &claim, &at, &pause, &now.0, &deferred_for])
        .await
        .map(drop)
}

pub async fn redeliver(
    client: &mut Client,
    key: Option<&KeyId>,
    id: &CallbackId,
    now: Moment,
) -> Result<Option<CallbackRow>, Problem> {
    let key = key.map(KeyId::as_str);
    let row = some_row(&*client, REDELIVER, &[&escape(id.as_str()), &key, &now.0]).await?;
    row.as_ref().map(with_attempts).transpose()
}

pub async fn place(client: &mut Client, key: &KeyId, id: &CallbackId) -> Result<Option<i64>, Problem> {
    let row = some_row(&*client, PLACE, &[&escape(id.as_str()), &key.as_str()]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

pub async fn list(
    client: &mut Client,
    filter: &CallbackFilter,
    before: Option<i64>,
    size: usize,
) -> Result<Page<CallbackRow>, Problem> {
    let key = filter.key.as_ref().map(KeyId::as_str);
    let task = filter.task.as_ref().map(|task| escape(task.as_str()));
    let states: Vec<_> = filter.states.iter().map(|state| state.as_str()).collect();
    let states = Some(states).filter(|states| !states.is_empty());
    let (size, bytes) = (count(size), count(PAGE_BYTES));
    // Planned with these values, because each filter has an index of its own.
    let found = client
        .query_typed(
            LIST,
            &[
                (&key, Type::TEXT),
                (&task, Type::TEXT),
                (&states, Type::TEXT_ARRAY),
                (&before, Type::INT8),
                (&size, Type::INT8),
                (&bytes, Type::INT8),
            ],
        )
        .await?;
    let rows = found.iter().map(with_attempts).collect::<Result<Vec<_>, _>>()?;
    page(rows, found.first(), 17, |callback| callback.place)
}
