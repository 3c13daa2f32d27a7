//! Carries out jobs: several of the server for one of ours, if it makes many pictures.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use imgopen_engine::{EngineError, Job, Monitor, Output};
use serde_json::Value;
use tokio::sync::watch;
use tracing::{info, warn};

use super::answer::Asked;
use super::body::body;
use super::capabilities::Capabilities;
use super::host::Turn;
use super::inputs::Inputs;
use super::jobs::Jobs;
use super::log::Log;
use super::resolve::{Resolved, first_pass};
use super::served::Served;
use super::{Place, Server};
use crate::blocking::blocking;
use crate::control_maps;
use crate::exhausted::exhausted;
use crate::generation::Generation;
use crate::http::shown;
use crate::seed;
use crate::watched::Watched;

/// Bytes of an answer beside its pictures.
const ANSWER: u64 = 4 * 1024 * 1024;
/// How long a process that does not answer may take to be gone.
const GONE: Duration = Duration::from_secs(2);

/// Where a job is carried out.
enum Worker {
    Address(Arc<Watched<Capabilities>>),
    Program(Turn),
}

/// What a job asks for, with what the server calls it.
struct Prepared {
    generation: Generation,
    resolved: Resolved,
    served: Served,
    inputs: Inputs,
}

/// The part of a job that goes to the server at once.
#[derive(Debug, Clone, Copy)]
struct Part {
    seed: i64,
    /// The pictures of it, and those of the parts before.
    count: u32,
    before: u32,
    /// The steps of each picture, in both passes.
    steps: (u32, u32),
    /// The pictures of all parts.
    all: u32,
}

impl Part {
    /// Returns the steps that are done, of all.
    fn steps(&self, log: &Log) -> (u32, u32) {
        let (first, second) = self.steps;
        let each = first + second;
        let most = self.count * each;
        (self.before * each + log.progress.done(first, second).min(most), self.all * each)
    }
}

impl Server {
    pub(super) async fn carry_out(self: Arc<Self>, job: Job, monitor: Monitor) -> Result<Output, EngineError> {
        let (generation, mut notes) = self.check(job.checked_request())?;
        notes.extend(control_maps::notes(self.control_maps.as_ref(), &job, &generation));
        let (width, height) = generation.final_size();
        generation.check_pixels(job.limits())?;
        let (owned, of_job, watching) = (generation.clone(), job.clone(), monitor.clone());
        let inputs = blocking(move || Inputs::read(&of_job, &owned, &watching)).await?;
        let (mut worker, served, capabilities) = self.worker(&generation, &monitor).await?;
        let mut resolved = self.resolve(&generation, &served, Some(&capabilities))?;
        notes.append(&mut resolved.notes);
        let prepared = Arc::new(Prepared { generation, resolved, served, inputs });
        let parts = parts(&prepared.generation, seed::of(prepared.generation.seed, &job), &capabilities);
        let mut pictures = Vec::new();
        for part in parts {
            let generation = &prepared.generation;
            let body = body(generation, &prepared.resolved, &prepared.inputs.encoded, (part.seed, part.count));
            let limit = ANSWER + u64::from(part.count) * u64::from(width) * u64::from(height) * 6;
            let answer = self.conduct(&mut worker, &prepared, &part, &body, limit, &monitor).await?;
            drop(body);
            let (prepared, job, name, watching) = (prepared.clone(), job.clone(), self.name.clone(), monitor.clone());
            let verified = blocking(move || {
                let asked = Asked {
                    generation: &prepared.generation,
                    resolved: &prepared.resolved,
                    served: &prepared.served,
                    inputs: &prepared.inputs,
                    seeds: (part.seed, part.count),
                    limits: job.limits(),
                    name: &name,
                };
                asked.verified(&answer, &watching)
            });
            let (made, version) = verified.await?;
            pictures.extend(made);
            if let Worker::Address(watched) = &worker {
                watched.note_version(version);
            }
        }
        Ok(Output { pictures, notes, ..Output::default() })
    }

    /// Gets hold of the server, and finds the model on it.
    async fn worker(
        &self,
        generation: &Generation,
        monitor: &Monitor,
    ) -> Result<(Worker, Served, Arc<Capabilities>), EngineError> {
        match &self.place {
            Place::Address(watched) => {
                let capabilities = watched.lists().await?;
                let served = self.find(generation, vec![Served::at_address(&capabilities, &self.settings)])?;
                Ok((Worker::Address(watched.clone()), served, capabilities))
            }
            Place::Program(host) => {
                let served = self.find(generation, host.served())?;
                let loras = &generation.prompt.loras;
                let loras = loras.iter().map(|lora| (lora.name.clone(), lora.weight)).collect();
                let mut turn = host.take(&served.name, loras, monitor).await?;
                let capabilities = turn.child().map(|child| child.capabilities.clone());
                let capabilities = capabilities.ok_or_else(|| self.ended("at once"))?;
                Ok((Worker::Program(turn), served, capabilities))
            }
        }
    }

