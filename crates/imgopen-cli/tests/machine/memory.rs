//! There is little memory, and callers' pictures are large.

use std::time::Duration;

use super::*;
use axum::Router;
use common::pictures::picture_file;
use image::{Rgb, RgbImage};
use imgopen_tests::wire;
use tokio::time::sleep;

/// The URL of a picture of a width and height, encoded before it is asked for.
async fn square(side: u32) -> String {
    let picture = picture_file(RgbImage::from_pixel(side, side, Rgb([106, 90, 205])));
    let source = Router::new().fallback(move || {
        let picture = picture.clone();
        async move { picture }
    });
    format!("{}/a.png", wire::url(wire::serve(source).await))
}

/// A number of kB in the status of a process.
fn of_status(program: &Program, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

/// The most memory that a process has held since the last call, in kB.
fn peak(program: &Program) -> u64 {
    let peak = of_status(program, "VmHWM:");
    std::fs::write(format!("/proc/{}/clear_refs", program.pid()), "5").unwrap();
    peak
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_that_ends_the_process_takes_no_neighbour_along() {
    let folder = tempfile::tempdir().unwrap();
    let (attacker, bystander) = (key(folder.path()), key(folder.path()));
    // Its pixels take 192 MB.
    let large = square(8000).await;
    let launch =
        || start(limited("ulimit -v 230000 && export MALLOC_ARENA_MAX=1", folder.path()), None, &["attempts=2"]);
    let mut program = launch();
    let client = bystander.client(&program.url);
    for number in 0..3 {
        submit(&client, &drawing(&format!("bystander{number}"), "delay=4s")).await;
    }
    count(&client, "running", 3).await;
    submit(&attacker.client(&program.url), &enlarging("large", &large, 1)).await;
    let mut ends = 0;
    let rows = loop {
        if !program.is_running() {
            ends += 1;
            assert!(ends < 20, "it ends again and again: {}", program.log());
            program = launch();
        }
        // Asks whenever the process lives; it may end in the middle of it.
        let client = bystander.client(&program.url);
        let answer = call(&client, "list_tasks", &json!({})).await;
        let rows =
            answer.ok().map(|answer| serde_json::from_str::<Value>(&answer.response).unwrap()["data"]["rows"].clone());
        let has_ended = |row: &Value| row["state"] == "succeeded" || row["state"] == "failed";
        if let Some(rows) = rows.filter(|rows| rows.as_array().unwrap().iter().all(has_ended)) {
            break rows;
        }
        sleep(Duration::from_millis(50)).await;
    };
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row["state"] == "succeeded"), "{rows:?}");
    // The attacker's task may still end the process, so it cannot be asked any more.
    assert!(ends > 0, "the picture was not too large for the limit: {}", program.log());
}

/// What is cancelled still takes its memory until it has really ended, so it keeps its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_work_does_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let picture = square(2000).await;
    let mut command = imgopen();
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--allow-network",
        "127.0.0.0/8",
        "--workers",
        "1",
        "--data-dir",
    ]);
    command.arg(folder.path());
    let program = start(command, None, &[]);
    let client = key.client(&program.url);
    let request = |name: &str| enlarging(name, &picture, 4);
    let idle = peak(&program);
    submit(&client, &request("alone")).await;
    assert_eq!(ended(&client, "alone").await["state"], "succeeded");
    let alone = peak(&program) - idle;
    for number in 0..8 {
        let name = format!("cancelled{number}");
        submit(&client, &request(&name)).await;
        // Long enough to be fetched and begun, if there is a free slot; too short to end.
        sleep(Duration::from_millis(300)).await;
        let cancelled = json!({"taskId": task(&client, &name).await["taskId"]});
        call(&client, "cancel_task", &cancelled).await.unwrap();
    }
    let together = peak(&program) - idle;
    assert!(together < alone * 2, "{together} kB for one run at a time, {alone} kB for one run");
}
