//! What several processes need: signs of life, progress, and what waits.

use super::*;
use crate::{AssetToken, COUNTED, Duty, KeyShare, LiveProgress, OwnerRow, RunningTask};

pub async fn owners_are_listed_until_they_resign(database: &impl Database) {
    let store = database.open().await;
    assert_eq!(store.owners().await.unwrap(), []);
    let offers = serde_json::json!({ "models": ["a:1"] });
    let about = |role: &str, ms| OwnerAbout {
        host: "gpu-1".to_owned(),
        role: role.to_owned(),
        started_at: later(ms),
        offers: offers.clone(),
    };
    store.register_owner(owner("worker"), Some(HOUR), about("worker", 2)).await.unwrap();
    store.register_owner(owner("api"), None, about("api", 1)).await.unwrap();
    store.submit(task("a", "1")).await.unwrap();
    let run = try_claim(&*store, "worker", "a").await.unwrap();
    let owners = database.open().await.owners().await.unwrap();
    let api = OwnerRow { id: owner("api"), about: about("api", 1), lease_left: None, draining: false, runs: 0 };
    assert_eq!(owners[0], api);
    assert_eq!((&owners[1].id, &owners[1].about, owners[1].runs), (&owner("worker"), &about("worker", 2), 1));
    assert!(owners[1].lease_left.is_some_and(|left| left > HOUR / 2 && left <= HOUR), "{owners:?}");
    // A lease that has ended is not negative, and new offers replace the old ones.
    let runs = vec![RunProgress::new(run.run.clone().unwrap())];
    let changed = Some(serde_json::json!(["b:2"]));
    let heartbeat = Heartbeat { offers: changed.clone(), ..Heartbeat::new(owner("worker"), Duration::ZERO, runs) };
    assert!(store.heartbeat(heartbeat).await.unwrap().alive);
    let owners = store.owners().await.unwrap();
    assert_eq!((owners[1].lease_left, Some(&owners[1].about.offers)), (Some(Duration::ZERO), changed.as_ref()));
    store.resign(owner("worker")).await.unwrap();
    store.resign(owner("worker")).await.unwrap();
    assert_eq!(store.owners().await.unwrap(), [api]);
    // What it still had is recovered like the runs of the dead.
    assert_eq!(recover(&*store, "api", LEASES).await.requeued, [run]);
}

pub async fn what_runs_is_listed_by_owner(database: &impl Database) {
    let store = database.open().await;
    for name in ["second", "first"] {
        register(&*store, name, None).await;
    }
    let runs =
        [("a1", "first", 20), ("a2", "second", 10), ("a3", "first", 10), ("a4", "first", 10), ("a5", "first", 5)];
    for (name, owner_name, ms) in runs {
        store.submit(task("a", name)).await.unwrap();
        let (run, needs) = (RunId::new().unwrap(), NEEDS.to_owned());
        let claim = Claim { key: key("a"), needs, run, owner: owner(owner_name), now: later(ms), only: None };
        assert_eq!(store.claim(claim).await.unwrap().unwrap().id, id(name));
    }
    // Neither what waits runs, nor what has ended.
    store.submit(task("a", "queued")).await.unwrap();
    assert!(store.end(succeeded(&row(&*store, "a5").await, "a.png")).await.unwrap());
    let run = |name: &str, owner_name: &str, ms| RunningTask {
        id: id(name),
        operation: NEEDS.to_owned(),
        owner: owner(owner_name),
        since: later(ms),
    };
    let all = [run("a3", "first", 10), run("a4", "first", 10), run("a1", "first", 20), run("a2", "second", 10)];
    assert_eq!(store.running(9).await.unwrap(), all);
    let [oldest, next, _, other] = all;
    assert_eq!(store.running(2).await.unwrap(), [oldest, next, other]);
    assert_eq!(store.running(0).await.unwrap(), []);
}

