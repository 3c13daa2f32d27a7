//! The receivers of callbacks: they read what every operation pushes, and acknowledge only what was handled. One accepts only
//! signed pushes.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use imgopen_client::callback::{self, MessageId, Push, SigningSecret};
use imgopen_client::types::{Callback, JobState};
use imgopen_tests::document::success;
use imgopen_tests::spec;
use imgopen_tests::wire::{serve, url};
use imgopen_types::operations;
use imgopen_types::webhook::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};
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
    for operation in operations::ALL.iter().filter(|operation| operation.callback.is_some()) {
        let (status, receipt) = push(&server, operation.id, pushed_body(operation)).await;
        assert_eq!((status, receipt.to_string().as_str()), (200, r#"{"code":"200"}"#), "{}", operation.id);
        let callback = seen.lock().unwrap().pop().unwrap();
        assert_eq!(callback.operation().id, operation.id);
        assert_eq!(callback.state(), JobState::Succeeded, "{}", operation.id);
    }
}

#[tokio::test]
async fn an_invalid_push_is_not_acknowledged() {
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
async fn every_answer_of_a_receiver_is_the_envelope() {
    let receiver = callback::receiver(|_: Callback| async { panic!("in the handler") as Result<(), String> });
    let server = url(serve(receiver).await);
    assert_eq!(push(&server, "outpaint", pushed_body(&operations::OUTPAINT)).await.0, 500);
    assert_eq!(push(&server, "outpaint/more", "{}".into()).await.0, 404);
    assert_eq!(push(&server, "outpaint", " ".repeat(5_000_000)).await.0, 413);
    let get = reqwest::get(format!("{server}/outpaint")).await.unwrap();
    assert_eq!((get.status().as_u16(), get.json::<Value>().await.unwrap()["code"].clone()), (405, "405".into()));
}

#[tokio::test]
async fn a_push_whose_handler_fails_is_pushed_again() {
    let (server, seen) = start().await;
    let body = pushed_body(&operations::OUTPAINT);
    let callback = Callback::read("outpaint", body.as_bytes()).unwrap().unwrap();
    seen.lock().unwrap().extend(vec![callback; 100]);
    let (status, answer) = push(&server, "outpaint", body).await;
    assert_eq!(status, 500);
    assert_eq!(answer["code"], "500", "only the string \"200\" acknowledges");
}

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn secrets(texts: &[&str]) -> Vec<SigningSecret> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

async fn start_signed(known: &[&str]) -> (String, Arc<Mutex<Vec<Push>>>) {
    let seen: Arc<Mutex<Vec<Push>>> = Arc::default();
    let copy = seen.clone();
    let receiver = callback::signed_receiver(secrets(known), move |push: Push| {
        copy.lock().unwrap().push(push);
        async { Ok::<(), String>(()) }
    });
    (url(serve(receiver).await), seen)
}

type Headers = [(&'static str, String); 3];

/// The headers of a push of that body to `outpaint`, sent that many seconds from now.
fn signed(by: &[&str], body: &str, from_now: i64) -> Headers {
    let away = Duration::from_secs(from_now.unsigned_abs());
    let at = if from_now < 0 { SystemTime::now() - away } else { SystemTime::now() + away };
    sign(&secrets(by), &MessageId::new("msg_1").unwrap(), at, body.as_bytes())
}

async fn push_signed(server: &str, headers: &[(&'static str, String)], body: &str) -> (u16, Value) {
    let mut request = reqwest::Client::new().post(format!("{server}/outpaint")).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_signed_push_is_handed_over_with_its_id() {
    let (server, seen) = start_signed(&[OLD]).await;
    // The signature is over the bytes, so a body with odd spaces is taken as it comes.
    let body = pushed_body(&operations::OUTPAINT) + " \n ";
    for _try in 0..2 {
        let (status, receipt) = push_signed(&server, &signed(&[OLD], &body, 0), &body).await;
        assert_eq!((status, receipt.to_string().as_str()), (200, r#"{"code":"200"}"#));
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().map(|push| push.id.as_str()).collect::<Vec<_>>(), ["msg_1", "msg_1"]);
    assert!(matches!(seen[0].callback, Callback::Outpaint(_)));
}

#[tokio::test]
async fn a_wrong_signature_is_refused_with_the_header_at_fault() {
    let (server, seen) = start_signed(&[OLD]).await;
    let body = pushed_body(&operations::OUTPAINT);
    let good = signed(&[OLD], &body, 0);
    let other_id = [(ID_HEADER, "msg_2".to_owned()), good[1].clone(), good[2].clone()];
    let odd_time = [good[0].clone(), (TIMESTAMP_HEADER, "today".to_owned()), good[2].clone()];
    for (headers, body, reported) in [
        (&good[..], body.replace("200", "500"), "`webhook-signature` holds no signature that fits"),
        (&signed(&[NEW], &body, 0)[..], body.clone(), "`webhook-signature` holds no signature that fits"),
        (&other_id[..], body.clone(), "`webhook-signature` holds no signature that fits"),
        (&signed(&[OLD], &body, -310)[..], body.clone(), "`webhook-timestamp` is more than 5 minutes old"),
        (&signed(&[OLD], &body, 310)[..], body.clone(), "`webhook-timestamp` is more than 5 minutes ahead"),
        (&odd_time[..], body.clone(), "`webhook-timestamp` is wrong; give the seconds since 1970"),
        (&[][..], body.clone(), "`webhook-id` is missing"),
        (&good[..1], body.clone(), "`webhook-timestamp` is missing"),
        (&good[..2], body.clone(), "`webhook-signature` is missing"),
        (&[][..], "not JSON".to_owned(), "`webhook-id` is missing"),
    ] {
        let (status, envelope) = push_signed(&server, headers, &body).await;
        assert_eq!((status, &envelope["code"]), (401, &"401".into()), "{reported}");
        assert!(envelope["msg"].as_str().unwrap().contains(reported), "{reported}: {envelope}");
    }
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_signed_push_must_fit_the_document() {
    let (server, seen) = start_signed(&[OLD]).await;
    for body in ["not JSON", "{}"] {
        assert_eq!(push_signed(&server, &signed(&[OLD], body, 0), body).await.0, 422);
    }
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_secret_is_replaced_without_a_lost_push() {
    let body = pushed_body(&operations::OUTPAINT);
    for (known, by, status) in [
        (&[OLD][..], &[OLD][..], 200),
        (&[OLD, NEW], &[OLD], 200),
        (&[OLD, NEW], &[NEW], 200),
        (&[OLD], &[NEW, OLD], 200),
        (&[NEW], &[NEW, OLD], 200),
        (&[NEW], &[OLD], 401),
        (&[], &[OLD], 401),
    ] {
        let (server, _) = start_signed(known).await;
        let headers = signed(by, &body, 0);
        assert_eq!(headers[2].0, SIGNATURE_HEADER);
        assert_eq!(push_signed(&server, &headers, &body).await.0, status, "{by:?} to {known:?}");
    }
}

#[test]
fn the_document_names_the_same_callbacks() {
    let calling = spec::operations().filter(|operation| operation.post.get("callbacks").is_some());
    let of_vendor = calling.clone().filter(|operation| operation.document == spec::VENDOR);
    assert_eq!(of_vendor.count(), 17, "the vendor's document has all of the vendor's operations");
    let named: Vec<_> = calling.map(|operation| operation.id()).collect();
    let known = operations::ALL.iter().filter(|operation| operation.callback.is_some());
    assert_eq!(known.map(|operation| operation.id).collect::<Vec<_>>(), named);
}
