//! One caller takes all there is, and others do not notice.

use super::*;
use axum::Router;
use imgopen_tests::wire;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_fills_the_queue_leaves_room_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let (greedy, modest) = (key(folder.path()), key(folder.path()));
    let program = start(serve(folder.path()), None, &["queue.length=20"]);
    let http = reqwest::Client::new();
    let fill = async || {
        let request = drawing("greedy", "hang");
        let answer = post(&http, (&greedy, &program.url), operation(&request), &[], &request).await.unwrap();
        (answer.status == 429).then_some(())
    };
    until("the queue takes no more of a key", async || fill().await).await;
    for number in 0..4 {
        // It takes every place that becomes free.
        fill().await;
        let request = drawing(&format!("modest{number}"), "delay=1ms");
        let answer = post(&http, (&modest, &program.url), operation(&request), &[], &request).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_sources_of_a_key_hold_up_no_other_key() {
    let asked = Arc::new(AtomicUsize::new(0));
    let copy = asked.clone();
    let slow = Router::new().fallback(move || {
        copy.fetch_add(1, Ordering::SeqCst);
        pending::<()>()
    });
    let slow = wire::url(wire::serve(slow).await);
    let pictures = PictureServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (patient, hurried) = (key(folder.path()), key(folder.path()));
    let program = start(serve(folder.path()), None, &["pictures.time=10m"]);
    let client = patient.client(&program.url);
    for number in 0..12 {
        submit(&client, &enlarging(&format!("slow{number}"), &format!("{slow}/{number}.png"), 2)).await;
    }
    // As many as there are workers, or fewer where fewer may wait.
    until("sources are asked", async || (asked.load(Ordering::SeqCst) > 0).then_some(())).await;
    sleep(Duration::from_millis(500)).await;
    let client = hurried.client(&program.url);
    for number in 0..3 {
        let name = format!("quick{number}");
        submit(&client, &enlarging(&name, &format!("{}/a.png", pictures.url), 2)).await;
        assert_eq!(ended(&client, &name).await["state"], "succeeded");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_receivers_of_a_key_hold_up_no_other_key() {
    let folder = tempfile::tempdir().unwrap();
    let (attacker, other) = (key(folder.path()), key(folder.path()));
    // An attempt takes longer than the test waits.
    let program = start(serve(folder.path()), None, &["callbacks.time=1h"]);
    let client = attacker.client(&program.url);
    let hanging = Arc::new(AtomicUsize::new(0));
    for receiver in 0..24 {
        let hanging = hanging.clone();
        let hang = Router::new().fallback(move || {
            hanging.fetch_add(1, Ordering::SeqCst);
            pending::<()>()
        });
        let url = wire::url(wire::serve(hang).await);
        for number in 0..10 {
            let mut request = drawing(&format!("{receiver}-{number}"), "delay=1ms");
            request["callbackUrl"] = json!(format!("{url}/flux_text_to_image"));
            submit(&client, &request).await;
        }
    }
    count(&client, "succeeded", 240).await;
    // Half of the attempts at the same time, or all where one key may make all.
    until("the receivers hang", async || (hanging.load(Ordering::SeqCst) >= 60).then_some(())).await;
    sleep(Duration::from_millis(500)).await;
    let receiver = common::receiver::Receiver::start(&other.signing, |_, _| common::receiver::Reply::Acknowledge).await;
    let client = other.client(&program.url);
    let mut request = drawing("other", "delay=1ms");
    request["callbackUrl"] = json!(format!("{}/flux_text_to_image", receiver.url));
    submit(&client, &request).await;
    until("the other key's callback is pushed", async || receiver.seen().pop()).await;
}