pub async fn a_heartbeat_returns_the_runs_that_are_still_the_owners(database: &impl Database) {
    let store = database.open().await;
    for name in ["me", "other"] {
        register(&*store, name, Some(HOUR)).await;
    }
    let mut runs = Vec::new();
    for (name, owner_name) in [("kept", "me"), ("cancelled", "me"), ("ended", "me"), ("back", "me"), ("other", "other")]
    {
        store.submit(task("a", name)).await.unwrap();
        runs.push(try_claim(&*store, owner_name, "a").await.unwrap());
    }
    let asked: Vec<_> = runs.iter().collect();
    let ids = |rows: &[TaskRow]| rows.iter().map(|row| row.run.clone().unwrap()).collect::<Vec<_>>();
    let all = beat(&*store, "me", HOUR, &asked).await;
    let mut found = all.runs;
    found.sort();
    let mut expected = ids(&runs[..4]);
    expected.sort();
    assert_eq!((all.alive, all.draining, found, all.strays), (true, false, expected, 0));
    let process = database.open().await;
    assert!(process.end(cancelled(&runs[1])).await.unwrap());
    assert!(store.end(succeeded(&runs[2], "a.png")).await.unwrap());
    assert!(store.hand_back(back(&runs[3], false)).await.unwrap());
    assert!(process.drain(owner("me")).await.unwrap());
    assert!(!process.drain(owner("nobody")).await.unwrap());
    let rest = beat(&*store, "me", HOUR, &asked).await;
    assert_eq!((rest.alive, rest.draining, rest.runs), (true, true, ids(&runs[..1])));
    // A run that is listed twice is one.
    let twice = beat(&*store, "me", HOUR, &[&runs[0], &runs[0]]).await;
    assert_eq!(twice.runs, ids(&runs[..1]));
}

/// Its owner lives and does not know of it, so nothing else would ever end it.
pub async fn a_run_whose_claim_was_not_answered_is_given_back(database: &impl Database) {
    let store = open(database).await;
    for name in ["1", "2", "3"] {
        store.submit(task("a", name)).await.unwrap();
    }
    let (known, stray) = (claim(&*store, "a").await, claim(&*store, "a").await);
    register(&*store, "other", None).await;
    let others = try_claim(&*store, "other", "a").await.unwrap();
    // Its answer may still be on the way.
    let young = beat(&*store, "me", HOUR, &[&known]).await;
    assert_eq!((young.strays, young.runs.len()), (0, 1));
    let runs = vec![RunProgress::new(known.run.clone().unwrap())];
    let heartbeat = Heartbeat { stray_age: Duration::ZERO, ..Heartbeat::new(owner("me"), HOUR, runs) };
    assert_eq!(store.heartbeat(heartbeat.clone()).await.unwrap().strays, 1);
    assert_eq!(store.heartbeat(heartbeat).await.unwrap().strays, 0);
    let queued = row(&*store, &stray.id.0).await;
    assert_eq!((queued.state, queued.attempt, queued.run), (State::Queued, 0, None));
    assert!(!store.end(succeeded(&stray, "late.png")).await.unwrap());
    let orphans: Vec<_> =
        store.orphaned_runs(None, 9).await.unwrap().into_iter().map(|orphan| Some(orphan.run)).collect();
    assert_eq!(orphans, [stray.run]);
    assert_eq!(row(&*store, &known.id.0).await, known);
    assert_eq!(row(&*store, &others.id.0).await, others);
}

