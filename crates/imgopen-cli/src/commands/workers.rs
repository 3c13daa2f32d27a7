//! `imgopen workers`.

use std::collections::BTreeMap;

use imgopen_service::data_dir::Access;
use imgopen_service::plurals::counted;
use imgopen_service::store::{OwnerRow, RunningTask};
use serde_json::{Value, json};

use super::data;
use crate::args::data::Rows;
use crate::args::workers::Workers;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::settings;

/// How many tasks of each process are listed.
const TASKS: usize = 100;

/// How many operations of an engine a line names.
const OPERATIONS: usize = 3;

/// Runs the command.
pub fn run(command: Workers, as_json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Workers::List { rows } => list(&rows, as_json).await,
            Workers::Drain { id, rows } => drain(&id, &rows, as_json).await,
        }
    })
}

async fn list(rows: &Rows, as_json: bool) -> anyhow::Result<()> {
    let store = data::open(rows, Access::Reading).await?;
    let found = async { anyhow::Ok((store.owners().await?, store.running(TASKS).await?)) }.await;
    data::close(&*store).await;
    let (owners, running) = found?;
    if as_json {
        return print_json(&owners.iter().map(|owner| json_of(owner, &running)).collect::<Value>());
    }
    if owners.is_empty() {
        return print("no processes found; start one with `imgopen serve`");
    }
    print(&table(&owners, &running))
}

/// Drains the one process whose id begins so.
async fn drain(beginning: &str, rows: &Rows, as_json: bool) -> anyhow::Result<()> {
    if !settings::of_rows(rows)?.is_in_fleet() {
        let fix = "name it with --database, or stop the one process of the data directory instead";
        return Err(Failure::usage(format!("only processes that share a database can be drained; {fix}")).into());
    }
    let store = data::open(rows, Access::Writing).await?;
    let drained = async {
        let owners = store.owners().await?;
        let owner = chosen(&owners, beginning)?;
        let is_there = store.drain(owner.id.clone()).await?;
        anyhow::ensure!(is_there, "the process {} has ended meanwhile", owner.id);
        anyhow::Ok(owner.clone())
    };
    let drained = drained.await;
    data::close(&*store).await;
    let OwnerRow { id, about, runs, .. } = drained?;
    if as_json {
        return print_json(&json!({ "draining": id, "host": about.host, "runs": runs }));
    }
    let runs = counted(runs as u64, "task");
    print(&format!("{id} on {} is draining; it runs {runs}, and begins no others", about.host))
}

fn chosen<'a>(owners: &'a [OwnerRow], beginning: &str) -> anyhow::Result<&'a OwnerRow> {
    let mut found = owners.iter().filter(|owner| owner.id.as_str().starts_with(beginning));
    match (found.next(), found.count()) {
        (Some(owner), 0) => Ok(owner),
        (None, _) => {
            let fix = "`imgopen workers list` shows those that there are";
            Err(Failure::usage(format!("there is no process whose id begins with {beginning:?}; {fix}")).into())
        }
        (Some(_), others) => {
            let problem = format!("{} processes have ids that begin with {beginning:?}", others + 1);
            Err(Failure::usage(format!("{problem}; give more of the id")).into())
        }
    }
}

fn table(owners: &[OwnerRow], running: &[RunningTask]) -> String {
    let head =
        format!("{:<32} {:<20} {:<7} {:<9} {:>6} {:>6}  runs; offers", "id", "host", "role", "state", "lease", "tasks");
    let lines = owners.iter().map(|owner| {
        let OwnerRow { id, about, lease_left, runs, .. } = owner;
        let lease = lease_left.map_or_else(|| "-".to_owned(), |left| format!("{}s", left.as_secs()));
        let (host, role, state) = (&about.host, &about.role, state(owner));
        let (tasks, offers) = (operations(&tasks(owner, running)), summary(&about.offers));
        let line = format!("{id:<32} {host:<20} {role:<7} {state:<9} {lease:>6} {runs:>6}  {tasks}; {offers}");
        line.trim_end().to_owned()
    });
    std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
}

/// The tasks that a process runs.
fn tasks<'a>(owner: &OwnerRow, running: &'a [RunningTask]) -> Vec<&'a RunningTask> {
    running.iter().filter(|task| task.owner == owner.id).collect()
}

/// The operations of tasks, each with the number of these.
fn operations(tasks: &[&RunningTask]) -> String {
    let mut numbers = BTreeMap::<_, usize>::new();
    for task in tasks {
        *numbers.entry(&task.operation).or_default() += 1;
    }
    let each: Vec<_> = numbers.iter().map(|(operation, number)| format!("{operation} {number}")).collect();
    if each.is_empty() { "nothing".to_owned() } else { each.join(", ") }
}

/// What a process is doing, as far as its row shows.
fn state(owner: &OwnerRow) -> &'static str {
    match owner.lease_left {
        Some(left) if left.is_zero() => "lost",
        _ if owner.draining => "draining",
        _ => "active",
    }
}

