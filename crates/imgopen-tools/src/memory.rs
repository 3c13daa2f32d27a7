//! How much memory a job takes, estimated before anything is decoded, for [`Engine::memory`](imgopen_engine::Engine::memory).

use imgopen_engine::Job;
use imgopen_picture as picture;

/// Bytes for each pixel of a picture at the worst: as it was decoded, as it is worked on, and as it is encoded. Measured
/// with pictures of 64 million pixels, of which those with 16 bits for each of four channels take the most.
const PIXEL: f64 = 17.0;

/// Returns how many bytes a job takes at most whose results have `growth` times as many pixels as its inputs, but no more than
/// the limits allow: decoded, worked on, and encoded.
pub fn of(job: &Job, growth: f64) -> u64 {
    let limits = job.limits();
    // A picture that cannot be read is rejected without being decoded.
    let pixels = job.inputs().iter().filter_map(|input| picture::inspect(&input.bytes, limits).ok());
    let pixels: f64 = pixels.map(|header| header.pixels() as f64).sum();
    let grown = (pixels * growth.max(1.0)).min((limits.pixels as f64).max(pixels));
    (grown * PIXEL) as u64
}

#[cfg(test)]
mod tests {
    use image::DynamicImage;
    use imgopen_engine::{Input, JobRequest, PictureLimits};
    use imgopen_picture::{Attached, Format, encode};
    use imgopen_types::operations;

    use super::*;

    #[test]
    fn results_count_up_to_the_limit_of_pixels() {
        let bytes = encode(&DynamicImage::new_rgb8(100, 50), Format::Png, &Attached::default()).unwrap();
        let input = |bytes| Input { field: "sourceImage".to_owned(), url: String::new(), bytes };
        let job = Job::new(JobRequest::new("1", &operations::ENLARGE_IMAGE, serde_json::json!({})), "run");
        let job = job.with_limits(PictureLimits { pixels: 40_000, ..PictureLimits::default() });
        assert_eq!(of(&job, 4.0), 0);
        assert_eq!(of(&job.clone().with_inputs(vec![input("not a picture".into())]), 4.0), 0);
        let job = job.with_inputs(vec![input(bytes)]);
        assert_eq!([0.5, 1.0, 4.0, 64.0].map(|growth| of(&job, growth) / 17), [5_000, 5_000, 20_000, 40_000]);
    }
}
