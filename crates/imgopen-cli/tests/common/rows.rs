//! What the service keeps, as its lists tell it.

use imgopen_client::Client;
use imgopen_tests::calls::call;
use serde_json::{Value, json};

/// Every row of a list that comes page by page, the newest first.
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

/// The one task of a caller's id.
pub async fn task(client: &Client, caller_id: &str) -> Value {
    let mut rows = all(client, "list_tasks", json!({ "callerId": caller_id })).await;
    assert_eq!(rows.len(), 1, "{caller_id}: {rows:?}");
    rows.remove(0)
}

/// The member of a JSON object, which is a text.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {value}"))
}
