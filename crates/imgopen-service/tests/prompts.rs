//! Prompt expansion over HTTP, with the engine that needs no model.

use std::sync::Arc;

use imgopen_tools::Prompts;
use serde_json::json;

use crate::common::Bench;

#[tokio::test]
async fn a_prompt_is_expanded_at_once() {
    let server = Bench::new().engines(vec![Arc::new(Prompts::new())]).start().await;
    let request = |id: &str| json!({"mode": 0, "sourcePrompt": "a girl", "businessTaskId": id, "sequencesNum": 3});
    let data = server.call("expand_prompt", request("a")).await.ok();
    let prompts: Vec<_> = data["prompts"].as_array().unwrap().iter().map(|prompt| prompt.as_str().unwrap()).collect();
    assert_eq!((prompts.len(), &data["status"], &data["businessTaskId"]), (3, &json!(0), &json!("a")));
    assert!(prompts.iter().all(|prompt| prompt.contains(", a girl, ")), "{prompts:?}");
    // The same request as another task has the same result.
    assert_eq!(server.call("expand_prompt", request("b")).await.ok()["prompts"], data["prompts"]);
    let row = server.task(data["taskId"].as_str().unwrap()).await;
    assert_eq!((&row["engine"], &row["grade"]), (&json!("prompts"), &json!("classical")));
}

#[tokio::test]
async fn invalid_expansions_are_rejected_at_submit() {
    let server = Bench::new().engines(vec![Arc::new(Prompts::new())]).start().await;
    for (field, value) in [
        ("sourcePrompt", json!("")),
        ("sequencesNum", json!(0)),
        ("temperature", json!(-1)),
        ("maxTokens", json!(1)),
        ("minTokens", json!(5000)),
        ("topK", json!(251)),
    ] {
        let mut request = json!({"mode": 1, "sourcePrompt": "a girl", "businessTaskId": "a"});
        request[field] = value;
        let msg = server.call("expand_prompt", request).await.refused(422);
        assert!(msg.contains(&format!("`{field}`")), "{field}: {msg}");
    }
    // Too long for any expansion, which is known only after expanding the prompt.
    let long = json!({
        "mode": 1, "sourcePrompt": "a girl", "businessTaskId": "a", "minTokens": 900, "maxTokens": 1000,
    });
    let msg = server.call("expand_prompt", long).await.refused(422);
    assert!(msg.starts_with("`minTokens`: 900 given, but about "), "{msg}");
    assert_eq!(server.call("list_tasks", json!({})).await.ok()["rows"], json!([]));
}
