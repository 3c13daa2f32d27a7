//! The rules about files, and about the end of a store.

use super::*;
use crate::{AssetFile, AssetToken, OrphanedRun, StoreError, TaskOutput};

fn token(name: &str) -> AssetToken {
    AssetToken(name.to_owned())
}

/// The end of a run that may have left files.
fn orphaning(task: TaskRow) -> End {
    End { before: State::Running, task, assets: Vec::new(), callback: None, orphans_run: true }
}

pub async fn runs_are_orphaned_until_they_are_forgotten(database: &impl Database) {
    let store = open(database).await;
    let mut runs = Vec::new();
    for number in 0..3 {
        store.submit(task("a", &number.to_string())).await.unwrap();
        let run = claim(&*store, "a").await;
        let ended = run.clone().ended(Ending::Failed("no".to_owned()), None, later(number));
        assert!(store.end(orphaning(ended)).await.unwrap());
        runs.push(run.run.unwrap());
    }
    let orphan = |number: usize| OrphanedRun { run: runs[number].clone(), since: later(number as i64) };
    assert_eq!(store.orphaned_runs(None, 1).await.unwrap(), [orphan(0)]);
    assert_eq!(store.orphaned_runs(Some(orphan(0)), 1).await.unwrap(), [orphan(1)]);
    assert_eq!(store.orphaned_runs(Some(orphan(0)), 9).await.unwrap(), [orphan(1), orphan(2)]);
    assert!(store.orphaned_runs(Some(orphan(2)), 9).await.unwrap().is_empty());
    store.forget_orphaned_runs(runs[..2].to_vec()).await.unwrap();
    let left: Vec<_> = store.orphaned_runs(None, 9).await.unwrap().into_iter().map(|orphan| orphan.run).collect();
    assert_eq!(left, runs[2..]);
}

/// Runs that were orphaned in the same moment are in the order of their ids.
pub async fn orphaned_runs_of_one_moment_are_listed_in_parts(database: &impl Database) {
    let store = open(database).await;
    let mut expected = Vec::new();
    for number in 0..5 {
        store.submit(task("a", &number.to_string())).await.unwrap();
        let run = claim(&*store, "a").await;
        assert!(store.end(orphaning(run.clone().ended(Ending::Failed("no".to_owned()), None, NOW))).await.unwrap());
        expected.push(run.run.unwrap());
    }
    expected.sort();
    let mut listed: Vec<OrphanedRun> = Vec::new();
    loop {
        let part = store.orphaned_runs(listed.last().cloned(), 2).await.unwrap();
        if part.is_empty() {
            break;
        }
        listed.extend(part);
    }
    assert_eq!(listed.into_iter().map(|orphan| orphan.run).collect::<Vec<_>>(), expected);
}

pub async fn assets_with_a_file_are_listed_in_parts(database: &impl Database) {
    let store = open(database).await;
    store.submit(task("a", "1")).await.unwrap();
    let run = claim(&*store, "a").await;
    let assets = vec![expiring("c.png", later(5)), picture("a.png"), picture("d.png"), expiring("b.png", NOW)];
    assert!(store.end(end(&run, Ending::Succeeded(TaskOutput::default()), assets)).await.unwrap());
    assert_eq!(store.expire_assets(NOW, 9).await.unwrap(), [token("b.png")]);
    let file = |name: &str, expires_at| AssetFile { token: token(name), bytes: 7, expires_at };
    let all = [file("a.png", None), file("c.png", Some(later(5))), file("d.png", None)];
    assert_eq!(store.asset_files(None, 9).await.unwrap(), all);
    assert_eq!(store.asset_files(None, 1).await.unwrap(), all[..1]);
    assert_eq!(store.asset_files(Some(token("a.png")), 1).await.unwrap(), all[1..2]);
    assert_eq!(store.asset_files(Some(token("b.png")), 9).await.unwrap(), all[1..]);
    assert!(store.asset_files(Some(token("d.png")), 9).await.unwrap().is_empty());
}

