//! The rows of the service's lists.

use imgopen_client::Client;
use imgopen_tests::calls::call;
use serde_json::{Value, json};

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

/// Returns a text member of a JSON object.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {value}"))
}
