//! `imgopen demo`: a service in this process, a few tasks, and their results.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use imgopen_service::{Clock, Service, Settings};
use imgopen_types::{Operation, operations};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::engines::built_in;
use crate::args::demo::Demo;
use crate::failure::{Exit, Failure};
use crate::files::local;
use crate::interrupt::Interrupt;
use crate::job::outcome::Outcome;
use crate::job::progress::Bar;
use crate::job::submit::Submission;
use crate::job::target::{Place, Target};
use crate::output::{note, print, print_json};
use crate::remote::{self, Remote};
use crate::request::draft::Draft;
use crate::request::paths::to_text;
use crate::runtime;

/// A photograph in the public domain; `assets/README.md` names its origin.
const PHOTO: &[u8] = include_bytes!("../../assets/astronaut.jpg");
/// A mask of the round mission patch on her suit.
const MASK: &[u8] = include_bytes!("../../assets/astronaut-mask.png");

/// The timeout of each task; generous, for slow machines.
const TIMEOUT: Duration = Duration::from_secs(120);

/// One task of the demo.
struct Step {
    operation: &'static Operation,
    /// What the result shows.
    about: &'static str,
    /// The request, with the names of bundled pictures as paths.
    request: fn() -> Value,
}

/// The tasks, in order.
const STEPS: &[Step] = &[
    Step {
        operation: &operations::TEXT_TO_IMAGE,
        about: "a labelled test card, in place of a generated picture",
        request: || {
            json!({
                "prompt": "a lighthouse at night", "batch_size": 1, "width": 512, "height": 512, "seed": "7",
                "alwayson_scripts": { "sd_model_checkpoint": "sandbox.safetensors" },
            })
        },
    },
    Step {
        operation: &operations::REMOVE_OBJECT,
        about: "a photograph without the mission patch on the astronaut's suit",
        request: || json!({ "sourceImage": "astronaut.jpg", "maskImage": "astronaut-mask.png" }),
    },
    Step {
        operation: &operations::PREVIEW_CONTROLNET,
        about: "the edges of the photograph, as input for ControlNet",
        request: || json!({ "sourceImage": "astronaut.jpg", "preprocessor": "canny" }),
    },
    Step {
        operation: &operations::WATERMARK_IMAGE,
        about: "the photograph with a watermark in its corner",
        request: || {
            json!({
                "sourceImage": "astronaut.jpg", "watermarkText": "imgopen demo", "position": "bottom-right",
                "opacity": 0.8, "margin": 12,
            })
        },
    },
    Step {
        operation: &operations::DETECT_FACES,
        about: "the faces in the photograph",
        request: || json!({ "imageUrl": "astronaut.jpg" }),
    },
];

/// Runs the command.
pub fn run(args: &Demo, as_json: bool) -> anyhow::Result<()> {
    let runtime = runtime::for_service()?;
    let outcome = runtime.block_on(demo(args, as_json));
    runtime.shutdown_background();
    outcome
}

async fn demo(args: &Demo, as_json: bool) -> anyhow::Result<()> {
    if args.output == Path::new("-") {
        return Err(Failure::usage("--output -: the demo has several results; give a directory").into());
    }
    let temporary = tempfile::tempdir().context("cannot create a temporary directory")?;
    let data = args.keep.clone().unwrap_or_else(|| temporary.path().join("data"));
    let pictures = temporary.path().join("pictures");
    put_pictures(&pictures)?;
    let cannot = || format!("--output: cannot create the directory {}", args.output.display());
    std::fs::create_dir_all(&args.output).with_context(cannot)?;

    let service = Service::open(settings(&data)?, Clock::system(), built_in(true)).await?;
    let listener = TcpListener::bind(service.settings().listen).await?;
    let remote = Remote { client: remote::client(&service.url(listener.local_addr()?)).build()? };
    note(&format!("a service runs at {} until the demo ends", remote.url()));
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let served = service.serve(listener, |_| {}, async { drop(stopped.await) }).await;
        service.close().await;
        served
    });
    let interrupted = || Failure::new(Exit::Interrupted, "interrupted");
    let mut interrupt = Interrupt::listen()?;
    let ran = interrupt.unless(steps(&remote, &pictures, args, as_json)).await;
    // Dropping the sender stops the service.
    drop(stop);
    let served = interrupt.unless(serving).await.ok_or_else(interrupted)?;
    let outcomes = ran.ok_or_else(interrupted)??;
    served??;
    if as_json {
        return print_json(&json!({ "tasks": outcomes.iter().map(Outcome::as_json).collect::<Value>() }));
    }
    print(&next_steps(args))
}

