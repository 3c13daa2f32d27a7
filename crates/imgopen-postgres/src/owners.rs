//! Owners, their signs of life and the progress of their runs, in SQL.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_postgres::Client;
use imgopen_store::{
    AssetToken, Beat, Duty, Heartbeat, LiveProgress, OwnerAbout, OwnerId, OwnerRow, RunId, RunProgress, RunningTask,
    TaskId,
};
use serde_json::Value;
use tokio_postgres::Row;

use crate::problem::Problem;
use crate::statement::{change, one_row, rows};
use crate::values::{count, duration, escape, escaped, milliseconds, moment, some_json, some_text, text};

const REGISTER: &str = "INSERT INTO owners (id, lease, lease_until, host, role, started_at, offers)
    VALUES ($1, $2::bigint, now_ms() + $2::bigint, $3, $4, $5, $6)
    ON CONFLICT (id) DO UPDATE SET lease = excluded.lease, lease_until = excluded.lease_until, host = excluded.host,
        role = excluded.role, started_at = excluded.started_at, offers = excluded.offers,
        offers_number = excluded.offers_number";

/// Renews the lease, publishes the progress of runs that are still the owner's, and gives strays back. `$3` are the runs, `$4` is
/// the age of strays, `$5` the new offers, and the rest what is known of each run.
const HEARTBEAT: &str = "WITH me AS (
        UPDATE owners SET lease = $2::bigint, lease_until = now_ms() + $2::bigint, offers = coalesce($5::text, offers),
            offers_number = CASE WHEN $5::text IS NULL THEN offers_number ELSE nextval('offers_numbers') END
        WHERE id = $1 RETURNING draining
    ), mine AS (
        SELECT id, run FROM tasks
        WHERE state = 'running' AND owner = $1 AND run = ANY($3::text[]) AND EXISTS (SELECT 1 FROM me)
    ), stray AS (
        SELECT seq, run FROM tasks
        WHERE state = 'running' AND owner = $1 AND run <> ALL($3::text[]) AND claimed_at <= now_ms() - $4::bigint
          AND EXISTS (SELECT 1 FROM me)
        ORDER BY seq FOR UPDATE
    ), given_back AS (
        UPDATE tasks SET state = 'queued', attempt = attempt - 1, run = NULL, owner = NULL, started_at = NULL
        FROM stray WHERE tasks.seq = stray.seq AND tasks.state = 'running'
        RETURNING stray.run AS lost
    ), orphaned AS (
        INSERT INTO orphaned_runs (run, since) SELECT lost, now_ms() FROM given_back ON CONFLICT (run) DO NOTHING
    ), reports AS (
        INSERT INTO live (task_id, run, percent, step, steps, engine, grade, preview, reported_at)
        SELECT DISTINCT ON (mine.id) mine.id, mine.run, p.percent, p.step, p.steps, p.engine, p.grade, p.preview, now_ms()
        FROM unnest($3::text[], $6::float8[], $7::bigint[], $8::bigint[], $9::text[], $10::text[], $11::text[])
            AS p(run, percent, step, steps, engine, grade, preview) JOIN mine ON mine.run = p.run
        ORDER BY mine.id
        ON CONFLICT (task_id) DO UPDATE SET run = excluded.run, percent = excluded.percent, step = excluded.step,
            steps = excluded.steps, engine = excluded.engine, grade = excluded.grade, preview = excluded.preview,
            reported_at = excluded.reported_at
    )
    SELECT (SELECT draining FROM me), now_ms(), ARRAY(SELECT run FROM mine),
        ARRAY(SELECT mine.run FROM mine JOIN watched ON watched.task_id = mine.id WHERE watched.until > now_ms()),
        (SELECT count(*) FROM given_back)";

/// Without the offers of those owners in `$1` whose offers still have the number in `$2`: they may be long, and rarely change.
const OWNERS: &str = "SELECT owners.id, host, role, started_at, draining,
        CASE WHEN lease_until IS NOT NULL THEN greatest(lease_until - now_ms(), 0) END,
        (SELECT count(*) FROM tasks WHERE state = 'running' AND owner = owners.id),
        offers_number, CASE WHEN known.number IS DISTINCT FROM offers_number THEN offers END
    FROM owners LEFT JOIN unnest($1::text[], $2::bigint[]) AS known(id, number) ON known.id = owners.id
    ORDER BY started_at, owners.id";

