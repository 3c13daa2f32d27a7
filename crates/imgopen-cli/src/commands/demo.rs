//! `imgopen demo`: a service in this process, a few tasks, and their results.

mod pictures;
mod show;
mod steps;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use imgopen_engine::Registry;
use imgopen_service::plurals::counted;
use imgopen_service::{Clock, Service, Settings};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::engines::{built_in, built_in_with_nets};
use super::packs;
use crate::args::data::Data;
use crate::args::demo::Demo;
use crate::args::packs::Place;
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::output::{note, print, print_json};
use crate::remote::{self, Remote};
use crate::runtime;
use pictures::Pictures;
use show::Show;
use steps::Step;

/// The timeout of each task; generous, for slow machines.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The same for neural networks.
const NEURAL_TIMEOUT: Duration = Duration::from_secs(600);

/// What is shown.
struct Plan {
    engines: Registry,
    pictures: Pictures,
    steps: Vec<&'static Step>,
}

/// Runs the command.
pub fn run(args: &Demo, as_json: bool) -> anyhow::Result<()> {
    if args.output == Path::new("-") {
        return Err(Failure::usage("--output -: the demo has several results; give a directory").into());
    }
    let models = if args.neural { Some(pull(args)?) } else { None };
    let runtime = runtime::for_service()?;
    let outcome = runtime.block_on(demo(args, models.as_deref(), as_json));
    runtime.shutdown_background();
    outcome
}

/// Pulls packs, and returns the models directory that has them.
fn pull(args: &Demo) -> anyhow::Result<PathBuf> {
    packs::pull_some(&args.nets.packs, &args.nets.accepted, &place(args))
}

/// Returns where the packs are.
fn place(args: &Demo) -> Place {
    let data = Data { data_dir: args.keep.clone(), config: None };
    Place { models: args.nets.models.clone(), data }
}

async fn demo(args: &Demo, models: Option<&Path>, as_json: bool) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir().context("cannot create a temporary directory")?;
    let data = args.keep.clone().unwrap_or_else(|| temporary.path().join("data"));
    let Plan { engines, pictures, steps } = plan(args, models, &temporary.path().join("pictures"))?;
    let cannot = || format!("--output: cannot create the directory {}", args.output.display());
    std::fs::create_dir_all(&args.output).with_context(cannot)?;

    let service = Service::open(settings(&data, models)?, Clock::system(), engines).await?;
    let listener = TcpListener::bind(service.settings().listen).await?;
    let remote = Remote { client: remote::client(&service.url(listener.local_addr()?)).build()? };
    note(&format!("a service runs at {} until the demo ends", remote.url()));
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let served = service.serve(listener, |_| {}, async { drop(stopped.await) }).await;
        service.close().await;
        served
    });
    let show = Show {
        remote: &remote,
        pictures: &pictures,
        output: &args.output,
        timeout: if args.neural { NEURAL_TIMEOUT } else { TIMEOUT },
        // A photograph may have no face.
        goes_on: args.neural,
        is_silent: as_json,
    };
    let interrupted = || Failure::new(Exit::Interrupted, "interrupted");
    let mut interrupt = Interrupt::listen()?;
    let ran = interrupt.unless(show.all(&steps)).await;
    // Dropping the sender stops the service.
    drop(stop);
    let served = interrupt.unless(serving).await.ok_or_else(interrupted)?;
    let shown = ran.ok_or_else(interrupted)??;
    served??;
    match as_json {
        true => print_json(&json!({ "tasks": shown.tasks }))?,
        false => print(&next_steps(args, models))?,
    }
    match shown.failed {
        0 => Ok(()),
        failed => {
            let failure = Failure::new(Exit::Failed, format!("{} of the demo failed", counted(failed, "task")));
            let failure = if as_json { failure.printed() } else { failure };
            Err(failure.into())
        }
    }
}

/// Returns what is shown: with a models directory, its neural networks.
fn plan(args: &Demo, models: Option<&Path>, directory: &Path) -> anyhow::Result<Plan> {
    let pictures = Pictures::bundled(directory)?;
    let Some(models) = models else {
        return Ok(Plan { engines: built_in(true), pictures, steps: steps::CLASSICAL.iter().collect() });
    };
    let photo = args.nets.photo.as_deref();
    let pictures = pictures.with_photo(photo, directory)?;
    let Place { models: named, data } = place(args);
    let engines = built_in_with_nets(models, &crate::settings::of(&data, named)?.nets)?;
    let steps = steps::neural(&engines, &built_in(true), photo.is_some());
    if steps.is_empty() {
        let models = models.display();
        let problem = "nothing that the demo can show is done by the neural networks in";
        let fix = "pull others, or have `imgopen doctor` examine them";
        return Err(Failure::new(Exit::Failed, format!("{problem} {models}; {fix}")).into());
    }
    Ok(Plan { engines, pictures, steps })
}

fn settings(data: &Path, models: Option<&Path>) -> anyhow::Result<Settings> {
    Ok(Settings {
        listen: "127.0.0.1:0".parse()?,
        data_dir: data.to_owned(),
        models: models.map(Path::to_owned),
        sandbox: true,
        open: true,
        allow_network: vec!["127.0.0.1/32".parse()?],
        ..Settings::default()
    })
}

/// Says where the results are and what to try next.
fn next_steps(args: &Demo, models: Option<&Path>) -> String {
    let (directory, program) =
        (absolute(&args.output), std::env::args().next().unwrap_or_else(|| "imgopen".to_owned()));
    let keep = match &args.keep {
        Some(keep) => format!(" --data-dir {}", keep.display()),
        None => String::new(),
    };
    let named = match &args.nets.models {
        Some(models) => format!(" --models {}", models.display()),
        None => String::new(),
    };
    let nets = match models {
        Some(models) => format!("The networks are in {}, where that service finds them.", absolute(models).display()),
        None => format!("`{program} demo --neural` pulls packs of neural networks and shows what they add."),
    };
    format!(
        "\nThe pictures are in {}.\n\nNext, start a service in one shell:\n\n    \
         {program} serve --sandbox --open --allow-network 127.0.0.1/32{keep}{named}\n\nand try a picture of yours in another:\n\n    \
         {program} run enlarge_image --source-image photo.jpg --scale 2\n\n{nets}\n`{program} --help` lists all commands.",
        directory.display()
    )
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
