//! Filling holes with tiny nets that paint them in one colour.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use image::{DynamicImage, GenericImageView, GrayImage, ImageBuffer, Luma, LumaA, Pixel, Rgb, Rgba};
use imgopen_engine::{Engine, EngineError, Grade, Job, Output, Picture, PictureLimits, Registry};
use imgopen_neural::Lama;
use imgopen_picture::{Decoded, decode};
use imgopen_tools::fill::MASK_GROWTH;
use imgopen_types::operations::{OUTPAINT, REMOVE_OBJECT};
use serde_json::{Value, json};
use tempfile::TempDir;

use support::{assert_cancellable, job, job_of, nets, own, png, run, runtime};

const COLOUR: [f32; 3] = [0.2, 0.6, 0.4];
const HOLE: (u32, u32, u32, u32) = (40, 30, 20, 15);

fn engine(side: Option<usize>, most: f32) -> (TempDir, Lama) {
    let models = tempfile::tempdir().unwrap();
    own::put(models.path(), "lama", "lama.onnx", &own::lama(side, COLOUR, most));
    let engine = Lama::new(nets(models.path()));
    (models, engine)
}

fn removal(image: &DynamicImage, mask: &GrayImage) -> Job {
    let pictures = vec![("sourceImage", png(image)), ("maskImage", png(&mask.clone().into()))];
    job_of(&REMOVE_OBJECT, pictures, json!({}))
}

/// A mask that is white in a rectangle.
fn mask(image: &DynamicImage, (left, top, width, height): (u32, u32, u32, u32)) -> GrayImage {
    GrayImage::from_fn(image.width(), image.height(), |x, y| {
        let inside = (left..left + width).contains(&x) && (top..top + height).contains(&y);
        Luma([if inside { 255 } else { 0 }])
    })
}

/// Returns whether a position is in a rectangle or near enough to change too.
fn may_change((x, y): (u32, u32), (left, top, width, height): (u32, u32, u32, u32)) -> bool {
    let growth = MASK_GROWTH as u32;
    x + growth >= left && x < left + width + growth && y + growth >= top && y < top + height + growth
}

fn textured<P: Pixel>(size: (u32, u32), sample: impl Fn(u32) -> P::Subpixel) -> ImageBuffer<P, Vec<P::Subpixel>> {
    ImageBuffer::from_fn(size.0, size.1, |x, y| {
        let grain = 90 + (x * 7919 + y * 104_729).wrapping_mul(2_654_435_761).wrapping_shr(9) % 64;
        let channels = (0..u32::from(P::CHANNEL_COUNT)).map(|channel| sample(grain - 10 * channel));
        *P::from_slice(&channels.collect::<Vec<_>>())
    })
}

fn photograph(width: u32, height: u32) -> DynamicImage {
    textured::<Rgb<u8>>((width, height), |value| value as u8).into()
}

fn read(picture: &Picture) -> Decoded {
    decode(&picture.bytes, &PictureLimits::default()).unwrap()
}