    async fn conduct(
        &self,
        worker: &mut Worker,
        prepared: &Prepared,
        part: &Part,
        body: &Value,
        limit: u64,
        monitor: &Monitor,
    ) -> Result<Bytes, EngineError> {
        match worker {
            Worker::Address(watched) => {
                let jobs = Jobs { http: &watched.http, name: &self.name, timing: self.timing, log: None };
                let answer = jobs.conduct(body, limit, monitor).await.map_err(without_means).inspect_err(|error| {
                    if matches!(error, EngineError::Unavailable { .. }) {
                        watched.lost(error);
                    }
                })?;
                monitor.fraction(f64::from(part.before + part.count) / f64::from(part.all));
                Ok(answer)
            }
            Worker::Program(turn) => {
                let result = self.conduct_child(turn, prepared, part, body, limit, monitor).await;
                if matches!(result, Err(EngineError::Cancelled)) {
                    info!(backend = self.name, model = prepared.served.name, "program ended to cancel a job");
                    turn.end().await;
                }
                result
            }
        }
    }

    /// Carries out a part in the program, which is ended if it fails to answer.
    async fn conduct_child(
        &self,
        turn: &mut Turn,
        prepared: &Prepared,
        part: &Part,
        body: &Value,
        limit: u64,
        monitor: &Monitor,
    ) -> Result<Bytes, EngineError> {
        let Some(child) = turn.child() else { return Err(self.ended("before the job began")) };
        let (http, mut log) = (child.http.clone(), child.begin());
        let jobs = Jobs { http: &http, name: &self.name, timing: self.timing, log: Some(log.clone()) };
        let result = tokio::select! {
            biased;
            () = monitor.cancelled() => return Err(EngineError::Cancelled),
            status = child.ended() => {
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(EngineError::Unavailable { reason: status, retry_after: None })
            }
            result = jobs.conduct(body, limit, monitor) => result,
            never = show(log.clone(), part, monitor) => match never {},
        };
        match result {
            Ok(answer) => {
                self.check_loras(&mut log, prepared).await?;
                Ok(answer)
            }
            // It ended, or does not answer; the job may have been the reason, so it is not tried again and again.
            Err(EngineError::Unavailable { reason, .. }) => {
                let errors = child.errors().all();
                let is_gone = tokio::time::timeout(GONE, child.ended()).await.is_ok();
                warn!(backend = self.name, model = prepared.served.name, reason, is_gone, errors, "program lost");
                turn.end().await;
                let how = if is_gone { "while it worked on the job" } else { "because it had stopped answering" };
                // What the machine lacks is no fault of the job.
                match exhausted(&reason).or_else(|| exhausted(&errors)) {
                    Some(advice) => {
                        let reason = format!("the program of the back end `{}` ended {how}: {advice}", self.name);
                        Err(EngineError::Unavailable { reason, retry_after: None })
                    }
                    None => Err(self.ended(how)),
                }
            }
            Err(EngineError::Failed(problem)) => {
                let cause = child.errors().last().map(|line| format!("; its last error: {}", shown(&line)));
                Err(without_means(EngineError::Failed(problem + &cause.unwrap_or_default())))
            }
            Err(other) => Err(other),
        }
    }

    /// Finds out from what the program printed whether all LoRAs were applied. The answer does not say it.
    async fn check_loras(&self, log: &mut watch::Receiver<Log>, prepared: &Prepared) -> Result<(), EngineError> {
        let loras = &prepared.resolved.loras;
        if loras.is_empty() {
            return Ok(());
        }
        // It is printed before the answer, but may be read after it.
        let _ = tokio::time::timeout(self.timing.answer, log.wait_for(|log| log.is_finished)).await;
        let problem = log.borrow().lora_problem(loras.iter().map(|(path, _)| path.as_str()));
        problem.map_or(Ok(()), |problem| {
            Err(EngineError::Failed(format!("the back end `{}` did not make what was asked for: {problem}", self.name)))
        })
    }

    fn ended(&self, when: &str) -> EngineError {
        EngineError::Failed(format!("the program of the back end `{}` ended {when}", self.name))
    }
}

/// Finds failures for which the machine lacks something: they are no fault of the job.
fn without_means(error: EngineError) -> EngineError {
    let reason = match &error {
        EngineError::Failed(problem) => exhausted(problem).map(|advice| format!("{problem}; {advice}")),
        _ => None,
    };
    reason.map_or(error, |reason| EngineError::Unavailable { reason, retry_after: None })
}

/// Reports the steps for as long as it is not dropped.
async fn show(mut log: watch::Receiver<Log>, part: &Part, monitor: &Monitor) -> Infallible {
    loop {
        let (done, all) = part.steps(&log.borrow_and_update());
        monitor.step(done, all);
        if log.changed().await.is_err() {
            // The program has ended, which others see.
            std::future::pending::<()>().await;
        }
    }
}

/// Splits the pictures of a job into parts that the server takes.
fn parts(generation: &Generation, seed: i64, capabilities: &Capabilities) -> Vec<Part> {
    let (all, most) = (generation.pictures(), capabilities.limits.max_batch_count.max(1));
    let steps = (first_pass(generation), generation.hires.as_ref().map_or(0, |hires| hires.steps));
    let starts = (0..all).step_by(most as usize);
    starts
        .map(|before| Part { seed: seed + i64::from(before), count: most.min(all - before), before, steps, all })
        .collect()
}
