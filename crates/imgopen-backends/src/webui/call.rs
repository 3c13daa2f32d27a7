//! One call that makes pictures, watched from its beginning to its real end.
//!
//! The server works on when its client hangs up, and interrupts whatever runs. So the call goes on in a task of its own until
//! the server answers, and only a call that is known to run is interrupted.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use imgopen_engine::{EngineError, Monitor, Picture, PictureLimits};
use imgopen_picture::inspect;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::body::Request;
use crate::http::{CallError, Http};
use crate::timing::Timing;

/// A call to make.
pub(super) struct Call {
    pub http: Http,
    /// The name of the back end.
    pub name: String,
    /// The id that the server knows the job by.
    pub task_id: String,
    pub request: Request,
    /// The largest answer in bytes.
    pub limit: u64,
    pub timing: Timing,
}

/// The answer of `/sdapi/v1/progress`, which is about whatever job runs.
#[derive(Debug, Clone, Default, Deserialize)]
struct Progress {
    #[serde(default)]
    progress: f64,
    #[serde(default)]
    state: State,
    #[serde(default)]
    current_image: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct State {
    interrupted: bool,
    skipped: bool,
    job_count: i64,
    job_no: u32,
    job_timestamp: String,
    sampling_step: u32,
    sampling_steps: u32,
}

/// The answer of `/internal/progress`, which is about one job. Servers without the page of the web UI do not have it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct OwnProgress {
    active: bool,
    queued: bool,
    live_preview: Option<String>,
    id_live_preview: Option<i64>,
}

/// What is known of the job while the call goes on.
struct Watcher<'a> {
    call: &'a Call,
    monitor: &'a Monitor,
    /// The state of the job before this call, which stays until another begins.
    before: Option<State>,
    /// Whether `/internal/progress` is there; `None` until it is known.
    has_own: Option<bool>,
    /// The time at which the job began, once `/internal/progress` has said that it is at work.
    began: Option<String>,
    preview: i64,
    /// Whether someone interrupted the job, or skipped a part of it.
    is_cut: bool,
    last_answer: Instant,
}

impl Call {
    /// Makes the call, and returns the answer when the server has really ended the work. A cancelled job is interrupted as
    /// soon as it runs.
    pub(super) async fn conduct(self, monitor: &Monitor) -> Result<Bytes, EngineError> {
        let mut watcher = Watcher {
            call: &self,
            monitor,
            before: None,
            has_own: None,
            began: None,
            preview: -1,
            is_cut: false,
            last_answer: Instant::now(),
        };
        watcher.prepare().await?;
        monitor.check_cancelled()?;
        let mut ticks = interval(self.timing.poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = std::pin::pin!(self.http.work(self.request.path, &self.request.body, self.limit));
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut work => break answer,
                silent = async {
                    ticks.tick().await;
                    watcher.look().await
                } => if let Err(silent) = silent {
                    break Err(silent);
                },
            }
        };
        if monitor.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        let answer = answer.map_err(|error| error.into_engine(&self.name))?;
        watcher.look_back().await;
        match watcher.is_cut {
            true => Err(EngineError::Failed(format!("the job was interrupted at the back end `{}`", self.name))),
            false => Ok(answer),
        }
    }
}