const RUNNING: &str = "SELECT id, operation, owner, since FROM (
        SELECT id, operation, owner, seq, coalesce(started_at, created_at) AS since,
            row_number() OVER (PARTITION BY owner ORDER BY coalesce(started_at, created_at), seq) AS number
        FROM tasks WHERE state = 'running' AND owner IS NOT NULL) runs
    WHERE number <= $1::bigint ORDER BY owner, since, seq";

const DRAIN: &str = "UPDATE owners SET draining = true WHERE id = $1";

/// Attempts of the owner that are not recorded are others' to make at once.
const RESIGN: &str = "WITH given_up AS (
        UPDATE callbacks SET claim = NULL WHERE claim IS NOT NULL AND claimed_by = $1
    )
    DELETE FROM owners WHERE id = $1";

/// A duty whose owner is dead is free.
const TAKE_DUTY: &str = "INSERT INTO duties (name, owner, until) VALUES ($1, $2, now_ms() + $3::bigint)
    ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
    WHERE duties.until <= now_ms() OR duties.owner = excluded.owner
       OR NOT EXISTS (SELECT 1 FROM owners WHERE owners.id = duties.owner)";

/// Progress of an earlier run, or of a task that has ended, is nobody's.
const LIVE: &str = "SELECT live.task_id, live.run, percent, step, steps, live.engine, live.grade, preview
    FROM live JOIN tasks ON tasks.id = live.task_id AND tasks.run = live.run AND tasks.state = 'running'
    WHERE live.task_id = ANY($1)";

const WATCH: &str = "INSERT INTO watched (task_id, until) VALUES ($1, now_ms() + $2::bigint)
    ON CONFLICT (task_id) DO UPDATE SET until = greatest(watched.until, excluded.until)";

/// An hour is longer than any lease.
const FORGET_LIVE: &str = "DELETE FROM live WHERE reported_at < now_ms() - 3600000";

const FORGET_WATCHED: &str = "DELETE FROM watched WHERE until <= now_ms()";

pub async fn register(
    client: &mut Client,
    owner: &OwnerId,
    lease: Option<Duration>,
    about: &OwnerAbout,
) -> Result<(), Problem> {
    let OwnerAbout { host, role, started_at, offers } = about;
    let (lease, offers) = (lease.map(milliseconds), offers.to_string());
    change(&*client, REGISTER, &[&owner.as_str(), &lease, &escape(host), &escape(role), &started_at.0, &offers])
        .await
        .map(drop)
}

/// What is known of runs as one list for each column.
#[derive(Default)]
struct Reports<'a> {
    runs: Vec<&'a str>,
    percents: Vec<f64>,
    steps_done: Vec<i64>,
    steps: Vec<i64>,
    engines: Vec<Option<String>>,
    grades: Vec<Option<String>>,
    previews: Vec<Option<&'a str>>,
}

impl<'a> Reports<'a> {
    fn of(runs: &'a [RunProgress]) -> Self {
        let mut reports = Self::default();
        for RunProgress { run, percent, step, steps, engine, grade, preview } in runs {
            reports.runs.push(run.as_str());
            reports.percents.push(*percent);
            reports.steps_done.push(i64::from(*step));
            reports.steps.push(i64::from(*steps));
            reports.engines.push(escaped(engine.as_ref()).map(|engine| engine.into_owned()));
            reports.grades.push(escaped(grade.as_ref()).map(|grade| grade.into_owned()));
            reports.previews.push(preview.as_ref().map(AssetToken::as_str));
        }
        reports
    }
}

pub async fn heartbeat(client: &mut Client, heartbeat: &Heartbeat) -> Result<Beat, Problem> {
    let Heartbeat { owner, lease, runs, offers, stray_age } = heartbeat;
    let reports = Reports::of(runs);
    let offers = offers.as_ref().map(ToString::to_string);
    let row = one_row(
        &*client,
        HEARTBEAT,
        &[
            &owner.as_str(),
            &milliseconds(*lease),
            &reports.runs,
            &milliseconds(*stray_age),
            &offers,
            &reports.percents,
            &reports.steps_done,
            &reports.steps,
            &reports.engines,
            &reports.grades,
            &reports.previews,
        ],
    )
    .await?;
    let draining: Option<bool> = row.try_get(0)?;
    let ids = |column: usize| Ok::<_, Problem>(row.try_get::<_, Vec<String>>(column)?.into_iter().map(RunId).collect());
    Ok(Beat {
        alive: draining.is_some(),
        draining: draining.unwrap_or(false),
        runs: ids(2)?,
        watched: ids(3)?,
        strays: row.try_get::<_, i64>(4)?.try_into().unwrap_or(0),
        now: moment(&row, 1)?,
    })
}

