//! The process dies while tasks run.

use std::time::Duration;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_ran_beside_another_is_not_blamed_for_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let key = key(folder.path());
    let start = |folder: &Path| start(serve(folder), None, &["attempts=2"]);
    let program = start(folder.path());
    let client = key.client(&program.url);
    submit(&client, &drawing("guilty", "hang")).await;
    submit(&client, &drawing("bystander", "delay=3s")).await;
    count(&client, "running", 2).await;
    block_in_place(|| program.kill());
    // Both were running when the process died, so each runs alone; the first of them ends the process again and again.
    for _ in 0..2 {
        let program = start(folder.path());
        let client = key.client(&program.url);
        let running = count(&client, "running", 1).await;
        assert_eq!(text(&running[0], "callerId"), "guilty");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(count(&client, "queued", 1).await.len(), 1);
        block_in_place(|| program.kill());
    }
    let program = start(folder.path());
    let client = key.client(&program.url);
    count(&client, "succeeded", 1).await;
    let failed = failures(&client).await;
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].starts_with("guilty: ") && failed[0].contains("each of 2 attempts"), "{failed:?}");
}
