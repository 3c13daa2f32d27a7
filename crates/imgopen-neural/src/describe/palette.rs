//! The colours of a picture, by names.
//!
//! The pixels of a small copy are gathered into a few groups of similar colours, by k-means in CIE Lab, where distances are about
//! those that people see. Each group is called by the nearest of the colours below; groups of the same name count together. The
//! groups begin with the pixel nearest to the mean and those furthest from all before, so the result is always the same.

use image::{DynamicImage, RgbImage};
use imgopen_engine::{EngineError, Monitor};

use crate::lab;
use crate::pixels;

/// The longest side of the copy.
const COPY: u32 = 96;

/// How many groups there are, and how often their means are moved.
const GROUPS: usize = 6;
const ROUNDS: usize = 12;

/// The least share of the picture that a colour is named for, and the most colours that are named.
const LEAST: f64 = 0.15;
const MOST: usize = 2;

/// Names, and colours in sRGB that they stand for.
const NAMED: [(&str, [u8; 3]); 31] = [
    ("black", [0, 0, 0]),
    ("black", [24, 24, 26]),
    ("dark gray", [64, 64, 66]),
    ("gray", [128, 128, 128]),
    ("light gray", [190, 190, 190]),
    ("white", [250, 250, 250]),
    ("dark red", [120, 20, 20]),
    ("red", [220, 35, 35]),
    ("pink", [245, 170, 185]),
    ("pink", [235, 100, 150]),
    ("orange", [240, 140, 40]),
    ("dark brown", [62, 42, 30]),
    ("brown", [125, 82, 52]),
    ("light brown", [175, 130, 95]),
    ("beige", [222, 200, 170]),
    ("yellow", [245, 220, 60]),
    ("olive", [110, 110, 45]),
    ("dark green", [25, 70, 35]),
    ("green", [50, 150, 60]),
    ("light green", [150, 215, 140]),
    ("teal", [20, 125, 125]),
    ("turquoise", [80, 205, 205]),
    ("light blue", [150, 195, 235]),
    ("blue", [40, 80, 200]),
    ("blue", [30, 30, 200]),
    ("blue", [60, 130, 200]),
    ("dark blue", [20, 30, 85]),
    ("gray blue", [95, 115, 140]),
    ("purple", [115, 50, 150]),
    ("lilac", [190, 160, 215]),
    ("magenta", [210, 40, 180]),
];

type Lab = [f32; 3];

/// Returns the names of the colours that most of a picture has, the largest share first.
///
/// # Errors
///
/// [`EngineError::Failed`] for pixel types that decoded pictures do not have; [`EngineError::Cancelled`].
pub(super) fn colours(image: &DynamicImage, monitor: &Monitor) -> Result<Vec<&'static str>, EngineError> {
    let longest = f64::from(image.width().max(image.height()).max(1));
    let share = (f64::from(COPY) / longest).min(1.0);
    let [width, height] = [image.width(), image.height()].map(|side| ((f64::from(side) * share).round() as u32).max(1));
    let copy = pixels::resized(image, width, height)?.into_rgb8();
    Ok(named(&groups(&copy, monitor)?))
}

/// Returns the mean of each group and its share of the picture.
fn groups(image: &RgbImage, monitor: &Monitor) -> Result<Vec<(Lab, f64)>, EngineError> {
    let pixels: Vec<Lab> = image.pixels().map(|pixel| lab(pixel.0)).collect();
    let mut means = begin(&pixels);
    let mut counts = Vec::new();
    for _ in 0..ROUNDS {
        monitor.check_cancelled()?;
        let mut sums = vec![([0.0_f64; 3], 0_u32); means.len()];
        for pixel in &pixels {
            if let Some((sum, count)) = sums.get_mut(nearest(*pixel, means.iter().copied())) {
                sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += f64::from(*value));
                *count += 1;
            }
        }
        for (mean, (sum, count)) in means.iter_mut().zip(&sums).filter(|(_, (_, count))| *count > 0) {
            *mean = sum.map(|sum| (sum / f64::from(*count)) as f32);
        }
        counts = sums.into_iter().map(|(_, count)| count).collect();
    }
    let all = pixels.len().max(1) as f64;
    Ok(means.into_iter().zip(counts).map(|(mean, count)| (mean, f64::from(count) / all)).collect())
}

