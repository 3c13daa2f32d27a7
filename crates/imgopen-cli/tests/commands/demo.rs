//! `imgopen demo`.

use insta::assert_snapshot;
use serde_json::Value;

use crate::common::shell::names;
use crate::{command, transcript};

#[test]
fn the_demo_needs_no_set_up_and_leaves_only_its_results() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), &["demo"]).output().unwrap();
    let text = transcript(&output).replace(&folder.path().canonicalize().unwrap().display().to_string(), "[folder]");
    let text = text.replace(env!("CARGO_BIN_EXE_imgopen"), "imgopen");
    // What a network computes differs a little from processor to processor.
    let is_found = |line: &&str| line.trim_start().starts_with("faces: [{");
    assert_eq!(text.lines().filter(is_found).count(), 1, "{text}");
    let lines = text.lines().map(|line| if is_found(&line) { "   faces: [one face]" } else { line });
    let text = lines.collect::<Vec<_>>().join("\n");
    assert_snapshot!("demo", text);
    assert_eq!(names(folder.path()), ["imgopen-demo"]);
    let results = names(&folder.path().join("imgopen-demo"));
    assert_eq!(results.len(), 4, "{results:?}");
    for name in &results {
        let picture = image::open(folder.path().join("imgopen-demo").join(name)).unwrap();
        assert_eq!((picture.width(), picture.height()), (512, 512), "{name}");
    }
}

#[test]
fn the_demo_can_keep_its_data_and_print_json() {
    let folder = tempfile::tempdir().unwrap();
    let demo = ["demo", "--json", "--output", "results", "--keep", "data"];
    // The demo stays on this machine and must not use a proxy.
    let mut demo = command(folder.path(), &demo);
    for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        demo.env(proxy, "http://127.0.0.1:9");
    }
    let output = demo.output().unwrap();
    assert!(output.status.success(), "{}", transcript(&output));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let tasks = printed["tasks"].as_array().unwrap();
    let grades: Vec<_> = tasks.iter().map(|task| task["grade"].as_str().unwrap()).collect();
    assert_eq!(grades, ["sandbox", "classical", "classical", "classical", "neural"], "{printed}");
    assert_eq!(tasks[4]["answer"]["faces"].as_array().unwrap().len(), 1, "{printed}");
    assert!(tasks.iter().all(|task| task["state"] == "succeeded" && task["engine"].is_string()), "{printed}");
    assert_eq!(names(folder.path()), ["data", "results"]);
    assert!(folder.path().join("data/imgopen.sqlite3").is_file());
}
