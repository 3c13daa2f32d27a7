//! The client: what it sends, how it handles every kind of answer, how it retries and waits.

use std::time::Duration;

use futures_util::StreamExt;
use imgopen_client::types::{
    EnlargeImageRequest, JobReport, JobState, SdStatus, TextToImageRequest, builder, operations,
};
use imgopen_client::{Client, ClientBuilder, Credentials, Error, IntoData, Retry, Task};
use imgopen_tests::recorder::Recorder;
use imgopen_tests::wire::{Script, Tap, answer, serve, url};
use tokio::net::TcpSocket;

const ACK: &str = r#"{"code":"200","msg":"success","data":{"task_id":"20000051"}}"#;

fn quick(script: &Script) -> ClientBuilder {
    let retry = Retry::default().first_wait(Duration::from_millis(2));
    Client::builder(&url(script.address)).credentials(Credentials::new("my-id", "my-secret")).retry(retry)
}

fn picture() -> TextToImageRequest {
    let scripts = builder::TextToImageScripts::default().sd_model_checkpoint("m.safetensors").id_task("pro1686666");
    TextToImageRequest::builder().prompt("a girl").batch_size(1).alwayson_scripts(scripts).build().unwrap()
}

fn enlarge() -> EnlargeImageRequest {
    let request = EnlargeImageRequest::builder().business_task_id("7").source_image("https://example.com/a.png");
    request.scale(2).build().unwrap()
}

async fn query(script: &Script) -> Result<imgopen_client::types::SdTask, Error> {
    let client = quick(script).build().unwrap();
    client.query_task().body_map(|body| body.business_task_id("1")).send().await.into_data()
}

