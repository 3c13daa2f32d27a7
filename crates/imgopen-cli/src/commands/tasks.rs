//! `imgopen tasks`.

use std::time::{Duration, Instant};

use imgopen_client::types::{ListTasksRequest, Task, TaskState};
use imgopen_client::{Client, Error};
use imgopen_types::operation::IdSource;
use imgopen_types::{JobReport, JobState, Operation, operation};
use serde_json::{Value, json};

use super::run::finish;
use crate::args::job::Waiting;
use crate::args::tasks::{Tasks, Which};
use crate::failure::{Exit, Failure};
use crate::files::local::LocalNames;
use crate::interrupt::Interrupt;
use crate::job::answer::{state_name, urls};
use crate::job::handle::Job;
use crate::job::lookup::{self, Answer};
use crate::job::progress::Bar;
use crate::job::target::Target;
use crate::job::wait::Patience;
use crate::output::{print, print_json};
use crate::remote::Remote;

/// The most rows of a page.
const PAGE: usize = 100;

/// Runs the command.
pub fn run(command: Tasks, as_json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Tasks::List { states, operations, limit, connection } => {
                list(&Remote::open(&connection)?, &states, &operations, limit, as_json).await
            }
            Tasks::Show { which } => show(&Remote::open(&which.connection)?, &which, as_json).await,
            Tasks::Wait { wait, which } => wait_by_id(&Remote::open(&which.connection)?, &which, &wait, as_json).await,
            Tasks::Cancel { id, connection } => cancel(&Remote::open(&connection)?, &id, as_json).await,
        }
    })
}

/// Waits for a job of which perhaps only the id is known, and saves its results.
async fn wait_by_id(remote: &Remote, which: &Which, wait: &Waiting, as_json: bool) -> anyhow::Result<()> {
    let start = Instant::now();
    let target = Target::new(wait.output.as_deref(), as_json)?;
    let mut patience = Patience { timeout: wait.timeout, quiet: wait.quiet, interrupt: Interrupt::listen()? };
    let bar = Bar::new(&which.id, wait.quiet);
    let found = patience.interrupt.unless(job(remote, which, Some((wait.timeout, &bar)))).await;
    bar.clear();
    let job = found.ok_or_else(|| interrupted(&which.id))??;
    patience.timeout = wait.timeout.saturating_sub(start.elapsed());
    finish(remote, &job, None, &target, &mut patience, as_json).await
}

fn interrupted(id: &str) -> Failure {
    let message = format!("interrupted; the task {id} continues; wait for it with `imgopen tasks wait {id}`");
    Failure::new(Exit::Interrupted, message)
}

/// Waits for a job that was started before and saves its results.
pub async fn wait_for(remote: &Remote, job: &Job, wait: &Waiting, as_json: bool) -> anyhow::Result<()> {
    let target = Target::new(wait.output.as_deref(), as_json)?;
    let mut patience = Patience { timeout: wait.timeout, quiet: wait.quiet, interrupt: Interrupt::listen()? };
    finish(remote, job, None, &target, &mut patience, as_json).await
}

/// Returns the job with an id. Unless its operation is given, the server must support looking it up; with a
/// timeout, it is asked until it answers, and the bar says what is in the way.
async fn job(remote: &Remote, which: &Which, patience: Option<(Duration, &Bar)>) -> Result<Job, Failure> {
    if let Some(operation) = &which.operation {
        let operation = job_operation(operation)?;
        return Ok(Job {
            operation,
            id: which.id.clone(),
            platform_id: None,
            network: None,
            local: LocalNames::default(),
        });
    }
    let found = match patience {
        Some((timeout, bar)) => {
            let find = async |client: &Client| lookup::find_patiently(client, &which.id).await;
            remote.client.until_answered(&which.id, timeout, find, |error| bar.trouble(error)).await
        }
        None => find(remote, &which.id).await,
    };
    match found.map_err(|error| remote.explain(error))? {
        Answer::Supported(Some(task)) => of_row(&task),
        Answer::Supported(None) => Err(not_found(remote, &which.id)),
        Answer::Unsupported => {
            Err(unsupported(remote, "looking up tasks", "name the operation that started it with --operation"))
        }
    }
}

