//! The server's failures: each is the envelope with a message that says what is wrong.

use std::io::{Read, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};
use imgopen_server::{Caller, Credentials, Failure, ImgOpen, Options, router, router_with, types};
use imgopen_tests::document;
use imgopen_tests::recorder::Recorder;
use imgopen_tests::wire::{serve, url};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use types::{Envelope, Operation, QueryTaskRequest, QueryTaskResponse, operations};

const QUERY_TASK: &str = "/AIGCImgOpenServ/saas/sd/v2/queryTaskInfo";
const TOOL: &str = "/AIGCImgOpenServ/saas/tool";

/// A server with one operation, which panics.
struct Panics;

impl ImgOpen for Panics {
    async fn query_task(&self, _: Caller, _: QueryTaskRequest) -> Result<QueryTaskResponse, Failure> {
        panic!("a fault that the caller must not see")
    }
}

/// A server that knows one key.
struct Guarded;

impl ImgOpen for Guarded {
    async fn authorize(&self, operation: &'static Operation, keys: &Credentials) -> Result<(), Failure> {
        match (keys.access_key_id(), keys.expose_secret()) {
            ("my-id", "my-secret") => Ok(()),
            _ => Err(Failure::unauthorized(format!("these keys may not call {}", operation.id))),
        }
    }
}

/// A server that wants one header.
struct Choosy;

impl ImgOpen for Choosy {
    async fn query_task(&self, caller: Caller, _: QueryTaskRequest) -> Result<QueryTaskResponse, Failure> {
        let order = caller.header("Idempotency-Key")?.unwrap_or("none");
        Err(Failure::conflict(format!("{} sent {order} and {}", caller.access_key_id(), caller.headers.len())))
    }
}

fn post(server: &str, path: &str) -> RequestBuilder {
    let request = reqwest::Client::new().request(Method::POST, format!("{server}{path}"));
    request.header("X-Request-req-accessKeyId", "my-id").header("X-Request-req-accessKeySecret", "my-secret")
}

async fn envelope(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    let envelope: Envelope = response.json().await.unwrap();
    assert_eq!(envelope.code, status.to_string());
    (status, envelope.msg)
}

async fn expect(request: RequestBuilder, status: u16, msg: &str) {
    let (found, text) = envelope(request.send().await.unwrap()).await;
    assert_eq!((found, text.as_str()), (status, msg));
}

fn too_large(limit: usize) -> String {
    let fix = "give pictures as URLs that the server can fetch, not as `data:` URLs or base64";
    format!("the body is larger than {limit} bytes; {fix}")
}

#[tokio::test]
async fn every_failure_is_the_envelope_and_says_what_to_do() {
    let options = Options::default().body_limit(100);
    let server = url(serve(router_with(Recorder::default(), options)).await);
    let call = || post(&server, QUERY_TASK);
    let json = |body: &'static str| call().header("content-type", "application/json").body(body);

    expect(json("{\"businessTaskId\": \"1\",}"), 400, "the body is not valid JSON: trailing comma at line 1 column 24")
        .await;
    expect(json(""), 400, "the body is empty; send a JSON object").await;
    expect(json("{\"businessTaskId\": null}"), 422, "`businessTaskId`: null given; give a text that is not empty")
        .await;
    expect(json("[]"), 422, "the body: a list of 0 items given, an object expected").await;
    let long = format!("{{\"businessTaskId\": \"{}\"}}", "x".repeat(100));
    expect(call().json(&json!({"businessTaskId": "x".repeat(100)})), 413, &too_large(100)).await;
    let chunks = reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(long)]));
    let chunked = call().header("content-type", "application/json").body(chunks);
    expect(chunked, 413, &too_large(100)).await;
    let missing = "the header `Content-Type` is missing; send JSON as `application/json`";
    expect(call().body("{}"), 415, missing).await;
    let wrong = "the header `Content-Type` is `text/plain`; send JSON as `application/json`";
    expect(call().header("content-type", "text/plain").body("{}"), 415, wrong).await;
    let both = call().header("content-type", "application/json").header("content-type", "text/plain").body("{}");
    let wrong = "the header `Content-Type` is `application/json, text/plain`; send JSON as `application/json`";
    expect(both, 415, wrong).await;
    let latin = call().header("content-type", "application/json; charset=latin1").body("{}");
    let wrong =
        "the header `Content-Type` is `application/json; charset=latin1`; send JSON in UTF-8 as `application/json`";
    expect(latin, 415, wrong).await;
    let nowhere = "there is nothing at `/nowhere`; the paths are listed at /openapi.json";
    expect(post(&server, "/nowhere"), 404, nowhere).await;
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn compressed_bodies_are_taken_within_the_limit() {
    let recorder = Recorder::default();
    let server = url(serve(router_with(recorder.clone(), Options::default().body_limit(1000))).await);
    let call = |coding: &'static str, body: Vec<u8>| {
        let call = post(&server, QUERY_TASK).header("content-type", "application/json");
        call.header("content-encoding", coding).body(body)
    };
    let request = br#"{"businessTaskId": "1"}"#;
    // What the program `zstd` writes for it: one block of 23 bytes as they are.
    let zstd = [b"\x28\xB5\x2F\xFD\x20\x17\xB9\0\0".as_slice(), request].concat();
    for (coding, body) in [("gzip", gzip(request)), ("deflate", deflate(request)), ("zstd", zstd)] {
        assert_eq!(call(coding, body).send().await.unwrap().status(), 200, "{coding}");
        assert_eq!(recorder.take().len(), 1);
    }
    let large = format!("{{\"businessTaskId\": \"{}\"}}", "x".repeat(1000));
    expect(call("gzip", gzip(large.as_bytes())), 413, &too_large(1000)).await;
    expect(call("deflate", deflate(large.as_bytes())), 413, &too_large(1000)).await;
    let (status, msg) = envelope(call("gzip", request.to_vec()).send().await.unwrap()).await;
    assert!(status == 400 && msg.starts_with("the body is not valid gzip: "), "{msg}");
    let response = call("br", request.to_vec()).send().await.unwrap();
    assert_eq!(response.headers()["accept-encoding"], "gzip, deflate, zstd");
    let msg = "the header `Content-Encoding` is `br`; send the body as it is, or as one of gzip, deflate, zstd";
    assert_eq!(envelope(response).await, (415, msg.to_owned()));
    assert!(recorder.take().is_empty());
}