/// The engines of a process with some of their operations, and the number of its models.
fn summary(offers: &Value) -> String {
    let Some(engines) = offers["engines"].as_array() else { return String::new() };
    let mut parts: Vec<_> = engines.iter().map(engine).collect();
    let models = offers["models"].as_array().map_or(0, Vec::len);
    if models > 0 {
        parts.push(counted(models as u64, "model"));
    }
    parts.join(", ")
}

fn engine(engine: &Value) -> String {
    let name = engine["name"].as_str().unwrap_or_default();
    let offers = engine["offers"].as_array().into_iter().flatten();
    let mut operations: Vec<_> = offers.filter_map(|offer| offer["operation"].as_str()).collect();
    operations.dedup();
    let others = operations.len().saturating_sub(OPERATIONS);
    operations.truncate(OPERATIONS);
    let more = if others > 0 { format!(" and {others} more") } else { String::new() };
    format!("{name} ({}{more})", operations.join(", "))
}

fn json_of(owner: &OwnerRow, running: &[RunningTask]) -> Value {
    let task =
        |task: &RunningTask| json!({ "id": task.id, "operation": task.operation, "since": task.since.rfc3339() });
    let running: Value = tasks(owner, running).into_iter().map(task).collect();
    json!({
        "id": owner.id,
        "host": owner.about.host,
        "role": owner.about.role,
        "state": state(owner),
        "draining": owner.draining,
        "lease_left_ms": owner.lease_left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        "tasks": owner.runs,
        "running": running,
        "started_at": owner.about.started_at.rfc3339(),
        "offers": owner.about.offers,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use imgopen_service::store::{Moment, OwnerAbout, OwnerId, TaskId};

    use super::*;

    fn owner(id: &str, lease: Option<u64>, draining: bool) -> OwnerRow {
        let studio = ["a", "a", "b", "c", "d", "e"].map(|id| json!({ "operation": id }));
        let about = OwnerAbout {
            host: "gpu-1".to_owned(),
            role: "worker".to_owned(),
            started_at: Moment(1_769_904_000_000),
            offers: json!({
                "engines": [
                    { "name": "studio", "offers": studio },
                    { "name": "gate", "offers": [{ "operation": "blur" }] },
                ],
                "models": [{ "name": "x" }],
            }),
        };
        let lease_left = lease.map(Duration::from_millis);
        OwnerRow { id: OwnerId(id.to_owned()), about, lease_left, draining, runs: 2 }
    }

    #[test]
    fn an_id_is_found_by_its_beginning_if_only_one_has_it() {
        let owners = [owner("3f9a", None, false), owner("3f00", None, false), owner("0000", None, false)];
        assert_eq!(chosen(&owners, "3f9").unwrap().id.as_str(), "3f9a");
        assert_eq!(chosen(&owners, "0000").unwrap().id.as_str(), "0000");
        for (beginning, problem) in [("3f", "2 processes have"), ("", "3 processes have"), ("7", "there is no process")]
        {
            let error = chosen(&owners, beginning).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
    }

    fn task(id: &str, owner: &str, operation: &str) -> RunningTask {
        let (id, owner) = (TaskId(id.to_owned()), OwnerId(owner.to_owned()));
        RunningTask { id, operation: operation.to_owned(), owner, since: Moment(1_769_904_000_000) }
    }

    #[test]
    fn a_table_says_what_each_process_does() {
        let owners = [owner("a", Some(14_700), false), owner("b", Some(900), true), owner("c", Some(0), true)];
        let running =
            [task("1", "a", "enlarge"), task("2", "b", "blur"), task("3", "a", "blur"), task("4", "a", "blur")];
        let text = table(&owners, &running);
        let lines: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["id", "host", "role", "state", "lease", "tasks", "runs;", "offers"]);
        assert_eq!(lines[1][..6], ["a", "gpu-1", "worker", "active", "14s", "2"]);
        let offers = "studio (a, b, c and 2 more), gate (blur), 1 model";
        assert_eq!(lines[1][6..].join(" "), format!("blur 2, enlarge 1; {offers}"));
        assert_eq!(lines[2][6..].join(" "), format!("blur 1; {offers}"));
        assert_eq!(lines[3][6..].join(" "), format!("nothing; {offers}"));
        assert_eq!((lines[2][3], lines[2][4], lines[3][3]), ("draining", "0s", "lost"));
        let json = json_of(&owners[0], &running);
        assert_eq!((&json["lease_left_ms"], &json["state"]), (&json!(14_700), &json!("active")));
        assert_eq!(json["started_at"], "2026-02-01T00:00:00Z");
        let first = json!({ "id": "1", "operation": "enlarge", "since": "2026-02-01T00:00:00Z" });
        assert_eq!((json["running"].as_array().unwrap().len(), &json["running"][0]), (3, &first));
        assert_eq!(summary(&Value::Null), "");
    }
}
