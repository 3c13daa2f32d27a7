//! A contact sheet of all tools on photographs: `cargo xtask gallery`, which writes one HTML page and one PNG.
//!
//! Needs `python3`; the photographs come with a package that is installed below the target directory. The argument is the
//! output directory.

mod page;
#[path = "../../tests/support/python.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod python;
mod sheet;
mod show;

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use image::DynamicImage;
use imgopen_engine::{Format, Input, Job, JobRequest, Monitor, Output, Registry};
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
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("give the folder to write to")?);
    std::fs::create_dir_all(&folder)?;
    let entries = show::all(&Workshop::new()?)?;
    let (html, png) = (folder.join("gallery.html"), folder.join("gallery.png"));
    std::fs::write(&html, page::page(&entries)?)?;
    std::fs::write(&png, encode(&sheet::sheet(&entries).into(), Format::Png, &Attached::default())?)?;
    println!("{}\n{}", html.display(), png.display());
    Ok(())
}

/// The engines, and a runtime for them.
pub struct Workshop {
    registry: Registry,
    runtime: tokio::runtime::Runtime,
}

impl Workshop {
    fn new() -> Result<Self> {
        Ok(Self { registry: imgopen_tools::classical(), runtime: tokio::runtime::Runtime::new()? })
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
