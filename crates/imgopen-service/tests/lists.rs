//! Lists of tasks and callbacks: conditions, pages, and invalid requests.

use imgopen_service::Moment;
use serde_json::{Value, json};

use crate::common::engines::Gate;
use crate::common::web::Receiver;
use crate::common::{Bench, Server, draw, enlarge, enlarge_with_callback, id};

async fn ids(server: &Server, condition: Value) -> Vec<String> {
    let page = server.call("list_tasks", condition).await.ok();
    page["rows"].as_array().unwrap().iter().map(id).collect()
}

/// Reads all rows, page by page.
async fn paged(server: &Server, list: &str, size: usize) -> Vec<Value> {
    let (mut rows, mut request) = (Vec::new(), json!({"pageSize": size}));
    loop {
        let page = server.call(list, request.clone()).await.ok();
        let more = page["rows"].as_array().unwrap().clone();
        assert!(more.len() <= size);
        rows.extend(more);
        match page["nextCursor"].as_str() {
            Some(cursor) => request["cursor"] = json!(cursor),
            None => return rows,
        }
    }
}

#[tokio::test]
async fn every_condition_counts() {
    let gate = Gate::new();
    let bench = Bench::new().at("2026-01-10T00:00:00Z").with(|settings| settings.workers = 1);
    let server = bench.engines(vec![gate.clone(), std::sync::Arc::new(crate::common::sandbox())]).start().await;
    let first = server.submitted("text_to_image", draw("a")).await;
    server.reached(&first, "succeeded").await;
    server.clock().set(Moment::parse("2026-01-11T00:00:00Z").unwrap());
    let second = server.submitted("enlarge_image", enlarge("b")).await;
    gate.holds(1).await;
    let third = server.submitted("enlarge_image", enlarge("a")).await;
    let all = [third.clone(), second.clone(), first.clone()];

    let cases = [
        (json!({}), &all[..]),
        (json!({"callerId": "a"}), &[third.clone(), first.clone()]),
        (json!({"taskId": second}), &all[1..2]),
        (json!({"taskId": "b"}), &[]),
        (json!({"states": ["queued", "running"]}), &all[..2]),
        (json!({"states": ["cancelled"]}), &[]),
        (json!({"operations": ["enlarge_image"]}), &all[..2]),
        (json!({"operations": ["enlarge_image", "text_to_image", "outpaint"]}), &all[..]),
        (json!({"createdAfter": "2026-01-11T00:00:00Z"}), &all[..2]),
        (json!({"createdBefore": "2026-01-11T00:00:00Z"}), &all[2..]),
        (json!({"createdBefore": "2026-01-11T01:00:00+01:00"}), &all[2..]),
        (json!({"createdAfter": "2026-01-11T00:00:00.001Z"}), &[]),
        (json!({"callerId": "a", "operations": ["text_to_image"]}), &all[2..]),
    ];
    for (condition, expected) in cases {
        assert_eq!(ids(&server, condition.clone()).await, *expected, "{condition}");
    }
    gate.open(2);
}

#[tokio::test]
async fn pages_are_stable_while_tasks_are_added() {
    let server = Bench::new().start().await;
    let (_receiver, url) = Receiver::answering(&[]).await;
    let mut tasks = Vec::new();
    for number in 0..7 {
        tasks.push(server.submitted("enlarge_image", enlarge_with_callback(&number.to_string(), &url)).await);
    }
    tasks.reverse();
    for task in &tasks {
        server.pushed(task, "acknowledged").await;
    }
    for size in [1, 3, 7, 100] {
        let rows = paged(&server, "list_tasks", size).await;
        assert_eq!(rows.iter().map(id).collect::<Vec<_>>(), tasks, "by {size}");
        let rows = paged(&server, "list_callbacks", size).await;
        let mut pushed: Vec<_> = rows.iter().map(id).collect();
        pushed.sort_by_key(|task| tasks.iter().position(|known| known == task));
        assert_eq!(pushed, tasks, "by {size}");
    }
    let page = server.call("list_tasks", json!({"pageSize": 3})).await.ok();
    // A cursor of another key is rejected.
    let stranger = server.service.keys().create("stranger").await.unwrap();
    server.call_as(&stranger, "list_tasks", json!({"cursor": page["nextCursor"]})).await.refused(422);
    server.submitted("enlarge_image", enlarge("new")).await;
    let rest = ids(&server, json!({"cursor": page["nextCursor"], "pageSize": 100})).await;
    assert_eq!(rest, tasks[3..]);
    assert_eq!(ids(&server, json!({})).await.len(), 8);

    let callbacks = server.call("list_callbacks", json!({"states": ["pending", "abandoned"]})).await.ok();
    assert_eq!(callbacks["rows"], json!([]));
}

#[tokio::test]
async fn invalid_conditions_are_rejected_by_field() {
    let server = Bench::new().start().await;
    for (list, field, value) in [
        ("list_tasks", "cursor", json!("next")),
        ("list_tasks", "states", json!(["done"])),
        ("list_tasks", "states", json!(["queued", "queued"])),
        ("list_tasks", "states", json!([])),
        ("list_tasks", "operations", json!([])),
        ("list_tasks", "operations", json!(["unknown"])),
        ("list_tasks", "createdAfter", json!("2026-01-11 00:00:00 UTC")),
        ("list_tasks", "createdBefore", json!("2026-13-11T00:00:00Z")),
        ("list_tasks", "createdBefore", json!("2026-01-11T00:00:00")),
        ("list_tasks", "pageSize", json!(0)),
        ("list_tasks", "pageSize", json!(101)),
        ("list_callbacks", "cursor", json!("99999999999999999999")),
        ("list_callbacks", "states", json!(["queued"])),
        ("list_callbacks", "states", json!([])),
    ] {
        let msg = server.call(list, json!({field: value})).await.refused(422);
        assert!(msg.contains(field), "{field}: {msg}");
    }
}
