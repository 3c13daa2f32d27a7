//! The rows of the service's lists.

use imgopen_client::Client;
use imgopen_tests::calls::call;
use serde_json::{Value, json};

use super::until;

/// Returns all rows of a paged list, newest first.
pub async fn all(client: &Client, list: &str, mut question: Value) -> Vec<Value> {
    let mut rows = Vec::new();
    question["pageSize"] = json!(100);
    loop {
        let answer = call(client, list, &question).await.unwrap();
        let mut answer: Value = serde_json::from_str(&answer.response).unwrap();
        rows.append(answer["data"]["rows"].as_array_mut().unwrap());
        match answer["data"]["nextCursor"].take() {
            Value::Null => return rows,
            next => question["cursor"] = next,
        }
    }
}

/// Returns the only task with a caller id.
pub async fn task(client: &Client, caller_id: &str) -> Value {
    let mut rows = all(client, "list_tasks", json!({ "callerId": caller_id })).await;
    assert_eq!(rows.len(), 1, "{caller_id}: {rows:?}");
    rows.remove(0)
}

/// Submits tasks that draw a small picture each.
pub async fn draw(client: &Client, caller_ids: impl IntoIterator<Item = String>) {
    for id in caller_ids {
        let size = 64;
        let request = json!({
            "businessTaskId": id, "prompt": "a cat", "comfyTaskType": "Flux1DevFP8", "width": size, "height": size,
        });
        call(client, "flux_text_to_image", &request).await.unwrap();
    }
}

/// Waits until all tasks have succeeded, and returns the URL of the picture of each.
pub async fn drawn(client: &Client) -> Vec<String> {
    let rows = until("all tasks have succeeded", async || {
        let rows = all(client, "list_tasks", json!({})).await;
        assert!(rows.iter().all(|row| row["state"] != "failed"), "{rows:?}");
        rows.iter().all(|row| row["state"] == "succeeded").then_some(rows)
    });
    rows.await.iter().map(|row| row["outputImageUrlList"][0].as_str().unwrap().to_owned()).collect()
}

/// Waits until all tasks have ended and all callbacks are acknowledged.
pub async fn drain(client: &Client) {
    let living = json!({"states": ["queued", "running"]});
    until("every task has ended", async || all(client, "list_tasks", living.clone()).await.is_empty().then_some(()))
        .await;
    let pending = json!({"states": ["pending"]});
    let pending = async || all(client, "list_callbacks", pending.clone()).await.is_empty().then_some(());
    until("every callback is acknowledged", pending).await;
}

/// Returns a text member of a JSON object.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {value}"))
}