/// The offers of owners as they were read last, with their numbers.
#[derive(Debug, Default)]
pub struct KnownOffers(Mutex<HashMap<OwnerId, (i64, Value)>>);

impl KnownOffers {
    fn lock(&self) -> MutexGuard<'_, HashMap<OwnerId, (i64, Value)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub async fn all(client: &mut Client, known: &KnownOffers) -> Result<Vec<OwnerRow>, Problem> {
    let (ids, numbers): (Vec<_>, Vec<_>) =
        known.lock().iter().map(|(id, (number, _))| (id.as_str().to_owned(), *number)).unzip();
    let found = rows(&*client, OWNERS, &[&ids, &numbers]).await?;
    let mut known = known.lock();
    let owners = found.iter().map(|row| read(row, &mut known)).collect::<Result<Vec<_>, _>>()?;
    known.retain(|id, _| owners.iter().any(|owner| owner.id == *id));
    Ok(owners)
}

fn read(row: &Row, known: &mut HashMap<OwnerId, (i64, Value)>) -> Result<OwnerRow, Problem> {
    let id = OwnerId(row.try_get(0)?);
    if let Some(offers) = some_json(row, 8)? {
        known.insert(id.clone(), (row.try_get(7)?, offers));
    }
    let about = OwnerAbout {
        host: text(row, 1)?,
        role: text(row, 2)?,
        started_at: moment(row, 3)?,
        offers: known.get(&id).map_or(Value::Null, |(_, offers)| offers.clone()),
    };
    Ok(OwnerRow {
        id,
        about,
        lease_left: row.try_get::<_, Option<i64>>(5)?.map(duration),
        draining: row.try_get(4)?,
        runs: row.try_get::<_, i64>(6)?.try_into().unwrap_or(0),
    })
}

pub async fn running(client: &mut Client, most: usize) -> Result<Vec<RunningTask>, Problem> {
    rows(&*client, RUNNING, &[&count(most)]).await?.iter().map(read_running).collect()
}

fn read_running(row: &Row) -> Result<RunningTask, Problem> {
    let (id, owner) = (TaskId(row.try_get(0)?), OwnerId(row.try_get(2)?));
    Ok(RunningTask { id, operation: row.try_get(1)?, owner, since: moment(row, 3)? })
}

pub async fn drain(client: &mut Client, owner: &OwnerId) -> Result<bool, Problem> {
    Ok(change(&*client, DRAIN, &[&escape(owner.as_str())]).await? == 1)
}

pub async fn resign(client: &mut Client, owner: &OwnerId) -> Result<(), Problem> {
    change(&*client, RESIGN, &[&owner.as_str()]).await.map(drop)
}

pub async fn take_duty(client: &mut Client, duty: Duty, owner: &OwnerId, hold: Duration) -> Result<bool, Problem> {
    Ok(change(&*client, TAKE_DUTY, &[&duty.as_str(), &owner.as_str(), &milliseconds(hold)]).await? == 1)
}

pub async fn live(client: &mut Client, tasks: &[TaskId]) -> Result<Vec<LiveProgress>, Problem> {
    let asked: Vec<_> = tasks.iter().map(|task| escape(task.as_str())).collect();
    rows(&*client, LIVE, &[&asked]).await?.iter().map(read_live).collect()
}

fn read_live(row: &Row) -> Result<LiveProgress, Problem> {
    let number = |column: usize| Ok::<_, Problem>(u32::try_from(row.try_get::<_, i64>(column)?).unwrap_or(0));
    let progress = RunProgress {
        run: RunId(row.try_get(1)?),
        percent: row.try_get(2)?,
        step: number(3)?,
        steps: number(4)?,
        engine: some_text(row, 5)?,
        grade: some_text(row, 6)?,
        preview: row.try_get::<_, Option<String>>(7)?.map(AssetToken),
    };
    Ok(LiveProgress { task: TaskId(row.try_get(0)?), progress })
}

pub async fn watch(client: &mut Client, task: &TaskId, time: Duration) -> Result<(), Problem> {
    change(&*client, WATCH, &[&escape(task.as_str()), &milliseconds(time)]).await.map(drop)
}

/// Forgets what a heartbeat or a watcher has written at the moment at which the task ended, so that the end did not see it.
pub async fn forget_progress(client: &mut Client) -> Result<usize, Problem> {
    Ok(change(&*client, FORGET_LIVE, &[]).await? + change(&*client, FORGET_WATCHED, &[]).await?)
}