/// Asserts that a sample of 16 bits is a level, as far as the depth of the picture allows.
fn assert_near(sample: u16, level: f32, what: &str) {
    assert!((f32::from(sample) / 65_535.0 - level).abs() < 0.003, "{what}: {sample} for {level}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_kinds_of_pixels_are_filled_and_the_rest_is_left_alone() {
    const SIZE: (u32, u32) = (100, 80);
    let sources: Vec<DynamicImage> = vec![
        textured::<Luma<u8>>(SIZE, |value| value as u8).into(),
        textured::<LumaA<u8>>(SIZE, |value| value as u8).into(),
        textured::<Rgb<u8>>(SIZE, |value| value as u8).into(),
        textured::<Rgba<u8>>(SIZE, |value| value as u8).into(),
        textured::<Luma<u16>>(SIZE, |value| value as u16 * 257).into(),
        textured::<LumaA<u16>>(SIZE, |value| value as u16 * 257).into(),
        textured::<Rgb<u16>>(SIZE, |value| value as u16 * 257).into(),
        textured::<Rgba<u16>>(SIZE, |value| value as u16 * 257).into(),
    ];
    for (side, most) in [(Some(64), 1.0), (Some(64), 255.0), (None, 255.0)] {
        let (_models, engine) = engine(side, most);
        for source in &sources {
            let output = run(&engine, removal(source, &mask(source, HOLE))).await.unwrap();
            let clean = read(&output.pictures[0]).image;
            assert_eq!(clean.color(), source.color());
            let what = format!("{side:?} {most} {:?}", source.color());
            let gray = (COLOUR[0] + COLOUR[1] + COLOUR[2]) / 3.0;
            let expected = if source.color().has_color() { COLOUR } else { [gray; 3] };
            let (before, after) = (source.to_rgba16(), clean.to_rgba16());
            for (x, y, pixel) in after.enumerate_pixels() {
                if may_change((x, y), HOLE) {
                    let [red, green, blue, opacity] = pixel.0;
                    [red, green, blue]
                        .iter()
                        .zip(expected)
                        .for_each(|(sample, level)| assert_near(*sample, level, &what));
                    assert_near(opacity, if source.color().has_alpha() { gray } else { 1.0 }, &what);
                } else {
                    assert_eq!(pixel, before.get_pixel(x, y), "{what} {x},{y}");
                }
            }
            let [note] = &output.notes[..] else { panic!("{:?}", output.notes) };
            assert!(
                note.starts_with("filled by the net `lama.onnx`") && note.ends_with("of your own in `lama/`"),
                "{note}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opaque_picture_with_an_opacity_stays_opaque() {
    let (_models, engine) = engine(Some(64), 1.0);
    let source = DynamicImage::from(photograph(100, 80).to_rgba8());
    let output = run(&engine, removal(&source, &mask(&source, HOLE))).await.unwrap();
    let DynamicImage::ImageRgba8(clean) = read(&output.pictures[0]).image else { panic!() };
    assert!(clean.pixels().all(|pixel| pixel.0[3] == 255));
    assert_eq!(clean.get_pixel(50, 37).0, [51, 153, 102, 255]);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_holes_are_filled_at_the_size_of_the_net() {
    let (_models, engine) = engine(Some(64), 255.0);
    let (source, hole) = (photograph(400, 300), (120, 80, 150, 100));
    let output = run(&engine, removal(&source, &mask(&source, hole))).await.unwrap();
    let clean = read(&output.pictures[0]).image;
    for (x, y, pixel) in clean.pixels() {
        if !may_change((x, y), hole) {
            assert_eq!(pixel, source.get_pixel(x, y), "{x},{y}");
        }
    }
    // Far from the edge as the net has made it.
    let middle = clean.get_pixel(195, 130).0;
    assert!(middle[..3].iter().zip([51_u8, 153, 102]).all(|(one, other)| one.abs_diff(other) <= 1), "{middle:?}");
    assert!(output.notes.iter().any(|note| note.contains("pixels was filled at 64x")), "{:?}", output.notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_far_apart_are_all_filled() {
    let (_models, engine) = engine(Some(64), 1.0);
    let source = photograph(500, 400);
    let corners = [(10, 20), (440, 30), (250, 200), (5, 370)];
    let mut marked = GrayImage::new(500, 400);
    for (left, top) in corners {
        for (x, y) in (0..20).flat_map(|y| (0..25).map(move |x| (left + x, top + y))) {
            marked.put_pixel(x, y, Luma([255]));
        }
    }
    let output = run(&engine, removal(&source, &marked)).await.unwrap();
    let clean = read(&output.pictures[0]).image.into_rgb8();
    for (left, top) in corners {
        assert_eq!(clean.get_pixel(left + 12, top + 10).0, [51, 153, 102]);
    }
    assert_eq!(clean.get_pixel(100, 100).0, source.to_rgb8().get_pixel(100, 100).0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_filled_is_rejected_by_field() {
    let (_models, engine) = engine(Some(64), 1.0);
    let source = photograph(300, 300);
    for (marked, expected) in [
        (mask(&source, (0, 0, 299, 300)), "`maskImage`: it marks nearly all of the picture"),
        (GrayImage::new(300, 300), "`maskImage`"),
        (GrayImage::from_pixel(300, 300, Luma([255])), "`maskImage`"),
        (GrayImage::new(30, 30), "`maskImage`"),
    ] {
        let error = run(&engine, removal(&source, &marked)).await.unwrap_err();
        assert!(matches!(error, EngineError::Rejected { .. }) && error.to_string().starts_with(expected), "{error}");
    }
    let broken = vec![("sourceImage", Bytes::from("no picture")), ("maskImage", png(&source))];
    let error = run(&engine, job_of(&REMOVE_OBJECT, broken, json!({}))).await.unwrap_err();
    assert!(error.to_string().starts_with("`sourceImage`"), "{error}");
}

async fn outpaint(engine: &Lama, image: &DynamicImage, fields: Value) -> Result<Output, EngineError> {
    run(engine, job(&OUTPAINT, "sourceImage", png(image), fields)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_extended_beyond_their_edges() {
    let (_models, engine) = engine(None, 255.0);
    let source = photograph(60, 40);
    let fields = json!({
        "horizontalExpansionRatio": 1.5, "verticalExpansionRatio": 2.0, "imageCount": 2, "seed": 7, "prompt": "a lake",
        "sampleStep": 20,
    });
    let output = outpaint(&engine, &source, fields).await.unwrap();
    assert_eq!(output.pictures.iter().map(|picture| picture.seed).collect::<Vec<_>>(), [Some(7), Some(8)]);
    assert_eq!(output.pictures[0].bytes, output.pictures[1].bytes);
    let larger = read(&output.pictures[0]).image;
    assert_eq!(larger.dimensions(), (90, 80));
    for (x, y, pixel) in source.pixels() {
        assert_eq!(pixel, larger.get_pixel(x + 15, y + 20), "{x},{y}");
    }
    assert_eq!(larger.get_pixel(0, 0).0, [51, 153, 102, 255]);
    let notes = &output.notes[1..];
    assert_eq!(
        notes,
        [
            "the net knows the picture alone: `prompt`, `sampleStep` had no effect",
            "the net has one answer: the pictures are the same"
        ]
    );
    let same = json!({"horizontalExpansionRatio": 1.0, "verticalExpansionRatio": 1.0, "imageCount": 1});
    let output = outpaint(&engine, &source, same).await.unwrap();
    assert_eq!(read(&output.pictures[0]).image, source);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_ratios_are_rejected_by_field() {
    let (_models, engine) = engine(None, 255.0);
    let source = photograph(60, 40);
    let fields = json!({"horizontalExpansionRatio": 1.5, "verticalExpansionRatio": 1.5, "imageCount": 65});
    let job = job(&OUTPAINT, "sourceImage", png(&source), fields);
    for error in [engine.check(job.checked_request()).unwrap_err(), run(&engine, job).await.unwrap_err()] {
        assert!(error.to_string().starts_with("`imageCount`"), "{error}");
    }
}

#[test]
fn the_engine_is_there_while_its_net_is() {
    let models = tempfile::tempdir().unwrap();
    let nets = nets(models.path());
    let engine = Lama::new(nets.clone());
    let registry = Registry::default().with(imgopen_tools::Fill::new()).with(engine.clone());
    let grade = |operation: &str| registry.pick(operation, None).unwrap().offer.grade;
    assert_eq!([grade("remove_object"), grade("outpaint")], [Grade::Classical, Grade::Draft]);
    own::put(models.path(), "LaMa", "big-lama.onnx", &own::lama(Some(512), COLOUR, 1.0));
    nets.look();
    assert_eq!([grade("remove_object"), grade("outpaint")], [Grade::Neural; 2]);
    let files = imgopen_neural::own_files(models.path(), runtime());
    let [file] = &files[..] else { panic!("{files:?}") };
    assert_eq!((file.folder.as_str(), file.purpose.as_deref()), ("LaMa", Some("filling of holes")));
    assert_eq!(engine.nets(&OUTPAINT), ["big-lama.onnx"]);
    std::fs::remove_file(models.path().join("LaMa/big-lama.onnx")).unwrap();
    nets.look();
    assert!(engine.offers().is_empty() && engine.nets(&OUTPAINT).is_empty());
}

/// Its output has another size than it declares.
#[test]
fn a_net_that_makes_pictures_of_another_size_is_not_used() {
    let models = tempfile::tempdir().unwrap();
    own::put(models.path(), "lama", "net.onnx", &own::cropping_lama());
    assert!(Lama::new(nets(models.path())).offers().is_empty());
    let files = imgopen_neural::own_files(models.path(), runtime());
    let problem = files[0].problem.as_deref().unwrap();
    assert!(problem.contains("\"net.onnx\" cannot be used: it makes 1x3x32x32 out of 1x3x64x64"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_wherever_it_is_cancelled() {
    let (_models, engine) = engine(Some(64), 255.0);
    let source = photograph(150, 120);
    // Means over the part in several passes.
    assert!(assert_cancellable(&engine, &removal(&source, &mask(&source, (30, 30, 60, 50)))).await > 500);
    let fields = json!({"horizontalExpansionRatio": 1.5, "verticalExpansionRatio": 1.5, "imageCount": 1});
    assert!(assert_cancellable(&engine, &job(&OUTPAINT, "sourceImage", png(&source), fields)).await > 500);
}

#[test]
fn memory_is_that_of_pictures_and_net() {
    let (_models, engine) = engine(Some(64), 255.0);
    let memory = |side: u32| {
        let image = DynamicImage::new_rgb8(side, side);
        engine.memory(&removal(&image, &mask(&image, (0, 0, 5, 5))))
    };
    // Both pictures as any tool counts them, and ten bytes for each pixel of the first.
    assert_eq!(memory(1000) - memory(10), (2 * 17 + 10) * (1_000_000 - 100));
    assert!(memory(10) > 64 * 64 * 40 * 4);
}
