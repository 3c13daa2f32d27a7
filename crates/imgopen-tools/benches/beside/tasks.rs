//! The measured tasks: each as an engine carries it out from bytes to bytes, and its operation alone on decoded pixels.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{DynamicImage, GrayImage, Luma, RgbImage};
use imgopen_engine::{Engine, Format, Input, Job, JobRequest, Monitor, PictureLimits};
use imgopen_picture::{self as picture, Attached, Chroma};
use imgopen_tools::fill::{self, Expansion};
use imgopen_tools::preprocess::{self, Preprocessor};
use imgopen_tools::{Fill, Lanczos, Preprocessors, Watermark, lanczos};
use imgopen_types::{WatermarkImageRequest, operations};
use serde_json::{Value, json};

use crate::{Result, python};

/// One row of the comparison.
pub struct Task {
    pub name: String,
    pub files: Vec<PathBuf>,
    /// Libraries, each with its method in `peers.py`.
    pub peers: Vec<(&'static str, &'static str)>,
    pub whole: Box<dyn Fn() -> Result<()>>,
    /// Prepares the pixels, and returns the operation that consumes them.
    pub alone: Box<dyn Fn() -> Result<Alone>>,
}

/// An operation on decoded pixels.
pub type Alone = Box<dyn FnOnce() -> Result<()>>;

/// Returns the task of that name.
pub fn named(name: &str) -> Result<Task> {
    all()?.into_iter().find(|task| task.name == name).ok_or_else(|| format!("no task is called {name}").into())
}

/// Returns all tasks.
pub fn all() -> Result<Vec<Task>> {
    let pictures = Pictures::new()?;
    let groups = [enlarging, previews, marks, fills];
    let groups = groups.into_iter().map(|group| group(&pictures)).collect::<Result<Vec<_>>>()?;
    Ok(groups.into_iter().flatten().collect())
}

/// The pictures of all tasks: a photograph of 512x512 pixels as PNG, JPEG and WebP, and of 2048x2048 as JPEG;
/// and a logo with transparency.
struct Pictures {
    small: RgbImage,
    files: [PathBuf; 3],
    large: PathBuf,
    logo: PathBuf,
}

impl Pictures {
    fn new() -> Result<Self> {
        let small = python::photo("astronaut");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let image = DynamicImage::from(small.clone());
        let write = |image: &DynamicImage, name: &str, format: Format| -> Result<PathBuf> {
            let file = folder.join(name).with_extension(format.extension());
            let attached = Attached { chroma: Chroma::Halved, ..Attached::default() };
            fs::write(&file, picture::encode(image, format, &attached)?)?;
            Ok(file)
        };
        let files = [
            write(&image, "beside-small", Format::Png)?,
            write(&image, "beside-small", Format::Jpeg)?,
            write(&image, "beside-small", Format::WebP)?,
        ];
        let large = write(&lanczos::resize(image, 2048, 2048)?, "beside-large", Format::Jpeg)?;
        Ok(Self { small, files, large, logo: python::photo_file("logo") })
    }
}

fn enlarging(pictures: &Pictures) -> Result<Vec<Task>> {
    let peers = [
        &[("Pillow", "enlarge"), ("OpenCV", "enlarge"), ("scikit-image", "enlarge"), ("ImageMagick", "enlarge")][..],
        &[("Pillow", "enlarge"), ("OpenCV", "enlarge"), ("ImageMagick", "enlarge")],
        &[("Pillow", "enlarge"), ("OpenCV", "enlarge")],
    ];
    let task = |(file, peers): (&PathBuf, _)| {
        let name = format!("enlarge 512² to 2048², {}", kind(file));
        let image = DynamicImage::from(pictures.small.clone());
        let alone = move |image| Ok(lanczos::resize(image, 2048, 2048)?);
        let alone = on(image, alone);
        let request = json!({"businessTaskId": "1", "sourceImage": "https://a", "scale": 4});
        task(name, Lanczos::new(), "enlarge_image", request, &[("sourceImage", file)], peers, alone)
    };
    pictures.files.iter().zip(peers).map(task).collect()
}

