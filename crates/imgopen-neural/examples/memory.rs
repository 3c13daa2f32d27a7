//! Prints how much memory a process takes at most that runs one task of a tool, for each tool, beside what its engine counts:
//!
//! ```sh
//! cargo run --release -p imgopen-neural --example memory -- imgopen-data/models
//! ```
//!
//! The table is that of README.md. Each task runs alone in a process of its own, on a photograph of 512x512 pixels, on Linux, by the
//! engine that a service would choose without back ends. What the process takes without a task is in the first row. Tools of which
//! there is no engine are left out.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use image::{DynamicImage, GrayImage, Luma};
use imgopen_engine::{Input, Job, JobRequest, Monitor};
use imgopen_neural::{Nets, SessionSettings};
use imgopen_picture::{Attached, Format, encode};
use imgopen_types::operation;
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PHOTO: &[u8] = include_bytes!("../../imgopen-cli/assets/astronaut.jpg");

/// The side of the photograph.
const SIDE: u32 = 512;

const URL: &str = "https://example.com/photo.jpg";

const MEGABYTE: f64 = 1_000_000.0;

/// A task: the operation, its fields, and those of them that are the photograph.
type Task = (&'static str, Value, &'static [&'static str]);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [models] => print_all(models),
        // In the process of a task.
        [models, number] => {
            let (counted, engine) = run(Path::new(models), number.parse()?)?;
            println!("{counted} {} {engine}", peak()?);
            Ok(())
        }
        _ => Err("give a models directory with packs".into()),
    }
}

/// The tasks, each with what the table says of it.
fn tasks() -> Vec<(&'static str, Task)> {
    let (one, two) = (&["sourceImage"][..], &["sourceUrl", "targetUrl"][..]);
    let (image, address) = (&["image"][..], &["imageUrl"][..]);
    let colour = json!({"hairStyle": "keep", "hairColor": "red"});
    let wider = json!({"horizontalExpansionRatio": 1.5, "verticalExpansionRatio": 1.0, "imageCount": 1});
    vec![
        ("`remove_background`", ("remove_background", json!({}), one)),
        ("`super_resolution`, 2 times", ("super_resolution", json!({"scale": 2}), image)),
        ("`super_resolution`, 4 times", ("super_resolution", json!({"scale": 4}), image)),
        ("`enlarge_image`, 4 times", ("enlarge_image", json!({"scale": 4}), one)),
        ("`detect_faces`", ("detect_faces", json!({}), address)),
        ("`restore_face`", ("restore_face", json!({}), image)),
        ("`swap_face`", ("swap_face", json!({}), two)),
        ("`swap_face_v2`", ("swap_face_v2", json!({}), two)),
        ("`change_hairstyle`, another colour", ("change_hairstyle", colour, one)),
        ("`describe_image`", ("describe_image", json!({"callbackUrl": "https://example.com/"}), image)),
        ("`recognize_style`", ("recognize_style", json!({}), one)),
        ("`preview_controlnet`, `canny`", ("preview_controlnet", json!({"preprocessor": "canny"}), one)),
        ("`preview_controlnet`, `depth`", ("preview_controlnet", json!({"preprocessor": "depth"}), one)),
        (
            "`preview_controlnet`, `mediapipe_face`",
            ("preview_controlnet", json!({"preprocessor": "mediapipe_face"}), one),
        ),
        ("`remove_object`", ("remove_object", json!({"maskImage": URL}), one)),
        ("`outpaint`, half as wide again", ("outpaint", wider, one)),
        ("`watermark_image`", ("watermark_image", json!({"watermarkText": "Example"}), one)),
    ]
}

/// Runs each task in a process of its own, and prints what it took.
fn print_all(models: &str) -> Result<()> {
    println!("| tool | by | peak | counted by the engine |\n|---|---|---|---|");
    let megabytes = |bytes: &str| -> Result<String> { Ok(format!("{:.0} MB", bytes.parse::<f64>()? / MEGABYTE)) };
    let (_, peak, _) = measured(models, usize::MAX)?;
    println!("| none | | {} | |", megabytes(&peak)?);
    for (number, (shown, _)) in tasks().into_iter().enumerate() {
        let (counted, peak, engine) = measured(models, number)?;
        if engine != MISSING {
            println!("| {shown} | `{engine}` | {} | {} |", megabytes(&peak)?, megabytes(&counted)?);
        }
    }
    Ok(())
}

/// Runs the task with a number in a process of its own. Returns what its engine counts, what the process took, and the engine.
fn measured(models: &str, number: usize) -> Result<(String, String, String)> {
    let output = Command::new(std::env::current_exe()?).args([models, number.to_string().as_str()]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_whitespace().map(str::to_owned);
    match (words.next(), words.next(), words.next()) {
        (Some(counted), Some(peak), Some(engine)) => Ok((counted, peak, engine)),
        _ => Err(format!("a task ended early: {}", String::from_utf8_lossy(&output.stderr).trim()).into()),
    }
}

/// What stands for the engine if there is none that does what is asked.
const MISSING: &str = "none";

/// Runs the task with a number; none if there is no such task. Returns what its engine counts for it, and the engine.
fn run(models: &Path, number: usize) -> Result<(u64, String)> {
    let threads = std::thread::available_parallelism()?;
    let nets = Nets::in_models(models, threads, SessionSettings::default());
    let registry = imgopen_neural::with_all(imgopen_tools::classical(), &nets);
    // Files of packs were read whole, to hash them.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let none = Ok((0, MISSING.to_owned()));
    let Some((_, (id, mut fields, pictures))) = tasks().into_iter().nth(number) else { return none };
    let Ok(choice) = registry.pick(id, None) else { return none };
    fields["businessTaskId"] = "1".into();
    let mut inputs = Vec::new();
    for field in pictures {
        fields[*field] = URL.into();
        inputs.push(input(field, Bytes::from_static(PHOTO)));
    }
    if fields.get("maskImage").is_some() {
        inputs.push(input("maskImage", mask()?));
    }
    let operation = operation::find(id).ok_or("no such operation")?;
    let request = JobRequest::new("1", operation, fields);
    // A preprocessor without its net.
    if choice.engine.check(&request).is_err() {
        return none;
    }
    let job = Job::new(request, "run").with_inputs(inputs);
    let counted = choice.engine.memory(&job);
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    runtime.block_on(choice.engine.run(job, Monitor::new().0)).map_err(|error| format!("`{id}`: {error}"))?;
    Ok((counted, choice.engine.name().to_owned()))
}

fn input(field: &str, bytes: Bytes) -> Input {
    Input { field: field.to_owned(), url: URL.to_owned(), bytes }
}

/// A mask over the shuttle behind the astronaut.
fn mask() -> Result<Bytes> {
    let is_inside = |x: u32, y: u32| (360..460).contains(&x) && (40..160).contains(&y);
    let mask = GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([if is_inside(x, y) { 255 } else { 0 }]));
    Ok(encode(&DynamicImage::from(mask), Format::Png, &Attached::default())?)
}

/// Returns the most bytes that this process has had in memory.
fn peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes: u64 = line.ok_or("the kernel does not report the memory")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}
