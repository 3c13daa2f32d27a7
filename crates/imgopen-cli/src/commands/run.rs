//! `imgopen run`: builds a request, sends it, and prints or saves the result.

use std::io::{IsTerminal, Read};
use std::time::Instant;

use anyhow::Context;
use heck::ToKebabCase;
use imgopen_types::{Operation, operations};
use serde_json::json;

use crate::args::job::JobOptions;
use crate::args::run::{Call, Options};
use crate::failure::Exit;
use crate::files::captions;
use crate::files::local::{self, LocalFile};
use crate::files::server::FileServer;
use crate::interrupt::Interrupt;
use crate::job::handle::Job;
use crate::job::outcome::Outcome;
use crate::job::progress::Bar;
use crate::job::submit::Submission;
use crate::job::target::Target;
use crate::job::wait::{Patience, Waited};
use crate::output::{note, print, print_json};
use crate::remote::{PATIENCE, Remote};
use crate::request::draft::Draft;
use crate::request::fault::Fault;
use crate::request::flags::{self, Flag};
use crate::text;

/// Runs the command.
pub fn run(call: Call, as_json: bool) -> anyhow::Result<()> {
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
            Some(options) => start(draft, &call.options, options, as_json).await,
            None => answer(draft, &call.options, parameters).await,
        }
    })
}