fn settings(data: &Path) -> anyhow::Result<Settings> {
    Ok(Settings {
        listen: "127.0.0.1:0".parse()?,
        data_dir: data.to_owned(),
        sandbox: true,
        open: true,
        allow_network: vec!["127.0.0.1/32".parse()?],
        ..Settings::default()
    })
}

fn put_pictures(directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("astronaut.jpg"), PHOTO)?;
    std::fs::write(directory.join("astronaut-mask.png"), MASK)?;
    Ok(())
}

async fn steps(remote: &Remote, pictures: &Path, args: &Demo, as_json: bool) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (index, step) in STEPS.iter().enumerate() {
        let outcome = run_step(remote, step, pictures, &args.output).await;
        let outcome = outcome.with_context(|| format!("the demo task `{}` failed", step.operation.id))?;
        if let Some(failure) = outcome.failure {
            return Err(failure.into());
        }
        if !as_json {
            print(&format!(
                "{}. {}: {}\n   {}",
                index + 1,
                step.operation.id,
                step.about,
                outcome.as_text().replace('\n', "\n   ")
            ))?;
            outcome.print_notes();
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

async fn run_step(remote: &Remote, step: &Step, pictures: &Path, output: &Path) -> anyhow::Result<Outcome> {
    let mut draft = Draft::new(step.operation, (step.request)())?;
    draft.complete()?;
    put_paths(&mut draft.body, pictures);
    let (local, _) = local::find(step.operation, &draft.body);
    local::put_stand_ins(&mut draft.body, &local);
    let submission = Submission { operation: step.operation, request: draft.finish()?, local, serve_files: None };
    let (job, server) = submission.send(remote).await?;
    let bar = Bar::new(job.operation.id, false);
    let waited = job.wait(remote, TIMEOUT, &bar).await;
    bar.clear();
    let mut outcome = Outcome::of(&job, waited, 0);
    outcome.complete(remote, &Target::Files(Place::Directory(output.to_owned()))).await;
    if let Some(server) = server {
        server.stop().await;
    }
    Ok(outcome)
}

/// Replaces the names of bundled pictures by their paths.
fn put_paths(value: &mut Value, pictures: &Path) {
    match value {
        Value::String(text) if text.starts_with("astronaut") => *text = to_text(pictures.join(&text).as_os_str()),
        Value::Object(members) => members.values_mut().for_each(|value| put_paths(value, pictures)),
        _ => {}
    }
}

/// Says where the results are and what to try next.
fn next_steps(args: &Demo) -> String {
    let (directory, program) =
        (absolute(&args.output), std::env::args().next().unwrap_or_else(|| "imgopen".to_owned()));
    let keep = match &args.keep {
        Some(keep) => format!(" --data-dir {}", keep.display()),
        None => String::new(),
    };
    format!(
        "\nThe pictures are in {}.\n\nNext, start a service in one shell:\n\n    \
         {program} serve --sandbox --open --allow-network 127.0.0.1/32{keep}\n\nand try a picture of yours in another:\n\n    \
         {program} run enlarge_image --source-image photo.jpg --scale 2\n\n`{program} models pull portrait \
         upscale{keep}` adds neural networks that remove backgrounds and rebuild detail.\n`{program} --help` lists all commands.",
        directory.display()
    )
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