fn of_row(task: &Task) -> Result<Job, Failure> {
    let operation = job_operation(&task.operation)?;
    // The contract says which id the operation's jobs are queried by.
    let id = match operation.job.as_ref().map(|job| job.id) {
        Some(IdSource::Request(_)) => task.caller_id.clone().unwrap_or_else(|| task.task_id.clone()),
        _ => task.task_id.clone(),
    };
    Ok(Job { operation, id, platform_id: Some(task.task_id.clone()), network: None, local: LocalNames::default() })
}

fn job_operation(id: &str) -> Result<&'static Operation, Failure> {
    let found = operation::find(&id.replace('-', "_")).filter(|operation| operation.job.is_some());
    found.ok_or_else(|| {
        Failure::usage(format!(
            "there is no operation {id:?} that starts tasks; `imgopen run --help` lists the operations"
        ))
    })
}

fn not_found(remote: &Remote, id: &str) -> Failure {
    let fix = "`imgopen tasks list` lists its tasks";
    let message = format!("{} has no task {id:?} for this access key; {fix}", remote.url());
    Failure::new(Exit::Refused, message)
}

/// Returns the failure for a server that does not support an operation.
fn unsupported(remote: &Remote, what: &str, fix: &str) -> Failure {
    let message = format!("{} does not support {what}; only self-hosted servers do; {fix}", remote.url());
    Failure::new(Exit::Refused, message)
}

async fn find(remote: &Remote, id: &str) -> Result<Answer<Option<Task>>, Error> {
    remote.query(async |client: &Client| lookup::find(client, id).await).await
}

async fn show(remote: &Remote, which: &Which, as_json: bool) -> anyhow::Result<()> {
    if which.operation.is_none()
        && let Answer::Supported(found) = find(remote, &which.id).await.map_err(|error| remote.explain(error))?
    {
        let task = found.ok_or_else(|| not_found(remote, &which.id))?;
        return if as_json { print_json(&json!(task)) } else { print(&text_of_row(&task)) };
    }
    let job = job(remote, which, None).await?;
    let query = async |client: &Client| client.progress(job.operation, &job.id).await;
    let progress = remote.query(query).await.map_err(|error| remote.explain(error))?;
    let state = progress.report.state();
    if as_json {
        let (operation, state) = (job.operation.id, state_name(state));
        return print_json(&json!({ "operation": operation, "id": job.id, "state": state, "answer": progress.data }));
    }
    print(&text_of_report(&job, progress.report.as_ref(), &progress.data))
}

/// Describes a task by the answer to a published query.
fn text_of_report(job: &Job, report: &(dyn JobReport + Send), data: &Value) -> String {
    let percent = report.progress().filter(|_| report.state() == JobState::Running);
    let percent = percent.map_or(String::new(), |percent| format!(", {percent}%"));
    let desc = report.desc().map_or(String::new(), |desc| format!("\n  {desc}"));
    let urls: String = urls(data).iter().map(|url| format!("\n  {url}")).collect();
    format!("{}  {}{percent}{desc}{urls}", job.as_text(), state_name(report.state()))
}