#[tokio::test]
async fn a_body_is_utf_8_with_or_without_a_mark() {
    let recorder = Recorder::default();
    let server = url(serve(router(recorder.clone())).await);
    let call = |media_type: &'static str, body: Vec<u8>| {
        post(&server, QUERY_TASK).header("content-type", media_type).body(body)
    };
    let (request, json) = (r#"{"businessTaskId": "1"}"#, "application/json");
    let ascii = "application/json; charset=US-ASCII";
    for media_type in [json, ascii, "application/json;charset=utf8", "Application/JSON; Charset=\"UTF-8\"; q=1;"] {
        for text in [request.to_owned(), format!("\u{FEFF}{request}")] {
            assert_eq!(call(media_type, text.into_bytes()).send().await.unwrap().status(), 200, "{media_type}");
        }
    }
    assert_eq!(recorder.take().len(), 8);
    for media_type in ["application/json; charset=utf-16", "application/json; charset=utf-80", "text/json"] {
        let response = call(media_type, request.into()).send().await.unwrap();
        assert_eq!(response.headers()["accept"], "application/json");
        assert_eq!(envelope(response).await.0, 415, "{media_type}");
    }
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    let encoded = "the body is encoded as UTF-16; encode it as UTF-8";
    expect(call(json, wide(request)), 400, encoded).await;
    expect(call(json, wide(&format!("\u{FEFF}{request}"))), 400, encoded).await;
    let latin = b"{\"businessTaskId\": \"\xE9\"}".to_vec();
    expect(call(json, latin), 400, "the body is not UTF-8 from byte 21 on; encode it as UTF-8").await;
}

#[tokio::test]
async fn a_wrong_method_is_answered_with_the_right_one() {
    let server = url(serve(router(Recorder::default())).await);
    let response = reqwest::Client::new().get(format!("{server}{QUERY_TASK}")).send().await.unwrap();
    assert_eq!(response.headers()["allow"], "POST");
    let (status, msg) = envelope(response).await;
    assert_eq!(
        (status, msg),
        (405, format!("`{QUERY_TASK}` does not take GET; the header `Allow` lists what it takes"))
    );
}

#[tokio::test]
async fn all_violations_are_listed() {
    let server = url(serve(router(Recorder::default())).await);
    let body = json!({"fileUrlList": ["https://a", "ftp://b"], "max_epochs": 51, "seed": "x", "colour": 1});
    let (status, msg) = envelope(
        post(&server, "/AIGCImgOpenServ/saas/modelTraining/submitTraining/Job").json(&body).send().await.unwrap(),
    )
    .await;
    assert_eq!(status, 422);
    insta::assert_snapshot!(msg.replace("; `", ";\n`"));
}

#[tokio::test]
async fn an_operation_that_is_not_implemented_answers_501() {
    let server = url(serve(router(Panics)).await);
    let request = post(&server, "/AIGCImgOpenServ/saas/sd/queryTaskInfo").json(&json!({"businessTaskId": "1"}));
    expect(request, 501, "the operation `query_archived_task` is not implemented by this server").await;
}