pub async fn assets_live_until_they_are_deleted(database: &impl Database) {
    let store = open(database).await;
    store.submit(task("a", "1")).await.unwrap();
    let run = claim(&*store, "a").await;
    let tokens: Vec<_> = ["forever.png", "soon.png", "later.png"].map(|name| AssetToken(name.into())).to_vec();
    let ends = [None, Some(later(10)), Some(later(20))];
    let assets =
        tokens.iter().zip(ends).map(|(token, expires_at)| NewAsset { expires_at, ..picture(token.as_str()) }).collect();
    assert!(store.end(end(&run, Ending::Succeeded(TaskOutput::default()), assets)).await.unwrap());
    assert_eq!(store.asset_bytes().await.unwrap(), 21);
    assert!(store.expire_assets(later(9), 9).await.unwrap().is_empty());
    assert_eq!(store.expire_assets(later(20), 1).await.unwrap(), tokens[1..2]);
    assert!(store.expire_assets(later(10), 9).await.unwrap().is_empty());
    assert_eq!(store.asset(tokens[1].clone()).await.unwrap().unwrap().deleted_at, Some(later(20)));
    let mut asked = tokens.clone();
    asked.push(AssetToken("unknown.png".into()));
    let mut kept = store.kept_assets(asked).await.unwrap();
    kept.sort();
    assert_eq!(kept, [tokens[0].clone(), tokens[2].clone()]);
    assert_eq!(store.asset_bytes().await.unwrap(), 14);
    // None is marked twice, and every process counts the same.
    assert_eq!(store.expire_assets(later(30), 9).await.unwrap(), tokens[2..]);
    assert_eq!(database.open().await.asset_bytes().await.unwrap(), 7);
    assert_eq!(store.asset(tokens[1].clone()).await.unwrap().unwrap().deleted_at, Some(later(20)));
}

/// However many processes expire at once, each picture is marked by one of them.
pub async fn several_processes_share_what_has_expired(database: &impl Database) {
    let stores = [open(database).await, database.open().await];
    stores[0].submit(task("a", "1")).await.unwrap();
    let run = claim(&*stores[0], "a").await;
    let names: Vec<_> = (0..60).map(|number| format!("{number}.png")).collect();
    let assets = names.iter().map(|name| expiring(name, NOW)).collect();
    assert!(stores[0].end(end(&run, Ending::Succeeded(TaskOutput::default()), assets)).await.unwrap());
    let expired = (0..6).map(|number: usize| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move { store.expire_assets(NOW, 10).await.unwrap() })
    });
    let mut marked = Vec::new();
    for expired in expired.collect::<Vec<_>>() {
        marked.extend(expired.await.unwrap());
    }
    marked.extend(stores[0].expire_assets(NOW, 100).await.unwrap());
    let mut listed = stores[0].expired_files(None, 100).await.unwrap();
    marked.sort();
    listed.sort();
    assert_eq!((marked.len(), &marked), (60, &listed));
    assert_eq!(stores[1].asset_bytes().await.unwrap(), 0);
}

/// A picture that is deleted from then on.
fn expiring(name: &str, expires_at: Moment) -> NewAsset {
    NewAsset { expires_at: Some(expires_at), ..picture(name) }
}

pub async fn bytes_of_assets_are_counted_by_key(database: &impl Database) {
    let store = open(database).await;
    let ended = async |key_name: &str, name: &str, tokens: &[&str]| {
        store.submit(task(key_name, name)).await.unwrap();
        let run = claim(&*store, key_name).await;
        let of = |token: &&str| if *token == "4.png" { picture(token) } else { expiring(token, later(1)) };
        let assets = tokens.iter().map(of).collect();
        assert!(store.end(end(&run, Ending::Succeeded(TaskOutput::default()), assets)).await.unwrap());
    };
    assert_eq!(store.kept_bytes(key("a")).await.unwrap(), 0);
    ended("a", "1", &["1.png", "2.png"]).await;
    ended("b", "2", &["3.png"]).await;
    ended("a", "3", &["4.png"]).await;
    ended("none", "4", &[]).await;
    assert_eq!(store.kept_bytes(key("a")).await.unwrap(), 21);
    assert_eq!(store.kept_bytes_by_key().await.unwrap(), [(key("a"), 21), (key("b"), 7)]);
    for (moment, count) in [(later(1), 3), (later(2), 0)] {
        assert_eq!(store.expire_assets(moment, 9).await.unwrap().len(), count);
    }
    assert_eq!(database.open().await.kept_bytes_by_key().await.unwrap(), [(key("a"), 7), (key("b"), 0)]);
    assert_eq!(store.kept_bytes(key("none")).await.unwrap(), 0);
}