/// Describes a task by its row in the list of a self-hosted server.
fn text_of_row(task: &Task) -> String {
    let field =
        |name: &str, value: Option<String>| value.map_or(String::new(), |value| format!("\n  {name:<10} {value}"));
    let progress = match (task.step, task.steps) {
        (Some(step), Some(steps)) => format!("{}% (step {step} of {steps})", task.progress),
        _ => format!("{}%", task.progress),
    };
    let grade = task.grade.as_ref().map_or(String::new(), |grade| format!(" ({})", grade.as_str()));
    let mut text = format!("{}  {}  {}", task.task_id, task.operation, task.state.as_str());
    text += &field("id", task.caller_id.clone());
    text += &field("progress", (task.state.as_str() == "running").then_some(progress));
    text += &field("message", Some(task.desc.clone()).filter(|desc| desc != task.state.as_str()));
    text += &field("engine", task.engine.as_ref().map(|engine| format!("{engine}{grade}")));
    text += &field("attempts", Some(task.attempts.to_string()));
    text += &field("created", Some(task.created_at.clone()));
    text += &field("started", task.started_at.clone());
    text += &field("finished", task.finished_at.clone());
    text += &field("training", task.training.as_ref().map(|plan| plan.folder.clone()));
    for url in task.output_image_url_list.iter().chain(&task.output_file_url_list).flatten() {
        text += &field("result", Some(url.clone()));
    }
    for note in task.notes.iter().flatten() {
        text += &field("note", Some(note.clone()));
    }
    text
}

async fn list(
    remote: &Remote,
    states: &[String],
    operations: &[String],
    limit: usize,
    as_json: bool,
) -> anyhow::Result<()> {
    let operations = operations.iter().map(|id| operation_id(id)).collect::<Result<Vec<_>, _>>()?;
    let mut tasks: Vec<Task> = Vec::new();
    let mut cursor = None;
    loop {
        let mut request = ListTasksRequest::builder().page_size((limit - tasks.len()).min(PAGE) as i64);
        if !states.is_empty() {
            request = request.states(states.iter().map(|state| TaskState::from(state.as_str())));
        }
        if !operations.is_empty() {
            request = request.operations(operations.clone());
        }
        if let Some(cursor) = cursor.take() {
            request = request.cursor(cursor);
        }
        let request = request.build().map_err(|faults| Failure::usage(faults.to_string()))?;
        let query = async |client: &Client| lookup::list(client, request.clone()).await;
        let page = remote.query(query).await.map_err(|error| remote.explain(error))?;
        let Answer::Supported((rows, next)) = page else {
            let fix = "`imgopen tasks show ID --operation NAME` shows one task";
            return Err(unsupported(remote, "listing tasks", fix).into());
        };
        tasks.extend(rows);
        match next {
            Some(next) if tasks.len() < limit => cursor = Some(next),
            next => return print_list(&tasks, next.is_some(), as_json),
        }
    }
}

fn operation_id(id: &str) -> Result<String, Failure> {
    let found = operation::find(&id.replace('-', "_"));
    let unknown = || Failure::usage(format!("there is no operation {id:?}; `imgopen run --help` lists the operations"));
    found.map(|operation| operation.id.to_owned()).ok_or_else(unknown)
}

fn print_list(tasks: &[Task], is_more: bool, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return print_json(&json!({ "tasks": tasks, "is_more": is_more }));
    }
    if tasks.is_empty() {
        return print("no tasks found");
    }
    let row = |task: &Task| {
        let caller = task.caller_id.as_deref().unwrap_or_default();
        let line = format!(
            "{:<26} {:<10} {:<20} {:<25} {caller}",
            task.task_id,
            task.state.as_str(),
            task.operation,
            task.created_at
        );
        line.trim_end().to_owned()
    };
    let mut lines = vec![format!("{:<26} {:<10} {:<20} {:<25} id", "task", "state", "operation", "created")];
    lines.extend(tasks.iter().map(row));
    if is_more {
        lines.push("there are more; raise --limit to list them".to_owned());
    }
    print(&lines.join("\n"))
}

async fn cancel(remote: &Remote, id: &str, as_json: bool) -> anyhow::Result<()> {
    let task = match find(remote, id).await.map_err(|error| remote.explain(error))? {
        Answer::Supported(Some(task)) => task,
        Answer::Supported(None) => return Err(not_found(remote, id).into()),
        Answer::Unsupported => return Err(unsupported(remote, "cancelling tasks", "the task continues").into()),
    };
    let cancelled = lookup::cancel(remote, &task.task_id).await?;
    if as_json {
        return print_json(&json!(cancelled));
    }
    print(&format!("{} {} was cancelled", cancelled.operation, cancelled.task_id))
}
