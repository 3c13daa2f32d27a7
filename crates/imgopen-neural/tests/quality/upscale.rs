//! Detail that `super_resolution` rebuilds, in photographs that were averaged to half their size.

use image::DynamicImage;
use imgopen_engine::PictureLimits;
use imgopen_neural::Upscale;
use imgopen_picture::decode;
use imgopen_tools::lanczos;
use imgopen_types::operations::SUPER_RESOLUTION;
use serde_json::json;

use crate::support::{job, png, run};
use crate::{python, with};

/// The side in pixels of the parts that are measured.
const SIDE: u32 = 128;

/// With ONNX Runtime and averages of four pixels, the squared differences of neighbours are 1.11, 0.76, 0.98 and 1.03 times those of the
/// original, and after a Lanczos filter 0.26 to 0.50 times; the results are off by 4.4 to 8.1 of 255 on average, because detail is
/// invented.
#[tokio::test(flavor = "multi_thread")]
async fn photographs_become_as_sharp_as_they_were() {
    let Some(engine) = with("upscale").map(Upscale::new) else { return };
    for (name, left, top) in [("astronaut", 160, 50), ("chelsea", 150, 60), ("coffee", 200, 120), ("rocket", 250, 200)]
    {
        let original = DynamicImage::from(python::photo(name)).crop_imm(left, top, SIDE, SIDE);
        let small = original.thumbnail_exact(SIDE / 2, SIDE / 2);
        let output = run(&engine, job(&SUPER_RESOLUTION, "image", png(&small), json!({"scale": 2}))).await.unwrap();
        assert!(output.notes[0].contains("realesrgan-x4plus"), "{name}: {:?}", output.notes);
        let rebuilt = decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image;
        let resampled = lanczos::resize(small, SIDE, SIDE).unwrap();
        let sharpness = |image: &DynamicImage| self::sharpness(image) / self::sharpness(&original);
        let (after, before, off) = (sharpness(&rebuilt), sharpness(&resampled), off(&rebuilt, &original));
        eprintln!("{name}: {after:.3} times as sharp, {before:.3} after resampling; off by {off:.2}");
        assert!((0.7..1.2).contains(&after) && after > 2.0 * before, "{name}: {after} {before}");
        assert!(off < 9.5, "{name}: {off}");
    }
}

/// Returns the sum of the squared differences between neighbours.
fn sharpness(image: &DynamicImage) -> f64 {
    let gray = image.to_luma8();
    let level = |x, y| f64::from(gray.get_pixel(x, y).0[0]);
    let steps = (0..SIDE - 1).flat_map(|x| (0..SIDE).map(move |y| (x, y)));
    steps.map(|(x, y)| (level(x + 1, y) - level(x, y)).powi(2)).sum()
}

/// Returns the mean difference of samples.
fn off(one: &DynamicImage, other: &DynamicImage) -> f64 {
    let pairs = one.to_rgb8().into_raw().into_iter().zip(other.to_rgb8().into_raw());
    pairs.map(|(one, other)| f64::from(one.abs_diff(other))).sum::<f64>() / f64::from(3 * SIDE * SIDE)
}