pub async fn progress_is_that_of_the_current_run(database: &impl Database) {
    let store = open(database).await;
    for name in ["1", "2"] {
        store.submit(task("a", name)).await.unwrap();
    }
    let (first, second) = (claim(&*store, "a").await, claim(&*store, "a").await);
    let asked = || ["1", "2", "unknown"].map(id).to_vec();
    assert_eq!(store.live(asked()).await.unwrap(), []);
    let run = first.run.clone().unwrap();
    let progress = RunProgress {
        percent: 12.5,
        step: 3,
        steps: 24,
        engine: Some("sd-1".to_owned()),
        grade: Some("neural".to_owned()),
        preview: Some(AssetToken::new(&run, "png").unwrap()),
        ..RunProgress::new(run.clone())
    };
    let stale = RunProgress::new(RunId::new().unwrap());
    let beaten = async |runs: Vec<RunProgress>| store.heartbeat(Heartbeat::new(owner("me"), HOUR, runs)).await.unwrap();
    assert_eq!(beaten(vec![progress.clone(), stale]).await.watched, []);
    let live = LiveProgress { task: id("1"), progress: progress.clone() };
    assert_eq!(store.live(asked()).await.unwrap(), [live]);
    // Previews are announced as long as somebody waits for them.
    store.watch(id("1"), HOUR).await.unwrap();
    store.watch(id("1"), Duration::ZERO).await.unwrap();
    store.watch(id("2"), Duration::ZERO).await.unwrap();
    let further = RunProgress { percent: 50.0, step: 12, ..progress };
    let other = RunProgress::new(second.run.clone().unwrap());
    assert_eq!(beaten(vec![further.clone(), other.clone()]).await.watched, [run]);
    let mut live = store.live(asked()).await.unwrap();
    live.sort_by(|one, other| one.task.cmp(&other.task));
    assert_eq!(live.iter().map(|live| &live.progress).collect::<Vec<_>>(), [&further, &other]);
    // Neither what has ended nor the next run has the progress of this one.
    assert!(store.end(succeeded(&first, "a.png")).await.unwrap());
    assert!(store.hand_back(back(&second, false)).await.unwrap());
    claim(&*store, "a").await;
    assert_eq!(store.live(asked()).await.unwrap(), []);
}

pub async fn what_waits_is_listed_in_parts(database: &impl Database) {
    let store = open(database).await;
    for (key_name, needs, count) in
        [("a", NEEDS, 2), ("b", NEEDS, COUNTED + 3), ("c", "other", 1), ("d", NEEDS, 1), ("d", "other", 1)]
    {
        for number in 0..count {
            let name = format!("{key_name}-{needs}-{number}");
            store.submit(NewTask { needs: needs.to_owned(), ..task(key_name, &name) }).await.unwrap();
        }
    }
    // Neither a running task waits, nor one that has ended.
    store.submit(NewTask { needs: "gone".to_owned(), ..task("a", "ended") }).await.unwrap();
    assert!(store.end(cancelled(&row(&*store, "ended").await)).await.unwrap());
    store.submit(task("e", "running")).await.unwrap();
    claim(&*store, "e").await;
    let mut needs = store.waiting_needs(None, 9).await.unwrap();
    let first = store.waiting_needs(None, 1).await.unwrap();
    let rest = store.waiting_needs(first.first().cloned(), 9).await.unwrap();
    assert_eq!((first.as_slice(), rest.as_slice()), (&needs[..1], &needs[1..]));
    assert_eq!(store.waiting_needs(needs.last().cloned(), 9).await.unwrap(), [""; 0]);
    needs.sort();
    assert_eq!(needs, [NEEDS, "other"]);
    let listed = async |queries: Vec<Asked>| {
        let lanes = store.waiting(queries).await.unwrap();
        lanes.into_iter().map(|lane| (lane.needs, lane.key.0, lane.count)).collect::<Vec<_>>()
    };
    let lane = |needs: &str, key_name: &str, count: usize| (needs.to_owned(), key_name.to_owned(), count);
    let all = [lane(NEEDS, "a", 2), lane(NEEDS, "b", COUNTED), lane(NEEDS, "d", 1)];
    assert_eq!(listed(vec![asked(NEEDS, None, 9)]).await, all);
    assert_eq!(listed(vec![asked(NEEDS, None, 2)]).await, all[..2]);
    let rotated = [all[2].clone(), all[0].clone(), all[1].clone()];
    assert_eq!(listed(vec![asked(NEEDS, Some("b"), 9)]).await, rotated);
    assert_eq!(listed(vec![asked(NEEDS, Some("c"), 3)]).await, rotated);
    assert_eq!(listed(vec![asked(NEEDS, Some("z"), 1)]).await, all[..1]);
    let both = vec![asked("other", Some("c"), 1), asked("gone", None, 9), asked(NEEDS, Some("a"), 0)];
    assert_eq!(listed(both).await, [lane("other", "d", 1)]);
    assert!(listed(Vec::new()).await.is_empty());
    // The oldest of those that are counted, in the order in which they are claimed.
    let lanes = store.waiting(vec![asked(NEEDS, None, 1)]).await.unwrap();
    assert_eq!(lanes[0].first, row(&*store, &format!("a-{NEEDS}-0")).await.seq);
}

