//! A service with a real back end and no sandbox, and its pictures.

use std::ops::Range;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::pictures::{parameters, pixels};
use crate::common::shell::Shell;
use crate::common::until;

/// A picture of 64 pixels in two steps.
pub const SMALL: [&str; 8] = [
    "--batch-size=1",
    "--width=64",
    "--height=64",
    "--steps=2",
    "--seed=7",
    "--sampler-index=Euler",
    "--cfg-scale=7",
    "--sd-model-checkpoint=random-sd15.safetensors",
];

/// The service.
pub struct Studio {
    pub shell: Shell,
    _settings: TempDir,
    /// One at a time, because two programs with a model each need more memory than many machines have.
    _alone: MutexGuard<'static, ()>,
}

/// A picture that was made.
#[derive(Debug)]
pub struct Made {
    pub pixels: RgbImage,
    /// Its text.
    pub text: String,
    /// What the command printed about the task.
    pub outcome: Value,
}

/// Returns what a variable says, or prints that the test is skipped.
pub fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    if value.is_none() {
        println!("skipped, because {name} is not set");
    }
    value
}

impl Studio {
    /// Starts a service with these settings in TOML.
    pub fn open(settings: &str) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("imgopen.toml");
        std::fs::write(&file, settings).unwrap();
        let shell =
            Shell::without_sandbox(&["--allow-network", "127.0.0.1/32", "--config", &file.display().to_string()]);
        Self { shell, _settings: folder, _alone: alone }
    }

    /// Returns a command that makes a small picture, whose arguments may be given again to change it.
    pub fn command(&self, operation: &str, prompt: &str, more: &[&str]) -> Command {
        let mut arguments = vec!["run", operation, "--json", "--prompt", prompt];
        let replaced = |default: &&str| {
            let name = default.split('=').next().unwrap();
            !more.iter().any(|argument| argument.split('=').next() == Some(name))
        };
        arguments.extend(SMALL.iter().filter(|default| replaced(default)));
        arguments.extend(more);
        self.shell.command(&arguments)
    }

    /// Runs a command to its end, and returns its exit code and JSON.
    pub fn run(&self, mut command: Command) -> (i32, Value) {
        let output = command.output().unwrap();
        let read = serde_json::from_slice(&output.stdout);
        (output.status.code().unwrap(), read.unwrap_or_else(|error| panic!("{error}: {output:?}")))
    }

    /// Makes pictures.
    pub fn pictures(&self, command: Command) -> Vec<Made> {
        let (code, outcome) = self.run(command);
        assert_eq!((code, &outcome["state"]), (0, &"succeeded".into()), "{outcome:#}\n{}", self.shell.program.log());
        let read = |file: &Value| {
            let bytes = std::fs::read(self.shell.folder().join(file["path"].as_str().unwrap())).unwrap();
            Made { pixels: pixels(&bytes), text: parameters(&bytes), outcome: outcome.clone() }
        };
        outcome["files"].as_array().unwrap().iter().map(read).collect()
    }

    /// Makes one picture.
    pub fn one(&self, command: Command) -> Made {
        let mut pictures = self.pictures(command);
        assert_eq!(pictures.len(), 1, "{pictures:?}");
        pictures.remove(0)
    }

    /// Makes a small picture.
    pub fn picture(&self, operation: &str, prompt: &str, more: &[&str]) -> Made {
        self.one(self.command(operation, prompt, more))
    }

    /// Changes a picture below a mask, in its left half.
    pub fn masked(&self, more: &[&str]) -> Made {
        let mask = RgbImage::from_fn(60, 41, |x, _| Rgb([if x < 30 { 255 } else { 0 }; 3]));
        mask.save(self.shell.folder().join("mask.png")).unwrap();
        self.shell.picture("base.png");
        let pictures = ["--image-link=base.png", "--mask-link=mask.png", "--inpainting-fill=1", "--mask-blur=0"];
        let more = [&pictures[..], &["--resize-mode=0", "--denoising-strength=1"], more].concat();
        self.picture("image_to_image", "a lighthouse", &more)
    }

    /// Submits a picture of many steps, and waits until some of them are made. Returns its id.
    pub async fn begin(&self, steps: &str) -> String {
        let command = self.command("text_to_image", "a long story", &[steps, "--no-wait"]);
        let (code, outcome) = self.run(command);
        assert_eq!(code, 0, "{outcome:#}");
        let id = outcome["task_id"].as_str().unwrap().to_owned();
        until("some steps are made", async || {
            let row = self.row(&id);
            assert!(["queued", "running"].contains(&row["state"].as_str().unwrap()), "{row:#}");
            row["progress"].as_f64().filter(|percent| *percent > 0.0)
        })
        .await;
        id
    }

    /// Returns the row of a task.
    pub fn row(&self, id: &str) -> Value {
        let (code, row) = self.shell.json(&["tasks", "show", id]);
        assert_eq!(code, 0, "{row:#}");
        row
    }

    /// Waits for the end of a task and returns its picture.
    pub fn wait(&self, id: &str) -> Made {
        self.one(self.shell.command(&["tasks", "wait", id, "--json"]))
    }
}

/// Checks that two pictures that were changed below the same mask differ where it is, the left half, and not beside it.
pub fn differ_below_the_mask(one: &RgbImage, other: &RgbImage) {
    assert_eq!((one.dimensions(), other.dimensions()), ((64, 64), (64, 64)));
    let (redrawn, kept) = (difference(one, other, 0..16), difference(one, other, 48..64));
    assert!(redrawn > 4.0 * kept, "the redrawn part differs by {redrawn}, the other by {kept}");
}

/// Returns the mean difference in the columns of a range.
fn difference(one: &RgbImage, other: &RgbImage, columns: Range<u32>) -> f64 {
    let pairs = one.enumerate_pixels().zip(other.pixels()).filter(|((x, _, _), _)| columns.contains(x));
    let pairs = pairs.flat_map(|((_, _, a), b)| (0..3).map(move |channel| (a[channel], b[channel])));
    let differences: Vec<_> = pairs.map(|(a, b)| f64::from(a.abs_diff(b))).collect();
    differences.iter().sum::<f64>() / differences.len() as f64
}

/// Whether a picture shows more than one colour.
pub fn is_drawn(picture: &RgbImage) -> bool {
    picture.pixels().any(|pixel| pixel != picture.get_pixel(0, 0))
}