/// Each preprocessor that a library has too, on the small picture; the most used one also on the large one.
fn previews(pictures: &Pictures) -> Result<Vec<Task>> {
    let rows: [(&str, &'static [(&'static str, &'static str)]); 7] = [
        ("canny", &[("OpenCV", "canny"), ("scikit-image", "canny")]),
        ("scribble", &[("OpenCV", "scribble")]),
        ("lineart", &[("OpenCV", "lineart")]),
        (
            "threshold",
            &[
                ("Pillow", "threshold"),
                ("OpenCV", "threshold"),
                ("scikit-image", "threshold"),
                ("ImageMagick", "threshold"),
            ],
        ),
        (
            "invert",
            &[("Pillow", "invert"), ("OpenCV", "invert"), ("scikit-image", "invert"), ("ImageMagick", "invert")],
        ),
        ("tile", &[("Pillow", "tile"), ("OpenCV", "tile")]),
        ("color", &[("Pillow", "color"), ("OpenCV", "color")]),
    ];
    let small = rows.iter().map(|(name, peers)| preview(name, peers, &pictures.files[0], "512² PNG"));
    let large = preview("canny", rows[0].1, &pictures.large, "2048² JPEG");
    small.chain([large]).collect()
}

fn preview(name: &str, peers: &'static [(&'static str, &'static str)], file: &PathBuf, what: &str) -> Result<Task> {
    let request = json!({"businessTaskId": "1", "sourceImage": "https://a", "preprocessor": name});
    let image = picture::decode(&fs::read(file)?, &PictureLimits::default())?.image;
    let preprocessor: Preprocessor = name.parse()?;
    let alone = on(image, move |image| Ok(preprocess::preprocess(image, preprocessor, &Monitor::new().0)?));
    let engine = Preprocessors::new();
    task(format!("{name}, {what}"), engine, "preview_controlnet", request, &[("sourceImage", file)], peers, alone)
}

fn marks(pictures: &Pictures) -> Result<Vec<Task>> {
    let request = || WatermarkImageRequest::builder().business_task_id("1").source_image("https://a").margin(16);
    let text = request().watermark_text("© Example 2026").opacity(0.8).build()?;
    let picture = request().watermark_image("https://b").scale(0.25).build()?;
    let texts = [("Pillow", "text"), ("OpenCV", "text"), ("ImageMagick", "text")];
    let mut tasks = Vec::new();
    for (file, what) in [(&pictures.files[0], "512² PNG"), (&pictures.large, "2048² JPEG")] {
        tasks.push(mark(format!("watermark of text, {what}"), &text, &[("sourceImage", file)], &texts)?);
        let files = [("sourceImage", file), ("watermarkImage", &pictures.logo)];
        let peers = [("Pillow", "mark"), ("ImageMagick", "mark")];
        tasks.push(mark(format!("watermark of a picture, {what}"), &picture, &files, &peers)?);
    }
    Ok(tasks)
}

fn mark(
    name: String,
    request: &WatermarkImageRequest,
    files: &[(&str, &PathBuf)],
    peers: &[(&'static str, &'static str)],
) -> Result<Task> {
    let engine = Watermark::new();
    let read = |file: &PathBuf| Ok(picture::decode(&fs::read(file)?, &PictureLimits::default())?.image);
    let images = files.iter().map(|(_, file)| read(file)).collect::<Result<Vec<_>>>()?;
    let (printer, own, logo) = (engine.clone(), request.clone(), images.get(1).cloned());
    let alone = on((images[0].clone(), logo), move |(image, logo)| Ok(printer.print(image, logo, &own)?));
    task(name, engine, "watermark_image", serde_json::to_value(request)?, files, peers, alone)
}

/// OpenCV's `INPAINT_TELEA` and scikit-image's biharmonic method smear the surroundings into the hole; OpenCV's
/// `INPAINT_SHIFTMAP` fills with texture, as the engine does.
fn fills(pictures: &Pictures) -> Result<Vec<Task>> {
    let file = &pictures.files[0];
    let hole = GrayImage::from_fn(512, 512, |x, y| {
        Luma([if (350..475).contains(&x) && (0..272).contains(&y) { 255 } else { 0 }])
    });
    let mask = Path::new(env!("CARGO_TARGET_TMPDIR")).join("beside-mask.png");
    fs::write(&mask, picture::encode(&hole.into(), Format::Png, &Attached::default())?)?;
    let input = |field: &str, file: &PathBuf| -> Result<Input> {
        Ok(Input {
            field: field.to_owned(),
            url: "https://example.com/photo".to_owned(),
            bytes: fs::read(file)?.into(),
        })
    };
    let (source, marked) = (input("sourceImage", file)?, input("maskImage", &mask)?);
    let limits = PictureLimits::default();
    let outpainted = source.clone();
    // Reading and writing take a hundredth of the time.
    let remove =
        on((source, marked), move |(source, marked)| Ok(fill::remove(&source, &marked, &limits, &Monitor::new().0)?));
    let expansion = Expansion { horizontal: 1.5, vertical: 1.5, count: 1, seed: 7 };
    let outpaint = on(outpainted, move |source| Ok(fill::outpaint(&source, &expansion, &limits, &Monitor::new().0)?));
    let request = json!({"businessTaskId": "1", "sourceImage": "https://a", "maskImage": "https://b"});
    let files = [("sourceImage", file), ("maskImage", &mask)];
    let peers =
        [("OpenCV", "remove_by_patches"), ("OpenCV", "remove_by_diffusion"), ("scikit-image", "remove_by_diffusion")];
    let removing =
        task("remove 125x272 of 512² PNG".to_owned(), Fill::new(), "remove_object", request, &files, &peers, remove)?;
    let request = json!({
        "businessTaskId": "1", "sourceImage": "https://a", "imageCount": 1, "seed": 7,
        "horizontalExpansionRatio": 1.5, "verticalExpansionRatio": 1.5,
    });
    let peers = [("OpenCV", "outpaint_by_patches")];
    let name = "outpaint 512² to 768² PNG".to_owned();
    Ok(vec![removing, task(name, Fill::new(), "outpaint", request, &files[..1], &peers, outpaint)?])
}

/// Runs an operation on a copy of its input; copying is not measured.
fn on<T: Clone + 'static, R: 'static>(
    taken: T,
    operation: impl Fn(T) -> Result<R> + Clone + 'static,
) -> impl Fn() -> Result<Alone> {
    move || {
        let (taken, operation) = (taken.clone(), operation.clone());
        Ok(Box::new(move || done(operation(taken)?)))
    }
}

/// Keeps the compiler from removing unused results.
fn done<T>(value: T) -> Result<()> {
    drop(black_box(value));
    Ok(())
}

fn kind(file: &Path) -> String {
    file.extension().unwrap_or_default().to_string_lossy().to_uppercase().replace("JPG", "JPEG")
}

fn task(
    name: String,
    engine: impl Engine,
    operation: &str,
    request: Value,
    files: &[(&str, &PathBuf)],
    peers: &[(&'static str, &'static str)],
    alone: impl Fn() -> Result<Alone> + 'static,
) -> Result<Task> {
    let operation = operations::ALL.iter().find(|known| known.id == operation).ok_or("no such operation")?;
    let inputs = files.iter().map(|(field, file)| {
        let bytes = fs::read(file)?.into();
        Ok(Input { field: (*field).to_owned(), url: "https://example.com/photo".to_owned(), bytes })
    });
    let job = Job::new(JobRequest::new("1", operation, request), "run").with_inputs(inputs.collect::<Result<_>>()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    let engine = Arc::new(engine);
    let whole = move || done(runtime.block_on(engine.run(job.clone(), Monitor::new().0))?);
    let files = files.iter().map(|(_, file)| (*file).clone()).collect();
    Ok(Task { name, files, peers: peers.to_vec(), whole: Box::new(whole), alone: Box::new(alone) })
}
