//! `imgopen task`: coming back to tasks, on servers of one's own and on such as the hosted one.

use std::fs;

use insta::assert_snapshot;
use serde_json::json;

use crate::common::shell::Shell;
use crate::common::vendor::{Vendor, success};
use crate::{command, redacted, told};

/// A task that never ends by itself.
const STUCK: [&str; 10] = [
    "run",
    "text_to_image",
    "--prompt",
    "[sandbox: hang]",
    "--batch-size=1",
    "--sd-model-checkpoint=m",
    "--id-task",
    "stuck",
    "--timeout",
    "1s",
];

#[test]
fn a_task_is_left_found_cancelled_and_seen_to_be() {
    let shell = Shell::open();
    let mut story = told(&shell.run(&STUCK));
    story += &told(&shell.run(&["task", "wait", "stuck", "--timeout", "100ms"]));
    story += &told(&shell.run(&["task", "cancel", "stuck"]));
    story += &told(&shell.run(&["task", "cancel", "stuck"]));
    story += &told(&shell.run(&["task", "wait", "stuck", "--quiet"]));
    story += &told(&shell.run(&["task", "show", "stuck"]));
    story += &told(&shell.run(&["task", "show", "stuck", "--json"]));
    story += &told(&shell.run(&["task", "show", "nobody"]));
    story += &told(&shell.run(&["task", "list"]));
    story += &told(&shell.run(&["task", "list", "--state", "failed", "--json"]));
    story += &told(&shell.run(&["task", "list", "--operation", "paint"]));
    assert_snapshot!("tasks", story);
}

#[test]
fn a_task_that_is_not_waited_for_is_fetched_later() {
    let shell = Shell::open();
    shell.picture("small.png");
    let run = ["run", "enlarge_image", "--source-image", "small.png", "--scale", "3", "--no-wait"];
    let mut story = told(&shell.run(&run));
    let (code, left) = shell.json(&[&run[..], &["--business-task-id", "later"]].concat());
    story += &redacted(&format!("{left:#}\n"));
    assert_eq!(code, 0);
    // The file was served before the command ended, so that it can go.
    fs::remove_file(shell.folder().join("small.png")).unwrap();
    story += &told(&shell.run(&["task", "wait", "later", "--output", "large.png"]));
    assert_snapshot!("no_wait", story);
    assert_eq!(shell.read("large.png").dimensions(), (180, 123));
    let (_, shown) = shell.json(&["task", "show", "later", "--operation", "enlarge_image"]);
    assert_eq!((&shown["state"], &shown["operation"]), (&json!("succeeded"), &json!("enlarge_image")));
}

#[test]
fn lists_go_on_to_the_limit() {
    let shell = Shell::open();
    for number in 0..5 {
        let id = format!("--business-task-id=t{number}");
        shell.json(&["run", "recognize_style", "--source-image", "https://example.com/a.png", "--no-wait", &id]);
    }
    let (_, two) = shell.json(&["task", "list", "--limit", "2"]);
    let ids: Vec<_> = two["tasks"].as_array().unwrap().iter().map(|task| task["callerId"].as_str().unwrap()).collect();
    assert_eq!((ids, &two["is_more"]), (vec!["t4", "t3"], &json!(true)));
    let (_, all) = shell.json(&["task", "list", "--operation", "recognize-style", "--limit", "200"]);
    assert_eq!((all["tasks"].as_array().unwrap().len(), &all["is_more"]), (5, &json!(false)));
    let text = told(&shell.run(&["task", "list", "--limit", "1"]));
    assert!(text.ends_with("there are more; --limit shows them\n"), "{text}");
}

/// A server such as the hosted one has the published operations only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_lists_is_asked_by_the_published_queries() {
    let picture = "data:";
    let vendor = Vendor::start(move |call, _| match call.path.as_str() {
        "sd/v2/queryTaskInfo" => success(json!({
            "id_task": call.body["businessTaskId"], "status": 3, "desc": "running",
            "temporaryImageDto": {"progress": 40, "imageUrl": picture},
        })),
        _ => None,
    });
    let vendor = vendor.await;
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        told(&command(folder.path(), arguments).env("IMGOPEN_BASE_URL", &vendor.url).output().unwrap())
    };
    let mut story = run(&["task", "show", "pre1"]);
    story += &run(&["task", "show", "pre1", "--operation", "text-to-image"]);
    story += &run(&["task", "wait", "pre1", "--operation", "text_to_image", "--timeout", "200ms"]);
    story += &run(&["task", "show", "pre1", "--operation", "list_models"]);
    story += &run(&["task", "list"]);
    story += &run(&["task", "cancel", "pre1"]);
    assert_snapshot!("hosted", story);
    let asked: Vec<_> = vendor.calls().iter().filter(|call| call.path.starts_with("sd/")).cloned().collect();
    assert!(asked.len() >= 2 && asked.iter().all(|call| call.body["businessTaskId"] == "pre1"), "{asked:?}");
}
