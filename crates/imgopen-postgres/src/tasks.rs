//! Tasks in SQL. Every change of a state is one guarded statement: it changes nothing unless the task still is where the
//! caller saw it.

use deadpool_postgres::{Client, GenericClient};
use imgopen_store::{
    Claim, End, Find, HandBack, KeyId, Lane, Moment, NewAsset, OwnerId, PAGE_BYTES, Page, RunId, State, TaskFilter,
    TaskId, TaskRow, UnknownState,
};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::problem::Problem;
use crate::statement::{change, one_row, rows, some_row};
use crate::values::{count, duration, escape, escaped, milliseconds, moment, some_json, some_moment, some_text, text};

/// The columns of a task but its request, in the order that [`read`] expects after the request.
macro_rules! columns {
    ($request:literal) => {
        concat!(
            $request,
            ", seq, id, key_id, operation, needs, caller_id, options, plan, callback_url, state, attempt, run, owner, output,
             failure, engine, grade, created_at, started_at, finished_at, deferrals, deferred_at, deferred_for, crashes_alone"
        )
    };
}

/// A query for whole tasks.
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", $crate::tasks::columns!("request"), " FROM tasks ", $rest)
    };
}

pub(crate) use columns;
pub(crate) use select;

const CLAIM: &str = concat!(
    "UPDATE tasks SET state = 'running', attempt = attempt + 1, run = $3, owner = $4, started_at = $5, claimed_at = now_ms()
     WHERE seq = (SELECT seq FROM tasks
                  WHERE state = 'queued' AND text_digest(needs) = text_digest($2) AND needs = $2 AND key_id = $1
                    AND ($6::text IS NULL OR id = $6)
                  ORDER BY seq + 64 * deferrals LIMIT 1 FOR UPDATE SKIP LOCKED)
       AND state = 'queued' AND EXISTS (SELECT 1 FROM owners WHERE id = $4 AND NOT draining)
     RETURNING ",
    columns!("request")
);

/// The end with its assets, its callback and the note that its run may have left files: one statement, hence one transaction.
const END: &str = "WITH ended AS (
        UPDATE tasks SET state = $4, output = $5, failure = $6, finished_at = $7, engine = $8, grade = $9
        WHERE id = $1 AND state = $2 AND run IS NOT DISTINCT FROM $3::text
        RETURNING id, key_id
    ), kept AS (
        INSERT INTO assets (token, task_id, key_id, media_type, bytes, created_at, expires_at, name)
        SELECT made.token, ended.id, ended.key_id, made.media_type, made.bytes, $10::bigint, made.expires_at, made.name
        FROM ended, unnest($11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::text[])
            AS made(token, media_type, bytes, expires_at, name)
    ), pushed AS (
        INSERT INTO callbacks (id, task_id, key_id, url, origin, body, state, next_at, pause, created_at)
        SELECT $16::text, ended.id, ended.key_id, $17::text, $18::text, $19::text, 'pending', $10::bigint, 0, $10::bigint
        FROM ended WHERE $16::text IS NOT NULL
    ), orphaned AS (
        INSERT INTO orphaned_runs (run, since) SELECT $3::text, $10::bigint FROM ended
        WHERE $20::boolean AND $3::text IS NOT NULL ON CONFLICT (run) DO NOTHING
    ), quiet AS (
        DELETE FROM live WHERE task_id IN (SELECT id FROM ended)
    ), unwatched AS (
        DELETE FROM watched WHERE task_id IN (SELECT id FROM ended)
    )
    SELECT count(*) FROM ended";

const IS_OWN_END: &str = "SELECT EXISTS (
        SELECT 1 FROM tasks WHERE id = $1 AND state = $2 AND run IS NOT DISTINCT FROM $3::text
          AND finished_at IS NOT DISTINCT FROM $4::bigint)
      AND ($5::text IS NULL OR EXISTS (SELECT 1 FROM callbacks WHERE id = $5))";

