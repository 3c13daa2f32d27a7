//! Listing, finding and cancelling tasks, which only self-hosted servers support.

use imgopen_client::types::{EngineGrade, ListTasksRequest, Task};
use imgopen_client::{Client, Error, IntoData};

use crate::failure::Failure;
use crate::remote::{PATIENCE, Remote};

/// The answer of a server that may not support an operation.
#[derive(Debug)]
pub enum Answer<T> {
    /// The server supports the operation.
    Supported(T),
    /// The server does not support it, as the hosted one.
    Unsupported,
}

impl<T> Answer<T> {
    fn of(answer: Result<T, Error>) -> Result<Self, Error> {
        match answer {
            Ok(answer) => Ok(Answer::Supported(answer)),
            Err(error) if is_unsupported(&error) => Ok(Answer::Unsupported),
            Err(error) => Err(error),
        }
    }
}

/// Whether an error is one that servers without the operation return.
fn is_unsupported(error: &Error) -> bool {
    match error {
        Error::Status { status, .. } => matches!(status.as_u16(), 404 | 405 | 501),
        Error::Code { envelope, .. } => matches!(envelope.code.as_str(), "404" | "405" | "501"),
        Error::Decode { .. } => true,
        _ => false,
    }
}

/// Returns a page of tasks and the cursor of the next page.
pub async fn list(client: &Client, request: ListTasksRequest) -> Result<Answer<(Vec<Task>, Option<String>)>, Error> {
    let answer = client.list_tasks().body(request).send().await.into_data();
    Answer::of(answer.map(|page| (page.rows, page.next_cursor)))
}

/// Returns the newest task with an id, which may be the server's id or a caller id.
pub async fn find(client: &Client, id: &str) -> Result<Answer<Option<Task>>, Error> {
    Answer::of(newest(client, id).await)
}

/// The same for who asks until there is an answer: one that cannot be read may be a proxy's, so that it is an error that passes.
pub async fn find_patiently(client: &Client, id: &str) -> Result<Answer<Option<Task>>, Error> {
    match newest(client, id).await {
        Err(error @ Error::Decode { .. }) => Err(error),
        answer => Answer::of(answer),
    }
}

async fn newest(client: &Client, id: &str) -> Result<Option<Task>, Error> {
    let invalid = |faults: imgopen_types::Violations| Error::InvalidRequest(format!("the id {id:?}: {faults}"));
    let by_id = ListTasksRequest::builder().task_id(id).page_size(1).build().map_err(invalid)?;
    let mut rows = client.list_tasks().body(by_id).send().await.into_data()?.rows;
    if rows.is_empty() {
        let by_caller = ListTasksRequest::builder().caller_id(id).page_size(1).build().map_err(invalid)?;
        rows = client.list_tasks().body(by_caller).send().await.into_data()?.rows;
    }
    Ok(rows.into_iter().next())
}

/// Cancels a queued or running task.
pub async fn cancel(remote: &Remote, id: &str) -> Result<Task, Failure> {
    let cancel =
        async |client: &Client| client.cancel_task().body_map(|body| body.task_id(id)).send().await.into_data();
    let answer = remote.answered(PATIENCE, false, false, cancel).await;
    answer.map_err(|error| remote.explain(error))
}

/// Returns the engine of a task and its grade, if the server reports them.
pub fn engine(task: &Task) -> Option<(String, Option<String>)> {
    let grade = task.grade.as_ref().map(EngineGrade::as_str).map(str::to_owned);
    task.engine.clone().map(|engine| (engine, grade))
}
