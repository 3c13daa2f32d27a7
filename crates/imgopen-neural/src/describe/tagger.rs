//! Runs nets that score tags: WD14 taggers, and DeepDanbooru in ONNX.

use image::{DynamicImage, Rgb, RgbImage};
use imgopen_engine::{EngineError, Monitor};
use imgopen_nets::{Dimension, Net, Tensor};

use crate::nets::Weights;
use crate::nets::tags::Family;
use crate::pixels;

impl Family {
    /// Returns the numbers of a pixel as nets of this family take them.
    fn numbers(self, Rgb([red, green, blue]): Rgb<u8>) -> [f32; 3] {
        match self {
            Self::Wd14 => [blue, green, red].map(f32::from),
            Self::DeepDanbooru => [red, green, blue].map(|sample| f32::from(sample) / 255.0),
        }
    }
}

/// Returns how many bytes a run with one picture takes beside it: the weights, and what the file determines, or else `least`.
pub(super) fn memory(weights: &Weights, least: u64) -> u64 {
    let side = |dimension: &Dimension| match dimension {
        Dimension::Fixed(side) => *side,
        // The number of pictures.
        Dimension::Named(_) | Dimension::Unknown => 1,
    };
    let inputs = weights.file.inputs().iter().filter_map(|port| Some((port.name.as_str(), port.shape.as_deref()?)));
    let inputs: Vec<(&str, Vec<usize>)> =
        inputs.map(|(name, shape)| (name, shape.iter().map(side).collect())).collect();
    let inputs: Vec<(&str, &[usize])> = inputs.iter().map(|(name, shape)| (*name, shape.as_slice())).collect();
    weights.memory(&inputs, least)
}

/// Returns the scores of all tags.
///
/// # Errors
///
/// [`EngineError::Failed`] if the net fails or takes something else; [`EngineError::Cancelled`], which is seen before the run.
pub(super) fn scores(
    net: &Net,
    image: &DynamicImage,
    family: Family,
    monitor: &Monitor,
) -> Result<Vec<f32>, EngineError> {
    let unfit = || EngineError::Failed(format!("the net in \"{}\" does not score tags", net.file().name()));
    let (input, output) = net.file().inputs().first().zip(net.file().outputs().first()).ok_or_else(unfit)?;
    let Some(&[_, Dimension::Fixed(height), Dimension::Fixed(width), Dimension::Fixed(3)]) = input.shape.as_deref()
    else {
        return Err(unfit());
    };
    let side = u32::try_from(width).ok().filter(|side| height == width && *side > 0).ok_or_else(unfit)?;
    let square = fitted(image, side, family)?;
    monitor.check_cancelled()?;
    let values: Vec<f32> = square.pixels().flat_map(|pixel| family.numbers(*pixel)).collect();
    let picture = Tensor::new([1, height, width, 3], values).map_err(|error| EngineError::Failed(error.to_string()))?;
    let [found] = net.run(&[(input.name.as_str(), &picture)], [output.name.as_str()])?;
    Ok(found.as_f32().ok_or_else(unfit)?.to_vec())
}

/// Returns the whole picture in the middle of a square: before white for WD14, and with its edges drawn out for DeepDanbooru, as each
/// was trained.
fn fitted(image: &DynamicImage, side: u32, family: Family) -> Result<RgbImage, EngineError> {
    let longest = f64::from(image.width().max(image.height()).max(1));
    let scaled = |length: u32| ((f64::from(length) * f64::from(side) / longest).round() as u32).clamp(1, side);
    let (width, height) = (scaled(image.width()), scaled(image.height()));
    let copy = pixels::resized(image, width, height)?.into_rgb8();
    let (left, top) = ((side - width) / 2, (side - height) / 2);
    let nearest = |at: u32, start: u32, length: u32| at.saturating_sub(start).min(length - 1);
    Ok(RgbImage::from_fn(side, side, |x, y| {
        let is_inside = (left..left + width).contains(&x) && (top..top + height).contains(&y);
        match family {
            Family::Wd14 if !is_inside => Rgb([255; 3]),
            _ => *copy.get_pixel(nearest(x, left, width), nearest(y, top, height)),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_picture_is_in_the_middle() {
        let image =
            DynamicImage::from(RgbImage::from_fn(8, 4, |x, _| Rgb(if x < 4 { [10, 20, 30] } else { [200, 100, 0] })));
        let white = fitted(&image, 8, Family::Wd14).unwrap();
        let column = |square: &RgbImage, x: u32| -> Vec<[u8; 3]> { (0..8).map(|y| square.get_pixel(x, y).0).collect() };
        let (edge, own) = ([255; 3], [10, 20, 30]);
        assert_eq!(column(&white, 0), [edge, edge, own, own, own, own, edge, edge]);
        let drawn = fitted(&image, 8, Family::DeepDanbooru).unwrap();
        assert_eq!((column(&drawn, 0), column(&drawn, 7)), (vec![own; 8], vec![[200, 100, 0]; 8]));
        for (width, height) in [(1, 5000), (5000, 1), (1, 1)] {
            let thin = fitted(&DynamicImage::new_rgb8(width, height), 16, Family::Wd14).unwrap();
            assert_eq!(thin.dimensions(), (16, 16));
        }
    }

    #[test]
    fn each_family_takes_its_own_numbers() {
        let pixel = Rgb([255, 51, 0]);
        assert_eq!(Family::Wd14.numbers(pixel), [0.0, 51.0, 255.0]);
        assert_eq!(Family::DeepDanbooru.numbers(pixel), [1.0, 0.2, 0.0]);
    }
}