const CLAIMED: &str = select!("WHERE state = 'running' AND owner = $1 AND run = $2");

const HAND_BACK: &str = "WITH returned AS (
        UPDATE tasks SET state = 'queued', attempt = attempt - 1, run = NULL, owner = NULL, started_at = NULL,
            deferrals = CASE WHEN $3::boolean THEN deferrals + 1 ELSE deferrals END,
            deferred_at = CASE WHEN $3::boolean THEN $4::bigint ELSE deferred_at END,
            deferred_for = CASE WHEN $3::boolean THEN $5::bigint ELSE deferred_for END
        WHERE id = $1 AND run = $2::text AND state = 'running'
        RETURNING 1
    ), orphaned AS (
        INSERT INTO orphaned_runs (run, since) SELECT $2::text, $4::bigint FROM returned ON CONFLICT (run) DO NOTHING
    )
    SELECT count(*) FROM returned";

/// A run that ended or was cancelled is still that of its task.
const WAS_HANDED_BACK: &str = "SELECT EXISTS (SELECT 1 FROM orphaned_runs WHERE run = $1 AND since = $2)
    AND NOT EXISTS (SELECT 1 FROM tasks WHERE run = $1)";

const SUSPECTS: &str = select!("WHERE state = 'queued' AND attempt >= $1 ORDER BY seq");

const QUEUED: &str = "SELECT needs, key_id, count(*), min(seq) FROM tasks WHERE state = 'queued' GROUP BY needs, key_id
    ORDER BY min(seq)";

const TASK: &str = select!("WHERE id = $1");

const TASK_OF: &str = select!("WHERE id = $1 AND key_id = $2");

const FIND: &str = select!(
    "WHERE key_id = $1 AND text_digest(caller_id) = text_digest($2) AND caller_id = $2
       AND operation = ANY($3) AND state = ANY($4)
     ORDER BY seq DESC LIMIT 1"
);

/// The sequence of places, which also remembers tasks whose rows are deleted. It skips the places of submits that failed.
const LAST_PLACE: &str = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM tasks_seq_seq";

const PLACE: &str = "SELECT seq FROM tasks WHERE id = $1 AND key_id = $2";

/// One row more than a page has is looked at, so that `found` shows whether there are more.
const LIST: &str = concat!(
    "SELECT ",
    columns!("'' AS request"),
    ", found FROM (
        SELECT newest.*, count(*) OVER () AS found, row_number() OVER (ORDER BY seq DESC) AS number,
            sum(octet_length(id) + octet_length(needs) + octet_length(caller_id) + coalesce(octet_length(options), 0)
                + coalesce(octet_length(plan), 0) + coalesce(octet_length(callback_url), 0)
                + coalesce(octet_length(output), 0) + coalesce(octet_length(failure), 0)) OVER (ORDER BY seq DESC) AS total
        FROM (
            SELECT * FROM tasks WHERE key_id = $1
              AND ($2::text IS NULL OR id = $2)
              AND ($3::text IS NULL OR (text_digest(caller_id) = text_digest($3) AND caller_id = $3))
              AND ($4::bigint IS NULL OR created_at >= $4)
              AND ($5::bigint IS NULL OR created_at < $5)
              AND ($6::text[] IS NULL OR state = ANY($6))
              AND ($7::text[] IS NULL OR operation = ANY($7))
              AND ($8::bigint IS NULL OR seq < $8)
            ORDER BY seq DESC LIMIT $9::bigint + 1
        ) newest
    ) page WHERE number = 1 OR (number <= $9::bigint AND total <= $10::bigint) ORDER BY seq DESC"
);

const ENDED: &str = "SELECT id FROM tasks WHERE id = ANY($1) AND state = ANY($2)";

/// In parts, so that no statement holds locks for long.
const FORGET_IDEMPOTENCY_KEYS: &str = "DELETE FROM idempotency WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM idempotency WHERE expires_at <= $1 ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED))";

