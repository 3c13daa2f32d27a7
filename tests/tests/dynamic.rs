//! Calls of operations by their name: the same on the wire as the typed ones, by the same rules.

use std::time::Duration;

use imgopen_client::types::operation::find;
use imgopen_client::types::{JobState, operations, read_value};
use imgopen_client::{Client, Error, Retry, job_id};
use imgopen_tests::calls::{call, path_value, read_request};
use imgopen_tests::document::{request_examples, success};
use imgopen_tests::recorder::Recorder;
use imgopen_tests::values::object;
use imgopen_tests::wire::{Script, answer, serve, url};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

#[tokio::test]
async fn a_call_by_name_is_the_typed_call() {
    let recorder = Recorder::default();
    let client = Client::builder(&url(serve(recorder.router()).await)).credentials(keys()).build().unwrap();
    for known in operations::ALL.iter().copied() {
        for example in request_examples(known.id).iter().filter(|example| !example.is_quirk) {
            let typed = call(&client, known.id, &example.value).await.unwrap();
            let mut dynamic = client.dynamic(known).body(example.value.clone());
            for (parameter, value) in known.parameters.iter().zip(path_value(known)) {
                dynamic = dynamic.parameter(parameter.name, value);
            }
            let answered = dynamic.send().await.unwrap();
            assert_eq!(answered.to_string(), typed.response, "{}", known.id);
            let [first, second] = recorder.take().try_into().unwrap();
            assert_eq!(first, second, "{}", known.id);
        }
    }
}

fn keys() -> imgopen_client::Credentials {
    imgopen_client::Credentials::new("my-id", "my-secret")
}

/// What fits the document has one canonical form, whether the schema is a type or a table.
#[test]
fn values_are_read_as_the_types_read_them() {
    for known in operations::ALL.iter().copied() {
        let mut runner = TestRunner::new(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() });
        let checked = runner.run(&object(known.request), |request| {
            let text = request.to_string();
            let typed = read_request(known.id, text.as_bytes()).map_err(|error| error.to_string());
            let dynamic = read_value(known.request, text.as_bytes()).map_err(|error| error.to_string());
            prop_assert_eq!(dynamic.map(|value| value.to_string()), typed);
            Ok(())
        });
        checked.unwrap_or_else(|error| panic!("{}: {error}", known.id));
    }
}

#[tokio::test]
async fn a_fault_is_reported_before_anything_is_sent() {
    let client = Client::builder("http://127.0.0.1:1").build().unwrap();
    let sent = client.dynamic(&operations::ENLARGE_IMAGE).body(json!({ "scale": 9 })).send();
    let message = sent.await.unwrap_err().to_string();
    assert!(message.starts_with("the request was not sent: `businessTaskId`: missing"), "{message}");
    assert!(message.contains("`scale`: 9 given, a number from 1 to 8 expected"), "{message}");
    let query = client.dynamic(&operations::QUERY_TOOL_TASK).body(json!({ "businessTaskId": "1" }));
    let missing = query.clone().send().await.unwrap_err().to_string();
    assert!(
        missing.starts_with("the request was not sent: `toolCode`: missing; give one of comfyui/text2image"),
        "{missing}"
    );
    for code in ["", "..", "../keys", "hair//change", "hair/."] {
        let refused = format!("`toolCode`: {code:?} given; give one of comfyui/text2image, ");
        let unsent = query.clone().parameter("toolCode", code).send().await.unwrap_err().to_string();
        assert!(unsent.contains(&refused), "{unsent}");
        let typed = client.query_tool_task().tool_code(code).body_map(|body| body.business_task_id("1"));
        let unsent = typed.send().await.unwrap_err().to_string();
        assert!(unsent.contains(&format!("`toolCode`: {code:?} given")), "{unsent}");
    }
    let no_job = client.progress(&operations::LIST_MODELS, "1").await.unwrap_err();
    assert!(matches!(no_job, Error::InvalidRequest(message) if message == "`list_models` starts no job"));
}

/// The vendor may have tools that the document does not list.
#[tokio::test]
async fn a_tool_that_is_not_listed_can_be_asked_for() {
    let recorder = Recorder::default();
    let client = Client::builder(&url(serve(recorder.router()).await)).credentials(keys()).build().unwrap();
    let query = client.dynamic(&operations::QUERY_TOOL_TASK).body(json!({ "businessTaskId": "1" }));
    for code in ["upscale", "sky/re place"] {
        query.clone().parameter("toolCode", code).send().await.unwrap();
        assert_eq!(recorder.take()[0].parameter.as_deref(), Some(code));
    }
}

#[tokio::test]
async fn a_submit_is_retried_only_with_an_idempotency_key() {
    let busy = || answer("503 Service Unavailable", "", r#"{"code":"503","msg":"busy"}"#);
    let done = answer("200 OK", "", &success("enlarge_image").to_string());
    let request = json!({ "businessTaskId": "1", "sourceImage": "https://example.com/a.png", "scale": 2 });
    let retry = Retry::default().first_wait(Duration::from_millis(1));

    let script = Script::new([busy(), done]).await;
    let client = Client::builder(&url(script.address)).retry(retry.clone()).build().unwrap();
    let call = client.dynamic(&operations::ENLARGE_IMAGE).body(request.clone()).idempotency_key("once");
    assert_eq!(call.send().await.unwrap(), success("enlarge_image"));
    assert_eq!(script.requests().len(), 2);
    assert!(script.requests().iter().all(|sent| sent.contains("idempotency-key: once\r\n")), "{:?}", script.requests());

    let script = Script::new([busy()]).await;
    let client = Client::builder(&url(script.address)).retry(retry).build().unwrap();
    let error = client.dynamic(&operations::ENLARGE_IMAGE).body(request).send().await.unwrap_err();
    assert_eq!((error.status().unwrap().as_u16(), script.requests().len()), (503, 1));
}

/// Every job is queried by the id that the contract names, and its state is read from its family's numbers.
#[tokio::test]
async fn a_job_is_queried_by_the_query_of_its_family() {
    let recorder = Recorder::default();
    let client = Client::builder(&url(serve(recorder.router()).await)).credentials(keys()).build().unwrap();
    for known in operations::ALL.iter().copied() {
        let Some(job) = &known.job else {
            assert_eq!(job_id(known, &json!({}), &json!({})), None);
            continue;
        };
        let request = request_examples(known.id).into_iter().find(|example| example.name == "full").unwrap().value;
        let id = job_id(known, &request, &success(known.id)).unwrap();
        let asked = client.progress(known, &id).await.unwrap();
        assert_eq!(asked.report.state(), JobState::Succeeded, "{}", known.id);
        assert_eq!(asked.data, success(job.query)["data"], "{}", known.id);
        let [record] = recorder.take().try_into().unwrap();
        let sent: Value = serde_json::from_str(&record.request).unwrap();
        assert_eq!((record.operation, &sent[job.field]), (find(job.query).unwrap().id, &json!(id)));
        assert_eq!(record.parameter.as_deref(), job.parameters.first().map(|(_, value)| *value), "{}", known.id);
    }
}
