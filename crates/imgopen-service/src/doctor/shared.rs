//! A service whose rows are in a database that several processes share: whether this machine reaches it, and who else does.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use imgopen_store::{AssetFile, AssetToken, Clock, Moment, Note, OwnerRow, Store, StoreError};
use tokio::runtime::{Builder, Runtime};

use super::finding::{Finding, Report};
use super::rows::{self, Rows};
use super::{bucket, machine};
use crate::assets::Examined;
use crate::data_dir::ASSETS;
use crate::fleet::agreement::{self, Difference};
use crate::settings::{DatabaseSettings, Settings};

/// How far the clock may be from that of the database, which processes go by.
const APART: Duration = Duration::from_secs(5);

/// What the database shows.
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "only PostgreSQL is shared"))]
struct Seen {
    store: Arc<dyn Store>,
    /// Its clock.
    now: Moment,
    owners: Vec<OwnerRow>,
}

/// The rows of a database, with what its calls are waited for by.
struct Waited {
    runtime: Runtime,
    store: Arc<dyn Store>,
}

impl Rows for Waited {
    fn assets(&self, after: Option<&AssetToken>, most: usize) -> Result<Vec<AssetFile>, StoreError> {
        self.runtime.block_on(self.store.asset_files(after.cloned(), most))
    }

    fn unaccounted(&self, names: &[AssetToken]) -> Result<Vec<AssetToken>, StoreError> {
        self.runtime.block_on(self.store.unaccounted_files(names.to_vec()))
    }

    fn note(&self, note: Note) -> Result<Option<i64>, StoreError> {
        self.runtime.block_on(self.store.note(note))
    }
}

/// Examines the settings, the machine, the database that the settings name, and the bucket, whose pictures it compares with the rows.
/// The service may be running. Blocks, and must not be called in an asynchronous task; reads the rows of all pictures and lists all
/// objects, some at a time.
pub fn examine_shared(settings: &Settings, clock: &Clock) -> Report {
    let mut report = Report::default();
    report.add("settings", machine::settings(settings));
    report.add("limits", machine::limits());
    let unable = |error: io::Error| Finding::new(format!("no connection can be made: {error}"), "end other programs");
    let runtime = Builder::new_current_thread().enable_all().build().map_err(unable);
    let seen = runtime.and_then(|runtime| Ok((runtime.block_on(look(&settings.database))?, runtime)));
    let (Seen { store, now, owners }, runtime) = match seen {
        Ok(seen) => seen,
        Err(finding) => {
            report.add("database", vec![finding]);
            return report;
        }
    };
    report.add("database", Vec::new());
    report.add("clock", apart(clock.now(), now));
    let examined = Examined::open(&settings.storage);
    let has_bucket = !matches!(examined, Ok(None));
    report.add("processes", [processes(&owners, has_bucket), differing(&owners)].concat());
    let rows = Waited { runtime, store };
    match examined {
        Ok(None) => compare_directory(&mut report, &rows, &settings.data_dir, now),
        Ok(Some(bucket)) => {
            let findings = bucket::reached(&rows, &bucket);
            let is_reached = findings.is_empty();
            report.add("bucket", findings);
            if is_reached {
                report.compared(bucket::pictures(&rows, &bucket, now));
            }
        }
        Err(error) => report.add("bucket", vec![Finding::split(&error.to_string(), "correct the setting")]),
    }
    // What is left is closed with the process.
    drop(rows.runtime.block_on(rows.store.close()));
    report
}

/// Compares the pictures in a data directory, if they are on this machine.
fn compare_directory(report: &mut Report, rows: &dyn Rows, directory: &Path, now: Moment) {
    if directory.join(ASSETS).is_dir() {
        report.compared(rows::pictures(rows, directory, now));
    }
}

#[cfg(feature = "postgres")]
async fn look(settings: &DatabaseSettings) -> Result<Seen, Finding> {
    use imgopen_postgres::{PostgresOptions, PostgresStore};

    let address = settings.address().map_err(|error| Finding::split(&error.to_string(), "correct the setting"))?;
    let Some(address) = address else { return Err(missing()) };
    let options = PostgresOptions { connections: 1, notify: false, ..PostgresOptions::default() };
    let seen = async {
        let store = PostgresStore::open_existing(&address, &options).await?;
        store.ready().await?;
        let (now, owners) = (store.now().await?, store.owners().await?);
        Ok::<_, StoreError>(Seen { store: Arc::new(store), now, owners })
    };
    seen.await.map_err(|error| Finding::of(&error))
}

#[cfg(not(feature = "postgres"))]
async fn look(_: &DatabaseSettings) -> Result<Seen, Finding> {
    Err(missing())
}

fn missing() -> Finding {
    Finding::new(
        "no database of PostgreSQL can be used",
        "name one in `database.url`, in a program with the feature `postgres`",
    )
}

/// Compares the clock with that of the database.
fn apart(here: Moment, there: Moment) -> Vec<Finding> {
    let apart = here.since(there).max(there.since(here));
    if apart <= APART {
        return Vec::new();
    }
    let (here, there) = (here.rfc3339(), there.rfc3339());
    let problem = format!("the clock shows {here}, and that of the database {there}");
    let fix =
        "set both, such as with NTP; processes go by the database's, but logs and certificates by that of the machine";
    vec![Finding::new(problem, fix)]
}

