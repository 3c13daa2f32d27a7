//! The generated client with all its rules, against the same call written by hand on reqwest and serde.
//!
//! Both call one server that gives a ready answer, over a socket that stays open, and send the same bytes. The ratio is
//! that of the time of a call; at most 1.03 is the target.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use criterion::{Criterion, criterion_group, criterion_main};
use imgopen_client::types::{QueryTaskRequest, SubmitTrainingRequest, TextToImageRequest};
use imgopen_client::{Client, Credentials};
use imgopen_tests::hand::{self, Accepted, QueryTask, Task, TextToImage, Training};
use imgopen_tests::load::{Call, calls, runtime, serve};
use imgopen_tests::ratio::Ratio;
use imgopen_tests::wire::{Tap, url};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

/// A server that gives the same answer to every request.
fn answering(call: &Call) -> SocketAddr {
    let answer: &'static str = call.answer.to_string().leak();
    let [address] =
        serve([Router::new().fallback(move || async move { ([(CONTENT_TYPE, "application/json")], answer) })]);
    address
}

fn request<T: DeserializeOwned>(call: &Call) -> T {
    serde_json::from_value(call.request.clone()).expect("the example fits")
}

fn client(server: SocketAddr) -> Client {
    Client::new(&url(server), Credentials::new("my-id", "my-secret")).expect("a client can be made")
}

/// Measures one operation: by its method of the client, and by hand with these types of request and answer.
macro_rules! measure {
    ($criterion:ident, $call:ident, $method:ident($request:ty), $by_hand:ty => $answer:ty) => {{
        let runtime = runtime();
        let server = answering(&$call);
        let (generated, by_hand): ($request, $by_hand) = (request(&$call), request(&$call));
        let generated_on = async |client: &Client| {
            let request = generated.clone();
            black_box(client.$method().body(request).send().await.expect("the server answers"));
        };
        let by_hand_on = async |http: &reqwest::Client, address: &str| {
            let (request, url) = (by_hand.clone(), format!("{address}{}", $call.operation.path));
            black_box(hand::call::<$answer>(http, &url, &request).await.expect("the server answers"));
        };
        same_bytes(
            &runtime,
            server,
            |address| runtime.block_on(generated_on(&client(address))),
            |address| runtime.block_on(by_hand_on(&hand::client(), &url(address))),
        );
        let (client, http, address) = (client(server), hand::client(), url(server));
        compare(
            $criterion,
            &$call,
            |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        generated_on(&client).await;
                    }
                })
            },
            |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        by_hand_on(&http, &address).await;
                    }
                })
            },
        );
    }};
}

fn calling(criterion: &mut Criterion) {
    let [training, text_to_image, query_task] = calls();
    measure!(criterion, training, submit_training(SubmitTrainingRequest), Training => ());
    measure!(criterion, text_to_image, text_to_image(TextToImageRequest), TextToImage => Accepted);
    measure!(criterion, query_task, query_task(QueryTaskRequest), QueryTask => Task);
}

/// Makes both calls through a tap, and compares what they send.
fn same_bytes(runtime: &Runtime, server: SocketAddr, generated: impl Fn(SocketAddr), by_hand: impl Fn(SocketAddr)) {
    let sent = |call: &dyn Fn(SocketAddr)| {
        let tap = runtime.block_on(Tap::before(server)).expect("a port is free");
        call(tap.address);
        let traffic = tap.traffic().swap_remove(0).sent;
        let (head, body) = traffic.split_once("\r\n\r\n").expect("a whole request");
        let mut head: Vec<_> = head.lines().filter(|line| !line.starts_with("host: ")).map(str::to_owned).collect();
        head.sort();
        (head, body.to_owned())
    };
    assert_eq!(sent(&generated), sent(&by_hand), "both send the same");
}

/// Prints the ratio, and measures the time of each.
fn compare(criterion: &mut Criterion, call: &Call, mut generated: impl FnMut(u64), mut by_hand: impl FnMut(u64)) {
    let ratio = Ratio::of(401, || generated(20), || by_hand(20));
    println!("\n{}: time of a call, generated to hand-written: {ratio} (target: at most 1.03)", call.operation.id);
    let mut group = criterion.benchmark_group(format!("client/{}", call.operation.id));
    let ways: [(&str, &mut dyn FnMut(u64)); 2] = [("generated", &mut generated), ("hand-written", &mut by_hand)];
    for (name, way) in ways {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let start = Instant::now();
                way(times);
                start.elapsed()
            });
        });
    }
}

criterion_group!(benches, calling);
criterion_main!(benches);