pub async fn expired_files_are_listed_until_they_are_forgotten(database: &impl Database) {
    let store = open(database).await;
    store.submit(task("a", "1")).await.unwrap();
    let run = claim(&*store, "a").await;
    let names = ["c.png", "a.png", "b.png"];
    let mut assets = names.map(|name| expiring(name, later(1))).to_vec();
    assets.push(picture("kept.png"));
    assert!(store.end(end(&run, Ending::Succeeded(TaskOutput::default()), assets)).await.unwrap());
    assert!(store.expired_files(None, 9).await.unwrap().is_empty());
    assert_eq!(store.expire_assets(later(1), 9).await.unwrap().len(), 3);
    // Another process sees them too: the one that marked them may be dead.
    let store = database.open().await;
    assert_eq!(store.expired_files(None, 9).await.unwrap(), ["a.png", "b.png", "c.png"].map(token));
    assert_eq!(store.expired_files(None, 1).await.unwrap(), [token("a.png")]);
    assert_eq!(store.expired_files(Some(token("a.png")), 9).await.unwrap(), ["b.png", "c.png"].map(token));
    store.forget_expired_files(vec![token("a.png"), token("unknown.png")]).await.unwrap();
    assert_eq!(store.expired_files(None, 9).await.unwrap(), ["b.png", "c.png"].map(token));
}

pub async fn files_are_accounted_for_by_assets_deletions_and_runs(database: &impl Database) {
    let store = open(database).await;
    for name in ["1", "2", "3"] {
        store.submit(task("a", name)).await.unwrap();
    }
    let (first, current, orphan) = (claim(&*store, "a").await, claim(&*store, "a").await, claim(&*store, "a").await);
    let assets = vec![picture("kept.png"), expiring("deleted.png", NOW)];
    assert!(store.end(end(&first, Ending::Succeeded(TaskOutput::default()), assets)).await.unwrap());
    assert_eq!(store.expire_assets(NOW, 9).await.unwrap(), [token("deleted.png")]);
    let ended = orphan.clone().ended(Ending::Failed("no".to_owned()), None, NOW);
    assert!(store.end(orphaning(ended)).await.unwrap());
    let of = |row: &TaskRow| AssetToken::new(row.run.as_ref().unwrap(), "png").unwrap();
    let (ended, known) = (of(&first), [token("kept.png"), token("deleted.png"), of(&current), of(&orphan)]);
    let mut asked = known.to_vec();
    asked.extend([ended.clone(), token("stray.png")]);
    let mut unknown = store.unaccounted_files(asked).await.unwrap();
    unknown.sort();
    let mut expected = [ended, token("stray.png")];
    expected.sort();
    assert_eq!(unknown, expected);
    assert!(store.unaccounted_files(known.to_vec()).await.unwrap().is_empty());
}