/// Returns the colours that groups begin with, which are all different.
fn begin(pixels: &[Lab]) -> Vec<Lab> {
    let mut sum = [0.0_f64; 3];
    for pixel in pixels {
        sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let mean = sum.map(|sum| (sum / pixels.len().max(1) as f64) as f32);
    let Some(first) = pixels.get(nearest(mean, pixels.iter().copied())) else { return Vec::new() };
    let mut found = vec![*first];
    let mut distances: Vec<f32> = pixels.iter().map(|pixel| distance(*pixel, *first)).collect();
    while found.len() < GROUPS {
        let furthest = pixels.iter().zip(&distances).fold(None, |best: Option<(Lab, f32)>, (pixel, distance)| {
            if best.is_some_and(|(_, most)| *distance <= most) { best } else { Some((*pixel, *distance)) }
        });
        let Some((next, _)) = furthest.filter(|(_, most)| *most > 0.0) else { break };
        found.push(next);
        for (own, pixel) in distances.iter_mut().zip(pixels) {
            *own = own.min(distance(*pixel, next));
        }
    }
    found
}

/// Adds up the shares of each name, and returns the largest.
fn named(groups: &[(Lab, f64)]) -> Vec<&'static str> {
    let mut shares: Vec<(&str, f64)> = NAMED.iter().map(|(name, _)| (*name, 0.0)).collect();
    shares.dedup_by_key(|(name, _)| *name);
    for (mean, share) in groups {
        let index = nearest(*mean, NAMED.iter().map(|(_, colour)| lab(*colour)));
        let Some((name, _)) = NAMED.get(index) else { continue };
        shares.iter_mut().filter(|(other, _)| other == name).for_each(|(_, sum)| *sum += share);
    }
    // Where shares are the same, the order of the names decides.
    shares.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let large = shares.into_iter().filter(|(_, share)| *share >= LEAST).take(MOST);
    large.map(|(name, _)| name).collect()
}

/// Returns the index of the nearest colour, the first one of those that are as near.
fn nearest(colour: Lab, others: impl Iterator<Item = Lab>) -> usize {
    let distances = others.map(|other| distance(colour, other)).enumerate();
    let (index, _) = distances.fold((0, f32::INFINITY), |best, found| if found.1 < best.1 { found } else { best });
    index
}

fn distance(one: Lab, other: Lab) -> f32 {
    one.iter().zip(other).map(|(one, other)| (one - other) * (one - other)).sum()
}

fn lab(colour: [u8; 3]) -> Lab {
    lab::of(colour.map(|sample| f32::from(sample) / 255.0))
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    fn found(image: RgbImage) -> Vec<&'static str> {
        colours(&image.into(), &Monitor::new().0).unwrap()
    }

    #[test]
    fn every_name_is_that_of_its_own_colour() {
        for (name, colour) in NAMED {
            assert_eq!(found(RgbImage::from_pixel(20, 10, Rgb(colour))), [name], "{colour:?}");
        }
    }

    #[test]
    fn the_largest_share_comes_first() {
        let bars =
            |red: u32| RgbImage::from_fn(90, 60, |x, _| Rgb(if x < red { [220, 35, 35] } else { [40, 80, 200] }));
        assert_eq!(found(bars(30)), ["blue", "red"]);
        assert_eq!(found(bars(60)), ["red", "blue"]);
        assert_eq!(found(bars(5)), ["blue"]);
        // As large: by the order of the names, always.
        assert_eq!(found(bars(45)), ["red", "blue"]);
    }

    #[test]
    fn groups_of_one_name_count_together() {
        // Four blues of a tenth each, one red of six tenths.
        let blues = [[40, 80, 200], [30, 30, 200], [60, 130, 200], [50, 100, 200]];
        let image =
            RgbImage::from_fn(100, 10, |x, _| Rgb(blues.get(x as usize / 10).copied().unwrap_or([220, 35, 35])));
        assert_eq!(found(image), ["red", "blue"]);
    }

    #[test]
    fn any_size_has_colours() {
        assert_eq!(found(RgbImage::from_pixel(1, 1, Rgb([250, 250, 250]))), ["white"]);
        assert_eq!(found(RgbImage::from_pixel(3000, 1, Rgb([0, 0, 0]))), ["black"]);
    }

    #[test]
    fn cancellation_stops_the_work() {
        let (monitor, watch) = Monitor::new();
        watch.cancel.cancel();
        let image = DynamicImage::new_rgb8(10, 10);
        assert_eq!(colours(&image, &monitor), Err(EngineError::Cancelled));
    }
}