/// Looks for processes that are lost, and for what no process does.
fn processes(owners: &[OwnerRow], has_bucket: bool) -> Vec<Finding> {
    let is_lost = |owner: &&OwnerRow| owner.lease_left.is_some_and(|left| left.is_zero());
    let mut findings: Vec<_> = owners.iter().filter(is_lost).map(lost).collect();
    let active: Vec<_> = owners.iter().filter(|owner| !is_lost(owner)).collect();
    let does = |role: &str| active.iter().any(|owner| owner.about.role == "all" || owner.about.role == role);
    if !active.is_empty() && !does("worker") {
        let fix = "start one with `--role worker` or `--role all`";
        findings.push(Finding::new("no process runs tasks; they wait in the queue", fix));
    }
    if !active.is_empty() && !does("api") {
        let fix = "start one with `--role api` or `--role all`";
        findings.push(Finding::new("no process answers calls", fix));
    }
    let hosts: BTreeSet<_> = active.iter().map(|owner| owner.about.host.as_str()).collect();
    if hosts.len() > 1 && !has_bucket {
        let problem = format!("processes run on {} machines, and each keeps pictures on its own disk", hosts.len());
        findings.push(Finding::new(problem, "name a bucket that all of them use with `--storage`"));
    }
    findings
}

/// Looks for settings of which all processes must have the same and have not.
fn differing(owners: &[OwnerRow]) -> Vec<Finding> {
    let Some((first, settings)) = owners.iter().find_map(|owner| Some((owner, agreement::published(owner)?))) else {
        return Vec::new();
    };
    let finding = |Difference { setting, here, there, host }| {
        let problem =
            format!("`{setting}` is {here} for a process on {}, and {there} for one on {host}", first.about.host);
        Finding::new(problem, "give all processes the same, and restart those that have another")
    };
    agreement::differences(settings, owners).into_iter().map(finding).collect()
}

fn lost(owner: &OwnerRow) -> Finding {
    let OwnerRow { id, about, runs, .. } = owner;
    let problem = format!("the process {id} on {} gives no sign of life; {runs} tasks were running there", about.host);
    Finding::new(problem, "another process takes its tasks within seconds; start it again, and see its log")
}

#[cfg(test)]
mod tests {
    use imgopen_store::{OwnerAbout, OwnerId};

    use super::*;

    fn owner(host: &str, role: &str, left: u64) -> OwnerRow {
        let about = OwnerAbout { host: host.to_owned(), role: role.to_owned(), ..OwnerAbout::default() };
        let (id, lease_left) = (OwnerId(format!("{host}{role}")), Some(Duration::from_secs(left)));
        OwnerRow { id, about, lease_left, draining: false, runs: 3 }
    }

    #[test]
    fn what_no_process_does_is_found() {
        let problems = |owners: &[OwnerRow], has_bucket: bool| {
            let findings = processes(owners, has_bucket);
            findings.into_iter().map(|finding| finding.problem).collect::<Vec<_>>().join("; ")
        };
        // A service that is stopped is not wrong.
        assert_eq!(problems(&[], true), "");
        assert_eq!(problems(&[owner("a", "all", 9)], false), "");
        assert_eq!(problems(&[owner("a", "api", 9), owner("b", "worker", 9)], true), "");
        assert!(problems(&[owner("a", "api", 9), owner("b", "worker", 9)], false).starts_with("processes run on 2 "));
        assert!(problems(&[owner("a", "api", 9)], true).starts_with("no process runs tasks"));
        assert_eq!(problems(&[owner("a", "worker", 9)], true), "no process answers calls");
        let lost = problems(&[owner("a", "api", 9), owner("b", "worker", 0)], true);
        assert!(lost.starts_with("the process bworker on b gives no sign of life; 3 tasks"), "{lost}");
        assert!(lost.ends_with("no process runs tasks; they wait in the queue"), "{lost}");
    }

    #[test]
    fn settings_that_differ_are_found() {
        let with = |host: &str, lifetime: &str| {
            let mut owner = owner(host, "all", 9);
            owner.about.offers = serde_json::json!({"settings": {"tasks.lifetime": lifetime, "attempts": 3}});
            owner
        };
        assert_eq!(differing(&[owner("a", "all", 9)]), []);
        assert_eq!(differing(&[owner("a", "all", 9), with("b", "30d"), with("c", "30d")]), []);
        let found = differing(&[with("b", "30d"), with("c", "1d")]);
        let problems: Vec<_> = found.iter().map(|finding| finding.problem.as_str()).collect();
        assert_eq!(problems, ["`tasks.lifetime` is \"30d\" for a process on b, and \"1d\" for one on c"]);
    }

    #[test]
    fn a_clock_may_be_apart_by_seconds() {
        for (here, there, count) in [(0, 5000, 0), (5000, 0, 0), (0, 5001, 1), (5001, 0, 1)] {
            assert_eq!(apart(Moment(here), Moment(there)).len(), count, "{here} {there}");
        }
    }
}
