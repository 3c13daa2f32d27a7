//! Runs nets on tiles, and brings what they return to another size.

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Luma};
use imgopen_engine::EngineError;
use imgopen_nets::{Planes, Session};

/// Runs a net on a tile.
pub(super) fn run(net: &Session, tile: Planes) -> Result<Planes, EngineError> {
    let unfit = || EngineError::Failed(format!("the net in \"{}\" does not enlarge pictures", net.file().name()));
    let (input, output) = net.file().inputs().first().zip(net.file().outputs().first()).ok_or_else(unfit)?;
    let [larger] = net.run(&[(input.name.as_str(), &tile.into_tensor())], [output.name.as_str()])?;
    Planes::from_tensor(larger).map_err(EngineError::Failed)
}

/// Averages squares of that many pixels a side.
pub(crate) fn averaged(planes: Planes, side: usize) -> Result<Planes, EngineError> {
    if side <= 1 {
        return Ok(planes);
    }
    let (channels, width, height) = (planes.channels(), planes.width() / side, planes.height() / side);
    let (across, down) = (planes.width(), planes.height());
    let count = (side * side) as f32;
    let mut values = Vec::with_capacity(channels * width * height);
    for plane in planes.values().chunks_exact((across * down).max(1)) {
        for y in 0..height {
            for x in 0..width {
                let row = |row: usize| &plane[(y * side + row) * across + x * side..][..side];
                values.push((0..side).flat_map(row).sum::<f32>() / count);
            }
        }
    }
    Planes::new(channels, width, height, values).map_err(|error| EngineError::Failed(error.to_string()))
}

/// Brings planes to another size, by cubics, or by wider ones if that is smaller.
pub(super) fn resampled(planes: &Planes, width: usize, height: usize) -> Result<Planes, EngineError> {
    let unfit = || EngineError::Failed("a tile cannot be resampled".to_owned());
    let side = |side: usize| u32::try_from(side).map_err(|_| unfit());
    let (from, to) = ((side(planes.width())?, side(planes.height())?), (side(width)?, side(height)?));
    let mut values = Vec::with_capacity(planes.channels() * width * height);
    for plane in planes.values().chunks_exact((planes.width() * planes.height()).max(1)) {
        let image: Option<ImageBuffer<Luma<f32>, _>> = ImageBuffer::from_raw(from.0, from.1, plane.to_vec());
        let image = imageops::resize(&image.ok_or_else(unfit)?, to.0, to.1, FilterType::CatmullRom);
        values.extend(image.into_raw());
    }
    made(planes.channels(), width, height, values)
}

/// Extends planes to a size that is not smaller, by repeating their last column and row.
pub(super) fn extended(planes: &Planes, width: usize, height: usize) -> Result<Planes, EngineError> {
    rows(planes, width, height, |y| y.min(planes.height() - 1))
}

/// Cuts planes to a size that is not larger.
pub(super) fn cut(planes: &Planes, width: usize, height: usize) -> Result<Planes, EngineError> {
    rows(planes, width, height, |y| y)
}

/// Makes planes of rows of others, cut or extended to a width.
fn rows(planes: &Planes, width: usize, height: usize, of: impl Fn(usize) -> usize) -> Result<Planes, EngineError> {
    let across = planes.width();
    let mut values: Vec<f32> = Vec::with_capacity(planes.channels() * width * height);
    for plane in planes.values().chunks_exact((across * planes.height()).max(1)) {
        for y in 0..height {
            let row = &plane[of(y) * across..][..across];
            values.extend(row.iter().take(width));
            values.extend(row.last().into_iter().cycle().take(width.saturating_sub(across)));
        }
    }
    made(planes.channels(), width, height, values)
}

fn made(channels: usize, width: usize, height: usize, values: Vec<f32>) -> Result<Planes, EngineError> {
    Planes::new(channels, width, height, values).map_err(|error| EngineError::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_averaged() {
        let planes = Planes::new(2, 4, 2, (0..16).map(|value| value as f32).collect()).unwrap();
        let averaged = averaged(planes, 2).unwrap();
        assert_eq!((averaged.channels(), averaged.width(), averaged.height()), (2, 2, 1));
        assert_eq!(averaged.values(), [2.5, 4.5, 10.5, 12.5]);
    }

    #[test]
    fn tiles_are_extended_by_their_edges_and_cut_again() {
        let planes = Planes::new(2, 3, 2, (0..12).map(|value| value as f32).collect()).unwrap();
        let larger = extended(&planes, 5, 3).unwrap();
        assert_eq!((larger.width(), larger.height()), (5, 3));
        assert_eq!(larger.values()[..15], [0., 1., 2., 2., 2., 3., 4., 5., 5., 5., 3., 4., 5., 5., 5.]);
        assert_eq!(cut(&larger, 3, 2).unwrap(), planes);
    }

    #[test]
    fn resampling_keeps_what_is_even() {
        let planes = Planes::new(1, 6, 9, vec![0.25; 54]).unwrap();
        let other = resampled(&planes, 4, 6).unwrap();
        assert_eq!((other.width(), other.height()), (4, 6));
        assert!(other.values().iter().all(|value| (value - 0.25).abs() < 1e-6));
    }
}