/// Returns the JSON document of the request and the name of its source, a file or standard input.
fn document(call: &Call) -> anyhow::Result<Option<(String, String)>> {
    let is_piped = || wants_document(call) && !std::io::stdin().is_terminal();
    let file = call.options.request.as_ref();
    match file {
        Some(file) if file.as_os_str() != "-" => {
            let read = text::read(file);
            let read = read.with_context(|| format!("--request: cannot read {}", file.display()))?;
            return Ok(Some((read, file.display().to_string())));
        }
        None if !is_piped() => return Ok(None),
        _ => {}
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().read_to_end(&mut bytes).and_then(|_| text::of(&bytes));
    let read = read.context("cannot read standard input")?;
    let is_absent = read.trim().is_empty() && file.is_none();
    Ok((!is_absent).then(|| (read, "standard input".to_owned())))
}

/// Whether fields are required and none is given. Only then is standard input read without `--request`, because it may belong
/// to a script.
fn wants_document(call: &Call) -> bool {
    let flags = flags::flags(call.operation);
    let is_given = |flag: &Flag| call.matches.contains_id(&flag.id());
    let is_needed = |flag: &Flag| flag.is_needed(call.operation);
    let has_required = flags.iter().any(is_needed) || !call.operation.request.exactly_one.is_empty();
    has_required && call.images.is_empty() && !flags.iter().any(is_given)
}

/// Checks the variable parts of the path.
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

/// Calls an operation and prints the answer.
async fn answer(mut draft: Draft, options: &Options, parameters: Vec<(&str, String)>) -> anyhow::Result<()> {
    let (operation, generated) = (draft.operation, draft.complete()?);
    let request = draft.finish()?;
    let remote = Remote::open(&options.connection)?;
    note_caller_id(&generated, operation);
    let answer = remote.send(operation, &request, &parameters, PATIENCE, false).await;
    let answer = answer.map_err(|error| remote.explain(error))?;
    print_json(answer.get("data").unwrap_or(&answer))
}

/// Starts a job and waits for it.
async fn start(mut draft: Draft, options: &Options, job: &JobOptions, as_json: bool) -> anyhow::Result<()> {
    let operation = draft.operation;
    let generated = draft.complete()?;
    let (local, faults) = local::find(operation, &draft.body);
    for (field, message) in faults {
        draft.blame(field, message);
    }
    local::put_stand_ins(&mut draft.body, &local);
    let request = draft.finish()?;
    let target = Target::new(job.waiting.output.as_deref(), as_json)?;
    let remote = Remote::open(&options.connection)?;
    if !job.waiting.quiet {
        note_caller_id(&generated, operation);
        note_captions(operation, &local);
    }
    let submission = Submission {
        operation,
        request,
        local,
        serve_files: job.serve_files.clone(),
        timeout: job.waiting.timeout,
        quiet: job.waiting.quiet,
    };
    let begun = Instant::now();
    let mut patience =
        Patience { timeout: job.waiting.timeout, quiet: job.waiting.quiet, interrupt: Interrupt::listen()? };
    let unanswered = submission.unanswered(Exit::Interrupted, "interrupted before the server answered");
    let (started, server) = patience.interrupt.unless(submission.send(&remote)).await.ok_or(unanswered)??;
    patience.timeout = patience.timeout.saturating_sub(begun.elapsed());
    if job.no_wait {
        return leave(&remote, &started, server, &mut patience, as_json).await;
    }
    if !patience.quiet && !std::io::stderr().is_terminal() {
        note(&format!("{} was started", started.as_text()));
    }
    finish(&remote, &started, server, &target, &mut patience, as_json).await
}

/// Waits for a job, saves its results and prints the outcome.
pub async fn finish(
    remote: &Remote,
    job: &Job,
    server: Option<FileServer>,
    target: &Target,
    patience: &mut Patience,
    as_json: bool,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let bar = Bar::new(job.operation.id, patience.quiet);
    let waited = job.wait(remote, patience.timeout, &bar);
    let waited = patience.interrupt.unless(waited).await.unwrap_or(Waited::Interrupted);
    bar.clear();
    let unfetched = match (&waited, &server) {
        (Waited::Interrupted, Some(server)) => keep_serving(remote, job, server, patience).await,
        (_, Some(server)) => server.unfetched(),
        (_, None) => 0,
    };
    let mut outcome = Outcome::of(job, waited, unfetched);
    let left = patience.timeout.saturating_sub(start.elapsed());
    if patience.interrupt.unless(outcome.complete(remote, target, left)).await.is_none() {
        outcome.interrupted();
    }
    stop_serving(server, patience).await;
    outcome.print(as_json, patience.quiet)
}

/// After Ctrl-C, serves local pictures until the server has fetched them, or until Ctrl-C is pressed again. Returns how many
/// pictures the task will lack.
async fn keep_serving(remote: &Remote, job: &Job, server: &FileServer, patience: &mut Patience) -> usize {
    if server.unfetched() == 0 {
        return 0;
    }
    if !patience.quiet {
        note("interrupted; exits once the server has fetched the local pictures, or now if you press Ctrl-C again");
    }
    let bar = Bar::new(job.operation.id, patience.quiet);
    let fetched = patience.interrupt.unless(job.until_fetched(remote, server, patience.timeout, &bar)).await;
    bar.clear();
    if matches!(fetched, Some(Ok(()))) { 0 } else { server.unfetched() }
}

/// Stops serving after the transfers in progress; Ctrl-C does not wait for them.
async fn stop_serving(server: Option<FileServer>, patience: &mut Patience) {
    if let Some(server) = server {
        patience.interrupt.unless(server.stop()).await;
    }
}

/// Exits without waiting for the result, once the server has fetched the local pictures.
async fn leave(
    remote: &Remote,
    job: &Job,
    server: Option<FileServer>,
    patience: &mut Patience,
    as_json: bool,
) -> anyhow::Result<()> {
    let mut fetched = Ok(());
    if let Some(server) = &server {
        let bar = Bar::new(job.operation.id, patience.quiet);
        let until_fetched = job.until_fetched(remote, server, patience.timeout, &bar);
        let interrupted = || Err(job.unfetched(server.unfetched(), Exit::Interrupted, "interrupted"));
        fetched = patience.interrupt.unless(until_fetched).await.unwrap_or_else(interrupted);
        bar.clear();
    }
    stop_serving(server, patience).await;
    let Err(failure) = fetched else {
        let text = || format!("{}\nwait for it with {}", job.as_text(), job.wait_command());
        return if as_json { print_json(&job.as_json()) } else { print(&text()) };
    };
    if as_json {
        let mut json = job.as_json();
        json["error"] = failure.as_json();
        print_json(&json)?;
        return Err(failure.printed().into());
    }
    Err(failure.into())
}

/// Prints how many local pictures have captions, if any has one, and what lies beside training pictures unused.
fn note_captions(operation: &Operation, local: &[LocalFile]) {
    let count = local.iter().filter(|file| file.caption.is_some()).count();
    if count > 0 {
        note(&format!("{count} of {} pictures have a caption beside them", local.len()));
    }
    if *operation == operations::SUBMIT_TRAINING {
        let pictures: Vec<_> = local.iter().map(|file| file.path.clone()).collect();
        captions::unused(&pictures).iter().for_each(|text| note(text));
    }
}

/// Prints the caller id if it was generated.
fn note_caller_id(id: &Option<String>, operation: &Operation) {
    let Some((id, caller_id)) = id.as_ref().zip(operation.caller_id) else { return };
    note(&format!("generated `{}`: {id}", caller_id.path.join(".")));
}
