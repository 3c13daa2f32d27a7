//! `imgopen run`: one subcommand for each operation, with a flag for each field.

mod command;
mod job;
mod outcome;
mod progress;
mod save;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use heck::ToKebabCase;
use imgopen_types::Operation;
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::files::{self, FileServer};
use crate::interrupt::Interrupt;
use crate::output::{note, print, print_json};
use crate::remote::{Connection, Remote};
use crate::request::{Draft, Fault};

pub use command::{Call, operation_command};
pub use job::{Job, Patience, Submission, Waited, come_back};
pub use outcome::{Outcome, state_name, urls};
pub use progress::Bar;
pub use save::Target;

/// How any operation is called.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options")]
pub struct Options {
    /// A file with the request as JSON, or - for standard input; flags win over it. JSON that is piped in is read without
    /// this flag when fields must be given and none is.
    #[arg(long, value_name = "FILE|-")]
    pub request: Option<PathBuf>,
    /// Print JSON; with a file, or - for standard input, also take the request from there, as --request does.
    #[arg(long, value_name = "FILE|-", num_args = 0..=1)]
    json: Option<Option<PathBuf>>,
    #[command(flatten)]
    pub connection: Connection,
}

impl Options {
    /// Whether the answer is printed as JSON.
    pub fn is_json(&self) -> bool {
        self.json.is_some()
    }

    /// The file with the request.
    fn document(&self) -> anyhow::Result<Option<&PathBuf>> {
        match (&self.request, self.json.as_ref().and_then(Option::as_ref)) {
            (Some(_), Some(_)) => Err(Failure::usage("--request and --json both name a file; give one").into()),
            (request, json) => Ok(request.as_ref().or(json)),
        }
    }
}

/// What happens to a job that was started.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Result")]
pub struct JobOptions {
    #[command(flatten)]
    pub waiting: Waiting,
    /// Print the ids and end, once the server has fetched what local pictures there are.
    #[arg(long)]
    pub no_wait: bool,
    /// The address of this machine under which the server fetches local pictures; found out unless given.
    #[arg(long, value_name = "ADDR[:PORT]")]
    pub serve_files: Option<String>,
}

/// How to wait for a job, and where its results go.
#[derive(Debug, Clone, clap::Args)]
pub struct Waiting {
    /// Where the results are saved: a folder, or a file that is not there yet. What has no ending, as `results`, is a folder,
    /// and is made [default: the current folder].
    #[arg(long, short, value_name = "DIR|FILE")]
    pub output: Option<PathBuf>,
    /// How long to wait for the result, such as 90s or 1h; the task itself goes on.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10m")]
    pub timeout: Duration,
    /// Show no progress and no remarks.
    #[arg(long, short)]
    pub quiet: bool,
}

/// How long trainings are waited for unless it is said.
pub const TRAINING_TIMEOUT: &str = "24h";

/// A time such as `30s`, `10m` or `1h 30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let read = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    read.ok_or_else(|| "give a time such as 30s, 10m or 1h".to_owned())
}

/// Carries the command out.
pub fn run(call: Call) -> anyhow::Result<()> {
    let operation = call.operation;
    let mut draft = match document(&call)? {
        Some((text, name)) => Draft::read(operation, &text, &name)?,
        None => Draft::new(operation, json!({}))?,
    };
    draft.command = call.command.clone();
    draft.take_flags(&call.matches);
    let parameters = parameters(&mut draft, &call);
    if !call.images.is_empty() {
        draft.set(&["fileUrlList"], json!(call.images));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match &call.job {
            Some(options) => start(draft, &call.options, options).await,
            None => answer(draft, &call.options, parameters).await,
        }
    })
}

/// The request as a document, and where that is from: a file, or what is piped in.
fn document(call: &Call) -> anyhow::Result<Option<(String, String)>> {
    let piped = || call.wants_document() && !std::io::stdin().is_terminal();
    let file = call.options.document()?;
    match file {
        Some(file) if file.as_os_str() != "-" => {
            let read = std::fs::read_to_string(file);
            let read = read.with_context(|| format!("the file {} cannot be read", file.display()))?;
            return Ok(Some((read, file.display().to_string())));
        }
        None if !piped() => return Ok(None),
        _ => {}
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
    let is_nothing = text.trim().is_empty() && file.is_none();
    Ok((!is_nothing).then(|| (text, "standard input".to_owned())))
}

/// The variable parts of the path.
fn parameters(draft: &mut Draft, call: &Call) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for parameter in call.operation.parameters {
        match parameter.check(call.matches.get_one::<String>(parameter.name).map(String::as_str)) {
            Ok(value) => found.push((parameter.name, value.to_owned())),
            Err(message) => {
                let flag = format!("--{}", parameter.name.to_kebab_case());
                draft.faults.push(Fault { flag, field: parameter.name.to_owned(), message });
            }
        }
    }
    found
}

/// Calls an operation whose answer is the result.
async fn answer(mut draft: Draft, options: &Options, parameters: Vec<(&str, String)>) -> anyhow::Result<()> {
    let (operation, made) = (draft.operation, draft.complete()?);
    let request = draft.finish()?;
    let remote = options.connection.open()?;
    made_up(&made, operation);
    let call = remote.client.dynamic(operation).body(request);
    let call = parameters.into_iter().fold(call, |call, (name, value)| call.parameter(name, value));
    let answer = call.send().await.map_err(|error| remote.explain(error))?;
    print_json(answer.get("data").unwrap_or(&answer))
}