pub fn read(row: &Row) -> Result<TaskRow, Problem> {
    let state: &str = row.try_get(10)?;
    Ok(TaskRow {
        request: row.try_get(0)?,
        seq: row.try_get(1)?,
        id: TaskId(row.try_get(2)?),
        key: KeyId(row.try_get(3)?),
        operation: row.try_get(4)?,
        needs: text(row, 5)?,
        caller_id: text(row, 6)?,
        options: some_json(row, 7)?,
        plan: some_json(row, 8)?,
        callback_url: some_text(row, 9)?,
        state: state.parse().map_err(|error: UnknownState| Problem::failed(error.to_string()))?,
        attempt: row.try_get(11)?,
        run: row.try_get::<_, Option<String>>(12)?.map(RunId),
        owner: row.try_get::<_, Option<String>>(13)?.map(OwnerId),
        output: some_json(row, 14)?,
        failure: some_text(row, 15)?,
        engine: some_text(row, 16)?,
        grade: some_text(row, 17)?,
        created_at: moment(row, 18)?,
        started_at: some_moment(row, 19)?,
        finished_at: some_moment(row, 20)?,
        deferrals: row.try_get(21)?,
        deferred_at: some_moment(row, 22)?,
        deferred_for: duration(row.try_get(23)?),
        crashes_alone: row.try_get(24)?,
    })
}

/// Claims a task. A claim that may have been carried out by an earlier try is looked for before and after: a run is that of one
/// task.
pub async fn claim(client: &mut Client, claim: &Claim, again: bool) -> Result<Option<TaskRow>, Problem> {
    if again && let Some(task) = claimed(client, &claim.owner, &claim.run).await? {
        return Ok(Some(task));
    }
    match begin(client, claim).await {
        Err(problem) if again && problem.is_taken() => claimed(client, &claim.owner, &claim.run).await,
        outcome => outcome,
    }
}

async fn begin(client: &Client, claim: &Claim) -> Result<Option<TaskRow>, Problem> {
    let Claim { key, needs, run, owner, now, only } = claim;
    let only = only.as_ref().map(TaskId::as_str);
    let row = some_row(client, CLAIM, &[&key.as_str(), &escape(needs), &run.as_str(), &owner.as_str(), &now.0, &only])
        .await?;
    row.as_ref().map(read).transpose()
}

/// Ends a task. An end that may have been written by an earlier try is looked for if this one finds another.
pub async fn end(client: &mut Client, end: &End, again: bool) -> Result<bool, Problem> {
    if !end.before.may_become(end.task.state) || !end.task.state.is_final() {
        return Ok(false);
    }
    Ok(write_end(client, end).await? || (again && is_own_end(client, end).await?))
}

/// Whether the end that the row holds is this one: it has its run, its moment and its callback.
async fn is_own_end(client: &Client, end: &End) -> Result<bool, Problem> {
    let TaskRow { id, run, state, finished_at, .. } = &end.task;
    let (run, finished_at) = (run.as_ref().map(RunId::as_str), finished_at.map(|moment| moment.0));
    let callback = end.callback.as_ref().map(|callback| callback.id.as_str());
    let row = one_row(client, IS_OWN_END, &[&id.as_str(), &state.as_str(), &run, &finished_at, &callback]).await?;
    Ok(row.try_get(0)?)
}

