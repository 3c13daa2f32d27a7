//! Access keys, and the pages that need none.

use std::time::Duration;

use imgopen_client::Credentials;
use imgopen_service::{KeyId, NewKey};
use serde_json::{Value, json};

use crate::common::web::Receiver;
use crate::common::{Answer, Bench, Server, enlarge, enlarge_with_callback, http, id, until};

fn other(key: &NewKey, id: &str, secret: &str) -> NewKey {
    NewKey { credentials: Credentials::new(id, secret), ..key.clone() }
}

#[tokio::test]
async fn a_wrong_or_revoked_key_is_rejected() {
    let server = Bench::new().at("2026-01-10T00:00:00Z").start().await;
    let (id, secret) = (server.key.credentials.access_key_id(), server.key.credentials.expose_secret());
    server.call("list_tasks", json!({})).await.ok();
    let second = server.service.keys().create("second").await.unwrap();
    for (id, secret) in [(id, "wrong"), ("ak_0", secret), (id, second.credentials.expose_secret()), ("open", "x")] {
        let key = other(&server.key, id, secret);
        for operation in ["list_tasks", "list_models", "describe_server"] {
            let answer = server.call_as(&key, operation, json!({"pageSize": 1, "pageNum": 1})).await;
            assert!(answer.headers.contains_key("www-authenticate"));
            assert!(answer.refused(401).contains("`imgopen keys create`"));
        }
    }
    server.service.keys().revoke(KeyId(id.to_owned())).await.unwrap();
    server.clock().set(server.clock().now().plus(Duration::from_secs(1)));
    server.call("list_tasks", json!({})).await.refused(401);
    server.call_as(&second, "list_tasks", json!({})).await.ok();
}

async fn without_key(server: &Server, path: &str, body: Value) -> Answer {
    Answer::of(http().post(format!("{}{path}", server.url)).json(&body).send().await.unwrap()).await
}

#[tokio::test]
async fn an_open_service_needs_no_key_and_still_checks_keys() {
    let server = Bench::new().with(|settings| settings.open = true).start().await;
    let (receiver, url) = Receiver::answering(&[]).await;
    const ENLARGE: &str = "/AIGCImgOpenServ/saas/tool/imgEnlarge";
    let task = id(&without_key(&server, ENLARGE, enlarge_with_callback("1", &url)).await.ok());
    until("it is pushed", || async { receiver.pushes().pop() }).await;
    assert!(receiver.pushes()[0].0.contains_key("webhook-signature"));
    let listed = without_key(&server, "/imgopen/v1/tasks/list", json!({})).await.ok();
    assert_eq!(listed["rows"][0]["taskId"], json!(task));
    // A caller with a key sees the tasks of that key only.
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"], json!([]));
    let wrong = other(&server.key, server.key.credentials.access_key_id(), "wrong");
    server.call_as(&wrong, "list_tasks", json!({})).await.refused(401);

    let server = Bench::new().start().await;
    without_key(&server, ENLARGE, enlarge("1")).await.refused(401);
}

#[tokio::test]
async fn an_open_service_takes_any_placeholder_for_a_key() {
    let server = Bench::new().with(|settings| settings.open = true).start().await;
    let listed = async |headers: &[(&str, &str)]| {
        let request = http().post(format!("{}/imgopen/v1/tasks/list", server.url)).json(&json!({}));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Answer::of(request.send().await.unwrap()).await
    };
    const ENLARGE: &str = "/AIGCImgOpenServ/saas/tool/imgEnlarge";
    let task = id(&without_key(&server, ENLARGE, enlarge("1")).await.ok());
    let (id, secret) = (Credentials::ID_HEADER, Credentials::SECRET_HEADER);
    for headers in [
        &[(id, "accessKeyId"), (secret, "accessKeySecret")][..],
        &[(id, "x"), (secret, "")],
        &[(id, ""), (secret, "sk-none")],
        &[(id, "none")],
        &[(secret, "none")],
        &[(id, "open"), (secret, "open")],
    ] {
        assert_eq!(listed(headers).await.ok()["rows"][0]["taskId"], json!(task), "{headers:?}");
    }
    // A key that the service has must be right, and is not used up by a placeholder's name.
    let own = server.key.credentials.access_key_id();
    for wrong in [&[(id, own), (secret, "wrong")][..], &[(id, own)], &[(id, "a"), (id, "b"), (secret, "c")]] {
        listed(wrong).await.refused(401);
    }
    server.service.keys().revoke(KeyId(own.to_owned())).await.unwrap();
    until("the key is revoked", || async { (server.call("list_tasks", json!({})).await.status == 401).then_some(()) })
        .await;
}

