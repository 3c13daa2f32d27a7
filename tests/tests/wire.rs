//! Snapshots of the wire: for every operation the request and the answer, success and failure, and what is pushed to
//! callers.

use axum::Router;
use imgopen_client::types::{Callback, Operation, operations, schema};
use imgopen_client::{Client, Credentials, callback};
use imgopen_tests::calls::{call, filled_path, read_response};
use imgopen_tests::document::{request_examples, success};
use imgopen_tests::recorder::Recorder;
use imgopen_tests::wire::{Tap, Traffic, serve, url};
use insta::{Settings, assert_snapshot};

/// Sends a request through the typed client and shows both directions.
async fn exchange(operation: &str, example: &str) -> Traffic {
    let tap = Tap::before(serve(Recorder::default().router()).await).await.unwrap();
    let client = Client::new(&url(tap.address), Credentials::new("my-id", "my-secret")).unwrap();
    let request = request_examples(operation).into_iter().find(|known| known.name == example).unwrap();
    call(&client, operation, &request.value).await.unwrap();
    shown(&tap)
}

/// Sends a body that breaks the document, past the client's own check.
async fn refused(operation: &'static Operation) -> Traffic {
    let path = filled_path(operation);
    let needs_something = operation.request.fields.iter().any(|field| field.required);
    let body = if needs_something { "{}" } else { "{\"colour\":1}" };
    let tap = Tap::before(serve(Recorder::default().router()).await).await.unwrap();
    let request = reqwest::Client::new().post(format!("{}{path}", url(tap.address)));
    let request =
        request.header("X-Request-req-accessKeyId", "my-id").header("X-Request-req-accessKeySecret", "my-secret");
    request.header("content-type", "application/json").body(body).send().await.unwrap();
    shown(&tap)
}

/// Pushes the document's example of what an operation's job pushes to a receiver.
async fn pushed(operation: &'static Operation) -> Option<Traffic> {
    let body = operation.callback.as_ref()?.body.name;
    let source = operations::ALL.iter().find(|known| known.response.name == body).unwrap();
    // Through the types, so that what is shown is what they write.
    let json = read_response(source.id, success(source.id).to_string().as_bytes()).unwrap();
    let receiver = callback::receiver(|_: Callback| async { Ok::<(), String>(()) });
    let tap = Tap::before(serve(Router::new().nest("/callbacks", receiver)).await).await.unwrap();
    let request = reqwest::Client::new().post(format!("{}/callbacks/{}", url(tap.address), operation.id));
    request.header("content-type", "application/json").body(json).send().await.unwrap();
    Some(shown(&tap))
}

/// The one connection's traffic, without what changes from run to run.
fn shown(tap: &Tap) -> Traffic {
    let traffic = tap.traffic().remove(0);
    let steady = |text: &str| {
        let lines = text.replace("\r\n", "\n").replace(&tap.address.to_string(), "[server]");
        lines.split_inclusive('\n').filter(|line| !line.starts_with("date: ")).collect()
    };
    Traffic { sent: steady(&traffic.sent), received: steady(&traffic.received) }
}

#[tokio::test]
async fn every_operation() {
    for operation in operations::ALL {
        let minimal = exchange(operation.id, "minimal").await;
        let full = exchange(operation.id, "full").await;
        let failure = refused(operation).await;
        let mut text = format!(
            "### minimal request\n{}\n\n### full request\n{}\n\n### success\n{}\n\n### failure\n{}\n",
            minimal.sent, full.sent, full.received, failure.received
        );
        if let Some(push) = pushed(operation).await {
            text += &format!("\n### callback\n{}\n\n### its acknowledgement\n{}\n", push.sent, push.received);
        }
        let mut settings = Settings::clone_current();
        settings.set_omit_expression(true);
        settings.set_snapshot_path("snapshots/wire");
        settings.set_prepend_module_to_snapshot(false);
        settings.bind(|| assert_snapshot!(operation.id, text));
    }
}

/// Every set of values that a schema knows, with what each is called in Rust where the wire's text does not say.
#[test]
fn sets_of_values() {
    let mut found: Vec<(&str, String)> = Vec::new();
    for operation in operations::ALL {
        let parameters = operation.parameters.iter().map(|parameter| text_set(parameter.values));
        found.extend(parameters);
        for object in [Some(operation.request), Some(operation.response), operation.callback.as_ref().map(|c| c.body)] {
            object.into_iter().for_each(|object| collect(object, &mut found));
        }
    }
    found.sort();
    found.dedup();
    let text: String = found.iter().map(|(name, values)| format!("{name}{values}\n")).collect();
    assert_snapshot!(text);
}

fn collect(object: &'static schema::Object, found: &mut Vec<(&'static str, String)>) {
    for field in object.fields {
        let mut shape = &field.shape;
        while let schema::Shape::List(list) = shape {
            shape = &list.item;
        }
        match shape {
            schema::Shape::TextEnum(set) => found.push(text_set(set)),
            schema::Shape::IntegerEnum(set) => {
                let values = set.values.iter().map(|value| format!("\n    {}  {}", value.value, value.about));
                found.push((set.name, format!(" (open){}", values.collect::<String>())));
            }
            schema::Shape::Object(inner) => collect(inner, found),
            _ => {}
        }
    }
}

fn text_set(set: &'static schema::TextEnum) -> (&'static str, String) {
    let kind = if set.open { " (open)" } else { " (closed)" };
    let values = set.values.iter().map(|value| format!("\n    {:?}", value.value));
    (set.name, format!("{kind}{}", values.collect::<String>()))
}