async fn write_end(client: &Client, end: &End) -> Result<bool, Problem> {
    let task = &end.task;
    let output = task.output.as_ref().map(serde_json::to_string).transpose();
    let output = output.map_err(|error| Problem::failed(format!("a result cannot be written: {error}")))?;
    let finished_at = task.finished_at.map(|moment| moment.0);
    let now = task.finished_at.unwrap_or(task.created_at).0;
    let run = task.run.as_ref().map(RunId::as_str);
    let made = Made::of(&end.assets);
    let callback = end.callback.as_ref();
    let row = one_row(
        client,
        END,
        &[
            &task.id.as_str(),
            &end.before.as_str(),
            &run,
            &task.state.as_str(),
            &output,
            &escaped(task.failure.as_ref()),
            &finished_at,
            &escaped(task.engine.as_ref()),
            &escaped(task.grade.as_ref()),
            &now,
            &made.tokens,
            &made.media_types,
            &made.bytes,
            &made.expiries,
            &made.names,
            &callback.map(|callback| callback.id.as_str()),
            &callback.map(|callback| escape(&callback.url)),
            &callback.map(|callback| escape(&callback.origin)),
            &callback.map(|callback| escape(&callback.body)),
            &end.orphans_run,
        ],
    )
    .await?;
    Ok(row.try_get::<_, i64>(0)? == 1)
}

/// Assets as one list for each column.
#[derive(Default)]
struct Made {
    tokens: Vec<String>,
    media_types: Vec<&'static str>,
    bytes: Vec<i64>,
    expiries: Vec<Option<i64>>,
    names: Vec<Option<String>>,
}

impl Made {
    fn of(assets: &[NewAsset]) -> Self {
        let mut made = Self::default();
        for NewAsset { token, media_type, bytes, expires_at, name } in assets {
            made.tokens.push(token.0.clone());
            made.media_types.push(*media_type);
            made.bytes.push(i64::try_from(*bytes).unwrap_or(i64::MAX));
            made.expiries.push(expires_at.map(|moment| moment.0));
            made.names.push(name.as_ref().map(|name| escape(name).into_owned()));
        }
        made
    }
}

pub async fn claimed(client: &mut Client, owner: &OwnerId, run: &RunId) -> Result<Option<TaskRow>, Problem> {
    let row = some_row(&*client, CLAIMED, &[&owner.as_str(), &run.as_str()]).await?;
    row.as_ref().map(read).transpose()
}

/// Hands a run back. What an earlier try may have done is looked for if this one finds another run, or none.
pub async fn hand_back(client: &mut Client, hand_back: &HandBack, again: bool) -> Result<bool, Problem> {
    if write_hand_back(client, hand_back).await? {
        return Ok(true);
    }
    let HandBack { run, now, .. } = hand_back;
    Ok(again && one_row(&*client, WAS_HANDED_BACK, &[&run.as_str(), &now.0]).await?.try_get(0)?)
}

async fn write_hand_back(client: &Client, hand_back: &HandBack) -> Result<bool, Problem> {
    let HandBack { task, run, is_fault, deferred_for, now } = hand_back;
    let deferred_for = milliseconds(*deferred_for);
    let row = one_row(client, HAND_BACK, &[&task.as_str(), &run.as_str(), is_fault, &now.0, &deferred_for]).await?;
    Ok(row.try_get::<_, i64>(0)? == 1)
}

pub async fn ended(client: &mut Client, asked: &[TaskId]) -> Result<Vec<TaskId>, Problem> {
    let asked: Vec<_> = asked.iter().map(|task| escape(task.as_str())).collect();
    let found = rows(&*client, ENDED, &[&asked, &names(&State::FINAL)]).await?;
    found.iter().map(|row| Ok(TaskId(row.try_get(0)?))).collect()
}

pub async fn suspects(client: &mut Client, attempts: i64) -> Result<Vec<TaskRow>, Problem> {
    rows(&*client, SUSPECTS, &[&attempts]).await?.iter().map(read).collect()
}

pub async fn queued(client: &mut Client) -> Result<Vec<Lane>, Problem> {
    let found = rows(&*client, QUEUED, &[]).await?;
    let lane = |row: &Row| {
        let count = row.try_get::<_, i64>(2)?.try_into().unwrap_or(0);
        Ok(Lane { needs: text(row, 0)?, key: KeyId(row.try_get(1)?), count, first: row.try_get(3)? })
    };
    found.iter().map(lane).collect()
}

