//! `imgopen demo`: a service in this process, a few tasks, and their results, without any set-up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use imgopen_service::{Clock, Service, Settings};
use imgopen_types::{Operation, operations};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::args::Demo;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::interrupt::Interrupt;
use crate::output::{note, print, print_json};
use crate::remote::{self, Remote};
use crate::request::Draft;
use crate::run::{Bar, Outcome, Submission, Target};
use crate::serve::engines;

/// A photograph in the public domain, with room for every tool; `assets/README.md` tells its origin.
const PHOTO: &[u8] = include_bytes!("../assets/astronaut.jpg");
/// White where the round patch of her mission is on her suit.
const MASK: &[u8] = include_bytes!("../assets/astronaut-mask.png");

/// How long each task may take, on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// One task of the demo.
struct Step {
    operation: &'static Operation,
    /// What it shows.
    about: &'static str,
    /// The request, with the names of the bundled pictures where pictures go.
    request: fn() -> Value,
}

/// What is shown, in order.
const STEPS: &[Step] = &[
    Step {
        operation: &operations::TEXT_TO_IMAGE,
        about: "a labelled test card, in place of what a model would make",
        request: || {
            json!({
                "prompt": "a lighthouse at night", "batch_size": 1, "width": 512, "height": 512, "seed": "7",
                "alwayson_scripts": { "sd_model_checkpoint": "sandbox.safetensors" },
            })
        },
    },
    Step {
        operation: &operations::REMOVE_OBJECT,
        about: "the photograph without the patch of the mission on her suit",
        request: || json!({ "sourceImage": "astronaut.jpg", "maskImage": "astronaut-mask.png" }),
    },
    Step {
        operation: &operations::PREVIEW_CONTROLNET,
        about: "its edges, as ControlNet would be given them",
        request: || json!({ "sourceImage": "astronaut.jpg", "preprocessor": "canny" }),
    },
    Step {
        operation: &operations::WATERMARK_IMAGE,
        about: "the photograph with a mark in its corner",
        request: || {
            json!({
                "sourceImage": "astronaut.jpg", "watermarkText": "imgopen demo", "position": "bottom-right",
                "opacity": 0.8, "margin": 12,
            })
        },
    },
    Step {
        operation: &operations::DETECT_FACES,
        about: "the faces in it",
        request: || json!({ "imageUrl": "astronaut.jpg" }),
    },
];

/// Carries the command out.
pub fn run(flags: &Demo) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(demo(flags));
    runtime.shutdown_background();
    outcome
}

async fn demo(flags: &Demo) -> anyhow::Result<()> {
    let thrown_away = tempfile::tempdir().context("no temporary folder can be made")?;
    let data = flags.keep.clone().unwrap_or_else(|| thrown_away.path().join("data"));
    let pictures = thrown_away.path().join("pictures");
    put_pictures(&pictures)?;
    let cannot = || format!("the folder {} cannot be made", flags.output.display());
    std::fs::create_dir_all(&flags.output).with_context(cannot)?;

    let service = Service::open(settings(&data)?, Clock::system(), engines(true)).await?;
    let listener = TcpListener::bind(service.settings().listen).await?;
    let remote = Remote { client: remote::client(&service.url(listener.local_addr()?)).build()? };
    note(&format!("a service runs at {} for as long as the demo takes", remote.url()));
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move { service.serve(listener, |_| {}, async { drop(stopped.await) }).await });
    let interrupted = || Failure::new(Exit::Interrupted, "interrupted");
    let mut interrupt = Interrupt::listen()?;
    let shown = interrupt.unless(steps(&remote, &pictures, flags)).await;
    // It stops also when nobody tells it to any more.
    drop(stop);
    let served = interrupt.unless(serving).await.ok_or_else(interrupted)?;
    let outcomes = shown.ok_or_else(interrupted)??;
    served??;
    farewell(&outcomes, flags)
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

fn put_pictures(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("astronaut.jpg"), PHOTO)?;
    std::fs::write(folder.join("astronaut-mask.png"), MASK)?;
    Ok(())
}

async fn steps(remote: &Remote, pictures: &Path, flags: &Demo) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (index, step) in STEPS.iter().enumerate() {
        let outcome = one(remote, step, pictures, &flags.output).await;
        let outcome = outcome.with_context(|| format!("the demo's task {} failed", step.operation.id))?;
        if let Some(failure) = outcome.failure {
            return Err(failure.into());
        }
        if !flags.json {
            print(&format!(
                "{}. {}: {}\n   {}",
                index + 1,
                step.operation.id,
                step.about,
                outcome.shown().replace('\n', "\n   ")
            ))?;
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

async fn one(remote: &Remote, step: &Step, pictures: &Path, output: &Path) -> anyhow::Result<Outcome> {
    let mut draft = Draft::new(step.operation, (step.request)())?;
    draft.complete()?;
    put_paths(&mut draft.body, pictures);
    let (local, _) = files::find(step.operation, &draft.body);
    draft.stand_in(&local);
    let submission = Submission { operation: step.operation, request: draft.finish()?, local, serve_files: None };
    let (job, server) = submission.send(remote).await?;
    let bar = Bar::new(&job, false);
    let waited = job.wait(remote, TIMEOUT, &bar).await;
    bar.clear();
    let mut outcome = Outcome::of(&job, waited, 0);
    outcome.complete(remote, &Target::Folder(output.to_owned())).await;
    if let Some(server) = server {
        server.stop().await;
    }
    Ok(outcome)
}

/// Puts the paths of the bundled pictures in the places of their names.
fn put_paths(value: &mut Value, pictures: &Path) {
    match value {
        Value::String(text) if text.starts_with("astronaut") => *text = pictures.join(&text).display().to_string(),
        Value::Object(members) => members.values_mut().for_each(|value| put_paths(value, pictures)),
        _ => {}
    }
}

fn farewell(outcomes: &[Outcome], flags: &Demo) -> anyhow::Result<()> {
    if flags.json {
        return print_json(&json!({ "tasks": outcomes.iter().map(Outcome::told).collect::<Value>() }));
    }
    let (folder, program) = (absolute(&flags.output), std::env::args().next().unwrap_or_else(|| "imgopen".to_owned()));
    let keep = match &flags.keep {
        Some(keep) => format!(" --data-dir {}", keep.display()),
        None => String::new(),
    };
    print(&format!(
        "\nThe pictures lie in {}.\n\nNow a service of your own, in one shell:\n\n    \
         {program} serve --sandbox --open --allow-network 127.0.0.1/32{keep}\n\nand a picture of yours in another:\n\n    \
         {program} run enlarge_image --source-image photo.jpg --scale 2\n\n`{program} --help` tells the rest.",
        folder.display()
    ))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
