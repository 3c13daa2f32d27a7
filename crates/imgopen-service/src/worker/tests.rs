//! Runs at moments that calls over HTTP do not hit at will.

use std::sync::Arc;

use imgopen_engine::Registry;
use imgopen_tools::Sandbox;

use super::*;
use crate::clock::{Clock, Moment};
use crate::ids::{KeyId, TaskId};
use crate::settings::Settings;
use crate::state::State;
use crate::store::{NewTask, Remembered};

async fn service(folder: &tempfile::TempDir) -> Service {
    let settings = Settings { data_dir: folder.path().to_owned(), sandbox: true, ..Settings::default() };
    Service::open(settings, Clock::system(), Registry::new(vec![Arc::new(Sandbox::new())])).await.unwrap()
}

/// A run of a task that never ends by itself.
async fn claimed(service: &Service) -> TaskRow {
    let task = NewTask {
        id: TaskId("img1".to_owned()),
        key: KeyId("a".to_owned()),
        operation: "enlarge_image",
        caller_id: "mine".to_owned(),
        request: r#"{"businessTaskId":"mine","sourceImage":"https://example.com/a.png","scale":1}"#.to_owned(),
        directives: Some("hang".to_owned()),
        callback_url: None,
        created_at: Moment(0),
        remembered: Remembered::No,
        training: None,
    };
    service.inner.store.submit(task).await.unwrap();
    service.inner.store.claim(KeyId("a".to_owned()), Moment(1)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_cancel_between_the_claim_and_the_entry_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(&folder).await;
    let task = claimed(&service).await;
    // As a call does it that comes before the worker has entered the task.
    let cancelled = service.inner.store.cancel(task.key.clone(), task.id.clone(), None, Moment(2), |_| None).await;
    assert!(cancelled.unwrap().unwrap().is_ok());
    service.inner.running.cancel(&task.id);
    tokio::time::timeout(Duration::from_secs(30), run(&service, &task)).await.expect("the run goes on");
    let now = service.inner.store.task(task.id).await.unwrap().unwrap();
    assert_eq!((now.state, now.finished_at), (State::Cancelled, Some(Moment(2))));
}

#[tokio::test]
async fn a_task_of_an_operation_that_is_gone_fails() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(&folder).await;
    let task = TaskRow { operation: "develop_film".to_owned(), ..claimed(&service).await };
    run(&service, &task).await;
    let now = service.inner.store.task(task.id).await.unwrap().unwrap();
    assert_eq!(now.state, State::Failed);
    assert!(now.failure.unwrap().contains("`develop_film`"));
}