#[tokio::test]
async fn a_panic_is_answered_without_internal_details() {
    let server = url(serve(router(Panics)).await);
    let request = post(&server, QUERY_TASK).json(&json!({"businessTaskId": "1"}));
    expect(request, 500, "the server failed on this request; see its log").await;
}

#[tokio::test]
async fn calls_without_keys_are_rejected() {
    let server = url(serve(router(Recorder::default())).await);
    let http = reqwest::Client::new();
    let bare = || http.post(format!("{server}{QUERY_TASK}")).json(&json!({"businessTaskId": "1"}));
    let id_missing = "the header `X-Request-req-accessKeyId` is missing or empty; send your access key in it";
    let secret_missing = "the header `X-Request-req-accessKeySecret` is missing or empty; send your access key in it";
    expect(bare(), 401, id_missing).await;
    expect(bare().header("X-Request-req-accessKeyId", ""), 401, id_missing).await;
    expect(bare().header("X-Request-req-accessKeyId", "my-id"), 401, secret_missing).await;
    let twice = "the header `X-Request-req-accessKeyId` is sent more than once; send it once";
    let ambiguous = bare().header("X-Request-req-accessKeyId", "a").header("X-Request-req-accessKeyId", "b");
    expect(ambiguous.header("X-Request-req-accessKeySecret", "s"), 401, twice).await;
    let response = bare().send().await.unwrap();
    let challenge = "AccessKey headers=\"X-Request-req-accessKeyId, X-Request-req-accessKeySecret\"";
    assert_eq!(response.headers()["www-authenticate"], challenge);
    // The keys are checked before the body, so a stranger learns nothing about its faults.
    expect(http.post(format!("{server}{QUERY_TASK}")).body("x"), 401, id_missing).await;
}

