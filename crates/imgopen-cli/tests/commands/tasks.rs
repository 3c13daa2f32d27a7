//! `imgopen task`: coming back to tasks, on servers of one's own and on such as the hosted one.

use std::fs;

use imgopen_tests::calls::call;
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

/// A page has a hundred rows at most, so that a longer list takes several.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_go_on_to_the_limit() {
    let shell = Shell::open();
    let client = shell.key.client(&shell.program.url);
    for number in 0..105 {
        let request = json!({"businessTaskId": format!("t{number}"), "sourceImage": "https://example.com/a.png"});
        call(&client, "recognize_style", &request).await.unwrap();
    }
    let listed = |limit: &str| {
        let (_, listed) = shell.json(&["task", "list", "--operation", "recognize-style", "--limit", limit]);
        let tasks = listed["tasks"].as_array().unwrap();
        let ids: Vec<_> = tasks.iter().map(|task| task["callerId"].as_str().unwrap().to_owned()).collect();
        (ids, listed["is_more"].as_bool().unwrap())
    };
    let newest = |count: usize| (0..count).map(|number| format!("t{}", 104 - number)).collect::<Vec<_>>();
    for (limit, count, is_more) in [("2", 2, true), ("100", 100, true), ("103", 103, true), ("105", 105, false)] {
        assert_eq!(listed(limit), (newest(count), is_more), "--limit {limit}");
    }
    assert_eq!(listed("500"), (newest(105), false));
    let text = told(&shell.run(&["task", "list", "--limit", "1"]));
    assert!(text.ends_with("there are more; --limit shows them\n"), "{text}");
}

/// A server decides how large its pages are, and all rows are listed all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_listed_to_the_last() {
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
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told(&output)));
    let names: Vec<_> =
        listed["models"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, (1..=120).map(|number| format!("v{number}.pt")).collect::<Vec<_>>());
    assert_eq!(vendor.calls().len(), 3);
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
