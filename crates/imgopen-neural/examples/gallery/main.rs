//! A contact sheet of all tools on photographs: `cargo xtask gallery`, which writes one HTML page and one PNG.
//!
//! Needs `python3`; the photographs come with a package that is installed below the target directory. The arguments are the output
//! directory, and a models directory, whose packs and nets are then used.

mod neural;
mod page;
#[path = "../../../imgopen-tools/tests/support/python.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod python;
#[path = "../support/requests.rs"]
mod requests;
mod sheet;
mod show;

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use image::DynamicImage;
use imgopen_engine::{Format, Input, Job, JobRequest, Monitor, Output, Registry};
use imgopen_neural::{Nets, SessionSettings};
use imgopen_picture::{Attached, encode};
use imgopen_types::operations;
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A picture and its caption.
pub struct Tile {
    image: DynamicImage,
    caption: String,
}

/// One tool at work.
pub struct Entry {
    title: String,
    inputs: Vec<Tile>,
    outputs: Vec<Tile>,
    /// Results in words.
    words: Vec<String>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().ok_or("give the folder to write to")?;
    std::fs::create_dir_all(&folder)?;
    // The output directory has no packs.
    let workshop = Workshop::new(&arguments.next().unwrap_or_else(|| folder.clone()))?;
    let mut entries = show::all(&workshop)?;
    entries.extend(neural::all(&workshop));
    let (html, png) = (folder.join("gallery.html"), folder.join("gallery.png"));
    std::fs::write(&html, page::page(&entries)?)?;
    std::fs::write(&png, encode(&sheet::sheet(&entries).into(), Format::Png, &Attached::default())?)?;
    println!("{}\n{}", html.display(), png.display());
    Ok(())
}

/// The engines, and a runtime for them.
pub struct Workshop {
    registry: Registry,
    nets: Nets,
    runtime: tokio::runtime::Runtime,
}

impl Workshop {
    /// With the packs and nets of a models directory.
    fn new(models: &Path) -> Result<Self> {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let nets = Nets::in_models(models, threads, SessionSettings::default());
        let registry = imgopen_neural::with_all(imgopen_tools::classical(), &nets);
        Ok(Self { registry, nets, runtime: tokio::runtime::Runtime::new()? })
    }

    /// Returns whether an engine for networks carries out an operation.
    pub fn is_neural(&self, operation: &str) -> bool {
        let choice = self.registry.pick(operation, None);
        choice.is_ok_and(|choice| imgopen_tools::classical().engine(choice.engine.name()).is_none())
    }

    /// Returns the values that the best engine of an operation accepts in a field.
    pub fn values(&self, operation: &str, field: &str) -> Result<Vec<String>> {
        let offer = self.registry.pick(operation, None)?.offer;
        let values = offer.values.into_iter().find(|values| values.field == field);
        Ok(values.ok_or_else(|| format!("the engine of `{operation}` lists no values of `{field}`"))?.values)
    }

    /// Runs an operation on its best engine. Inputs are pictures by field.
    pub fn run(&self, operation: &str, request: Value, inputs: &[(&str, &DynamicImage)]) -> Result<(String, Output)> {
        let choice = self.registry.pick(operation, None)?;
        let inputs = inputs.iter().map(|(field, image)| {
            let bytes = encode(image, Format::Png, &Attached::default())?;
            Ok(Input { field: (*field).to_owned(), url: "https://example.com/photo.png".to_owned(), bytes })
        });
        let operations = operations::ALL.iter();
        let known = operations.copied().find(|known| known.id == operation).ok_or("no such operation")?;
        let request = JobRequest::new("gallery", known, request);
        let job = Job::new(request, "run").with_inputs(inputs.collect::<Result<_>>()?);
        let start = Instant::now();
        let output = self.runtime.block_on(choice.engine.run(job, Monitor::new().0))?;
        let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
        let title = format!("{operation}: {} ({}), {milliseconds:.0} ms", choice.engine.name(), choice.offer.grade);
        Ok((title, output))
    }
}