/// Only files of runs that this database knows to be over are deleted for lack of a row.
pub async fn a_file_is_deleted_for_lack_of_a_row_only_with_proof(database: &impl Database) {
    let (store, other) = (open(database).await, database.open().await);
    for name in ["1", "2", "3", "4"] {
        store.submit(task("a", name)).await.unwrap();
    }
    let (ended, current) = (claim(&*store, "a").await, claim(&*store, "a").await);
    let (lost, handed_back) = (claim(&*store, "a").await, claim(&*store, "a").await);
    let file = |row: &TaskRow| AssetToken::new(row.run.as_ref().unwrap(), "png").unwrap();
    let (kept, expired) = (file(&ended), file(&ended));
    let assets = vec![picture(kept.as_str()), expiring(expired.as_str(), NOW)];
    assert!(store.end(end(&ended, Ending::Succeeded(TaskOutput::default()), assets)).await.unwrap());
    assert_eq!(store.expire_assets(NOW, 9).await.unwrap(), std::slice::from_ref(&expired));
    store.forget_expired_files(vec![expired.clone()]).await.unwrap();
    assert!(store.hand_back(back(&handed_back, false)).await.unwrap());
    let unknown = AssetToken::new(&RunId::new().unwrap(), "png").unwrap();
    let (left, late) = (file(&ended), file(&lost));
    let asked = vec![kept, expired.clone(), left.clone(), file(&current), late.clone(), unknown, token("stray.png")];
    let tombstones = async |store: &dyn Store| {
        let mut found = store.tombstones(asked.clone()).await.unwrap();
        found.sort();
        found
    };
    let sorted = |mut tokens: Vec<AssetToken>| {
        tokens.sort();
        tokens
    };
    // What has expired and what an ended run has left. Two processes may delete the same.
    let proven = sorted(vec![expired.clone(), left.clone()]);
    assert_eq!((tombstones(&*store).await, tombstones(&*other).await), (proven.clone(), proven.clone()));
    // They are listed until they are deleted, in case the process dies before.
    assert_eq!(other.expired_files(None, 9).await.unwrap(), proven);
    other.forget_expired_files(proven).await.unwrap();
    // Once a run was given up, its late end cannot bring its file back.
    register(&*other, "next", None).await;
    assert!(try_claim(&*other, "next", "a").await.is_some());
    let recovered = recover(&*other, "next", Proof::SoleOwner).await.requeued;
    assert_eq!(recovered.iter().map(|task| &task.run).collect::<Vec<_>>(), [&current.run, &lost.run]);
    assert!(tombstones(&*other).await.contains(&late));
    assert!(!store.end(succeeded(&lost, late.as_str())).await.unwrap());
    assert_eq!(store.asset(late.clone()).await.unwrap(), None);
    assert!(store.expired_files(None, 9).await.unwrap().contains(&late));
    let files = vec![file(&handed_back), file(&handed_back)];
    assert_eq!(sorted(store.tombstones(files.clone()).await.unwrap()), sorted(files));
    // A run that is forgotten proves nothing any more.
    store.forget_orphaned_runs(vec![lost.run.clone().unwrap()]).await.unwrap();
    assert!(store.tombstones(vec![file(&lost)]).await.unwrap().is_empty());
    assert!(store.tombstones(Vec::new()).await.unwrap().is_empty());
}

pub async fn the_last_place_is_that_of_the_newest_task(database: &impl Database) {
    let store = open(database).await;
    assert_eq!(store.last_place().await.unwrap(), 0);
    for (key_name, name) in [("a", "1"), ("b", "2")] {
        store.submit(task(key_name, name)).await.unwrap();
        let place = store.task_place(key(key_name), id(name)).await.unwrap().unwrap();
        assert_eq!(store.last_place().await.unwrap(), place);
    }
}

pub async fn a_closed_store_keeps_what_was_acknowledged_and_takes_nothing(database: &impl Database) {
    let store = open(database).await;
    let writes = (0..50).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.submit(task("a", &number.to_string())).await })
    });
    let writes: Vec<_> = writes.collect();
    tokio::task::yield_now().await;
    store.close().await.unwrap();
    let mut accepted = 0;
    for write in writes {
        match write.await.unwrap() {
            Ok(_) => accepted += 1,
            Err(error) => assert!(matches!(error, StoreError::Closed { .. }), "{error}"),
        }
    }
    assert!(matches!(store.submit(task("a", "late")).await, Err(StoreError::Closed { .. })));
    assert!(matches!(store.task(id("0")).await, Err(StoreError::Closed { .. })));
    assert!(store.ready().await.is_err());
    store.close().await.unwrap();
    let next = database.open().await;
    assert_eq!(next.queued().await.unwrap().iter().map(|lane| lane.count).sum::<usize>(), accepted);
}
