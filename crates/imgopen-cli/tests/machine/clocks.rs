//! The machine's clock is set while the service runs, or is wrong when it starts, and the machine is suspended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::disk::count_callbacks;
use super::*;
use axum::Router;
use common::pictures::{picture_file, scene};
use common::receiver::{Receiver, Reply};
use common::shell::files;
use imgopen_tests::wire;
use tokio::sync::Notify;
use tokio::time::sleep;

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_is_rejected_although_the_clock_was_put_back() {
    let shim = Shim::build();
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    shim.clock(HOUR);
    let program = start(serve(folder.path()), Some(&shim), &[]);
    let client = key.client(&program.url);
    // Looked up twice, so that the service has read it with the wrong time.
    call(&client, "list_tasks", &json!({})).await.unwrap();
    sleep(Duration::from_millis(1500)).await;
    call(&client, "list_tasks", &json!({})).await.unwrap();
    shim.clock(0);
    let revoked = imgopen().args(["keys", "revoke", &key.id, "--data-dir"]).arg(folder.path()).status().unwrap();
    assert!(revoked.success());
    let refused = until("it is rejected", async || call(&client, "list_tasks", &json!({})).await.err()).await;
    assert_eq!(refused.status().unwrap(), 401);
}

/// A receiver that is down until the switch is set.
async fn down_until(key: &Key, is_up: &Arc<AtomicBool>) -> Receiver {
    let is_up = is_up.clone();
    let reply = move |_: &str, _| if is_up.load(Ordering::SeqCst) { Reply::Acknowledge } else { Reply::Fail };
    Receiver::start(&key.signing, reply).await
}

/// Sets the clock from one time to another, either in the running service or while it is stopped; tasks and callbacks go on.
/// It ends at the right time, because receivers reject pushes of another.
async fn sets_the_clock(from: i64, to: i64, at_a_start: bool) {
    let shim = Shim::build();
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let is_up = Arc::<AtomicBool>::default();
    let receiver = down_until(&key, &is_up).await;
    let http = reqwest::Client::new();
    let launch = || start(serve(folder.path()), Some(&shim), &["callbacks.pauses=[\"1s\"]", "callbacks.tries=1000"]);
    shim.clock(from);
    let mut program = launch();
    let mut request = drawing("before", "delay=1ms");
    request["callbackUrl"] = json!(format!("{}/flux_text_to_image", receiver.url));
    let repeated = [("idempotency-key", "the-same")];
    let first = post(&http, (&key, &program.url), operation(&request), &repeated, &request).await.unwrap();
    assert_eq!(ended(&key.client(&program.url), "before").await["state"], "succeeded");
    until("it was pushed", async || (receiver.seen().len() > 1).then_some(())).await;
    if at_a_start {
        block_in_place(|| program.kill());
        shim.clock(to);
        program = launch();
    } else {
        shim.clock(to);
    }
    is_up.store(true, Ordering::SeqCst);
    let client = key.client(&program.url);
    count_callbacks(&client, "acknowledged", 1).await;
    if (to - from).abs() < DAY {
        let again = post(&http, (&key, &program.url), operation(&request), &repeated, &request).await.unwrap();
        assert!(again.task().is_some());
        assert_eq!(again.task(), first.task());
    }
    let mut request = drawing("after", "delay=1ms");
    request["callbackUrl"] = json!(format!("{}/flux_text_to_image", receiver.url));
    submit(&client, &request).await;
    assert_eq!(ended(&client, "after").await["state"], "succeeded");
    count_callbacks(&client, "acknowledged", 2).await;
    assert_eq!(all(&client, "list_tasks", json!({})).await.len(), 2);
    ready(&program).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_go_on_when_the_running_clock_is_put_back() {
    sets_the_clock(10 * DAY, 0, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_go_on_when_the_clock_was_put_back_before_a_start() {
    sets_the_clock(10 * DAY, 0, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_when_the_clock_is_put_forward() {
    sets_the_clock(-10 * DAY, 0, false).await;
    sets_the_clock(-12 * HOUR, 0, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_holds_when_the_clock_is_put_back() {
    sets_the_clock(12 * HOUR, 0, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_picture_is_deleted_because_of_a_start_in_the_wrong_year() {
    let shim = Shim::build();
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let assets = folder.path().join("assets");
    let launch = || start(serve(folder.path()), Some(&shim), &["assets.lifetime=30d"]);
    let program = launch();
    let client = key.client(&program.url);
    common::rows::draw(&client, (0..2).map(|number| format!("t{number}"))).await;
    common::rows::drawn(&client).await;
    let pictures = files(&assets);
    assert_eq!(pictures.len(), 2);
    block_in_place(|| program.stop());
    shim.clock(400 * DAY);
    let program = launch();
    let is_noticed = || program.log().contains("clock jumped") || files(&assets) != pictures;
    until("the jump is noticed", async || is_noticed().then_some(())).await;
    let log = block_in_place(|| program.stop());
    assert_eq!(files(&assets), pictures, "{log}");
    shim.clock(0);
    let program = launch();
    for url in common::rows::drawn(&key.client(&program.url)).await {
        let url = format!("{}{}", program.url, &url[url.find("/assets/").unwrap()..]);
        assert_eq!(reqwest::get(&url).await.unwrap().status(), 200, "{url}");
    }
}

/// A machine that wakes up finds all its time limits passed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_is_not_blamed_for_a_suspended_machine() {
    let (asked, awake) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let is_awake = Arc::<AtomicBool>::default();
    let source = {
        let (asked, awake, is_awake) = (asked.clone(), awake.clone(), is_awake.clone());
        Router::new().fallback(move || {
            let (asked, awake, is_awake) = (asked.clone(), awake.clone(), is_awake.clone());
            async move {
                asked.notify_one();
                if !is_awake.load(Ordering::SeqCst) {
                    awake.notified().await;
                }
                picture_file(scene())
            }
        })
    };
    let url = wire::url(wire::serve(source).await);
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let program = start(serve(folder.path()), None, &["pictures.time=3s"]);
    let client = key.client(&program.url);
    submit(&client, &enlarging("asleep", &format!("{url}/a.png"), 2)).await;
    asked.notified().await;
    block_in_place(|| program.signal("STOP"));
    sleep(Duration::from_secs(4)).await;
    is_awake.store(true, Ordering::SeqCst);
    block_in_place(|| program.signal("CONT"));
    // The process first finds that the time is over.
    sleep(Duration::from_millis(500)).await;
    awake.notify_one();
    let row = ended(&client, "asleep").await;
    assert_eq!(row["state"], "succeeded", "{row}");
}
