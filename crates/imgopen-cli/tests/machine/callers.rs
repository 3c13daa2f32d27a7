//! Callers ask for too much, or for what is none of their business.

use super::*;
use common::http::raw;
use common::shim::rule;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_service_is_not_reached_by_a_foreign_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = serve(folder.path());
    command.arg("--open");
    let program = start(command, None, &[]);
    let list = |host: &str| {
        let head = "POST /imgopen/v1/tasks/list HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 2\r\n";
        block_in_place(|| raw(&program.url, &format!("{head}connection: close\r\nhost: {host}\r\n\r\n{{}}")))
    };
    assert!(list("localhost:8080").starts_with("HTTP/1.1 200"));
    assert!(list("127.0.0.1").starts_with("HTTP/1.1 200"));
    let refused = list("evil.example");
    assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("\"code\":\"403\""), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_is_answered_with_the_envelope() {
    let folder = tempfile::tempdir().unwrap();
    let program = start(serve(folder.path()), None, &[]);
    for path in ["/assets/%ff%fe", "/previews/%ff%fe", "/nothing"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer = block_in_place(|| raw(&program.url, &request));
        let status = answer.split(' ').nth(1).unwrap().to_owned();
        assert!(status.starts_with('4') && answer.contains(&format!("\"code\":\"{status}\"")), "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_have_a_longest_length() {
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let program = start(serve(folder.path()), None, &[]);
    let http = reqwest::Client::new();
    let statuses = async |id: &str| {
        let mut statuses = Vec::new();
        let training = json!({"taskId": id, "fileUrlList": vec!["http://127.0.0.1:8009/a.png"; 10]});
        let requests = [
            ("flux_text_to_image", drawing(id, "delay=1ms")),
            ("enlarge_image", enlarging(id, "http://127.0.0.1:8009/a.png", 2)),
            ("submit_training", training),
        ];
        for (operation, request) in requests {
            let answer = post(&http, (&key, &program.url), operation, &[], &request).await.unwrap();
            statuses.push(answer.status.as_u16());
        }
        statuses
    };
    assert_eq!(statuses(&"é".repeat(255)).await, [200, 200, 200]);
    assert_eq!(statuses(&"é".repeat(256)).await, [422, 422, 422]);
    assert_eq!(statuses(&"x".repeat(100_000)).await, [422, 422, 422]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_list_is_bounded_in_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let program = start(serve(folder.path()), None, &[]);
    let client = key.client(&program.url);
    for number in 0..60 {
        let reason = "long ".repeat(10_000);
        submit(&client, &drawing(&format!("t{number}"), &format!("fail={reason}"))).await;
    }
    count(&client, "failed", 60).await;
    let asked = json!({"pageSize": 100});
    let page = call(&client, "list_tasks", &asked).await.unwrap().response;
    let rows = serde_json::from_str::<Value>(&page).unwrap()["data"]["rows"].as_array().unwrap().len();
    assert!(page.len() < 2 << 20, "{rows} rows in {} bytes", page.len());
    assert!((1..60).contains(&rows), "{rows}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_the_inner_network_cannot_be_asked_for() {
    let shim = Shim::build();
    shim.rules(&[rule("resolve", 0, "inside.example")]);
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let mut command = imgopen();
    command.args(["serve", "--sandbox", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
    let program = start(command, Some(&shim), &[]);
    let client = key.client(&program.url);
    let mut answers = Vec::new();
    for name in ["inside.example", "nowhere.invalid"] {
        submit(&client, &enlarging(name, &format!("http://{name}/a.png"), 2)).await;
        let row = ended(&client, name).await;
        assert_eq!(row["state"], "failed");
        answers.push(text(&row, "desc").replace(name, "NAME"));
    }
    assert_eq!(answers[0], answers[1]);
    assert!(!answers[0].contains("127.0.0.1"), "{answers:?}");
    // The operator learns which it was.
    assert!(program.log().contains("127.0.0.1"), "{}", program.log());
}
