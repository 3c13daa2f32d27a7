//! Client against server over a real socket, for every operation: what is sent arrives as documented, and every answer
//! decodes.

use imgopen_client::{Client, Credentials};
use imgopen_tests::calls::{call, filled_path, path_value};
use imgopen_tests::document::{request_examples, success};
use imgopen_tests::recorder::{Record, Recorder};
use imgopen_tests::spec;
use imgopen_tests::wire::{Tap, serve, url};
use imgopen_types::{Operation, ToolCode, operations};
use serde_json::Value;

struct Loop {
    recorder: Recorder,
    tap: Tap,
    client: Client,
}

async fn start() -> Loop {
    let recorder = Recorder::default();
    let tap = Tap::before(serve(recorder.router()).await).await.unwrap();
    let client = Client::new(&url(tap.address), Credentials::new("my-id", "my-secret")).unwrap();
    Loop { recorder, tap, client }
}

/// What the tests go through is what the documents have, none left out.
#[test]
fn the_tables_have_every_operation_of_every_document() {
    let documented: Vec<_> = spec::operations()
        .map(|operation| {
            let [request, response] = [operation.request(), operation.response()].map(spec::schema_name);
            (operation.document, operation.path, operation.id(), request, response)
        })
        .collect();
    let known: Vec<_> = operations::ALL
        .iter()
        .map(|known| (known.document, known.path, known.id, known.request.name, known.response.name))
        .collect();
    assert_eq!(known, documented);
    let vendor = documented.iter().filter(|(document, ..)| *document == spec::VENDOR);
    assert_eq!(vendor.count(), 30, "the vendor's document has the vendor's operations and no others");
}

#[tokio::test]
async fn every_operation_arrives_as_documented_and_its_answer_decodes() {
    for known in operations::ALL {
        for example in request_examples(known.id).iter().filter(|example| !example.is_quirk) {
            // Each call has its own connection, so that the tap can keep them apart.
            let Loop { recorder, tap, client } = start().await;
            let called = call(&client, known.id, &example.value).await;
            let called = called.unwrap_or_else(|error| panic!("{}, example {}: {error}", known.id, example.name));

            let parameter = path_value(known).map(str::to_owned);
            let keys = ("my-id".to_owned(), "my-secret".to_owned());
            let arrived = Record { operation: known.id, keys, parameter, request: called.request.clone() };
            assert_eq!(recorder.take(), [arrived], "{}, example {}", known.id, example.name);
            assert_eq!(parse(&called.request), example.value, "{}, example {}", known.id, example.name);
            assert_eq!(parse(&called.response), success(known.id), "{}", known.id);
            check_request_on_the_wire(known, &tap.traffic()[0].sent, &called.request);
        }
    }
}

/// The request line is the document's, the headers are those of the document and of HTTP, the body is the canonical one.
fn check_request_on_the_wire(operation: &Operation, sent: &str, request: &str) {
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next().unwrap(), format!("POST {} HTTP/1.1", filled_path(operation)));
    let mut headers: Vec<_> = lines.map(|line| line.split_once(": ").unwrap().0).collect();
    headers.sort_unstable();
    let expected = [
        "accept",
        "content-length",
        "content-type",
        "host",
        "x-request-req-accesskeyid",
        "x-request-req-accesskeysecret",
    ];
    assert_eq!(headers, expected, "{}", operation.id);
    assert_eq!(body, request, "{}", operation.id);
}

#[tokio::test]
async fn a_slash_in_a_tool_code_separates_segments() {
    let new = ToolCode::from("sky/replace");
    for tool_code in ToolCode::KNOWN.iter().chain([&new]) {
        let Loop { recorder, tap, client } = start().await;
        let query = client.query_tool_task().tool_code(tool_code.clone()).body_map(|body| body.business_task_id("1"));
        query.send().await.unwrap();
        assert_eq!(recorder.take()[0].parameter.as_deref(), Some(tool_code.as_str()));
        let line = tap.traffic()[0].sent.lines().next().unwrap().to_owned();
        assert_eq!(line, format!("POST /AIGCImgOpenServ/saas/tool/{tool_code}/queryTask HTTP/1.1"));
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
