//! `imgopen demo`: everything out of nothing.

use insta::assert_snapshot;
use serde_json::Value;

use crate::common::shell::names;
use crate::{command, told};

#[test]
fn the_demo_needs_nothing_and_leaves_its_results_only() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), &["demo"]).output().unwrap();
    let text = told(&output).replace(&folder.path().canonicalize().unwrap().display().to_string(), "[folder]");
    let text = text.replace(env!("CARGO_BIN_EXE_imgopen"), "imgopen");
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
fn the_demo_can_be_kept_and_read_by_programs() {
    let folder = tempfile::tempdir().unwrap();
    let demo = ["demo", "--json", "--output", "results", "--keep", "data"];
    // Nothing of it goes over a network, so that no proxy is asked.
    let mut demo = command(folder.path(), &demo);
    for proxy in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        demo.env(proxy, "http://127.0.0.1:9");
    }
    let output = demo.output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let tasks = told["tasks"].as_array().unwrap();
    let real: Vec<_> = tasks.iter().filter(|task| task["grade"] == "classical").collect();
    assert_eq!((tasks.len(), real.len()), (5, 4), "{told}");
    assert_eq!(real[3]["answer"]["faces"].as_array().unwrap().len(), 1, "{told}");
    assert!(tasks.iter().all(|task| task["state"] == "succeeded" && task["engine"].is_string()), "{told}");
    assert_eq!(names(folder.path()), ["data", "results"]);
    assert!(folder.path().join("data/imgopen.sqlite3").is_file());
}
