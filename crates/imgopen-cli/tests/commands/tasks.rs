//! `imgopen tasks`, on self-hosted servers and on servers such as the hosted one.

use std::fs;

use imgopen_tests::calls::call;
use insta::assert_snapshot;
use serde_json::json;

use crate::common::shell::Shell;
use crate::common::vendor::{Vendor, success};
use crate::{command, redacted, transcript};

/// The arguments of a task that never ends.
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
fn a_task_is_found_and_cancelled_after_a_timeout() {
    let shell = Shell::open();
    let mut story = transcript(&shell.run(&STUCK));
    story += &transcript(&shell.run(&["tasks", "wait", "stuck", "--timeout", "100ms"]));
    story += &transcript(&shell.run(&["tasks", "cancel", "stuck"]));
    story += &transcript(&shell.run(&["tasks", "cancel", "stuck"]));
    story += &transcript(&shell.run(&["tasks", "wait", "stuck", "--quiet"]));
    story += &transcript(&shell.run(&["tasks", "show", "stuck"]));
    story += &transcript(&shell.run(&["tasks", "show", "stuck", "--json"]));
    story += &transcript(&shell.run(&["tasks", "show", "nobody"]));
    story += &transcript(&shell.run(&["tasks", "list"]));
    story += &transcript(&shell.run(&["tasks", "list", "--state", "failed", "--json"]));
    story += &transcript(&shell.run(&["tasks", "list", "--operation", "paint"]));
    assert_snapshot!("tasks", story);
    // The old name of the command.
    let listed = shell.json(&["tasks", "list"]);
    assert_eq!(shell.json(&["task", "list"]), listed);
}

#[test]
fn the_results_of_a_task_can_be_saved_later() {
    let shell = Shell::open();
    shell.picture("small.png");
    let run = ["run", "enlarge_image", "--source-image", "small.png", "--scale", "3", "--no-wait"];
    let mut story = transcript(&shell.run(&run));
    let (code, left) = shell.json(&[&run[..], &["--business-task-id", "later"]].concat());
    story += &redacted(&format!("{left:#}\n"));
    assert_eq!(code, 0);
    // The server fetched the file before the command ended.
    fs::remove_file(shell.folder().join("small.png")).unwrap();
    story += &transcript(&shell.run(&["tasks", "wait", "later", "--output", "large.png"]));
    assert_snapshot!("no_wait", story);
    assert_eq!(shell.read("large.png").dimensions(), (180, 123));
    let (_, shown) = shell.json(&["tasks", "show", "later", "--operation", "enlarge_image"]);
    assert_eq!((&shown["state"], &shown["operation"]), (&json!("succeeded"), &json!("enlarge_image")));
}

/// A page has at most a hundred rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_span_pages_up_to_the_limit() {
    let shell = Shell::open();
    let client = shell.key.client(&shell.program.url);
    for number in 0..105 {
        let request = json!({"businessTaskId": format!("t{number}"), "sourceImage": "https://example.com/a.png"});
        call(&client, "recognize_style", &request).await.unwrap();
    }
    let listed = |limit: &str| {
        let (_, listed) = shell.json(&["tasks", "list", "--operation", "recognize-style", "--limit", limit]);
        let tasks = listed["tasks"].as_array().unwrap();
        let ids: Vec<_> = tasks.iter().map(|task| task["callerId"].as_str().unwrap().to_owned()).collect();
        (ids, listed["is_more"].as_bool().unwrap())
    };
    let newest = |count: usize| (0..count).map(|number| format!("t{}", 104 - number)).collect::<Vec<_>>();
    for (limit, count, is_more) in [("2", 2, true), ("100", 100, true), ("103", 103, true), ("105", 105, false)] {
        assert_eq!(listed(limit), (newest(count), is_more), "--limit {limit}");
    }
    assert_eq!(listed("500"), (newest(105), false));
    let text = transcript(&shell.run(&["tasks", "list", "--limit", "1"]));
    assert!(text.ends_with("there are more; raise --limit to list them\n"), "{text}");
}

/// The server decides on the size of its pages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_pages_of_models_are_listed() {
    let vendor = Vendor::start(|call, _| {
        let page = call.body["pageNum"].as_u64().unwrap() as usize;
        let row = |number| json!({ "id": number, "sdVae": format!("v{number}.pt"), "sdVaeName": "a VAE" });
        let rows: Vec<_> = (1..=120).skip((page - 1) * 50).take(50).map(row).collect();
        success(json!({ "total": 120, "pageSize": 50, "pageNum": page, "rows": rows }))
    });
    let vendor = vendor.await;
    let list = ["models", "list", "--kind", "vae", "--json"];
    let output = command(&std::env::temp_dir(), &list).env("IMGOPEN_BASE_URL", &vendor.url).output().unwrap();
    let listed: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", transcript(&output)));
    let names: Vec<_> =
        listed["models"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, (1..=120).map(|number| format!("v{number}.pt")).collect::<Vec<_>>());
    assert_eq!(vendor.calls().len(), 3);
}

/// The hosted server supports only the published operations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_lists_is_queried_by_published_operations() {
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
        transcript(&command(folder.path(), arguments).env("IMGOPEN_BASE_URL", &vendor.url).output().unwrap())
    };
    let mut story = run(&["tasks", "show", "pre1"]);
    story += &run(&["tasks", "show", "pre1", "--operation", "text-to-image"]);
    story += &run(&["tasks", "wait", "pre1", "--operation", "text_to_image", "--timeout", "200ms"]);
    story += &run(&["tasks", "show", "pre1", "--operation", "list_models"]);
    story += &run(&["tasks", "list"]);
    story += &run(&["tasks", "cancel", "pre1"]);
    assert_snapshot!("hosted", story);
    let asked: Vec<_> = vendor.calls().iter().filter(|call| call.path.starts_with("sd/")).cloned().collect();
    assert!(asked.len() >= 2 && asked.iter().all(|call| call.body["businessTaskId"] == "pre1"), "{asked:?}");
}
