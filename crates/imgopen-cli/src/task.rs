//! `imgopen task` and `imgopen train wait`: tasks that were started before.

use imgopen_client::types::{ListTasksRequest, Task, TaskState};
use imgopen_types::operation::IdSource;
use imgopen_types::{JobReport, JobState, Operation, operation};
use serde_json::{Value, json};

use crate::args::remote::{Tasks, Which};
use crate::extras::{self, Known};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{print, print_json};
use crate::remote::Remote;
use crate::run::{Job, Patience, Target, Waiting, finish, state_name, urls};

/// The most rows that a page may have.
const PAGE: usize = 100;

/// Carries the command out.
pub fn run(command: Tasks) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Tasks::Show { which } => show(&which).await,
            Tasks::List { states, operations, limit, json, connection } => {
                let remote = connection.open()?;
                list(&remote, &states, &operations, limit, json).await
            }
            Tasks::Wait { wait, which } => {
                let remote = which.connection.open()?;
                let target = Target::new(wait.output.as_deref())?;
                let job = job(&remote, &which.id, which.operation.as_deref()).await?;
                wait_for(&remote, &job, &target, &wait, which.json).await
            }
            Tasks::Cancel { id, json, connection } => cancel(&connection.open()?, &id, json).await,
        }
    })
}

/// Waits for a job that was started before.
pub async fn wait_for(remote: &Remote, job: &Job, target: &Target, wait: &Waiting, json: bool) -> anyhow::Result<()> {
    let mut patience = Patience { timeout: wait.timeout, quiet: wait.quiet, interrupt: Interrupt::listen()? };
    finish(remote, job, None, target, &mut patience, json).await
}

/// The job of an id. Without its operation, the server must be one that can look it up.
pub async fn job(remote: &Remote, id: &str, of: Option<&str>) -> Result<Job, Failure> {
    if let Some(of) = of {
        let operation = started_by(of)?;
        return Ok(Job { operation, id: id.to_owned(), platform_id: None, network: None });
    }
    match extras::find(remote, id).await? {
        Known::Yes(Some(task)) => of_row(&task),
        Known::Yes(None) => Err(unknown(remote, id)),
        Known::Lacking => {
            Err(lacking(remote, "look tasks up by their id", "say with --operation which operation started it"))
        }
    }
}

fn of_row(task: &Task) -> Result<Job, Failure> {
    let operation = started_by(&task.operation)?;
    // Queries go by the id that the contract names for the family.
    let id = match operation.job.as_ref().map(|job| job.id) {
        Some(IdSource::Request(_)) => task.caller_id.clone().unwrap_or_else(|| task.task_id.clone()),
        _ => task.task_id.clone(),
    };
    Ok(Job { operation, id, platform_id: Some(task.task_id.clone()), network: None })
}

fn started_by(id: &str) -> Result<&'static Operation, Failure> {
    let found = operation::find(&id.replace('-', "_")).filter(|operation| operation.job.is_some());
    found.ok_or_else(|| Failure::usage(format!("no operation {id:?} starts tasks; `imgopen run --help` lists all")))
}

fn unknown(remote: &Remote, id: &str) -> Failure {
    let message = format!("{} has no task {id:?} of this access key; `imgopen task list` shows all", remote.url());
    Failure::new(crate::failure::Exit::Refused, message)
}

/// What is said when a server has no such operation.
fn lacking(remote: &Remote, what: &str, fix: &str) -> Failure {
    let message = format!("{} cannot {what}, only servers of one's own can; {fix}", remote.url());
    Failure::new(crate::failure::Exit::Refused, message)
}