pub async fn the_queue_is_counted_up_to_a_number(database: &impl Database) {
    let store = open(database).await;
    assert_eq!(store.queue_length(9).await.unwrap(), 0);
    assert_eq!(store.queue_share(key("a"), 9).await.unwrap(), KeyShare { own: 0, keys: 0 });
    for (key_name, count) in [("a", 4), ("b", 1), ("c", 1)] {
        for number in 0..count {
            store.submit(task(key_name, &format!("{key_name}{number}"))).await.unwrap();
        }
    }
    claim(&*store, "c").await;
    for (most, length, own, keys) in [(9, 5, 4, 2), (5, 5, 4, 2), (3, 3, 3, 2), (1, 1, 1, 1)] {
        assert_eq!(store.queue_length(most).await.unwrap(), length);
        assert_eq!(store.queue_share(key("a"), most).await.unwrap(), KeyShare { own, keys });
    }
    assert_eq!(store.queue_share(key("c"), 9).await.unwrap(), KeyShare { own: 0, keys: 2 });
}

pub async fn an_owner_that_drains_claims_nothing(database: &impl Database) {
    let store = open(database).await;
    store.submit(task("a", "1")).await.unwrap();
    assert!(store.drain(owner("me")).await.unwrap());
    assert_eq!(try_claim(&*store, "me", "a").await, None);
    register(&*store, "next", None).await;
    assert!(try_claim(&*store, "next", "a").await.is_some());
}

pub async fn tasks_that_have_ended_are_found(database: &impl Database) {
    let store = open(database).await;
    for name in ["succeeded", "failed", "cancelled", "running", "queued"] {
        store.submit(task("a", name)).await.unwrap();
    }
    let (first, second) = (claim(&*store, "a").await, claim(&*store, "a").await);
    assert!(store.end(succeeded(&first, "a.png")).await.unwrap());
    assert!(store.end(failed(&second)).await.unwrap());
    assert!(store.end(cancelled(&row(&*store, "cancelled").await)).await.unwrap());
    claim(&*store, "a").await;
    let asked = ["succeeded", "failed", "cancelled", "running", "queued", "unknown"].map(id).to_vec();
    let mut ended = database.open().await.ended(asked).await.unwrap();
    ended.sort();
    assert_eq!(ended, ["cancelled", "failed", "succeeded"].map(id));
}

pub async fn a_duty_is_one_owners_while_it_lives(database: &impl Database) {
    let stores = [open(database).await, database.open().await];
    register(&*stores[1], "other", None).await;
    let takes = async |index: usize, duty: Duty, name: &str, hold: Duration| {
        stores[index].take_duty(duty, owner(name), hold).await.unwrap()
    };
    assert!(takes(0, Duty::Sweep, "me", HOUR).await);
    assert!(!takes(1, Duty::Sweep, "other", HOUR).await);
    assert!(takes(1, Duty::Retention, "other", HOUR).await);
    // It is extended, given up, or free once its owner is gone.
    assert!(takes(0, Duty::Sweep, "me", HOUR).await);
    assert!(takes(0, Duty::Sweep, "me", Duration::ZERO).await);
    assert!(takes(1, Duty::Sweep, "other", HOUR).await);
    assert!(!takes(0, Duty::Sweep, "me", HOUR).await);
    stores[1].resign(owner("other")).await.unwrap();
    assert!(takes(0, Duty::Sweep, "me", HOUR).await);
}
