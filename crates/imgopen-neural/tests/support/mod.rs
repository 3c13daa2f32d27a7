//! What the tests share: packs of tiny nets, and jobs.
#![allow(dead_code, clippy::unwrap_used)]

pub mod faces;
pub mod own;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use image::DynamicImage;
use imgopen_engine::{Engine, EngineError, Input, Job, JobRequest, Monitor, Output};
use imgopen_nets::onnx::{Builder, Setting, Weights};
use imgopen_nets::runtime::Rten;
use imgopen_nets::{Dimension, Limits, SessionSettings, Sessions};
use imgopen_neural::Nets;
use imgopen_packs::{Catalogue, Packs};
use imgopen_picture::{Attached, Format, encode};
use imgopen_types::Operation;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const URL: &str = "https://example.com/picture.png";

const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The files of each pack that are used, as in the built-in catalogue.
pub const FILES: [(&str, &[&str]); 6] = [
    ("background", &["isnet-small.onnx", "isnet-medium.onnx"]),
    ("faces", &["face_landmark.onnx"]),
    ("portrait", &["selfie_segmentation.onnx"]),
    ("safety", &["open_nsfw.onnx"]),
    (
        "upscale",
        &[
            "realesrgan-x4plus.onnx",
            "realesrgan-x4plus-anime.onnx",
            "realesr-animevideov3-x2.onnx",
            "realesr-animevideov3-x4.onnx",
        ],
    ),
    ("tags", &["efficientnet-lite0.onnx"]),
];

/// The directory of the packs, and where [`hide`] moves it.
const PACKS: [&str; 2] = ["packs", "hidden"];

/// A catalogue with packs of these names and files, which are those that are installed in a models directory, or hidden there.
pub fn catalogue(models: &Path) -> Catalogue {
    let mut text = String::new();
    for (pack, files) in FILES {
        text += &format!(
            "[[packs]]\nname = \"{pack}\"\nsummary = \"is for tests\"\n[packs.source]\nregistry = \"npm\"\npackage = \"{pack}\"\n\
             version = \"1\"\n[packs.source.archive]\nname = \"{pack}-1.tgz\"\nbytes = 1\nsha256 = \"{NOTHING}\"\n\
             [packs.licence]\nexpression = \"MIT\"\nstandard = [\"Apache-2.0\"]\n"
        );
        let manifest = PACKS.iter().find_map(|packs| fs::read(models.join(format!("{packs}/{pack}-1/pack.json"))).ok());
        let manifest: Value = manifest.map_or(Value::Null, |manifest| serde_json::from_slice(&manifest).unwrap());
        for (index, file) in files.iter().enumerate() {
            let installed = &manifest["files"][index];
            let (bytes, sha256) = (&installed["bytes"], &installed["sha256"]);
            let (bytes, sha256) = (bytes.as_u64().unwrap_or(1), sha256.as_str().unwrap_or(NOTHING));
            text += &format!("[[packs.files]]\nname = \"{file}\"\n[[packs.files.members]]\npath = \"{file}\"\n");
            text += &format!("bytes = {bytes}\nsha256 = \"{sha256}\"\n");
        }
    }
    Catalogue::parse(&text).unwrap()
}

pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Installs a pack, each of whose files is what `net` returns for its name, and returns its directory.
pub fn install(models: &Path, pack: &str, net: impl Fn(&str) -> Vec<u8>) -> PathBuf {
    let directory = models.join("packs").join(format!("{pack}-1"));
    fs::create_dir_all(&directory).unwrap();
    let (_, names) = FILES.into_iter().find(|(name, _)| *name == pack).unwrap();
    let files = names.iter().map(|name| {
        let bytes = net(name);
        fs::write(directory.join(name), &bytes).unwrap();
        json!({"name": name, "bytes": bytes.len(), "sha256": hash(&bytes)})
    });
    let files: Vec<Value> = files.collect();
    let manifest = json!({
        "format": 1, "name": pack, "registry": "npm", "package": pack, "version": "1",
        "archive": {"name": format!("{pack}-1.tgz"), "bytes": 1, "sha256": NOTHING},
        "licence": "MIT", "accepted": null, "files": files,
    });
    fs::write(directory.join("pack.json"), manifest.to_string()).unwrap();
    directory
}

