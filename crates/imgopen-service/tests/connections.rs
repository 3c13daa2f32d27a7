//! Connections: how many there are, how long they may keep the service waiting, and which hosts are answered.

use std::io::ErrorKind;
use std::time::Duration;

use imgopen_service::{NewKey, StartError};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::{Answer, Bench, DEADLINE, Server, enlarge, http, until};

/// Reads until the service closes the connection, orderly or not.
async fn rest(caller: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = async {
        let mut buffer = [0; 64 * 1024];
        while let Ok(count @ 1..) = caller.read(&mut buffer).await {
            bytes.extend_from_slice(&buffer[..count]);
        }
    };
    timeout(DEADLINE, reading).await.expect("the service closes the connection");
    bytes
}

async fn healthy(server: &Server) {
    assert_eq!(http().get(format!("{}/healthz", server.url)).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_longest_idle_connections_make_room() {
    let server = Bench::new().with(|settings| settings.connections.at_most = Some(4)).start().await;
    let mut idle = Vec::new();
    for _ in 0..10 {
        idle.push(server.connect().await);
    }
    healthy(&server).await;
    for caller in &mut idle[..6] {
        assert!(rest(caller).await.is_empty());
    }
    // The last ones are still open.
    let last = idle.last_mut().unwrap();
    last.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(String::from_utf8(rest(last).await).unwrap().starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_caller_with_a_request_keeps_its_connection() {
    let server = Bench::new().with(|settings| settings.connections.at_most = Some(2)).start().await;
    let mut waiting = server.connect().await;
    let expand = json!({"businessTaskId": "1", "mode": 0, "sourcePrompt": "a cat [sandbox: hang]"});
    waiting.write_all(server.raw("expand_prompt", &expand.to_string()).as_bytes()).await.unwrap();
    let task = until("the task runs", || async {
        let rows = server.call("list_tasks", json!({"states": ["running"]})).await.ok()["rows"].clone();
        rows[0]["taskId"].as_str().map(str::to_owned)
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..5 {
        idle.push(server.connect().await);
    }
    for caller in &mut idle[..3] {
        assert!(rest(caller).await.is_empty());
    }
    server.call("cancel_task", json!({"taskId": task})).await.ok();
    let mut answer = [0; 12];
    timeout(DEADLINE, waiting.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 409");
}

/// Only Linux has all addresses of 127.0.0.0/8 from the start.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_address_with_most_connections_makes_room() {
    use tokio::net::TcpSocket;

    let server = Bench::new().with(|settings| settings.connections.at_most = Some(5)).start().await;
    let at = |address: &'static str| {
        let server = server.url.strip_prefix("http://").unwrap().parse().unwrap();
        async move {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
            socket.connect(server).await.unwrap()
        }
    };
    let mut modest = at("127.0.0.2").await;
    let mut greedy = Vec::new();
    for _ in 0..12 {
        greedy.push(at("127.0.0.3").await);
    }
    healthy(&server).await;
    for caller in &mut greedy[..8] {
        assert!(rest(caller).await.is_empty());
    }
    // The oldest of all, and as idle as the others.
    modest.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(String::from_utf8(rest(&mut modest).await).unwrap().starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn a_key_waits_for_results_on_a_quarter_of_the_connections() {
    let server = Bench::new().with(|settings| settings.connections.at_most = Some(8)).start().await;
    let expand = |id: &str| json!({"businessTaskId": id, "mode": 0, "sourcePrompt": "a cat [sandbox: hang]"});
    let active = async |key: &NewKey, count: usize| {
        until("the tasks are accepted", || async {
            let list = server.call_as(key, "list_tasks", json!({"states": ["queued", "running"]})).await.ok();
            (list["rows"].as_array().unwrap().len() == count).then_some(list["rows"][0]["taskId"].clone())
        })
        .await
    };
    let mut waiting = Vec::new();
    for id in ["1", "2"] {
        let mut caller = server.connect().await;
        caller.write_all(server.raw("expand_prompt", &expand(id).to_string()).as_bytes()).await.unwrap();
        waiting.push(caller);
    }
    active(&server.key, 2).await;
    let answer = server.call("expand_prompt", expand("3")).await;
    assert!(answer.headers.contains_key("retry-after"));
    assert!(answer.refused(429).contains("wait for their results"));
    // Other keys may still wait, and this one may do anything else.
    let other = server.service.keys().create("other").await.unwrap();
    let call = server.call_as(&other, "expand_prompt", expand("1"));
    let cancel = async {
        let task = active(&other, 1).await;
        server.call_as(&other, "cancel_task", json!({"taskId": task})).await.ok();
    };
    tokio::join!(call, cancel).0.refused(409);
}

#[tokio::test]
async fn a_caller_who_reads_nothing_is_cut() {
    let server = Bench::new().with(|settings| settings.connections.stall = Duration::from_millis(100)).start().await;
    let mut caller = server.not_reading().await;
    // A write fails once the service has closed the connection.
    let is_closed = || caller.try_write(b"\r\n").is_err_and(|error| error.kind() != ErrorKind::WouldBlock);
    until("the connection is closed", || async { is_closed().then_some(()) }).await;
    // What the system had taken may still arrive, but not all that was asked for.
    let page = server.get("/docs").send().await.unwrap().bytes().await.unwrap().len();
    let read = rest(&mut caller).await.len();
    assert!(read < page * Server::PAGES, "{read} bytes");
}

#[tokio::test]
async fn a_request_that_does_not_come_whole_is_cut() {
    let bench = Bench::new().with(|settings| {
        settings.connections.idle = Duration::from_millis(100);
        settings.requests.body_time = Duration::from_millis(100);
    });
    let server = bench.start().await;
    for head in ["", "GET /healthz HTTP/1.1\r\nhost: "] {
        let mut caller = server.connect().await;
        caller.write_all(head.as_bytes()).await.unwrap();
        assert!(rest(&mut caller).await.is_empty(), "{head:?}");
    }
    let mut caller = server.connect().await;
    let call = server.raw("enlarge_image", &enlarge("half").to_string());
    caller.write_all(&call.as_bytes()[..call.len() - 1]).await.unwrap();
    let answer = String::from_utf8(rest(&mut caller).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"code\":\"408\""), "{answer}");
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"], json!([]));
}

#[tokio::test]
async fn answers_announce_how_long_an_idle_connection_is_kept() {
    for (idle, announced) in [(60_000, Some("timeout=60")), (7_900, Some("timeout=7")), (900, None)] {
        let idle = Duration::from_millis(idle);
        let server = Bench::new().with(|settings| settings.connections.idle = idle).start().await;
        // Failures announce it, too.
        for path in ["/healthz", "/nothing", "/assets/0"] {
            let answer = server.get(path).send().await.unwrap();
            let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!((header("keep-alive"), header("connection")), (announced, announced.map(|_| "keep-alive")));
        }
        server.stop().await;
    }
    // Not where the connection ends with the answer.
    let server = Bench::new().start().await;
    for head in ["GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: Close\r\n", "GET /healthz HTTP/1.0\r\n"] {
        let mut caller = server.connect().await;
        caller.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        let answer = String::from_utf8(rest(&mut caller).await).unwrap().to_lowercase();
        assert!(answer.contains(" 200 ok\r\n") && !answer.contains("keep-alive"), "{answer}");
    }
}

#[tokio::test]
async fn an_open_service_answers_at_names_of_this_machine_only() {
    let server = Bench::new().with(|settings| settings.open = true).start().await;
    let at = async |path: &str, host: &str| {
        let list = http().post(format!("{}{path}", server.url)).header("host", host).json(&json!({}));
        Answer::of(list.send().await.unwrap()).await
    };
    const LIST: &str = "/imgopen/v1/tasks/list";
    at(LIST, "localhost:8080").await.ok();
    at(LIST, "127.0.0.1").await.ok();
    for path in [LIST, "/docs", "/metrics", "/nothing"] {
        assert!(at(path, "evil.example").await.refused(403).contains("`Host`"), "{path}");
    }
    // With a key, any name leads here.
    let server = Bench::new().start().await;
    let page = server.get("/docs").header("host", "images.example.com").send().await.unwrap();
    assert_eq!(page.status(), 200);
}

#[tokio::test]
async fn a_host_is_named_once() {
    let server = Bench::new().start().await;
    for (head, expected) in [
        ("GET /healthz HTTP/1.1\r\n", "HTTP/1.1 400"),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\nhost: b\r\n", "HTTP/1.1 400"),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\nhost: a\r\n", "HTTP/1.1 400"),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\n", "HTTP/1.1 200"),
        ("GET /healthz HTTP/1.0\r\n", "HTTP/1.0 200"),
    ] {
        let mut caller = server.connect().await;
        caller.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let answer = String::from_utf8(rest(&mut caller).await).unwrap();
        assert!(answer.starts_with(expected), "{head:?}: {answer}");
        assert!(expected.ends_with("200") || answer.contains("\"code\":\"400\""), "{head:?}: {answer}");
    }
}

#[tokio::test]
async fn a_clock_that_cannot_be_right_is_an_error_at_the_start() {
    match Bench::new().at("9950-01-01T00:00:00Z").open().await {
        Err(error @ StartError::Clock(_)) => assert!(error.to_string().contains("9950-01-01"), "{error}"),
        other => panic!("{other:?}"),
    }
}