pub async fn task(client: &mut Client, id: &TaskId) -> Result<Option<TaskRow>, Problem> {
    let row = some_row(&*client, TASK, &[&escape(id.as_str())]).await?;
    row.as_ref().map(read).transpose()
}

pub async fn by_id<C: GenericClient>(client: &C, key: &KeyId, id: &str) -> Result<Option<TaskRow>, Problem> {
    let row = some_row(client, TASK_OF, &[&escape(id), &key.as_str()]).await?;
    row.as_ref().map(read).transpose()
}

pub async fn find(client: &mut Client, find: &Find) -> Result<Option<TaskRow>, Problem> {
    let Find { key, id, operations, states } = find;
    let fits = |task: &TaskRow| operations.contains(&task.operation.as_str()) && states.contains(&task.state);
    if let Some(task) = by_id(&*client, key, id).await?.filter(fits) {
        return Ok(Some(task));
    }
    let row = some_row(&*client, FIND, &[&key.as_str(), &escape(id), operations, &names(states)]).await?;
    row.as_ref().map(read).transpose()
}

/// States as a parameter.
fn names(states: &[State]) -> Vec<&'static str> {
    states.iter().map(|state| state.as_str()).collect()
}

pub async fn last_place(client: &mut Client) -> Result<i64, Problem> {
    Ok(one_row(&*client, LAST_PLACE, &[]).await?.try_get(0)?)
}

pub async fn place(client: &mut Client, key: &KeyId, id: &TaskId) -> Result<Option<i64>, Problem> {
    let row = some_row(&*client, PLACE, &[&escape(id.as_str()), &key.as_str()]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

pub async fn list(
    client: &mut Client,
    key: &KeyId,
    filter: &TaskFilter,
    before: Option<i64>,
    size: usize,
) -> Result<Page<TaskRow>, Problem> {
    let id = filter.id.as_ref().map(|id| escape(id.as_str()));
    let caller_id = escaped(filter.caller_id.as_ref());
    let (after, until) = (filter.created_after.map(|moment| moment.0), filter.created_before.map(|moment| moment.0));
    let states = Some(names(&filter.states)).filter(|states| !states.is_empty());
    let operations = Some(&filter.operations).filter(|operations| !operations.is_empty());
    let (size, bytes) = (count(size), count(PAGE_BYTES));
    // Planned with these values, because each filter has an index of its own.
    let found = client
        .query_typed(
            LIST,
            &[
                (&key.as_str(), Type::TEXT),
                (&id, Type::TEXT),
                (&caller_id, Type::TEXT),
                (&after, Type::INT8),
                (&until, Type::INT8),
                (&states, Type::TEXT_ARRAY),
                (&operations, Type::TEXT_ARRAY),
                (&before, Type::INT8),
                (&size, Type::INT8),
                (&bytes, Type::INT8),
            ],
        )
        .await?;
    let tasks = found.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    page(tasks, found.first(), 25, |task| task.seq)
}

/// Makes a page of the rows of a list. That column of the first row is how many rows there were, up to one more than a page has.
pub fn page<T>(
    rows: Vec<T>,
    first: Option<&Row>,
    column: usize,
    place: impl Fn(&T) -> i64,
) -> Result<Page<T>, Problem> {
    let found: i64 = first.map_or(Ok(0), |row| row.try_get(column))?;
    let next = rows.last().map(place).filter(|_| found > count(rows.len()));
    Ok(Page { rows, next })
}

pub async fn forget_idempotency_keys(client: &mut Client, now: Moment) -> Result<usize, Problem> {
    let mut forgotten = 0;
    loop {
        match change(&*client, FORGET_IDEMPOTENCY_KEYS, &[&now.0]).await? {
            0 => return Ok(forgotten),
            some => forgotten += some,
        }
    }
}