pub fn runtime() -> Arc<Rten> {
    Arc::new(Rten::new(NonZeroUsize::MIN))
}

/// Takes the packs away, until [`show`] brings them back.
pub fn hide(models: &Path) {
    fs::rename(models.join(PACKS[0]), models.join(PACKS[1])).unwrap();
}

/// Brings back the packs that were hidden.
pub fn show(models: &Path) {
    fs::rename(models.join(PACKS[1]), models.join(PACKS[0])).unwrap();
}

/// The nets of a models directory. Packs that are there, or hidden, are those that they know.
pub fn nets(models: &Path) -> Nets {
    let sessions = Sessions::new(runtime(), SessionSettings::default());
    Nets::new(Packs::in_models(models), catalogue(models), sessions, Limits::default())
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn builder(names: [&str; 2]) -> Builder {
    Builder::new(1024, names.map(str::to_owned))
}

/// A net with the signature of ISNet that finds what is brighter than half.
pub fn bright_objects(side: usize) -> Vec<u8> {
    let mut builder = builder(["input", "output"]);
    builder.input("input", &[1, 3, side, side].map(Dimension::Fixed));
    builder.output("output", &[1, 1, side, side].map(Dimension::Fixed));
    let kernel = builder.weights(Weights::F32, &[1, 3, 1, 1], &floats(&[1000.0; 3]));
    let sum = builder.node("Conv", &["input", &kernel], &[("kernel_shape", Setting::Ints(&[1, 1]))]);
    builder.node_as("Sigmoid", &[&sum], "output", &[]);
    builder.finish()
}

/// A net with the signature of MediaPipe's that finds what is brighter than half.
pub fn bright_people(side: usize) -> Vec<u8> {
    let mut builder = builder(["input_1", "activation_10"]);
    builder.input("input_1", &[1, side, side, 3].map(Dimension::Fixed));
    builder.output("activation_10", &[1, side, side, 1].map(Dimension::Fixed));
    let column = builder.weights(Weights::F32, &[3, 1], &floats(&[1000.0; 3]));
    let sum = builder.node("MatMul", &["input_1", &column], &[]);
    let half = builder.number(-1500.0);
    let above = builder.node("Add", &[&sum, &half], &[]);
    builder.node_as("Sigmoid", &[&above], "activation_10", &[]);
    builder.finish()
}

/// A net with the signature of Open-NSFW's that finds a picture unsafe by its mean colours, less those of the training: with these
/// weights for blue, green and red.
pub fn unsafe_colours([blue, green, red]: [f32; 3]) -> Vec<u8> {
    let mut builder = builder(["input_0", "shares"]);
    let side = |side| Dimension::Fixed(side);
    builder.input("input_0", &[Dimension::Named("batch".to_owned()), side(224), side(224), side(3)]);
    builder.output("shares", &[Dimension::Unknown, side(2)]);
    let columns = builder.weights(Weights::F32, &[3, 2], &floats(&[-blue, blue, -green, green, -red, red]));
    let each = builder.node("MatMul", &["input_0", &columns], &[]);
    let axes = [("axes", Setting::Ints(&[1, 2])), ("keepdims", Setting::Int(0))];
    let mean = builder.node("ReduceMean", &[&each], &axes);
    builder.node_as("Softmax", &[&mean], "shares", &[("axis", Setting::Int(-1))]);
    builder.finish()
}

/// A net with the signature of Real-ESRGAN's that repeats each pixel.
pub fn repeater(factor: usize) -> Vec<u8> {
    let sides = || {
        let named = |name: &str| Dimension::Named(name.to_owned());
        [Dimension::Fixed(1), Dimension::Fixed(3), named("height"), named("width")]
    };
    let mut builder = builder(["data", "output"]);
    builder.input("data", &sides());
    builder.output("output", &[Dimension::Fixed(1), Dimension::Fixed(3), Dimension::Unknown, Dimension::Unknown]);
    let scales = builder.floats(&[1.0, 1.0, factor as f32, factor as f32]);
    let way = [
        ("mode", Setting::Text("nearest")),
        ("coordinate_transformation_mode", Setting::Text("asymmetric")),
        ("nearest_mode", Setting::Text("floor")),
    ];
    builder.node_as("Resize", &["data", "", &scales], "output", &way);
    builder.finish()
}

/// A net with the signature of EfficientNet-Lite0 that takes what is red for a tabby cat, and what is blue for espresso.
pub fn colour_classes() -> Vec<u8> {
    let mut builder = builder(["input", "probabilities"]);
    builder.input("input", &[1, 3, 224, 224].map(Dimension::Fixed));
    builder.output("probabilities", &[1, 1000].map(Dimension::Fixed));
    let mut rows = vec![[0.0_f32; 3]; 1000];
    (rows[281], rows[967]) = ([20.0, -20.0, -20.0], [-20.0, -20.0, 20.0]);
    let kernel = builder.weights(Weights::F32, &[1000, 3, 1, 1], &floats(rows.as_flattened()));
    let mean = builder.node("GlobalAveragePool", &["input"], &[]);
    let sums = builder.node("Conv", &[&mean, &kernel], &[("kernel_shape", Setting::Ints(&[1, 1]))]);
    let shape = builder.ints(&[1, 1000]);
    let sums = builder.node("Reshape", &[&sums, &shape], &[]);
    builder.node_as("Softmax", &[&sums], "probabilities", &[("axis", Setting::Int(1))]);
    builder.finish()
}

/// A net with the signature of taggers. Each tag's score is the sigmoid of the mean pixel times its weights, less 5.
pub fn tagger(side: usize, tags: &[[f32; 3]]) -> Vec<u8> {
    let mut builder = builder(["input", "scores"]);
    builder.input("input", &[1, side, side, 3].map(Dimension::Fixed));
    builder.output("scores", &[1, tags.len()].map(Dimension::Fixed));
    let mean =
        builder.node("ReduceMean", &["input"], &[("axes", Setting::Ints(&[1, 2])), ("keepdims", Setting::Int(0))]);
    let columns: Vec<f32> = (0..3).flat_map(|channel| tags.iter().map(move |weights| weights[channel])).collect();
    let columns = builder.weights(Weights::F32, &[3, tags.len()], &floats(&columns));
    let sums = builder.node("MatMul", &[&mean, &columns], &[]);
    let less = builder.number(-5.0);
    let sums = builder.node("Add", &[&sums, &less], &[]);
    builder.node_as("Sigmoid", &[&sums], "scores", &[]);
    builder.finish()
}

/// A PNG file.
pub fn png(image: &DynamicImage) -> Bytes {
    encode(image, Format::Png, &Attached::default()).unwrap()
}

/// A job for a picture, with further fields.
pub fn job(operation: &'static Operation, field: &str, bytes: Bytes, fields: Value) -> Job {
    job_of(operation, vec![(field, bytes)], fields)
}

/// A job for pictures in fields, with further fields.
pub fn job_of(operation: &'static Operation, pictures: Vec<(&str, Bytes)>, mut fields: Value) -> Job {
    fields["businessTaskId"] = "1".into();
    let inputs = pictures.into_iter().map(|(field, bytes)| {
        fields[field] = URL.into();
        Input { field: field.to_owned(), url: URL.to_owned(), bytes }
    });
    let inputs = inputs.collect();
    Job::new(JobRequest::new("1", operation, fields), "run").with_inputs(inputs)
}

pub async fn run(engine: &impl Engine, job: Job) -> Result<Output, EngineError> {
    engine.run(job, Monitor::new().0).await
}

/// Cancels a job at some of the places where it looks for that, and asserts that it ends there. Returns how often it looks.
pub async fn assert_cancellable(engine: &impl Engine, job: &Job) -> u64 {
    let count = async |last: u64| {
        let (monitor, watch, checks) = Monitor::counted(last);
        let result = engine.run(job.clone(), monitor).await;
        watch.ended().await;
        (result, checks.count())
    };
    let (result, all) = count(u64::MAX).await;
    result.unwrap();
    for last in [1, all / 4, all / 2, 3 * all / 4, all - 1] {
        let (result, looked) = count(last.max(1)).await;
        assert_eq!(result, Err(EngineError::Cancelled), "{last} of {all}");
        // Each band of rows that a thread works on looks once more.
        assert!(looked <= last + 100, "{looked} after {last} of {all}");
    }
    all
}