/// Starts a job and sees it through.
async fn start(mut draft: Draft, options: &Options, job: &JobOptions) -> anyhow::Result<()> {
    let operation = draft.operation;
    let made = draft.complete()?;
    let (local, faults) = files::find(operation, &draft.body);
    draft.blame(faults);
    // The files stand in for the URLs under which they will be served, while the rest is checked.
    draft.stand_in(&local);
    let request = draft.finish()?;
    let target = Target::new(job.waiting.output.as_deref())?;
    let remote = options.connection.open()?;
    if !job.waiting.quiet {
        made_up(&made, operation);
    }
    let submission = Submission { operation, request, local, serve_files: job.serve_files.clone() };
    let mut patience =
        Patience { timeout: job.waiting.timeout, quiet: job.waiting.quiet, interrupt: Interrupt::listen()? };
    let unanswered = submission.unanswered(Exit::Interrupted, "interrupted before the server answered");
    let (started, server) = patience.interrupt.unless(submission.send(&remote)).await.ok_or(unanswered)??;
    if job.no_wait {
        return leave(&remote, &started, server, &mut patience, options.is_json()).await;
    }
    if !patience.quiet && !std::io::stderr().is_terminal() {
        note(&format!("{} was started", started.shown()));
    }
    finish(&remote, &started, server, &target, &mut patience, options.is_json()).await
}

/// Waits for a job and saves what it made.
pub async fn finish(
    remote: &Remote,
    job: &Job,
    server: Option<FileServer>,
    target: &Target,
    patience: &mut Patience,
    json: bool,
) -> anyhow::Result<()> {
    let bar = Bar::new(job, patience.quiet);
    let waited = job.wait(remote, patience.timeout, &bar);
    let waited = patience.interrupt.unless(waited).await.unwrap_or(Waited::Interrupted);
    bar.clear();
    let unfetched = match (&waited, &server) {
        (Waited::Interrupted, Some(server)) => go_on_serving(remote, job, server, patience).await,
        (_, Some(server)) => server.unfetched(),
        (_, None) => 0,
    };
    let mut outcome = Outcome::of(job, waited, unfetched);
    if patience.interrupt.unless(outcome.complete(remote, target)).await.is_none() {
        outcome.interrupted();
    }
    put_away(server, patience).await;
    outcome.print(json)
}

/// After Ctrl-C, serves the local pictures until the server needs them no more, or until Ctrl-C comes again. Gives how many
/// the task will lack.
async fn go_on_serving(remote: &Remote, job: &Job, server: &FileServer, patience: &mut Patience) -> usize {
    if server.unfetched() == 0 {
        return 0;
    }
    if !patience.quiet {
        note("interrupted; ends once the server has fetched the local pictures, or at once with another Ctrl-C");
    }
    let bar = Bar::new(job, patience.quiet);
    let fetched = patience.interrupt.unless(job.until_fetched(remote, server, patience.timeout, &bar)).await;
    bar.clear();
    if matches!(fetched, Some(Ok(()))) { 0 } else { server.unfetched() }
}

/// Ends the serving, after what is under way; Ctrl-C does not wait for that.
async fn put_away(server: Option<FileServer>, patience: &mut Patience) {
    if let Some(server) = server {
        patience.interrupt.unless(server.stop()).await;
    }
}

/// Ends without the result, but not before the server has the local pictures.
async fn leave(
    remote: &Remote,
    job: &Job,
    server: Option<FileServer>,
    patience: &mut Patience,
    json: bool,
) -> anyhow::Result<()> {
    let mut fetched = Ok(());
    if let Some(server) = &server {
        let bar = Bar::new(job, patience.quiet);
        let until_fetched = job.until_fetched(remote, server, patience.timeout, &bar);
        let interrupted = || Err(job.unfetched(server.unfetched(), Exit::Interrupted, "interrupted"));
        fetched = patience.interrupt.unless(until_fetched).await.unwrap_or_else(interrupted);
        bar.clear();
    }
    put_away(server, patience).await;
    let Err(failure) = fetched else {
        return if json { print_json(&job.told()) } else { print(&format!("{}\n{}", job.shown(), come_back(job))) };
    };
    if json {
        let mut told = job.told();
        told["error"] = failure.as_json();
        print_json(&told)?;
        return Err(failure.told().into());
    }
    Err(failure.into())
}

/// Says which id was made up.
fn made_up(id: &Option<String>, operation: &Operation) {
    let Some((id, path)) = id.as_ref().zip(crate::flags::caller_id(operation)) else { return };
    note(&format!("`{}` is {id}, made up", path.join(".")));
}

impl Draft {
    /// Takes what is wrong with local files.
    fn blame(&mut self, faults: Vec<(String, String)>) {
        for (field, message) in faults {
            let flag = self.flag_of(&field);
            self.faults.push(Fault { flag, field, message });
        }
    }

    /// Puts an address in the place of each local file.
    pub fn stand_in(&mut self, local: &[files::LocalFile]) {
        for file in local {
            if let Some(place) = self.body.pointer_mut(&file.pointer) {
                *place = json!(file.stand_in);
            }
        }
    }
}
