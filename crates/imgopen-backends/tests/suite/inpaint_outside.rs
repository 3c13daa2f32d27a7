//! What inpainting leaves as it is, bit by bit and whatever a back end sends back: all that lies at least 8 pixels of the size that
//! is worked at from the hole.

use std::sync::{Arc, Mutex};

use fastrand::Rng;
use futures_util::future::BoxFuture;
use image::{DynamicImage, GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba};
use imgopen_backends::{Generation, InpaintSettings, Inpainter};
use imgopen_engine::{
    Engine, EngineError, Format, Grade, Input, Job, JobRequest, Monitor, Offer, Output, Picture, PictureLimits,
};
use imgopen_picture::{Attached, decode, encode};
use imgopen_types::operations::{IMAGE_TO_IMAGE, REMOVE_OBJECT};
use serde_json::json;

/// How far the new part reaches beyond the hole, in pixels of the size that is worked at.
const REACH: u32 = 8;

/// An engine whose pictures have nothing in common with what it was sent.
#[derive(Default)]
struct Repainter {
    /// The sizes of its pictures.
    sizes: Mutex<Vec<(u32, u32)>>,
}

impl Engine for Repainter {
    fn name(&self) -> &'static str {
        "repainter"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer::new(&IMAGE_TO_IMAGE, Grade::Neural)]
    }

    fn run(&self, job: Job, _: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        let Generation { width, height, seed, .. } = Generation::read(job.checked_request()).unwrap();
        self.sizes.lock().unwrap().push((width, height));
        let mut random = Rng::with_seed(0);
        let painted = RgbImage::from_fn(width, height, |_, _| Rgb([random.u8(..), random.u8(..), random.u8(..)]));
        let bytes = encode(&painted.into(), Format::Png, &Attached::default()).unwrap();
        let picture = Picture { bytes, format: Format::Png, width, height, seed };
        Box::pin(async move { Ok(Output { pictures: vec![picture], ..Output::default() }) })
    }
}

/// Noise with each of the kinds of pixels in turn.
fn noise(kind: u64, (width, height): (u32, u32), random: &mut Rng) -> DynamicImage {
    match kind % 8 {
        0 => ImageBuffer::from_fn(width, height, |_, _| Luma([random.u8(..)])).into(),
        1 => ImageBuffer::from_fn(width, height, |_, _| LumaA([random.u8(..), random.u8(..)])).into(),
        2 => ImageBuffer::from_fn(width, height, |_, _| Rgb([0; 3].map(|_: u8| random.u8(..)))).into(),
        3 => ImageBuffer::from_fn(width, height, |_, _| Rgba([0; 4].map(|_: u8| random.u8(..)))).into(),
        4 => ImageBuffer::from_fn(width, height, |_, _| Luma([random.u16(..)])).into(),
        5 => ImageBuffer::from_fn(width, height, |_, _| LumaA([random.u16(..), random.u16(..)])).into(),
        6 => ImageBuffer::from_fn(width, height, |_, _| Rgb([0; 3].map(|_: u16| random.u16(..)))).into(),
        _ => ImageBuffer::from_fn(width, height, |_, _| Rgba([0; 4].map(|_: u16| random.u16(..)))).into(),
    }
}

/// A hole of some rectangles and single pixels; the first column is not in it.
fn hole((width, height): (u32, u32), random: &mut Rng) -> GrayImage {
    let mut hole = GrayImage::new(width, height);
    for _ in 0..random.u32(1..5) {
        let (left, top) = (random.u32(1..width), random.u32(0..height));
        let size = if random.bool() { 1 } else { random.u32(1..40) };
        for (x, y) in (left..width.min(left + size)).flat_map(|x| (top..height.min(top + size)).map(move |y| (x, y))) {
            hole.put_pixel(x, y, Luma([255]));
        }
    }
    hole
}

/// The hole with all that lies less than `reach` pixels from it.
fn widened(hole: &GrayImage, reach: u32) -> Vec<bool> {
    let (width, height) = hole.dimensions();
    let mut near = vec![false; (width * height) as usize];
    for (x, y, _) in hole.enumerate_pixels().filter(|(.., pixel)| pixel.0 == [255]) {
        for row in y.saturating_sub(reach - 1)..height.min(y + reach) {
            let (begin, end) = (x.saturating_sub(reach - 1), width.min(x + reach));
            near[(row * width + begin) as usize..(row * width + end) as usize].fill(true);
        }
    }
    near
}

fn file(field: &str, image: &DynamicImage) -> Input {
    let bytes = encode(image, Format::Png, &Attached::default()).unwrap();
    Input { field: field.to_owned(), url: "https://example.com/a.png".to_owned(), bytes }
}

#[tokio::test]
async fn what_is_not_near_the_hole_stays_bit_by_bit() {
    for case in 0..24 {
        let mut random = Rng::with_seed(case);
        // The small side makes the new part with fewer pixels than it has in most of these pictures.
        let side = if case < 16 { 256 } else { 64 };
        let size = (random.u32(9..180), random.u32(9..180));
        let (source, hole) = (noise(case, size, &mut random), hole(size, &mut random));
        let body = json!({
            "businessTaskId": "1", "sourceImage": "https://example.com/a.png", "maskImage": "https://example.com/a.png",
        });
        let inputs = vec![file("sourceImage", &source), file("maskImage", &hole.clone().into())];
        let job = Job::new(JobRequest::new("task-1", &REMOVE_OBJECT, body), "run-1").with_inputs(inputs);
        let engine = Arc::new(Repainter::default());
        let settings = InpaintSettings { side, ..InpaintSettings::new("a.safetensors") };
        let inpainter = Inpainter::new(engine.clone(), "inpainter", settings).unwrap();
        let output = inpainter.run(job, Monitor::new().0).await.unwrap();
        let made = decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image;
        assert_eq!((made.color(), made.width(), made.height()), (source.color(), size.0, size.1), "case {case}");
        // What is worked on is at most the whole picture.
        let work = engine.sizes.lock().unwrap()[0];
        let reach = [(size.0 * REACH).div_ceil(work.0), (size.1 * REACH).div_ceil(work.1)];
        let near = widened(&hole, reach.into_iter().fold(REACH, u32::max));
        let bytes = usize::from(source.color().bytes_per_pixel());
        let pixels =
            |image: &DynamicImage| image.as_bytes().chunks_exact(bytes).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let differs: Vec<_> = pixels(&made).into_iter().zip(pixels(&source)).map(|(new, old)| new != old).collect();
        for (at, differs) in differs.iter().enumerate() {
            let (x, y) = (at as u32 % size.0, at as u32 / size.0);
            assert!(!differs || near[at], "case {case}: {x},{y} has changed in {size:?}");
        }
        assert!(differs.contains(&true), "case {case}: nothing was painted");
    }
}
