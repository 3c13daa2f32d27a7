//! Which queries find a task at the end of a month in UTC.

use imgopen_service::Moment;
use serde_json::json;

use crate::common::engines::{Own, dot};
use crate::common::{Bench, Server, draw};

const LAST: &str = "2026-01-31T23:59:59.999Z";
const FIRST: &str = "2026-02-01T00:00:00Z";

async fn found(server: &Server, id: &str) -> (bool, bool) {
    let mut found = [true; 2];
    for (found, operation) in found.iter_mut().zip(["query_task", "query_archived_task"]) {
        let answer = server.call(operation, json!({"businessTaskId": id})).await;
        *found = answer.status == 200;
        assert!(*found || answer.status == 404, "{answer:?}");
    }
    (found[0], found[1])
}

#[tokio::test]
async fn tasks_that_ended_before_the_month_are_in_the_archive_only() {
    let server = Bench::new().at(LAST).start().await;
    let task = server.submitted("text_to_image", draw("old")).await;
    server.reached(&task, "succeeded").await;
    assert_eq!(found(&server, "old").await, (true, true));
    server.clock().set(Moment::parse(FIRST).unwrap());
    assert_eq!(found(&server, "old").await, (false, true));
    assert_eq!(found(&server, &task).await, (false, true));
    let msg = server.call("query_task", json!({"businessTaskId": "old"})).await.refused(404);
    assert!(msg.contains("`query_archived_task`"), "{msg}");

    // A task that ends in the first millisecond of the month belongs to it.
    let task = server.submitted("text_to_image", draw("new")).await;
    server.reached(&task, "succeeded").await;
    assert_eq!(found(&server, "new").await, (true, true));
    server.clock().set(Moment::parse("2026-02-28T23:59:59.999Z").unwrap());
    assert_eq!(found(&server, "new").await, (true, true));
    server.clock().set(Moment::parse("2026-03-01T00:00:00Z").unwrap());
    assert_eq!(found(&server, "new").await, (false, true));
    // The tools' query finds tasks of any month.
    let tool = server.submitted("enlarge_image", crate::common::enlarge("tool")).await;
    server.reached(&tool, "succeeded").await;
    server.clock().set(Moment::parse("2027-03-01T00:00:00Z").unwrap());
    server.tool("imgEnlarge", "tool").await.ok();
}

#[tokio::test]
async fn active_tasks_are_found_across_the_end_of_the_month() {
    let (go, gate) = tokio::sync::watch::channel(false);
    let engine = Own::new(&imgopen_types::operations::TEXT_TO_IMAGE, move |_, _| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            Ok(dot())
        }
    });
    let bench = Bench::new().engines(vec![engine]).with(|settings| settings.workers = 1);
    let server = bench.at(LAST).start().await;
    let running = server.submitted("text_to_image", draw("running")).await;
    let queued = server.submitted("text_to_image", draw("queued")).await;
    server.reached(&running, "running").await;
    server.clock().set(Moment::parse("2026-03-01T00:00:00Z").unwrap());
    for id in ["running", "queued", &running, &queued] {
        assert_eq!(found(&server, id).await, (true, false), "{id}");
    }
    let msg = server.call("query_archived_task", json!({"businessTaskId": "queued"})).await.refused(404);
    assert!(msg.contains("`query_task`"), "{msg}");
    go.send(true).unwrap();
    for task in [&running, &queued] {
        server.reached(task, "succeeded").await;
        assert_eq!(found(&server, task).await, (true, true));
    }
}
