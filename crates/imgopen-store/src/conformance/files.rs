//! The rules about files, and about the end of a store.

use super::*;
use crate::{AssetToken, OrphanedRun, StoreError, TaskOutput};

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
    let first = OrphanedRun { run: runs[0].clone(), since: NOW };
    assert_eq!(store.orphaned_runs(1).await.unwrap(), [first]);
    store.forget_orphaned_runs(runs[..2].to_vec()).await.unwrap();
    let left: Vec<_> = store.orphaned_runs(9).await.unwrap().into_iter().map(|orphan| orphan.run).collect();
    assert_eq!(left, runs[2..]);
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
    assert!(store.expired_assets(later(9), 9).await.unwrap().is_empty());
    assert_eq!(store.expired_assets(later(10), 9).await.unwrap(), tokens[1..2]);
    assert_eq!(store.expired_assets(later(20), 1).await.unwrap().len(), 1);
    store.mark_assets_deleted(tokens[1..2].to_vec(), later(15)).await.unwrap();
    assert!(store.expired_assets(later(10), 9).await.unwrap().is_empty());
    assert_eq!(store.asset(tokens[1].clone()).await.unwrap().unwrap().deleted_at, Some(later(15)));
    let mut asked = tokens.clone();
    asked.push(AssetToken("unknown.png".into()));
    let mut kept = store.kept_assets(asked).await.unwrap();
    kept.sort();
    assert_eq!(kept, [tokens[0].clone(), tokens[2].clone()]);
    assert_eq!(store.asset_bytes().await.unwrap(), 14);
    // A picture that is marked again is not counted twice, and every process counts the same.
    store.mark_assets_deleted(tokens[..2].to_vec(), later(16)).await.unwrap();
    assert_eq!(database.open().await.asset_bytes().await.unwrap(), 7);
}

pub async fn bytes_of_assets_are_counted_by_key(database: &impl Database) {
    let store = open(database).await;
    let ended = async |key_name: &str, name: &str, tokens: &[&str]| {
        store.submit(task(key_name, name)).await.unwrap();
        let run = claim(&*store, key_name).await;
        let assets = tokens.iter().map(|token| picture(token)).collect();
        assert!(store.end(end(&run, Ending::Succeeded(TaskOutput::default()), assets)).await.unwrap());
    };
    assert_eq!(store.kept_bytes(key("a")).await.unwrap(), 0);
    ended("a", "1", &["1.png", "2.png"]).await;
    ended("b", "2", &["3.png"]).await;
    ended("a", "3", &["4.png"]).await;
    ended("none", "4", &[]).await;
    assert_eq!(store.kept_bytes(key("a")).await.unwrap(), 21);
    assert_eq!(store.kept_bytes_by_key().await.unwrap(), [(key("a"), 21), (key("b"), 7)]);
    // What is marked again is not subtracted twice.
    for moment in [later(1), later(2)] {
        store.mark_assets_deleted(["1.png", "2.png", "3.png"].map(token).to_vec(), moment).await.unwrap();
    }
    assert_eq!(database.open().await.kept_bytes_by_key().await.unwrap(), [(key("a"), 7), (key("b"), 0)]);
    assert_eq!(store.kept_bytes(key("none")).await.unwrap(), 0);
}

pub async fn expired_files_are_listed_until_they_are_forgotten(database: &impl Database) {
    let store = open(database).await;
    store.submit(task("a", "1")).await.unwrap();
    let run = claim(&*store, "a").await;
    let names = ["a.png", "b.png", "c.png", "kept.png"];
    let assets = names.map(picture).to_vec();
    assert!(store.end(end(&run, Ending::Succeeded(TaskOutput::default()), assets)).await.unwrap());
    assert!(store.expired_files(None, 9).await.unwrap().is_empty());
    // Marking is repeated if its answer was lost, and what has no row is not an asset.
    let marked: Vec<_> = ["c.png", "a.png", "b.png", "stray.png"].map(token).to_vec();
    for moment in [later(1), later(2)] {
        store.mark_assets_deleted(marked.clone(), moment).await.unwrap();
    }
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
    let assets = ["kept.png", "deleted.png"].map(picture).to_vec();
    assert!(store.end(end(&first, Ending::Succeeded(TaskOutput::default()), assets)).await.unwrap());
    store.mark_assets_deleted(vec![token("deleted.png")], NOW).await.unwrap();
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
