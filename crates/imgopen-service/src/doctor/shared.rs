//! A service whose rows are in a database that several processes share: whether this machine reaches it, and who else does.

use std::collections::BTreeSet;
use std::time::Duration;

use imgopen_store::{Clock, Moment, OwnerRow};
use tokio::runtime::Builder;

use super::finding::{Finding, Report};
use super::machine;
use crate::assets::{AssetError, Examined};
use crate::settings::{DatabaseSettings, Settings};

/// How far the clock may be from that of the database, which processes go by.
const APART: Duration = Duration::from_secs(5);

/// What the database shows.
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "only PostgreSQL is shared"))]
struct Seen {
    /// Its clock.
    now: Moment,
    owners: Vec<OwnerRow>,
    /// The number of the mark of the place of the pictures.
    pictures: Option<i64>,
}

/// Examines the settings, the machine, the database that the settings name, and the bucket. The service may be running. Blocks, and
/// must not be called in an asynchronous task; does not compare pictures with rows.
pub fn examine_shared(settings: &Settings, clock: &Clock) -> Report {
    let mut report = Report::default();
    report.add("settings", machine::settings(settings));
    report.add("limits", machine::limits());
    let seen = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(look(&settings.database)),
        Err(error) => Err(Finding::new(format!("no connection can be made: {error}"), "end other programs")),
    };
    let seen = match seen {
        Ok(seen) => seen,
        Err(finding) => {
            report.add("database", vec![finding]);
            return report;
        }
    };
    report.add("database", Vec::new());
    report.add("clock", apart(clock.now(), seen.now));
    let examined = Examined::open(&settings.storage);
    let has_bucket = !matches!(examined, Ok(None));
    report.add("processes", processes(&seen.owners, has_bucket));
    match examined {
        Ok(None) => {}
        Ok(Some(bucket)) => report.add("bucket", reached(seen.pictures, &bucket).err().into_iter().collect()),
        Err(error) => report.add("bucket", vec![Finding::split(&error.to_string(), "correct the setting")]),
    }
    report
}

#[cfg(feature = "postgres")]
async fn look(settings: &DatabaseSettings) -> Result<Seen, Finding> {
    use imgopen_postgres::{PostgresOptions, PostgresStore};
    use imgopen_store::{Note, Store, StoreError};

    let address = settings.address().map_err(|error| Finding::split(&error.to_string(), "correct the setting"))?;
    let Some(address) = address else { return Err(missing()) };
    let options = PostgresOptions { connections: 1, notify: false, ..PostgresOptions::default() };
    let seen = async {
        let store = PostgresStore::open(&address, &options).await?;
        store.ready().await?;
        let (now, owners) = (store.now().await?, store.owners().await?);
        let pictures = store.note(Note::Pictures).await?;
        store.close().await?;
        Ok::<_, StoreError>(Seen { now, owners, pictures })
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

fn lost(owner: &OwnerRow) -> Finding {
    let OwnerRow { id, about, runs, .. } = owner;
    let problem = format!("the process {id} on {} gives no sign of life; {runs} tasks were running there", about.host);
    Finding::new(problem, "another process takes its tasks within seconds; start it again, and see its log")
}

/// Examines whether the bucket can be used, and is that of the database. Writes an object and deletes it.
fn reached(noted: Option<i64>, bucket: &Examined) -> Result<(), Finding> {
    let of = |error: AssetError| Finding::split(&error.to_string(), "see the log of the bucket's server");
    let found = bucket.mark().map_err(of)?;
    if noted != found && !bucket.is_adopted(noted).map_err(of)? {
        let what =
            if found.is_some() { "bears the mark of another database" } else { "lacks the mark of the database" };
        let fix = format!(
            "correct `storage.url`; if it is the right place, put an empty object there to have the service take it: {}",
            bucket.shown_adoption(noted)
        );
        return Err(Finding::new(format!("{} {what}", bucket.shown()), fix));
    }
    bucket.write_probe().map_err(of)
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
    fn a_clock_may_be_apart_by_seconds() {
        for (here, there, count) in [(0, 5000, 0), (5000, 0, 0), (0, 5001, 1), (5001, 0, 1)] {
            assert_eq!(apart(Moment(here), Moment(there)).len(), count, "{here} {there}");
        }
    }
}