async fn show(which: &Which) -> anyhow::Result<()> {
    let remote = which.connection.open()?;
    if which.operation.is_none()
        && let Known::Yes(found) = extras::find(&remote, &which.id).await?
    {
        let task = found.ok_or_else(|| unknown(&remote, &which.id))?;
        return if which.json { print_json(&json!(task)) } else { print(&shown(&task)) };
    }
    let job = job(&remote, &which.id, which.operation.as_deref()).await?;
    let progress = remote.client.progress(job.operation, &job.id).await.map_err(|error| remote.explain(error))?;
    let state = progress.report.state();
    if which.json {
        return print_json(
            &json!({ "operation": job.operation.id, "id": job.id, "state": state_name(state), "answer": progress.data }),
        );
    }
    print(&asked(&job, progress.report.as_ref(), &progress.data))
}

/// A task as a published query tells it.
fn asked(job: &Job, report: &(dyn JobReport + Send), data: &Value) -> String {
    let percent = report.progress().filter(|_| report.state() == JobState::Running);
    let percent = percent.map_or(String::new(), |percent| format!(", {percent}%"));
    let desc = report.desc().map_or(String::new(), |desc| format!("\n  {desc}"));
    let urls: String = urls(data).iter().map(|url| format!("\n  {url}")).collect();
    format!("{}  {}{percent}{desc}{urls}", job.shown(), state_name(report.state()))
}

/// A task as the lists of a server of one's own tell it.
fn shown(task: &Task) -> String {
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
    text += &field("says", Some(task.desc.clone()).filter(|desc| desc != task.state.as_str()));
    text += &field("engine", task.engine.as_ref().map(|engine| format!("{engine}{grade}")));
    text += &field("attempts", Some(task.attempts.to_string()));
    text += &field("created", Some(task.created_at.clone()));
    text += &field("started", task.started_at.clone());
    text += &field("finished", task.finished_at.clone());
    text += &field("training", task.training.as_ref().map(|plan| plan.folder.clone()));
    for url in task.output_image_url_list.iter().flatten() {
        text += &field("result", Some(url.clone()));
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
    let operations = operations.iter().map(|id| started_or_answered(id)).collect::<Result<Vec<_>, _>>()?;
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
        let Known::Yes((rows, next)) = extras::list(remote, request).await? else {
            return Err(lacking(remote, "list tasks", "`imgopen task show ID --operation NAME` asks for one").into());
        };
        tasks.extend(rows);
        match next {
            Some(next) if tasks.len() < limit => cursor = Some(next),
            next => return show_list(&tasks, next.is_some(), as_json),
        }
    }
}

fn started_or_answered(id: &str) -> Result<String, Failure> {
    let found = operation::find(&id.replace('-', "_"));
    let unknown = || Failure::usage(format!("there is no operation {id:?}; `imgopen run --help` lists all"));
    found.map(|operation| operation.id.to_owned()).ok_or_else(unknown)
}

fn show_list(tasks: &[Task], is_more: bool, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return print_json(&json!({ "tasks": tasks, "is_more": is_more }));
    }
    if tasks.is_empty() {
        return print("there is no such task");
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
        lines.push("there are more; --limit shows them".to_owned());
    }
    print(&lines.join("\n"))
}

async fn cancel(remote: &Remote, id: &str, as_json: bool) -> anyhow::Result<()> {
    let task = match extras::find(remote, id).await? {
        Known::Yes(Some(task)) => task,
        Known::Yes(None) => return Err(unknown(remote, id).into()),
        Known::Lacking => return Err(lacking(remote, "cancel tasks", "the task goes on to its end").into()),
    };
    let cancelled = extras::cancel(remote, &task.task_id).await?;
    if as_json {
        return print_json(&json!(cancelled));
    }
    print(&format!("{} {} is cancelled", cancelled.operation, cancelled.task_id))
}

/// Waits for a training.
pub async fn wait_for_training(remote: &Remote, id: &str, wait: &Waiting, json: bool) -> anyhow::Result<()> {
    let target = Target::new(wait.output.as_deref())?;
    let operation = &imgopen_types::operations::SUBMIT_TRAINING;
    let job = Job { operation, id: id.to_owned(), platform_id: None, network: None };
    wait_for(remote, &job, &target, wait, json).await
}
