//! Rounds over a directory in which every kind of file lies.

use std::sync::Arc;

use imgopen_engine::{Format, Picture, Registry};
use imgopen_store::{
    Claim, Clock, End, Ending, HandBack, KeyId, Moment, NewTask, RunId, State, TaskId, TaskOutput, TaskRow,
};

use super::*;
use crate::app::Service;
use crate::settings::Settings;

async fn context(directory: &tempfile::TempDir, clock: &Clock) -> Arc<Context> {
    let settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
    let context = Service::open(settings, clock.clone(), Registry::new(Vec::new())).await.unwrap().context();
    context.assets.settle().await.unwrap();
    context
}

/// Begins a run of a task with that id.
async fn running(context: &Context, name: &str) -> TaskRow {
    let (key, needs, now) = (KeyId(name.to_owned()), "enlarge_image".to_owned(), context.clock.now());
    let task = NewTask::new(TaskId(name.to_owned()), key.clone(), "enlarge_image", "{}", now);
    context.store.submit(task).await.unwrap();
    let claim = Claim { key, needs, run: RunId::new().unwrap(), owner: context.owner(), now, only: None };
    context.store.claim(claim).await.unwrap().unwrap()
}

/// Writes a file in a run.
async fn put(context: &Context, run: &RunId) -> AssetToken {
    let picture = Picture { bytes: vec![1, 2, 3].into(), format: Format::Png, width: 1, height: 1, seed: None };
    context.assets.put(run, &picture, &[], None).await.unwrap().token
}

async fn exists(context: &Context, token: &AssetToken) -> bool {
    context.assets.size_of(token).await.unwrap().is_some()
}

async fn noted(context: &Context) -> Option<i64> {
    context.store.note(Note::Unknown).await.unwrap()
}

#[tokio::test]
async fn what_is_proven_is_deleted_and_what_is_unknown_is_counted_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(&directory, &Clock::fixed(Moment(1_769_904_000_000))).await;
    // A late file of a run that has ended, such as one whose deletion a bucket has only reported.
    let ended = running(&context, "ended").await;
    let run = ended.run.clone().unwrap();
    let ended = ended.ended(Ending::Succeeded(TaskOutput::default()), None, context.clock.now());
    let end = End { before: State::Running, task: ended, assets: Vec::new(), callback: None, orphans_run: false };
    assert!(context.store.end(end).await.unwrap());
    let late = put(&context, &run).await;
    // A file that is being written, one of a run that the database has forgotten, and one of another database.
    let current = put(&context, &running(&context, "current").await.run.unwrap()).await;
    let TaskRow { id: task, run, .. } = running(&context, "forgotten").await;
    let (run, now) = (run.unwrap(), context.clock.now());
    let back = HandBack { task, run: run.clone(), is_fault: false, deferred_for: Duration::ZERO, now };
    assert!(context.store.hand_back(back).await.unwrap());
    context.store.forget_orphaned_runs(vec![run.clone()]).await.unwrap();
    let forgotten = put(&context, &run).await;
    let unknown = put(&context, &RunId::new().unwrap()).await;
    let mut survey = Survey::default();
    assert_eq!(survey.step(&context).await.unwrap(), 1);
    assert!(!exists(&context, &late).await);
    for kept in [&current, &forgotten, &unknown] {
        assert!(exists(&context, kept).await, "{kept}");
    }
    assert_eq!(noted(&context).await, Some(2));
}

#[tokio::test]
async fn each_round_counts_again() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(Moment(1_769_904_000_000));
    let context = context(&directory, &clock).await;
    let mut survey = Survey::default();
    assert_eq!((survey.step(&context).await.unwrap(), noted(&context).await), (0, Some(0)));
    let file = put(&context, &RunId::new().unwrap()).await;
    for (hours, expected) in [(0, 0), (23, 0), (24, 1)] {
        clock.set(Moment(1_769_904_000_000).plus(Duration::from_secs(hours * 3600)));
        survey.step(&context).await.unwrap();
        assert_eq!(noted(&context).await, Some(expected), "{hours}");
    }
    // Once it is gone, it is not counted any more.
    std::fs::remove_file(crate::assets::path(&directory.path().join("assets"), &file)).unwrap();
    clock.set(Moment(1_769_904_000_000).plus(Duration::from_secs(48 * 3600)));
    survey.step(&context).await.unwrap();
    assert_eq!(noted(&context).await, Some(0));
}

/// A step looks at so many pages, and the next one goes on there.
#[tokio::test]
async fn a_round_takes_several_steps() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(&directory, &Clock::fixed(Moment(1_769_904_000_000))).await;
    // One file on each of more shelves than a step has pages.
    let shelves = PAGES + 6;
    for number in 0..shelves {
        let token = AssetToken(format!("{number:02x}{}.png", "0".repeat(62)));
        let path = crate::assets::path(&directory.path().join("assets"), &token);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    let mut survey = Survey::default();
    survey.step(&context).await.unwrap();
    assert_eq!(noted(&context).await, None);
    survey.step(&context).await.unwrap();
    assert_eq!(noted(&context).await, Some(shelves as i64));
}