/// A query's answer that reports that status.
fn sd_task(status: i64, extra: &str) -> String {
    answer(
        "200 OK",
        "",
        &format!(r#"{{"code":"200","msg":"success","data":{{"id_task":"1","status":{status}{extra}}}}}"#),
    )
}

#[tokio::test]
async fn a_request_on_the_socket() {
    let script = Script::new([answer("200 OK", "", ACK)]).await;
    quick(&script).build().unwrap().text_to_image().body(picture()).send().await.unwrap();
    let request = script.requests()[0].replace("\r\n", "\n").replace(&script.address.to_string(), "[server]");
    insta::assert_snapshot!(request);
}

#[tokio::test]
async fn a_request_that_breaks_the_document_is_not_sent() {
    let script = Script::new([answer("200 OK", "", ACK)]).await;
    let client = quick(&script).build().unwrap();
    let error =
        client.submit_training().body_map(|body| body.max_epochs(51).mixed_precision("fp32")).send().await.unwrap_err();
    assert!(matches!(error, Error::InvalidRequest(_)));
    insta::assert_snapshot!(error, @r#"the request was not sent: `taskId`: missing; give a text of 1 to 255 characters; `fileUrlList`: missing; give a list of 10 to 100 items; `maxEpochs`: 51 given, a whole number from 10 to 50 expected; `mixedPrecision`: "fp32" given, one of "fp16", "bf16" expected"#);

    // A struct that was built by hand is checked as well.
    let request = EnlargeImageRequest { scale: 0.5, ..enlarge() };
    let error = client.enlarge_image().body(request).send().await.unwrap_err();
    assert_eq!(error.to_string(), "the request was not sent: `scale`: 0.5 given, a number from 1 to 8 expected");
    let request = EnlargeImageRequest { scale: f64::NAN, ..enlarge() };
    assert!(matches!(client.enlarge_image().body(request).send().await, Err(Error::InvalidRequest(_))));
    assert_eq!(script.requests().len(), 0);
}

#[tokio::test]
async fn errors_are_distinguished_and_keep_the_body() {
    let never = Retry::never();
    let outcome = async |text: String| {
        let script = Script::new([text]).await;
        let client = quick(&script).retry(never.clone()).build().unwrap();
        client.query_task().body_map(|body| body.business_task_id("1")).send().await.unwrap_err()
    };

    let error = outcome(answer("404 Not Found", "", r#"{"code":"404","msg":"no such task"}"#)).await;
    assert!(matches!(&error, Error::Status { envelope: Some(envelope), .. } if envelope.msg == "no such task"));
    assert_eq!(error.to_string(), r#"HTTP 404 Not Found, code "404": no such task"#);

    let error = outcome(answer("502 Bad Gateway", "", "<html>upstream</html>")).await;
    assert!(matches!(&error, Error::Status { envelope: None, .. }));
    assert_eq!(
        (error.status().unwrap().as_u16(), error.body().unwrap().as_ref()),
        (502, b"<html>upstream</html>".as_slice())
    );

    let error = outcome(answer("200 OK", "", r#"{"code":"10086","msg":"no quota","data":null}"#)).await;
    assert!(matches!(&error, Error::Code { envelope, .. } if envelope.code == "10086"));
    assert_eq!(error.to_string(), r#"code "10086": no quota"#);

    let whole = r#"{"code":"80","msg":"et tempor nulla","data":{"id_task":"64","status":2}}"#;
    let error = outcome(answer("200 OK", "", whole)).await;
    assert!(matches!(&error, Error::Code { body, .. } if body == whole));

    let error = outcome(answer("200 OK", "", r#"{"code":"200","msg":"success"}"#)).await;
    assert!(matches!(&error, Error::Decode { .. }));
    assert_eq!(error.to_string(), "HTTP 200 OK, but the answer cannot be read: `data`: missing; give an object");

    let error = outcome(answer("200 OK", "", "not JSON")).await;
    assert!(matches!(&error, Error::Decode { body, .. } if body == "not JSON"));

    let error = outcome(answer("302 Found", "location: http://127.0.0.1:9/\r\n", "")).await;
    assert_eq!(
        error.status().unwrap().as_u16(),
        302,
        "a redirect is not followed, because it would send the keys along"
    );

    let error = outcome("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{".to_owned()).await;
    assert!(matches!(&error, Error::Transport(_)), "{error:?}");
}

#[tokio::test]
async fn an_answer_has_a_limit() {
    let script = Script::new([sd_task(2, &format!(r#","desc":"{}""#, "x".repeat(1000)))]).await;
    let client = quick(&script).answer_limit(500).build().unwrap();
    let error = client.query_task().body_map(|body| body.business_task_id("1")).send().await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 500 }));
}

#[tokio::test]
async fn queries_are_retried_and_submits_are_not() {
    let busy = || answer("503 Service Unavailable", "", r#"{"code":"503","msg":"busy"}"#);
    let script = Script::new([busy(), String::new(), sd_task(3, "")]).await;
    assert_eq!(query(&script).await.unwrap().status, SdStatus::Running);
    assert_eq!(script.requests().len(), 3, "after 503 and after a lost connection");
    assert_eq!(script.requests()[0], script.requests()[2]);

    let script = Script::new([busy(), busy(), busy(), busy(), sd_task(3, "")]).await;
    assert_eq!(query(&script).await.unwrap_err().status().unwrap().as_u16(), 503);
    assert_eq!(script.requests().len(), 4, "four tries, no more");

    let script = Script::new([answer("404 Not Found", "", r#"{"code":"404","msg":"none"}"#), sd_task(3, "")]).await;
    query(&script).await.unwrap_err();
    assert_eq!(script.requests().len(), 1, "what will not pass is not tried again");

    // What a proxy answers in place of the server, and failures in envelopes.
    let odd = [answer("200 OK", "", "<html>"), answer("200 OK", "", ""), answer("204 No Content", "", "")];
    let script = Script::new(odd.into_iter().chain([sd_task(3, "")])).await;
    assert_eq!(query(&script).await.unwrap().status, SdStatus::Running);
    let coded = |code: &str| answer("200 OK", "", &format!(r#"{{"code":"{code}","msg":"no"}}"#));
    let script = Script::new([coded("503"), coded("10086"), sd_task(3, "")]).await;
    assert_eq!(query(&script).await.unwrap_err().envelope().unwrap().code, "10086");
    assert_eq!(script.requests().len(), 2);

    for unsure in [busy(), answer("200 OK", "", "<html>")] {
        let script = Script::new([unsure, answer("200 OK", "", ACK)]).await;
        quick(&script).build().unwrap().submit(&picture()).await.unwrap_err();
        assert_eq!(script.requests().len(), 1, "a submit might start two jobs");
    }
}

/// A server that puts a request off has not started a job.
#[tokio::test]
async fn a_submit_that_was_put_off_is_retried_without_a_key() {
    for status in ["429 Too Many Requests", "425 Too Early"] {
        let later = || answer(status, "", r#"{"code":"429","msg":"slow down"}"#);
        let script = Script::new([later(), later(), answer("200 OK", "", ACK)]).await;
        quick(&script).build().unwrap().submit(&picture()).await.unwrap();
        let requests = script.requests();
        assert_eq!(requests.len(), 3, "{status}");
        assert!(requests.iter().all(|request| !request.to_lowercase().contains("idempotency-key")));
    }
    let script = Script::new([answer("408 Request Timeout", "", ""), answer("200 OK", "", ACK)]).await;
    quick(&script).build().unwrap().submit(&picture()).await.unwrap_err();
    assert_eq!(script.requests().len(), 1, "it may have arrived");
}

#[tokio::test]
async fn retry_after_is_respected() {
    let busy = answer("429 Too Many Requests", "retry-after: 1\r\n", r#"{"code":"429","msg":"slow down"}"#);
    let script = Script::new([busy, sd_task(2, "")]).await;
    let start = std::time::Instant::now();
    query(&script).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));

    let away = answer("503 Service Unavailable", "retry-after: 3600\r\n", r#"{"code":"503","msg":"down"}"#);
    let script = Script::new([away, sd_task(2, "")]).await;
    assert_eq!(query(&script).await.unwrap_err().retry_after(), Some(Duration::from_secs(3600)));
    assert_eq!(script.requests().len(), 1, "an hour is longer than the longest wait");
}

#[tokio::test]
async fn a_wait_returns_when_the_job_ends() {
    let preview = r#","temporaryImageDto":{"progress":40,"imageUrl":"https://example.com/p.png"}"#;
    let done = r#","desc":"success","temporaryImageDto":null,"differentialImageRspList":[]"#;
    let script = Script::new([answer("200 OK", "", ACK), sd_task(1, ""), sd_task(3, preview), sd_task(2, done)]).await;
    let client = quick(&script).build().unwrap();
    let task = client.submit(&picture()).await.unwrap();
    assert_eq!(task.id(), "20000051", "the platform's id, out of the answer");

    let reports: Vec<_> = client.wait(&task).first_pause(Duration::from_millis(1)).progress().collect().await;
    let seen: Vec<_> =
        reports.iter().map(|report| report.as_ref().unwrap()).map(|r| (r.state(), r.progress())).collect();
    assert_eq!(seen, [(JobState::Queued, None), (JobState::Running, Some(40.0)), (JobState::Succeeded, None)]);
    assert!(script.requests()[1].ends_with(r#"{"businessTaskId":"20000051"}"#));
}

#[tokio::test]
async fn a_tool_is_queried_by_the_callers_id_at_its_own_path() {
    let done = r#"{"code":"200","msg":"success","data":{"taskId":"p1","businessTaskId":"7","status":1,"outputImageUrl":"https://example.com/o.png"}}"#;
    let script = Script::new([answer("200 OK", "", ACK), answer("200 OK", "", done)]).await;
    let client = quick(&script).build().unwrap();
    let task = client.submit(&enlarge()).await.unwrap();
    let report = client.wait(&task).await.unwrap();
    assert_eq!(report.output_image_url.as_deref(), Some("https://example.com/o.png"));
    let query = script.requests()[1].clone();
    assert!(query.starts_with("POST /AIGCImgOpenServ/saas/tool/imgEnlarge/queryTask "), "{query}");
    assert!(query.ends_with(r#"{"businessTaskId":"7"}"#), "{query}");
}

#[tokio::test]
async fn a_wait_may_have_no_timeout() {
    let script = Script::new([sd_task(3, ""), sd_task(2, "")]).await;
    let client = quick(&script).build().unwrap();
    let task = Task::<TextToImageRequest>::from_id("1");
    let wait = client.wait(&task).first_pause(Duration::from_millis(1)).longest_pause(Duration::MAX);
    assert_eq!(wait.deadline(Duration::MAX).await.unwrap().status, SdStatus::Succeeded);
}

/// A port that is taken, but refuses connections until it is listened on.
fn closed_port() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket
}

/// Whatever may pass: no answer, one that limits or fails, one that is no answer of the API.
#[tokio::test]
async fn a_wait_outlasts_what_may_pass() {
    let failing = |status: &str| answer(status, "", "<html>proxy</html>");
    let troubles = [
        failing("502 Bad Gateway"),
        failing("502 Bad Gateway"),
        failing("503 Service Unavailable"),
        failing("504 Gateway Timeout"),
        failing("500 Internal Server Error"),
        failing("408 Request Timeout"),
        failing("429 Too Many Requests"),
        failing("204 No Content"),
        failing("200 OK"),
        answer("302 Found", "location: http://127.0.0.1:9/maintenance\r\n", ""),
        answer("307 Temporary Redirect", "location: http://127.0.0.1:9/maintenance\r\n", ""),
        String::new(),
        "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{".to_owned(),
        answer("200 OK", "", r#"{"code":"200","msg":"success"}"#),
        answer("200 OK", "", r#"{"code":"429","msg":"slow down"}"#),
    ];
    let count = troubles.len();
    let script =
        Script::new(troubles.into_iter().chain([sd_task(3, ""), failing("502 Bad Gateway"), sd_task(2, "")])).await;
    let client = quick(&script).build().unwrap();
    let task = Task::<TextToImageRequest>::from_id("1");
    let mut seen = 0;
    let wait = client.wait(&task).first_pause(Duration::from_millis(1)).longest_pause(Duration::from_millis(2));
    let report = wait.on_error(|_| seen += 1).await.unwrap();
    assert_eq!(report.status, SdStatus::Succeeded);
    assert_eq!(seen, count + 1);
    assert_eq!(script.requests().len(), count + 3, "one request a query: the wait itself is the retry");
}

#[tokio::test]
async fn a_wait_ends_with_what_does_not_pass() {
    for status in
        ["301 Moved Permanently", "401 Unauthorized", "403 Forbidden", "404 Not Found", "422 Unprocessable Content"]
    {
        let script = Script::new([sd_task(3, ""), answer(status, "", "{}"), sd_task(2, "")]).await;
        let client = quick(&script).build().unwrap();
        let task = Task::<TextToImageRequest>::from_id("1");
        let error = client.wait(&task).first_pause(Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(error.status().map(|status| status.as_u16()), status[..3].parse().ok(), "{error}");
        assert_eq!(script.requests().len(), 2);
    }
}

/// A wait that begins before the server does.
#[tokio::test]
async fn a_wait_outlasts_a_server_that_is_not_there() {
    let place = closed_port();
    let client = Client::builder(&url(place.local_addr().unwrap())).build().unwrap();
    let task = Task::<TextToImageRequest>::from_id("1");
    let late = Duration::from_millis(100);
    let error = client.wait(&task).first_pause(Duration::from_millis(1)).deadline(late).await.unwrap_err();
    let Error::Deadline { last: None, last_error: Some(last), .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**last, Error::Transport(_)), "{last:?}");
    assert!(error.to_string().starts_with("the job 1 did not end within 100ms; the last query failed: "), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

/// Until the deadline, which decides alone.
#[tokio::test]
async fn a_wait_pauses_as_long_as_the_server_asks() {
    let limited = |headers: &str| answer("429 Too Many Requests", headers, r#"{"code":"429","msg":"slow down"}"#);
    let task = Task::<TextToImageRequest>::from_id("1");
    // A second and a half, an hour by a clock that is years behind, and a second by the same.
    for (headers, least, ends) in [
        ("retry-after: 1.5\r\n", 1500, true),
        ("date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:49:38 GMT\r\n", 1000, true),
        ("date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 09:49:37 GMT\r\n", 0, false),
        ("retry-after: 30\r\n", 0, false),
    ] {
        let script = Script::new([limited(headers), sd_task(2, "")]).await;
        let client = quick(&script).build().unwrap();
        let wait = client.wait(&task).first_pause(Duration::from_millis(1));
        let start = std::time::Instant::now();
        if ends {
            assert_eq!(wait.await.unwrap().status, SdStatus::Succeeded);
            assert!(start.elapsed() >= Duration::from_millis(least), "{headers}");
        } else {
            let error = wait.deadline(Duration::from_millis(200)).await.unwrap_err();
            let Error::Deadline { last_error: Some(last), .. } = error else { panic!("{error:?}") };
            assert_eq!(last.status().unwrap().as_u16(), 429);
            assert_eq!(script.requests().len(), 1, "{headers}");
        }
    }
}

#[tokio::test]
async fn a_wait_by_name_is_the_typed_wait() {
    let failing = answer("502 Bad Gateway", "", "");
    let script = Script::new([failing, sd_task(1, ""), sd_task(4, r#","desc":"no such model""#)]).await;
    let client = quick(&script).build().unwrap();
    let wait = client.wait_for(&operations::TEXT_TO_IMAGE, "1").first_pause(Duration::from_millis(1));
    let error = wait.await.unwrap_err();
    assert_eq!(error.to_string(), "the job 1 ended as Failed: no such model");
    assert_eq!(script.requests().len(), 3);
}

#[tokio::test]
async fn a_submit_that_was_not_sent_is_repeated() {
    let place = closed_port();
    let retry =
        Retry::default().tries(200).first_wait(Duration::from_millis(5)).longest_wait(Duration::from_millis(20));
    let client = Client::builder(&url(place.local_addr().unwrap())).retry(retry).build().unwrap();
    let request = picture();
    let (submitted, script) = tokio::join!(client.submit(&request), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Script::on(place.listen(8).unwrap(), [answer("200 OK", "", ACK)])
    });
    assert_eq!(submitted.unwrap().id(), "20000051");
    assert_eq!(script.requests().len(), 1);
}

/// The same key each time; and calls that start no task have none.
#[tokio::test]
async fn keys_make_submits_safe_to_repeat_where_the_server_takes_them() {
    let unreadable = answer("200 OK", "", "<html>");
    let script =
        Script::new([unreadable, String::new(), answer("200 OK", "", ACK), sd_task(2, ""), answer("200 OK", "", ACK)])
            .await;
    let client = quick(&script).idempotency_keys(true).build().unwrap();
    client.submit(&picture()).await.unwrap();
    client.query_task().body_map(|body| body.business_task_id("1")).send().await.unwrap();
    client.submit(&picture()).await.unwrap();
    let key =
        |request: &String| request.lines().find_map(|line| line.strip_prefix("idempotency-key: ").map(str::to_owned));
    let keys: Vec<_> = script.requests().iter().map(key).collect();
    let [first, second, third, query, other] = keys.as_slice() else { panic!("{keys:?}") };
    assert!(first.as_ref().is_some_and(|key| key.len() == 32) && first == second && first == third, "{keys:?}");
    assert!(query.is_none() && other.is_some() && other != first, "{keys:?}");
}

#[tokio::test]
async fn a_job_that_fails_is_an_error_with_its_reason() {
    let script = Script::new([sd_task(4, r#","desc":"no such model""#)]).await;
    let client = quick(&script).build().unwrap();
    let error = client.wait(&Task::<TextToImageRequest>::from_id("1")).await.unwrap_err();
    assert!(matches!(&error, Error::JobEnded { state: JobState::Failed, .. }));
    assert_eq!(error.to_string(), "the job 1 ended as Failed: no such model");
}

#[tokio::test]
async fn an_unknown_state_never_reads_as_done() {
    let script = Script::new((0..100).map(|_| sd_task(77, ""))).await;
    let client = quick(&script).build().unwrap();
    let task = Task::<TextToImageRequest>::from_id("1");
    let wait = client.wait(&task).first_pause(Duration::from_millis(10)).longest_pause(Duration::from_millis(10));
    let error = wait.deadline(Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, Error::Deadline { last: Some(JobState::Unknown(77)), .. }), "{error:?}");
    assert!(script.requests().len() > 3, "it is asked for until the deadline");
}

#[tokio::test]
async fn a_dropped_wait_stops_querying() {
    let script = Script::new((0..100).map(|_| sd_task(3, ""))).await;
    let client = quick(&script).build().unwrap();
    let task = Task::<TextToImageRequest>::from_id("1");
    let wait = client.wait(&task).first_pause(Duration::from_millis(5)).longest_pause(Duration::from_millis(5));
    tokio::time::timeout(Duration::from_millis(100), std::future::IntoFuture::into_future(wait)).await.unwrap_err();
    let asked = script.requests().len();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(script.requests().len() <= asked + 1);
}

/// Servers close idle connections, `imgopen serve` after 60 seconds, and a request on one that is just closing is lost.
#[tokio::test]
async fn idle_connections_are_let_go_before_the_server_does() {
    let recorder = Recorder::default();
    let tap = Tap::before(serve(recorder.router()).await).await.unwrap();
    let client = Client::new(&url(tap.address), Credentials::new("my-id", "my-secret")).unwrap();
    for (idle, connections) in [(0, 1), (5, 1), (30, 2)] {
        // The connection returns to the pool when its answer has been read to the end.
        tokio::time::sleep(Duration::from_millis(50)).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(idle)).await;
        tokio::time::resume();
        client.submit(&picture()).await.unwrap();
        assert_eq!(tap.traffic().len(), connections, "after {idle} s");
    }
}

#[tokio::test]
async fn without_keys_no_key_headers_are_sent() {
    let script = Script::new([answer("200 OK", "", ACK)]).await;
    Client::builder(&url(script.address)).build().unwrap().submit(&picture()).await.unwrap();
    assert!(!script.requests()[0].to_lowercase().contains("accesskey"));
}
