//! The limits of fetches and pushes, and the errors of those that fail.

use std::time::{Duration, Instant};

use crate::host::{ALLOWED, Host, fetcher, guard, limits, ok, read_request, redirect};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use imgopen_fetch::{FetchError, Fetcher, HeaderMap};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SOON: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_fetch_returns_the_final_url_and_the_content_type() {
    let host = Host::answering(|request| match request.split(' ').nth(1) {
        Some("/start") => redirect("/a%20b.png?x=y"),
        _ => ok("picture"),
    })
    .await;
    let fetched = fetcher().get(&host.url("/start"), &limits()).await.unwrap();
    assert_eq!(fetched.url.as_str(), host.url("/a%20b.png?x=y"));
    assert_eq!((fetched.content_type.as_deref(), &fetched.bytes[..]), (Some("image/png"), &b"picture"[..]));
    fetcher().get(&host.url("/c d.png"), &limits()).await.unwrap();
    let sent = host.requests();
    assert!(sent[2].starts_with("GET /c%20d.png HTTP/1.1\r\n"), "{}", sent[2]);
    assert!(
        sent[0].contains("accept-encoding: identity\r\n") && sent[0].contains("user-agent: imgopen/"),
        "{}",
        sent[0]
    );
}

#[tokio::test]
async fn a_status_that_is_not_a_success_is_an_error() {
    for (status, retryable) in [
        ("404 Not Found", false),
        ("503 Service Unavailable", true),
        ("304 Not Modified", false),
        ("408 Request Timeout", true),
        ("429 Too Many Requests", true),
        ("500 Internal Server Error", true),
        ("501 Not Implemented", false),
        ("502 Bad Gateway", true),
        ("410 Gone", false),
    ] {
        let host = Host::answering(move |_| format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")).await;
        let error = fetcher().get(&host.url("/x.png?key=hunter2"), &limits()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{}?… answered {status}", host.url("/x.png")));
        assert_eq!(error.is_retryable(), retryable);
    }
}

#[tokio::test]
async fn an_announced_size_is_rejected_before_the_body() {
    let host = Host::dripping("HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n", "", Duration::from_secs(60)).await;
    let started = Instant::now();
    let error = fetcher().get(&host.url("/x.png"), &limits()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{} is larger than 1000 bytes; give a smaller one", host.url("/x.png")));
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (start, rest) in [(chunked, "8\r\n12345678\r\n"), ("HTTP/1.1 200 OK\r\n\r\n", "12345678")] {
        let host = Host::dripping(start, rest, Duration::ZERO).await;
        let error = fetcher().get(&host.url("/"), &limits()).await.unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { limit: 1000, .. }), "{error}");
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_accepted() {
    let host = Host::answering(|_| ok(&"x".repeat(1000))).await;
    assert_eq!(fetcher().get(&host.url("/"), &limits()).await.unwrap().bytes.len(), 1000);
    assert!(fetcher().get(&host.url("/"), &limits().bytes(999)).await.is_err());
}

#[tokio::test]
async fn an_endless_head_is_cut_off() {
    let header = format!("x-more: {}\r\n", "x".repeat(8000));
    let host = Host::dripping("HTTP/1.1 200 OK\r\n", header, Duration::ZERO).await;
    let error = fetcher().get(&host.url("/"), &limits().time(Duration::from_secs(30))).await.unwrap_err();
    assert!(matches!(error, FetchError::Transport { .. }), "{error}");
}

#[tokio::test]
async fn a_slow_host_times_out() {
    let silent = Host::dripping("", "", Duration::from_secs(60)).await;
    let slow_head = Host::dripping("HTTP/1.1 200 OK\r\n", "x", Duration::from_millis(50)).await;
    let slow_body =
        Host::dripping("HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n", "x", Duration::from_millis(50)).await;
    for (host, is_answered) in [(silent, false), (slow_head, false), (slow_body, true)] {
        let error = fetcher().get(&host.url("/x.png"), &limits().time(SOON)).await.unwrap_err();
        let (text, url) = (error.to_string(), host.url("/x.png"));
        match is_answered {
            false => assert_eq!(text, format!("{url} did not answer within 0.3 s")),
            true => {
                let end = " bytes came within 0.3 s, and not all; serve it faster";
                assert!(text.starts_with(&format!("{url} answered too slowly: ")) && text.ends_with(end), "{text}");
            }
        }
        assert!(error.is_retryable());
        let pushed = fetcher().post(&host.url("/"), HeaderMap::new(), Bytes::new(), &limits().time(SOON)).await;
        assert!(matches!(pushed, Err(FetchError::Timeout { .. })), "{pushed:?}");
    }
}

#[tokio::test]
async fn redirects_share_one_time_limit() {
    let host = Host::on(ALLOWED, |mut stream, _| async move {
        loop {
            read_request(&mut stream).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
            stream.write_all(redirect("/more").as_bytes()).await?;
        }
    })
    .await;
    let error = fetcher().get(&host.url("/"), &limits().redirects(200).time(SOON)).await.unwrap_err();
    assert!(matches!(error, FetchError::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn a_slow_connection_times_out() {
    let limits = limits().connect(SOON);
    let no_answer = |_: String| std::future::pending();
    let unresolved = Fetcher::with_resolver(guard(), no_answer).unwrap();
    let error = unresolved.get("http://slow.example/", &limits).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "http://slow.example/ could not be connected to within 0.3 s; check that its server runs"
    );
    let no_tls = Host::on(ALLOWED, |stream, _| async move {
        let _open = stream;
        std::future::pending().await
    })
    .await;
    let error = fetcher().get(&format!("https://{}/", no_tls.address), &limits).await.unwrap_err();
    assert!(matches!(error, FetchError::ConnectTimeout { .. }) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn https_to_a_plain_port_is_named() {
    let host = Host::on(ALLOWED, |mut stream, _| async move {
        // Unread bytes would reset the connection before the answer arrives.
        assert!(stream.read(&mut [0; 4096]).await? > 0);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await
    })
    .await;
    let error = fetcher().get(&format!("https://{}/?key=hunter2", host.address), &limits()).await.unwrap_err();
    let expected =
        "answered without the encryption (TLS) that https asks for; give the URL with http://, or the port for https";
    assert_eq!(error.to_string(), format!("https://{}/?… {expected}", host.address));
    assert!(!error.is_retryable());
}

const NO_ADDRESS: &str = "the host of http://a.example/ was not found, or has no address that may be reached; check its name, or \
                          have the operator allow its network with --allow-network";

#[tokio::test]
async fn missing_hosts_and_broken_connections_are_errors() {
    let missing = |_: String| async { Err(std::io::Error::other("no such name")) };
    let error =
        Fetcher::with_resolver(guard(), missing).unwrap().get("http://a.example/", &limits()).await.unwrap_err();
    assert_eq!(error.to_string(), NO_ADDRESS);
    assert_eq!(error.detail().as_deref(), Some("it was not found: no such name"));
    let empty = |_: String| async { Ok(Vec::new()) };
    let error = Fetcher::with_resolver(guard(), empty).unwrap().get("http://a.example/", &limits()).await.unwrap_err();
    assert!(matches!(error, FetchError::Unresolved { .. }) && error.is_retryable(), "{error}");
    // A name of the operator's network has the same message as one that does not exist.
    let inside = |_: String| async { Ok(vec![[10, 0, 0, 5].into()]) };
    let error = Fetcher::with_resolver(guard(), inside).unwrap().get("http://a.example/", &limits()).await.unwrap_err();
    assert!(matches!(error, FetchError::Resolved { .. }) && error.is_refusal(), "{error}");
    assert_eq!(error.to_string(), NO_ADDRESS);

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = fetcher().get(&format!("http://{closed}/?key=hunter2"), &limits()).await.unwrap_err();
    assert!(error.is_retryable() && !format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    assert!(!error.is_local(), "{error:?}");

    let cut = Host::on(ALLOWED, |mut stream, _| async move {
        read_request(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1").await
    })
    .await;
    let error = fetcher().get(&cut.url("/"), &limits()).await.unwrap_err();
    assert!(matches!(error, FetchError::Transport { .. }), "{error}");
}

/// No network leads to a multicast address over TCP, on any machine.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_network_that_is_missing_here_is_not_the_server_s_fault() {
    let multicast = imgopen_fetch::Guard::new(vec!["224.0.0.0/4".parse().unwrap()]);
    let error = Fetcher::new(multicast).unwrap().get("http://224.0.0.1:8000/", &limits()).await.unwrap_err();
    assert!(matches!(error, FetchError::Transport { .. }) && error.is_local(), "{error}");
    assert!(!error.is_exhaustion(), "{error}");
    let missing = |_: String| async { Err(std::io::Error::from_raw_os_error(24)) };
    let error = Fetcher::with_resolver(guard(), missing).unwrap().get("http://a.example/", &limits()).await;
    assert!(error.as_ref().unwrap_err().is_local(), "{error:?}");
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let host = Host::answering(|_| redirect("/again")).await;
    let error = fetcher().get(&host.url("/"), &limits()).await.unwrap_err();
    let expected = format!("{} leads through more than 3 redirects; give the URL that they lead to", host.url("/"));
    assert_eq!(error.to_string(), expected);
    assert_eq!(host.requests().len(), 4);
    assert!(fetcher().get(&host.url("/"), &limits().redirects(0)).await.is_err());
}

#[tokio::test]
async fn a_redirect_without_a_target_is_an_error() {
    let without = "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n".to_owned();
    for (answer, expected) in [(without, "without a `Location`"), (redirect("http://[/"), "is not a URL")] {
        let host = Host::answering(move |_| answer.clone()).await;
        let error = fetcher().get(&host.url("/"), &limits()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_body_compressed_in_an_unknown_way_is_an_error() {
    for encoding in ["br", "identity, zstd", "gzip, gzip", "GZIP"] {
        let compressed =
            move |_: &str| ok("bomb").replace("\r\n\r\n", &format!("\r\ncontent-encoding: {encoding}\r\n\r\n"));
        let host = Host::answering(compressed).await;
        let error = fetcher().get(&host.url("/"), &limits()).await.unwrap_err();
        match encoding {
            // It says so, but is not.
            "GZIP" => assert!(matches!(error, FetchError::Packed { encoding: "gzip", .. }), "{error}"),
            _ => assert!(matches!(error, FetchError::Encoding { .. }), "{error}"),
        }
        let pushed = fetcher().post(&host.url("/"), HeaderMap::new(), Bytes::new(), &limits()).await.unwrap();
        assert_eq!(pushed.body, "bomb");
    }
    let host = Host::answering(|_| ok("x").replace("\r\n\r\n", "\r\ncontent-encoding: aws-chunked\r\n\r\n")).await;
    assert_eq!(fetcher().get(&host.url("/"), &limits()).await.unwrap().bytes, "x");
}

/// Starts a host that sends a text of so many bytes as gzip, whatever is asked for.
async fn gzipping(length: usize) -> Host {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut gzip, &vec![b'x'; length]).expect("memory can be written");
    let body = gzip.finish().expect("memory can be written");
    Host::on(ALLOWED, move |mut stream, _| {
        let body = body.clone();
        async move {
            read_request(&mut stream).await?;
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await
        }
    })
    .await
}

#[tokio::test]
async fn a_gzipped_body_is_decompressed_within_the_limit() {
    let fitting = gzipping(1000).await;
    assert_eq!(fetcher().get(&fitting.url("/"), &limits()).await.unwrap().bytes, "x".repeat(1000));
    let bomb = gzipping(1001).await;
    let error = fetcher().get(&bomb.url("/"), &limits()).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 1000, .. }), "{error}");
}

/// The only thread for such work is busy until the time is over.
#[test]
fn a_body_that_is_not_decompressed_in_time_is_not_called_slow() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || ended.recv());
    let (error, url) = runtime.block_on(async {
        let host = gzipping(1000).await;
        let limits = limits().time(Duration::from_secs(2));
        (fetcher().get(&host.url("/x.png"), &limits).await.unwrap_err(), host.url("/x.png"))
    });
    drop(end);
    let FetchError::UnpackTimeout { received, .. } = error else { panic!("{error}") };
    let expected = format!(
        "{url} answered with the encoding `gzip`, which was not asked for; all {received} bytes came, but were not \
         decompressed within 2 s of the request; serve it without, or faster"
    );
    assert_eq!((error.to_string(), error.is_retryable()), (expected, true));
    assert!((1..100).contains(&received), "{received}");
}

#[tokio::test]
async fn a_server_says_when_to_try_again() {
    for (header, expected) in [("retry-after: 7\r\n", Some(7)), ("retry-after: soon\r\n", None), ("", None)] {
        let host = Host::answering(move |_| format!("HTTP/1.1 503 Busy\r\n{header}content-length: 0\r\n\r\n")).await;
        let error = fetcher().get(&host.url("/"), &limits()).await.unwrap_err();
        let FetchError::Status { retry_after, .. } = error else { panic!("{error}") };
        assert_eq!(retry_after, expected.map(Duration::from_secs));
    }
}

#[tokio::test]
async fn blanks_around_a_url_and_the_case_of_its_scheme_do_not_matter() {
    let host = Host::answering(|_| ok("picture")).await;
    for url in [format!(" {}\n", host.url("/")), format!("\u{feff}\u{a0}HTTP://{}/\t", host.address)] {
        assert_eq!(fetcher().get(&url, &limits()).await.unwrap().bytes, "picture");
    }
}

#[tokio::test]
async fn a_push_sends_its_headers_and_body_and_returns_any_status() {
    let host =
        Host::answering(|_| "HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno".to_owned()).await;
    let headers = HeaderMap::from_iter([("webhook-id".parse().unwrap(), "msg_1".parse().unwrap())]);
    let posted = fetcher().post(&host.url("/done?a=b"), headers, "{}".into(), &limits()).await.unwrap();
    assert_eq!(
        (posted.status.as_u16(), &posted.body[..], &posted.headers["retry-after"]),
        (503, &b"no"[..], &"7".parse().unwrap())
    );
    let sent = host.requests().remove(0);
    assert!(
        sent.starts_with("POST /done?a=b HTTP/1.1\r\nwebhook-id: msg_1\r\n") && sent.ends_with("\r\n\r\n{}"),
        "{sent}"
    );
}

#[tokio::test]
async fn a_push_follows_no_redirect() {
    let host = Host::answering(|_| redirect("/elsewhere")).await;
    let posted = fetcher().post(&host.url("/"), HeaderMap::new(), Bytes::new(), &limits()).await.unwrap();
    assert_eq!((posted.status.as_u16(), host.requests().len()), (302, 1));
}

#[tokio::test]
async fn the_answer_to_a_push_is_truncated_at_the_limit() {
    let endless = Host::dripping("HTTP/1.1 200 OK\r\n\r\n", "12345678", Duration::ZERO).await;
    let announced = Host::answering(|_| ok(&"12345678".repeat(1000))).await;
    for host in [endless, announced] {
        let posted = fetcher().post(&host.url("/"), HeaderMap::new(), Bytes::new(), &limits().bytes(10)).await.unwrap();
        assert_eq!(posted.body, "1234567812");
    }
}
