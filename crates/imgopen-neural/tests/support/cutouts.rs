//! Pictures whose subjects have a known opacity, and how far an opacity that was found is from it. Needs `python3` and `npm`.

use std::fs;
use std::path::PathBuf;

use image::GrayImage;

use super::python;

/// Three-dimensional emoji with transparency, by Microsoft, under MIT.
const EMOJI: &str = "@lobehub/fluent-emoji-3d@1.1.0";

/// The deviation in pixels of the filter by which gradients are measured, as is usual for mattes.
const BLUR: f64 = 1.4;

/// A picture with the opacity of its subject.
pub struct CutOut {
    /// The picture, a PNG file.
    pub file: PathBuf,
    pub alpha: GrayImage,
}

/// How far an opacity is from the true one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Errors {
    /// The mean difference, of 1.
    pub mean: f64,
    /// The sum of the squared differences of gradients, in thousands.
    pub gradient: f64,
}

/// Makes the pictures.
pub fn all() -> Vec<CutOut> {
    let folder = python::work("cutouts").unwrap();
    let archive = python::packed(EMOJI).unwrap();
    let arguments = [&archive, &folder].map(|path| path.to_str().unwrap());
    let count: usize = python::run(include_str!("cutouts.py"), &arguments).trim().parse().unwrap();
    let cut_out = |number: usize| {
        let alpha = image::load_from_memory(&fs::read(folder.join(format!("{number}-alpha.png"))).unwrap()).unwrap();
        CutOut { file: folder.join(format!("{number}.png")), alpha: alpha.to_luma8() }
    };
    (0..count).map(cut_out).collect()
}

/// Measures an opacity of the size of the true one.
pub fn errors(found: &GrayImage, truth: &GrayImage) -> Errors {
    assert_eq!(found.dimensions(), truth.dimensions());
    let (found, truth) = (opacities(found), opacities(truth));
    let pairs = || found.1.iter().zip(&truth.1);
    let mean = pairs().map(|(found, truth)| (found - truth).abs()).sum::<f64>() / found.1.len() as f64;
    let steps = gradients(&found).into_iter().zip(gradients(&truth));
    let gradient = steps.map(|(found, truth)| (found - truth).powi(2)).sum::<f64>() / 1000.0;
    Errors { mean, gradient }
}

/// Returns the mean of several.
pub fn mean(errors: &[Errors]) -> Errors {
    let count = errors.len() as f64;
    let mean = errors.iter().map(|errors| errors.mean).sum::<f64>() / count;
    Errors { mean, gradient: errors.iter().map(|errors| errors.gradient).sum::<f64>() / count }
}

/// The width and the samples from 0 to 1.
type Samples = (usize, Vec<f64>);

fn opacities(image: &GrayImage) -> Samples {
    (image.width() as usize, image.as_raw().iter().map(|level| f64::from(*level) / 255.0).collect())
}

/// Returns the lengths of the gradients, by derivatives of a Gaussian.
fn gradients(samples: &Samples) -> Vec<f64> {
    let radius = (4.0 * BLUR).ceil() as isize;
    let bell: Vec<f64> = (-radius..=radius).map(|x| (-(x * x) as f64 / (2.0 * BLUR * BLUR)).exp()).collect();
    let sum: f64 = bell.iter().sum();
    let bell: Vec<f64> = bell.into_iter().map(|weight| weight / sum).collect();
    let slope: Vec<f64> = (-radius..=radius).zip(&bell).map(|(x, weight)| -x as f64 / (BLUR * BLUR) * weight).collect();
    let across = filtered(samples, &slope, &bell);
    let down = filtered(samples, &bell, &slope);
    across.into_iter().zip(down).map(|(across, down)| across.hypot(down)).collect()
}

/// Filters rows by one kernel, and columns by another. Beyond the borders, samples are those at the borders.
fn filtered((width, values): &Samples, row: &[f64], column: &[f64]) -> Vec<f64> {
    let (width, height) = (*width as isize, (values.len() / width) as isize);
    let radius = (row.len() / 2) as isize;
    let pass = |values: &[f64], kernel: &[f64], (dx, dy): (isize, isize)| -> Vec<f64> {
        let at = |x: isize, y: isize| values[(y.clamp(0, height - 1) * width + x.clamp(0, width - 1)) as usize];
        let weighted = |x: isize, y: isize| {
            (-radius..=radius).zip(kernel).map(|(step, weight)| weight * at(x + step * dx, y + step * dy)).sum::<f64>()
        };
        (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| weighted(x, y)).collect()
    };
    pass(&pass(values, row, (1, 0)), column, (0, 1))
}

#[cfg(test)]
mod tests {
    use image::Luma;

    use super::*;

    fn edge(at: u32) -> GrayImage {
        GrayImage::from_fn(40, 20, |x, _| Luma([if x < at { 0 } else { 255 }]))
    }

    #[test]
    fn errors_grow_with_the_distance() {
        let errors = [0, 1, 4].map(|off| errors(&edge(20 + off), &edge(20)));
        assert_eq!((errors[0].mean, errors[0].gradient), (0.0, 0.0));
        assert!((errors[1].mean - 1.0 / 40.0).abs() < 1e-9 && (errors[2].mean - 0.1).abs() < 1e-9, "{errors:?}");
        assert!(errors[2].gradient > errors[1].gradient && errors[1].gradient > 0.0, "{errors:?}");
        // An edge has the slope of the bell at its middle.
        let steepest = gradients(&opacities(&edge(20))).into_iter().fold(0.0, f64::max);
        assert!((steepest - 1.0 / (BLUR * std::f64::consts::TAU.sqrt())).abs() < 0.02, "{steepest}");
    }
}
