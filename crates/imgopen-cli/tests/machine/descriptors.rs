//! There are no descriptors, or callers hold them.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use super::disk::count_callbacks;
use super::*;
use common::receiver::{Receiver, Reply};
use common::shim::EMFILE;
use tokio::time::{sleep, timeout};

/// What the log says about it, however it is put.
const NO_DESCRIPTORS: &str = "os error 24";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lack_of_descriptors_counts_neither_for_a_task_nor_for_a_callback() {
    let shim = Shim::build();
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let receiver = Receiver::start(&key.signing, |_, _| Reply::Acknowledge).await;
    let pictures = PictureServer::start().await;
    let program = start(serve(folder.path()), Some(&shim), &["callbacks.tries=1", "callbacks.pauses=[\"100ms\"]"]);
    let client = key.client(&program.url);
    shim.fail("socket", EMFILE, "-");
    for number in 0..2 {
        let mut drawn = drawing(&format!("drawn{number}"), "delay=1ms");
        drawn["callbackUrl"] = json!(format!("{}/flux_text_to_image", receiver.url));
        submit(&client, &drawn).await;
    }
    count(&client, "succeeded", 2).await;
    for number in 0..4 {
        let mut fetched = enlarging(&format!("fetched{number}"), &format!("{}/a.png", pictures.url), 2);
        fetched["callbackUrl"] = json!(format!("{}/enlarge_image", receiver.url));
        submit(&client, &fetched).await;
    }
    until("the log says why", async || program.log().contains(NO_DESCRIPTORS).then_some(())).await;
    shim.heal();
    count(&client, "succeeded", 6).await;
    assert_eq!(failures(&client).await, [""; 0]);
    let callbacks = count_callbacks(&client, "acknowledged", 6).await;
    let directory = folder.path().display().to_string();
    for callback in callbacks {
        assert_eq!(callback["tries"].as_array().unwrap().len(), 1, "{callback}");
        assert!(!callback.to_string().contains(&directory), "{callback}");
    }
    ready(&program).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_cannot_be_accepted_fill_no_log() {
    let shim = Shim::build();
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let program = start(serve(folder.path()), Some(&shim), &[]);
    let lines = || program.log().lines().filter(|line| line.contains("could not be accepted")).count();
    shim.fail("accept", EMFILE, "-");
    let address = program.url.strip_prefix("http://").unwrap().to_owned();
    let waiting: Vec<_> = (0..10).map(|_| TcpStream::connect(&address).unwrap()).collect();
    until("it is logged", async || (lines() > 0).then_some(())).await;
    sleep(Duration::from_secs(2)).await;
    // One a second; without a limit, there are 20.
    let lines = lines();
    shim.heal();
    call(&key.client(&program.url), "list_tasks", &json!({})).await.unwrap();
    assert!(lines <= 8, "{lines} lines in about 2 s");
    drop(waiting);
}

/// The number of descriptors that a process holds.
fn held(program: &Program) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", program.pid())).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_read_nothing_are_cut_and_others_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let program = start(limited("ulimit -n 256", folder.path()), None, &knows(&["connections.stall=2s"]));
    let client = key.client(&program.url);
    let pictures = PictureServer::start().await;
    let (before, address) = (held(&program), program.url.strip_prefix("http://").unwrap().to_owned());
    let request = "GET /docs HTTP/1.1\r\nhost: a\r\n\r\n".repeat(64);
    let silent = (0..300).map(|_| {
        let mut caller = TcpStream::connect(&address).unwrap();
        caller.write_all(request.as_bytes()).unwrap();
        caller
    });
    let silent: Vec<_> = silent.collect();
    let picture = enlarging("beside", &format!("{}/a.png", pictures.url), 2);
    let taken = async || {
        let submitted = call(&client, "enlarge_image", &picture);
        timeout(Duration::from_secs(5), submitted).await.ok()?.ok().map(drop)
    };
    until("another caller gets in", taken).await;
    assert_eq!(ended(&client, "beside").await["state"], "succeeded");
    until("they are cut", async || (held(&program) < before + 50).then_some(())).await;
    drop(silent);
}

/// Those of the settings that the program has.
fn knows<'a>(settings: &[&'a str]) -> Vec<&'a str> {
    let has = |setting: &&str| imgopen().args(["config", "show", "--set", setting]).output().unwrap().status.success();
    settings.iter().copied().filter(has).collect()
}
