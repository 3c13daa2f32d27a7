//! The receiver of callbacks: reads what every operation pushes, acknowledges what was handled, and nothing else.

use std::sync::{Arc, Mutex};

use axum::Router;
use imgopen_client::callback;
use imgopen_client::types::{Callback, JobState};
use imgopen_tests::document::{document, success};
use imgopen_tests::wire::{serve, url};
use imgopen_types::operations;
use serde_json::Value;

async fn start() -> (String, Arc<Mutex<Vec<Callback>>>) {
    let seen: Arc<Mutex<Vec<Callback>>> = Arc::default();
    let copy = seen.clone();
    let receiver = callback::receiver(move |callback: Callback| {
        let seen = copy.clone();
        async move {
            let mut seen = seen.lock().unwrap();
            seen.push(callback);
            if seen.len() > 100 { Err("no more room") } else { Ok(()) }
        }
    });
    (url(serve(Router::new().nest("/callbacks", receiver)).await) + "/callbacks", seen)
}

async fn push(server: &str, operation: &str, body: String) -> (u16, Value) {
    let response = reqwest::Client::new().post(format!("{server}/{operation}")).body(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The operation whose answer has the same schema as the pushed body: the document has an example of it.
fn pushed_body(operation: &imgopen_types::Operation) -> String {
    let body = operation.callback.as_ref().unwrap().body.name;
    let source = operations::ALL.iter().find(|known| known.response.name == body).unwrap();
    success(source.id).to_string()
}

#[tokio::test]
async fn every_pushed_body_is_read_and_acknowledged() {
    let (server, seen) = start().await;
    let pushing: Vec<_> = operations::ALL.iter().filter(|operation| operation.callback.is_some()).collect();
    assert_eq!(pushing.len(), 17);
    for operation in pushing {
        let (status, receipt) = push(&server, operation.id, pushed_body(operation)).await;
        assert_eq!((status, receipt.to_string().as_str()), (200, r#"{"code":"200"}"#), "{}", operation.id);
        let callback = seen.lock().unwrap().pop().unwrap();
        assert_eq!(callback.operation().id, operation.id);
        assert_eq!(callback.state(), JobState::Succeeded, "{}", operation.id);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_not_acknowledged() {
    let (server, seen) = start().await;
    assert_eq!(push(&server, "outpaint", "{}".into()).await.0, 422);
    assert_eq!(push(&server, "outpaint", "not JSON".into()).await.0, 422);
    assert_eq!(push(&server, "list_models", "{}".into()).await.0, 404);
    assert_eq!(push(&server, "nothing", "{}".into()).await.0, 404);
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_push_of_a_failure_is_never_read_as_a_success() {
    let (server, seen) = start().await;
    let mut with_data: Value = serde_json::from_str(&pushed_body(&operations::OUTPAINT)).unwrap();
    with_data["code"] = "500".into();
    for body in [with_data.to_string(), r#"{"code":"500","msg":"no engine"}"#.to_owned()] {
        let (status, receipt) = push(&server, "outpaint", body).await;
        assert_eq!((status, receipt["code"].as_str()), (200, Some("200")), "it is handled, so it is acknowledged");
        let callback = seen.lock().unwrap().pop().unwrap();
        assert!(matches!(&callback, Callback::Failed { envelope, .. } if envelope.code == "500"));
        assert_eq!((callback.state(), callback.operation().id), (JobState::Failed, "outpaint"));
    }
}

#[tokio::test]
async fn whatever_comes_is_answered_with_the_envelope() {
    let receiver = callback::receiver(|_: Callback| async { panic!("in the handler") as Result<(), String> });
    let server = url(serve(receiver).await);
    assert_eq!(push(&server, "outpaint", pushed_body(&operations::OUTPAINT)).await.0, 500);
    assert_eq!(push(&server, "outpaint/more", "{}".into()).await.0, 404);
    assert_eq!(push(&server, "outpaint", " ".repeat(5_000_000)).await.0, 413);
    let get = reqwest::get(format!("{server}/outpaint")).await.unwrap();
    assert_eq!((get.status().as_u16(), get.json::<Value>().await.unwrap()["code"].clone()), (405, "405".into()));
}

#[tokio::test]
async fn what_was_not_handled_is_pushed_again() {
    let (server, seen) = start().await;
    let body = pushed_body(&operations::OUTPAINT);
    let callback = Callback::read("outpaint", body.as_bytes()).unwrap().unwrap();
    seen.lock().unwrap().extend(vec![callback; 100]);
    let (status, answer) = push(&server, "outpaint", body).await;
    assert_eq!(status, 500);
    assert_eq!(answer["code"], "500", "only the string \"200\" acknowledges");
}

#[test]
fn the_document_names_the_same_callbacks() {
    let paths = document()["paths"].as_object().unwrap();
    let named = paths.values().filter(|item| item["post"].get("callbacks").is_some()).count();
    assert_eq!(named, operations::ALL.iter().filter(|operation| operation.callback.is_some()).count());
}