impl Watcher<'_> {
    /// Ends an earlier run of the same task, also for a cancelled one, and looks at what runs before the call.
    async fn prepare(&mut self) -> Result<(), EngineError> {
        let Call { http, name, task_id, timing, .. } = self.call;
        let error = |error: CallError| error.into_unavailable(name);
        sweep(http, (name, task_id), timing.poll).await.map_err(error)?;
        self.before = Some(self.progress(true).await.map_err(error)?.state);
        self.last_answer = Instant::now();
        Ok(())
    }

    /// Asks once how the job does. Fails if the server has not answered for too long.
    async fn look(&mut self) -> Result<(), CallError> {
        let left = self.call.timing.silence.saturating_sub(self.last_answer.elapsed());
        let question = async {
            match self.monitor.is_cancelled() {
                true => self.stop().await,
                false => self.report().await,
            }
        };
        match tokio::time::timeout(left, question).await {
            Ok(Ok(())) => self.last_answer = Instant::now(),
            // It is asked again.
            Ok(Err(_)) if self.last_answer.elapsed() < self.call.timing.silence => {}
            Ok(Err(_)) | Err(_) => return Err(CallError::Away("it has stopped answering".to_owned())),
        }
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), CallError> {
        if self.runs().await? {
            self.interrupt().await;
        }
        Ok(())
    }

    /// Reports progress and a preview, if it is this job that runs.
    async fn report(&mut self) -> Result<(), CallError> {
        let own = self.own_progress(true).await?;
        if own.as_ref().is_some_and(|own| !own.active) {
            return Ok(());
        }
        let progress = self.progress(own.is_some()).await?;
        let state = &progress.state;
        // Without jobs, the state is still that of the one before. That of another job is not taken for this one's, which may
        // have ended in between.
        if own.is_some() && state.job_count != 0 && self.began.is_none() {
            if !self.runs().await? {
                return Ok(());
            }
            self.began = Some(state.job_timestamp.clone());
        }
        if !self.is_own(state) {
            return Ok(());
        }
        self.is_cut |= state.interrupted || state.skipped;
        // Until the first step has ended, the steps are those of the job before.
        let has_steps = state.sampling_step > 0 || state.job_no > 0;
        if let (true, Ok(jobs @ 1..), steps @ 1..) = (has_steps, u32::try_from(state.job_count), state.sampling_steps) {
            let step = state.job_no.saturating_mul(steps).saturating_add(state.sampling_step.min(steps));
            self.monitor.step(step, jobs.saturating_mul(steps));
        } else {
            self.monitor.fraction(progress.progress);
        }
        let preview = own.and_then(|own| {
            self.preview = own.id_live_preview.unwrap_or(self.preview);
            own.live_preview
        });
        if let Some(preview) = preview.or(progress.current_image).as_deref().and_then(picture) {
            self.monitor.preview(preview);
        }
        Ok(())
    }

    /// Looks after the end whether someone cut the job short. A server that does not say so is believed.
    async fn look_back(&mut self) {
        if let Ok(Progress { state, .. }) = self.progress(true).await {
            self.is_cut |= self.is_own(&state) && (state.interrupted || state.skipped);
        }
    }

    /// Whether this job is the one that runs.
    async fn runs(&mut self) -> Result<bool, CallError> {
        match self.own_progress(false).await? {
            Some(own) => Ok(own.active),
            None => {
                let state = self.progress(true).await?.state;
                Ok(state.job_count > 0 && self.is_new(&state))
            }
        }
    }

    /// Whether a state is that of this job, and not of another's that the server has begun since.
    fn is_own(&self, state: &State) -> bool {
        match &self.began {
            Some(began) => *began == state.job_timestamp,
            // Without the page, nothing distinguishes them.
            None => self.is_new(state),
        }
    }

    /// Whether a state is that of a job which began after the call. Its time is in whole seconds.
    fn is_new(&self, state: &State) -> bool {
        let is_later = |before: &State| {
            before.job_timestamp != state.job_timestamp || before.job_count == 0 && state.job_count > 0
        };
        self.before.as_ref().is_some_and(is_later)
    }

    async fn progress(&self, without_preview: bool) -> Result<Progress, CallError> {
        self.call.http.get(&format!("sdapi/v1/progress?skip_current_image={without_preview}")).await
    }

    /// Asks about this job alone; `None` if the server cannot be asked so.
    async fn own_progress(&mut self, with_preview: bool) -> Result<Option<OwnProgress>, CallError> {
        if self.has_own == Some(false) {
            return Ok(None);
        }
        let preview = (self.preview, with_preview);
        let own = own_progress(&self.call.http, &self.call.task_id, preview).await?;
        self.has_own = Some(own.is_some());
        Ok(own)
    }

    async fn interrupt(&self) {
        interrupt(&self.call.http, &self.call.name).await;
    }
}

/// Ends what a run of a task has left at the server; what waits there is ended as soon as it runs. Does nothing at a server that
/// cannot be asked about one job.
pub(super) async fn sweep(http: &Http, (name, task_id): (&str, &str), poll: Duration) -> Result<(), CallError> {
    let mut is_first = true;
    while let Some(own) = own_progress(http, task_id, (-1, false)).await? {
        if !own.active && !own.queued {
            break;
        }
        if is_first {
            info!(backend = name, task = task_id, "an earlier run of the task is ended");
            is_first = false;
        }
        if own.active {
            interrupt(http, name).await;
        }
        tokio::time::sleep(poll).await;
    }
    Ok(())
}

/// Asks about one job, for a preview that is newer than the one with that number; `None` if the server cannot be asked so.
async fn own_progress(
    http: &Http,
    task_id: &str,
    (preview, with_preview): (i64, bool),
) -> Result<Option<OwnProgress>, CallError> {
    let body = json!({"id_task": task_id, "id_live_preview": preview, "live_preview": with_preview});
    match http.post("internal/progress", &body).await {
        Ok(own) => Ok(Some(own)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn interrupt(http: &Http, name: &str) {
    let sent: Result<Value, CallError> = http.post("sdapi/v1/interrupt", &json!({})).await;
    if let Err(error) = sent {
        warn!(backend = name, %error, "a job could not be interrupted; it is tried again");
    }
}

/// Reads a preview: Base64, with the beginning of a data URL or without.
fn picture(text: &str) -> Option<Picture> {
    let base64 = text.split_once(";base64,").map_or(text, |(_, base64)| base64);
    let bytes = Bytes::from(BASE64_STANDARD.decode(base64).ok()?);
    let header = inspect(&bytes, &PictureLimits::default()).ok()?;
    let (format, width, height) = (header.format.as_format()?, header.width, header.height);
    Some(Picture { bytes, format, width, height, seed: None })
}
