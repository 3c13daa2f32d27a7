//! What only servers of one's own have: looking a task up, listing and cancelling.

use imgopen_client::types::{EngineGrade, ListTasksRequest, Task};
use imgopen_client::{Error, IntoData};

use crate::failure::Failure;
use crate::remote::Remote;

/// What a server that lacks these operations answers with.
fn is_lacking(error: &Error) -> bool {
    match error {
        Error::Status { status, .. } => matches!(status.as_u16(), 404 | 405 | 501),
        Error::Code { envelope, .. } => matches!(envelope.code.as_str(), "404" | "405" | "501"),
        Error::Decode { .. } => true,
        _ => false,
    }
}

/// The answer of a server that may lack the operation.
#[derive(Debug)]
pub enum Known<T> {
    /// It has it.
    Yes(T),
    /// It is a server such as the hosted one.
    Lacking,
}

impl<T> Known<T> {
    fn of(remote: &Remote, answer: Result<T, Error>) -> Result<Self, Failure> {
        match answer {
            Ok(answer) => Ok(Known::Yes(answer)),
            Err(error) if is_lacking(&error) => Ok(Known::Lacking),
            Err(error) => Err(remote.explain(error)),
        }
    }
}

/// A page of tasks.
pub async fn list(remote: &Remote, request: ListTasksRequest) -> Result<Known<(Vec<Task>, Option<String>)>, Failure> {
    let answer = remote.client.list_tasks().body(request).send().await.into_data();
    Known::of(remote, answer.map(|page| (page.rows, page.next_cursor)))
}

/// The newest task of that id, be it the platform's or the caller's.
pub async fn find(remote: &Remote, id: &str) -> Result<Known<Option<Task>>, Failure> {
    let wrong = |faults: imgopen_types::Violations| Failure::usage(format!("the id {id:?}: {faults}"));
    let by_id = ListTasksRequest::builder().task_id(id).page_size(1).build().map_err(wrong)?;
    let Known::Yes((mut rows, _)) = list(remote, by_id).await? else { return Ok(Known::Lacking) };
    if rows.is_empty() {
        let by_caller = ListTasksRequest::builder().caller_id(id).page_size(1).build().map_err(wrong)?;
        let Known::Yes((found, _)) = list(remote, by_caller).await? else { return Ok(Known::Lacking) };
        rows = found;
    }
    Ok(Known::Yes(rows.into_iter().next()))
}

/// Ends a task that waits or runs.
pub async fn cancel(remote: &Remote, id: &str) -> Result<Task, Failure> {
    let answer = remote.client.cancel_task().body_map(|body| body.task_id(id)).send().await.into_data();
    answer.map_err(|error| remote.explain(error))
}

/// The engine that did a task, and its grade, where the server tells.
pub fn engine(task: &Task) -> Option<(String, Option<String>)> {
    let grade = task.grade.as_ref().map(EngineGrade::as_str).map(str::to_owned);
    task.engine.clone().map(|engine| (engine, grade))
}
