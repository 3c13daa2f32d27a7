//! Attempts to bypass the guard that need sockets: names, resolver answers that change, redirects.

use std::net::IpAddr;

use crate::host::{ALLOWED, FORBIDDEN, Host, fetcher, guard, limits, ok, redirect, resolving};
use bytes::Bytes;
use imgopen_fetch::{FetchError, Fetcher, Guard, HeaderMap};

const GOOD: IpAddr = IpAddr::V4(ALLOWED);
const BAD: IpAddr = IpAddr::V4(FORBIDDEN);

async fn rejection(fetcher: &Fetcher, url: &str) -> String {
    let error = fetcher.get(url, &limits()).await.expect_err(url);
    assert!(error.is_refusal(), "{error}");
    error.to_string()
}

#[tokio::test]
async fn an_address_is_rejected_before_anything_is_sent() {
    let host = Host::answering(|_| ok("secret")).await;
    let strict = Fetcher::new(Guard::default()).unwrap();
    let port = host.address.port();
    for name in ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "localhost"] {
        let url = format!("http://{name}:{port}/");
        let rejected = strict.get(&url, &limits()).await.unwrap_err();
        assert!(rejected.is_refusal() && !rejected.is_retryable(), "{rejected}");
        assert!(rejected.to_string().contains("127.0.0.1, a loopback address"), "{rejected}");
        let pushed = strict.post(&url, HeaderMap::new(), Bytes::new(), &limits()).await.unwrap_err();
        assert!(pushed.is_refusal(), "{pushed}");
    }
    assert_eq!(host.connections(), 0);
}

#[tokio::test]
async fn a_name_is_rejected_by_the_address_it_resolves_to() {
    let host = Host::answering(|_| ok("secret")).await;
    for (address, kind) in [
        ("127.0.0.2", "a loopback address"),
        ("::ffff:127.0.0.2", "a loopback address"),
        ("::1", "a loopback address"),
        ("10.0.0.5", "a private address"),
        ("169.254.169.254", "a cloud metadata address"),
        ("0.0.0.0", "an address of \"this network\""),
        ("::", "the unspecified address"),
        ("2002:7f00:1::", "a 6to4 tunnel's address"),
    ] {
        let (fetcher, _) = resolving(&[&[address.parse().unwrap()]]);
        let url = host.named("pictures.example", "/cat.png?key=hunter2");
        let rejected = fetcher.get(&url, &limits()).await.unwrap_err();
        assert_eq!(rejected.detail(), Some(format!("it resolves to {address}, {kind}")));
        // As long as a name that was not found is tried.
        assert!(rejected.is_refusal() && rejected.is_retryable(), "{rejected}");
        // The message is for strangers.
        let (message, port) = (rejected.to_string(), host.address.port());
        assert!(message.contains(&format!("http://pictures.example:{port}/cat.png?… was not found, or")), "{message}");
        assert!(!message.contains(address) && !message.contains(kind), "{message}");
        let pushed = fetcher.post(&url, HeaderMap::new(), Bytes::new(), &limits()).await.unwrap_err();
        assert!(matches!(pushed, FetchError::Resolved { .. }), "{pushed}");
    }
    assert_eq!(host.connections(), 0);
}

#[tokio::test]
async fn only_the_permitted_addresses_of_a_name_are_connected_to() {
    let good = Host::answering(|_| ok("good")).await;
    let (fetcher, _) = resolving(&[&[BAD, "10.0.0.5".parse().unwrap(), GOOD, BAD]]);
    let fetched = fetcher.get(&good.named("both.example", "/"), &limits()).await.unwrap();
    assert_eq!(fetched.bytes, "good");
}