#[tokio::test]
async fn health_readiness_metrics_and_documents_need_no_key() {
    let server = Bench::new().start().await;
    let task = server.submitted("enlarge_image", enlarge("1")).await;
    server.reached(&task, "succeeded").await;
    let text = async |path: &str| {
        let page = server.get(path).send().await.unwrap();
        assert_eq!(page.status(), 200, "{path}");
        page.text().await.unwrap()
    };
    assert_eq!(text("/healthz").await, "ok\n");
    assert_eq!(text("/readyz").await, "ready\n");
    let metrics = text("/metrics").await;
    for line in [
        "imgopen_tasks_accepted_total{operation=\"enlarge_image\"} 1\n",
        "imgopen_tasks_finished_total{operation=\"enlarge_image\",engine=\"sandbox\",state=\"succeeded\"} 1\n",
        "imgopen_tasks_queued 0\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(text("/docs").await.contains("<html"));
    assert!(text("/openapi.json").await.contains("enlarge_image"));
    let home = server.get("/").send().await.unwrap();
    assert_eq!((home.status().as_u16(), &home.headers()["location"]), (307, &"/docs".parse().unwrap()));
    Answer::of(server.get("/nothing").send().await.unwrap()).await.refused(404);
}

#[tokio::test]
async fn rejected_submits_are_counted() {
    let server = Bench::new().start().await;
    let mut bad = enlarge("1");
    bad["sourceImage"] = json!("http://10.0.0.1/a.png");
    server.call("enlarge_image", bad).await.refused(422);
    let metrics = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    let line = "imgopen_submits_refused_total{operation=\"enlarge_image\",status=\"422\"} 1\n";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn calls_are_counted_by_operation_status_and_refusal() {
    let server = Bench::new().with(|settings| settings.requests.body_bytes = 1000).start().await;
    let wrong = other(&server.key, "ak_0", "wrong");
    server.call_as(&wrong, "enlarge_image", enlarge("1")).await.refused(401);
    let url = format!("{}/AIGCImgOpenServ/saas/tool/imgEnlarge", server.url);
    let post = |headers: &[(&str, &str)], body: String| {
        let keys = &server.key.credentials;
        let request = http().post(&url).header(Credentials::ID_HEADER, keys.access_key_id());
        let request = request.header(Credentials::SECRET_HEADER, keys.expose_secret()).body(body);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    let json = ("content-type", "application/json");
    for (headers, body, status) in [
        (&[("content-type", "text/plain")][..], "{}".to_owned(), 415),
        (&[json, ("content-encoding", "br")], "{}".to_owned(), 415),
        (&[json], " ".repeat(1001), 413),
        (&[json], "{".to_owned(), 400),
        (&[json], "{}".to_owned(), 422),
        (&[json], "[]".to_owned(), 422),
    ] {
        Answer::of(post(headers, body).send().await.unwrap()).await.refused(status);
    }
    server.call("enlarge_image", enlarge("1")).await.ok();
    server.tool("hair/change", "1").await.refused(404);
    for path in ["/nothing", "/neither", "/assets/0"] {
        server.get(path).send().await.unwrap();
    }
    let metrics = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    let counts = |name: &str| metrics.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    let has = |line: String| assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    for (status, count) in [(200, 1), (400, 1), (401, 1), (413, 1), (415, 2), (422, 2)] {
        has(format!("imgopen_calls_total{{operation=\"enlarge_image\",status=\"{status}\"}} {count}"));
    }
    has("imgopen_calls_total{operation=\"query_tool_task\",status=\"404\"} 1".to_owned());
    has("imgopen_calls_total{operation=\"other\",status=\"404\"} 3".to_owned());
    for (reason, count) in [("keys", 1), ("media_type", 1), ("coding", 1), ("size", 1), ("json", 1), ("bounds", 2)] {
        has(format!("imgopen_calls_refused_total{{operation=\"enlarge_image\",reason=\"{reason}\"}} {count}"));
    }
    assert_eq!(counts("imgopen_calls_refused_total").len(), 6);
    assert_eq!(counts("imgopen_calls_total").len(), 8);
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let server = Bench::new().start().await;
    server.submitted("enlarge_image", enlarge("1")).await;
    let text = async |accept: &str| {
        let response = server.get("/metrics").header("accept", accept).send().await.unwrap();
        assert_eq!(response.headers()["vary"], "accept");
        let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        (media_type, response.text().await.unwrap())
    };
    let sample = "imgopen_tasks_accepted_total{operation=\"enlarge_image\"} 1\n";
    for accept in ["*/*", "text/plain;version=0.0.4"] {
        let (media_type, metrics) = text(accept).await;
        assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
        assert!(metrics.contains(&format!("# TYPE imgopen_tasks_accepted_total counter\n{sample}")), "{metrics}");
        assert!(!metrics.contains("# EOF") && !metrics.contains("# UNIT"), "{metrics}");
    }
    let (media_type, metrics) = text("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(metrics.contains(&format!("# TYPE imgopen_tasks_accepted counter\n{sample}")), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
}

#[tokio::test]
async fn models_are_listed_in_pages() {
    let server = Bench::new().start().await;
    let page = server.call("list_models", json!({"pageSize": 10, "pageNum": 1})).await.ok();
    assert_eq!((&page["total"], &page["rows"][0]["id"]), (&json!(1), &json!(1)));
    assert_eq!(page["rows"][0]["sdModelCheckpoint"], json!("sandbox.safetensors"));
    let beyond = server.call("list_models", json!({"pageSize": 10, "pageNum": i64::MAX})).await.ok();
    assert_eq!((&beyond["total"], &beyond["rows"]), (&json!(1), &json!([])));
    let filtered =
        server.call("list_loras", json!({"pageSize": 1, "pageNum": 1, "sdLoraName": "without EFFECT"})).await;
    assert_eq!(filtered.ok()["total"], json!(1));
    let filtered = server.call("list_vaes", json!({"pageSize": 1, "pageNum": 1, "sdVaeName": "nothing"})).await;
    assert_eq!(filtered.ok()["rows"], json!([]));
}
