//! Makes labelled test cards in place of results, for trying out everything around the engines.
//!
//! The sandbox offers every operation that starts a job except training, and prompt expansion. It accepts any model and
//! ignores input pictures. Its output cannot be mistaken for a result: cards with SANDBOX across them, and texts that begin
//! with the word.
//!
//! A card shows the operation, the task, its size in pixels, the seed, its number, and the prompt. The same request with
//! the same seed gives the same pixels; another seed gives another background. A PNG card carries the text `parameters`, as
//! the Stable Diffusion web UI writes it.
//!
//! | what | from |
//! |---|---|
//! | number of cards | `n_iter` times `batch_size`; `imageCount`; else 1; at most 64 |
//! | size | `width` and `height`, after the hi-res fix if `enable_hr` says so; 512 by default; `outpaint`, `enlarge_image` and `super_resolution` assume an input of 512x512; at most 4096 a side and 16 777 216 pixels |
//! | seed | `seed`, and counting up for further cards; without one, or with -1, a random one of 31 bits; operations without a seed report none |
//! | format | `alwayson_scripts.output_image_format`; else PNG |
//! | steps | `steps` or `sampleStep`; else 20; at most 1000 |
//!
//! In the hi-res fix, `hr_resize_x` is the width and `hr_resize_y` the height, as in the web UI.
//!
//! # Directives
//!
//! A request can ask for delays and faults, in the header `x-sandbox` or within brackets in its prompt (`prompt` or
//! `sourcePrompt`). If both give the same directive, the header's applies.
//!
//! ```text
//! x-sandbox: delay=2s, fail=out of memory
//! a lighthouse [sandbox: slow=100ms]
//! ```
//!
//! | directive | effect |
//! |---|---|
//! | `delay=2s`, `delay=500ms` | the job waits that long before its first step, up to an hour |
//! | `slow=100ms` | each step takes that long, up to an hour |
//! | `fail`, `fail=some text` | the job fails halfway, with that text, which must not contain a comma |
//! | `hang` | the job never ends by itself |
//! | `panic` | the engine panics halfway |

mod card;
mod directive;
mod fields;
mod font;
mod make;
mod plan;

use std::time::Duration;

use futures_util::future::BoxFuture;
use imgopen_engine::{Engine, EngineError, Grade, Inputs, Job, JobRequest, Model, ModelKind, Monitor, Offer, Output};
use imgopen_types::{Operation, operations};
use tokio::task::spawn_blocking;

use directive::{Directives, Trouble};
use fields::Fields;
use plan::Plan;

pub use directive::DirectiveError;

/// The time of a step. 20 steps, the default, take 300 ms.
const STEP_TIME: Duration = Duration::from_millis(15);
/// The number of previews of a job.
const PREVIEWS: u32 = 4;

/// The engine `sandbox`, which makes labelled test cards.
#[derive(Debug, Clone)]
pub struct Sandbox {
    step_time: Duration,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self { step_time: STEP_TIME }
    }
}

impl Sandbox {
    /// Creates the engine with a time of 15 ms for each step.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time of each step.
    pub fn with_step_time(self, step_time: Duration) -> Self {
        Self { step_time }
    }
}

/// Checks the directives of a request: the value of the header `x-sandbox`, and those in the prompt.
///
/// # Errors
///
/// Names the invalid directive, with the syntax.
///
/// ```
/// use imgopen_tools::sandbox::check;
///
/// check(Some("delay=2s, fail=out of memory"), Some("a lighthouse [sandbox: slow=100ms]"))?;
/// let error = check(Some("delay=long"), None).unwrap_err();
/// assert!(error.to_string().starts_with("the sandbox directive \"delay=long\" in the header `x-sandbox`"));
/// # Ok::<(), imgopen_tools::sandbox::DirectiveError>(())
/// ```
pub fn check(directives: Option<&str>, prompt: Option<&str>) -> Result<(), DirectiveError> {
    Directives::read(directives, prompt).map(drop)
}

fn served() -> impl Iterator<Item = &'static Operation> {
    let serves = |operation: &&Operation| match operation.id {
        "submit_training" => false,
        "expand_prompt" => true,
        _ => operation.job.is_some(),
    };
    operations::ALL.iter().copied().filter(serves)
}

impl Engine for Sandbox {
    fn name(&self) -> &str {
        "sandbox"
    }

    fn offers(&self) -> Vec<Offer> {
        let offer = |operation| Offer { inputs: Inputs::Unused, ..Offer::new(operation, Grade::Sandbox) };
        served().map(offer).collect()
    }

    fn models(&self) -> Vec<Model> {
        vec![
            Model::new(ModelKind::Checkpoint, "sandbox.safetensors", "Sandbox test cards"),
            Model::new(ModelKind::Lora, "sandbox_lora.safetensors", "Sandbox LoRA, without effect"),
            Model::new(ModelKind::Vae, "sandbox_vae.safetensors", "Sandbox VAE, without effect"),
            Model::new(ModelKind::Embedding, "sandbox_embedding.pt", "Sandbox embedding, without effect"),
        ]
    }

    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        let fields: Fields = request.view()?;
        Directives::read(request.options().sandbox.as_deref(), fields.prompt())?;
        Plan::of(request.operation(), &fields)?;
        Ok(())
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let step_time = self.step_time;
        Box::pin(async move { monitor.until_cancelled(carry_out(job, &monitor, step_time)).await? })
    }
}

async fn carry_out(job: Job, monitor: &Monitor, step_time: Duration) -> Result<Output, EngineError> {
    let fields: Fields = job.checked_request().view()?;
    let directives = Directives::read(job.options().sandbox.as_deref(), fields.prompt())?;
    let plan = Plan::of(job.operation(), &fields)?.for_task(job.task_id());
    plan.check(job.limits())?;
    tokio::time::sleep(directives.delay.unwrap_or_default()).await;
    let step_time = directives.slow.unwrap_or(step_time);
    let halfway = plan.steps.div_ceil(2);
    for step in 1..=plan.steps {
        tokio::time::sleep(step_time).await;
        monitor.step(step, plan.steps);
        if step == halfway {
            simulate(directives.trouble.as_ref()).await?;
        }
        if step % plan.steps.div_ceil(PREVIEWS) == 0
            && let Some(preview) = make::preview(&plan, step, monitor)?
        {
            monitor.preview(preview);
        }
    }
    let own = monitor.clone();
    let made = spawn_blocking(move || make::output(&plan, &own));
    made.await.unwrap_or_else(|panic| Err(EngineError::Failed(panic.to_string())))
}

/// Simulates the fault that a directive asks for.
async fn simulate(trouble: Option<&Trouble>) -> Result<(), EngineError> {
    match trouble {
        None => Ok(()),
        Some(Trouble::Fail(text)) => Err(EngineError::Failed(format!("sandbox: {text}"))),
        Some(Trouble::Hang) => std::future::pending().await,
        Some(Trouble::Panic) => panic!("sandbox: a panic was requested"),
    }
}