#[tokio::test]
async fn the_connection_goes_to_the_address_that_was_checked() {
    let close = |_: &str| ok("good").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let host = Host::answering(close).await;
    let (fetcher, asked) = resolving(&[&[GOOD], &[BAD]]);
    let url = host.named("rebinding.example", "/");
    assert_eq!(fetcher.get(&url, &limits()).await.unwrap().bytes, "good");
    assert_eq!(asked.lock().unwrap().len(), 1, "nothing is resolved between the check and the connection");
    let refused = fetcher.get(&url, &limits()).await.unwrap_err();
    assert_eq!(refused.detail().as_deref(), Some("it resolves to 127.0.0.2, a loopback address"));
    assert_eq!(*asked.lock().unwrap(), ["rebinding.example"; 2]);
    assert_eq!(host.connections(), 1);
}

#[tokio::test]
async fn a_pooled_connection_keeps_the_address_that_was_checked() {
    let host = Host::answering(|_| ok("good")).await;
    let (fetcher, asked) = resolving(&[&[GOOD], &[BAD]]);
    let url = host.named("rebinding.example", "/");
    for _ in 0..3 {
        assert_eq!(fetcher.get(&url, &limits()).await.unwrap().bytes, "good");
    }
    assert_eq!((asked.lock().unwrap().len(), host.connections()), (1, 1));
    let other = fetcher.get(&host.named("other.example", "/"), &limits()).await;
    assert!(other.unwrap_err().is_refusal(), "connections are pooled by name");
}

#[tokio::test]
async fn every_redirect_is_checked() {
    let inside = Host::on(FORBIDDEN, |_, _| async { Ok(()) }).await;
    let port = inside.address.port();
    for (location, expected) in [
        (format!("http://127.0.0.2:{port}/"), "is at 127.0.0.2, a loopback address"),
        (format!("//127.0.0.2:{port}/"), "is at 127.0.0.2, a loopback address"),
        (format!("http://2130706434:{port}/"), "is at 127.0.0.2, a loopback address"),
        (format!("http://[::ffff:7f00:2]:{port}/"), "127.0.0.2, a loopback address"),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), "a cloud metadata address"),
        ("file:///etc/passwd".to_owned(), "has the scheme `file`"),
        ("gopher://127.0.0.1:6379/_x".to_owned(), "has the scheme `gopher`"),
        (format!("http://me:hunter2@127.0.0.1:{port}/"), "holds a user name or a password"),
        ("http://127.0.0.1:25/".to_owned(), "names port 25"),
        (format!("http://inside.example:{port}/"), "was not found, or has no address"),
    ] {
        let answer = redirect(&location);
        let host = Host::answering(move |_| answer.clone()).await;
        let (fetcher, _) = resolving(&[&[BAD]]);
        let shown = rejection(&fetcher, &host.url("/start")).await;
        assert!(shown.starts_with(&format!("{} redirects, and ", host.url("/start"))), "{shown}");
        assert!(shown.contains(expected) && !shown.contains("hunter2"), "{location}: {shown}");
    }
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn the_last_of_several_redirects_is_checked() {
    let host = Host::answering(|request| match request.split(' ').nth(1) {
        Some("/1") => redirect("/2"),
        Some("/2") => redirect("3?x=y"),
        _ => redirect("http://10.0.0.1/"),
    })
    .await;
    let message = rejection(&fetcher(), &host.url("/1")).await;
    assert!(message.contains("/1 redirects, and http://10.0.0.1/ is at 10.0.0.1, a private address"), "{message}");
    assert_eq!(host.requests().len(), 3);
}

#[tokio::test]
async fn an_allowed_network_is_reached_by_address_and_by_name() {
    let host = Host::answering(|_| ok("good")).await;
    let (fetcher, _) = resolving(&[&["::ffff:127.0.0.1".parse().unwrap()]]);
    let port = host.address.port();
    for name in ["127.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]", "name.example", "localhost"] {
        let url = format!("http://{name}:{port}/");
        assert_eq!(fetcher.get(&url, &limits()).await.expect(name).bytes, "good");
    }
    assert!(guard().permits(GOOD) && !guard().permits(BAD));
}