#[tokio::test]
async fn an_operator_may_allow_callers_without_keys() {
    let recorder = Recorder::default();
    let options = Options::default().anonymous(Credentials::new("local", ""));
    let server = url(serve(router_with(recorder.clone(), options)).await);
    let bare = reqwest::Client::new().post(format!("{server}{QUERY_TASK}")).json(&json!({"businessTaskId": "1"}));
    assert_eq!(bare.try_clone().unwrap().send().await.unwrap().status(), 200);
    assert_eq!(recorder.take()[0].keys.0, "local");
    // An incomplete key is rejected all the same.
    assert_eq!(bare.header("X-Request-req-accessKeyId", "x").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn the_service_decides_on_keys_before_the_body_is_read() {
    let server = url(serve(router(Guarded)).await);
    let wrong = reqwest::Client::new().post(format!("{server}{QUERY_TASK}"));
    let wrong = wrong.header("X-Request-req-accessKeyId", "my-id").header("X-Request-req-accessKeySecret", "guess");
    expect(wrong.body("not even JSON"), 401, "these keys may not call query_task").await;
    expect(
        post(&server, QUERY_TASK).json(&json!({"businessTaskId": "1"})),
        501,
        "the operation `query_task` is not implemented by this server",
    )
    .await;
}

#[tokio::test]
async fn a_method_receives_the_headers_without_those_of_the_keys() {
    let server = url(serve(router(Choosy)).await);
    let call = || post(&server, QUERY_TASK).json(&json!({"businessTaskId": "1"})).header("idempotency-key", "a");
    // Of content-type, content-length, accept, host and its own.
    expect(call(), 409, "my-id sent a and 5").await;
    let twice = "the header `Idempotency-Key` is sent more than once; send it once";
    expect(call().header("idempotency-key", "b"), 400, twice).await;
}

#[tokio::test]
async fn a_tool_code_comes_with_slashes_or_escaped_and_may_be_new() {
    let recorder = Recorder::default();
    let server = url(serve(router(recorder.clone())).await);
    for path in ["hair/change", "hair%2Fchange", "hair%2fchange"] {
        let request = post(&server, &format!("{TOOL}/{path}/queryTask")).json(&json!({"businessTaskId": "1"}));
        assert_eq!(request.send().await.unwrap().status(), 200, "{path}");
        assert_eq!(recorder.take()[0].parameter.as_deref(), Some("hair/change"));
    }
    for path in ["nails", "hair/cut", "hair"] {
        let request = post(&server, &format!("{TOOL}/{path}/queryTask")).json(&json!({"businessTaskId": "1"}));
        assert_eq!(request.send().await.unwrap().status(), 200, "{path}");
        assert_eq!(recorder.take()[0].parameter.as_deref(), Some(path), "the implementation decides");
    }
    for path in ["hair%2F..", "hair%2F%2Fcut"] {
        let request = post(&server, &format!("{TOOL}/{path}/queryTask")).json(&json!({"businessTaskId": "1"}));
        let (status, msg) = envelope(request.send().await.unwrap()).await;
        assert_eq!(status, 404, "{path}");
        assert!(msg.contains("give one of comfyui/text2image, roop, "), "{msg}");
    }
    for path in ["a/b/c", "", "%FF"] {
        let request = post(&server, &format!("{TOOL}/{path}/queryTask")).json(&json!({"businessTaskId": "1"}));
        assert_eq!(envelope(request.send().await.unwrap()).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn the_document_is_served_unchanged() {
    let server = url(serve(router(Recorder::default())).await);
    let yaml = reqwest::get(format!("{server}/openapi.yaml")).await.unwrap();
    assert_eq!(yaml.headers()["content-type"], "application/yaml");
    assert_eq!(yaml.text().await.unwrap(), include_str!("../../spec/imgopen.yaml"));
    let json = reqwest::get(format!("{server}/openapi.json")).await.unwrap();
    assert_eq!(json.headers()["content-type"], "application/json");
    assert_eq!(&json.json::<Value>().await.unwrap(), document::vendor());
}

#[tokio::test]
async fn documents_are_compressed_and_not_sent_twice() {
    let server = url(serve(Recorder::default().router()).await);
    let http = reqwest::Client::new();
    let paths = ["/docs", "/openapi.yaml", "/openapi.json", "/extras/openapi.yaml", "/extras/openapi.json"];
    let mut tags = Vec::new();
    for path in paths {
        let get = || http.get(format!("{server}{path}"));
        let plain = get().send().await.unwrap();
        assert!(!plain.headers().contains_key("content-encoding"), "{path}");
        let tag = plain.headers()["etag"].clone();
        let text = plain.bytes().await.unwrap();
        let packed = get().header("accept-encoding", "br, gzip").send().await.unwrap();
        assert_eq!(packed.headers()["content-encoding"], "gzip", "{path}");
        assert_eq!((&packed.headers()["vary"], &packed.headers()["etag"]), (&"accept-encoding".parse().unwrap(), &tag));
        let sent = packed.bytes().await.unwrap();
        assert!(sent.len() < text.len() / 2, "{path}: {} of {} bytes", sent.len(), text.len());
        let mut unpacked = Vec::new();
        GzDecoder::new(&sent[..]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == text, "{path}");
        for accept_encoding in ["gzip", "identity"] {
            let again = get().header("accept-encoding", accept_encoding).header("if-none-match", &tag);
            let again = again.send().await.unwrap();
            assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &tag), "{path}");
            assert!(again.bytes().await.unwrap().is_empty(), "{path}");
        }
        assert_eq!(get().header("if-none-match", "\"other\"").send().await.unwrap().status(), 200);
        tags.push(tag.to_str().unwrap().to_owned());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), paths.len());
}

#[tokio::test]
async fn the_other_document_is_served_beside_it() {
    let server = url(serve(Recorder::default().router()).await);
    let yaml = reqwest::get(format!("{server}/extras/openapi.yaml")).await.unwrap();
    assert_eq!(yaml.text().await.unwrap(), include_str!("../../spec/imgopen-extras.yaml"));
    let json = reqwest::get(format!("{server}/extras/openapi.json")).await.unwrap();
    assert_eq!(&json.json::<Value>().await.unwrap(), document::extras());
}

#[tokio::test]
async fn the_page_shows_every_operation_and_may_load_nothing() {
    let server = url(serve(router(Recorder::default())).await);
    let page = reqwest::get(format!("{server}/docs")).await.unwrap();
    let header = |name: &str| page.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("x-content-type-options"), "nosniff");
    let policy = header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; ") && policy.ends_with("; frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("http") && !policy.contains('*'), "{policy}");
    let text = page.text().await.unwrap();
    assert!(text.starts_with("<!DOCTYPE html>"));
    for operation in operations::ALL {
        assert!(text.contains(&format!("<section class=\"operation\" id=\"op-{}\"", operation.id)), "{}", operation.id);
    }
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_answered_408() {
    let options = Options::default().body_timeout(Duration::from_millis(50));
    let address = serve(router_with(Recorder::default(), options)).await;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {QUERY_TASK} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 30\r\n\
         X-Request-req-accessKeyId: a\r\nX-Request-req-accessKeySecret: b\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(
        answer.contains(r#"{"code":"408","msg":"the body took longer than 0.05 seconds; send it faster"}"#),
        "{answer}"
    );
}
