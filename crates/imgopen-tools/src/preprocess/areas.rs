//! Preprocessors that keep areas of colour but no detail: tile and color.

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::DynamicImage;
use imgopen_engine::{EngineError, Monitor};

use super::raster::Raster;

/// The side of a cell of the colour grid, in pixels.
const CELL: usize = 64;

/// Returns the picture without its detail: the means of blocks of so many pixels on a side, enlarged smoothly.
///
/// # Errors
///
/// [`EngineError::Failed`] for pixels that cannot be resampled, which decoded pictures do not have;
/// [`EngineError::Cancelled`].
pub(super) fn tile(image: &DynamicImage, rate: f64, monitor: &Monitor) -> Result<DynamicImage, EngineError> {
    let (width, height) = (image.width(), image.height());
    let reduced = |side: u32| ((f64::from(side) / rate) as u32).max(1);
    let small = resize(image, reduced(width), reduced(height), FilterType::Box)?;
    monitor.check_cancelled()?;
    resize(&small, width, height, FilterType::CatmullRom)
}

/// Brings a picture to another size: by means of areas if that is smaller, and else by cubics.
pub(super) fn scaled(image: DynamicImage, (width, height): (u32, u32)) -> Result<DynamicImage, EngineError> {
    let before = (image.width(), image.height());
    if before == (width, height) {
        return Ok(image);
    }
    let is_larger = width.min(height) > before.0.min(before.1);
    resize(&image, width, height, if is_larger { FilterType::CatmullRom } else { FilterType::Box })
}

/// Resamples a picture, which cannot be stopped; the limit of pixels bounds the time that it takes.
fn resize(image: &DynamicImage, width: u32, height: u32, filter: FilterType) -> Result<DynamicImage, EngineError> {
    let mut resized = DynamicImage::new(width, height, image.color());
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    Resizer::new()
        .resize(image, &mut resized, &options)
        .map_err(|error| EngineError::Failed(format!("the picture cannot be resampled: {error}")))?;
    Ok(resized)
}

/// Returns cells of one colour each, as T2I-Adapter's colour preprocessor makes them: bicubic samples at the centres of the
/// cells.
pub(super) fn grid(raster: Raster<'_>) -> Result<Vec<u8>, EngineError> {
    let Raster { width, height, channels, .. } = raster;
    let (across, down) = (Taps::all(width), Taps::all(height));
    let mut samples = Vec::with_capacity(raster.samples.len());
    let mut cell_row = Vec::with_capacity(width * channels);
    for (index, vertical) in down.iter().enumerate() {
        raster.monitor.check_cancelled()?;
        cell_row.clear();
        for (column, horizontal) in across.iter().enumerate() {
            let color: Vec<u8> = (0..channels).map(|channel| sample(raster, horizontal, vertical, channel)).collect();
            let pixels = extent(width, across.len(), column);
            (0..pixels).for_each(|_| cell_row.extend(&color));
        }
        (0..extent(height, down.len(), index)).for_each(|_| samples.extend(&cell_row));
    }
    Ok(samples)
}

/// Returns the number of pixels that each cell covers: those nearest to it.
fn extent(length: usize, cells: usize, cell: usize) -> usize {
    let start = |cell: usize| (cell * length).div_ceil(cells);
    start(cell + 1) - start(cell)
}

/// A cell's sample along one axis: four pixels and their weights.
struct Taps([(usize, f64); 4]);

impl Taps {
    fn all(length: usize) -> Vec<Self> {
        let cells = (length / CELL).max(1);
        (0..cells).map(|cell| Self::at((cell as f64 + 0.5) * length as f64 / cells as f64 - 0.5, length)).collect()
    }

    fn at(middle: f64, length: usize) -> Self {
        let weights = cubic(middle - middle.floor());
        let mut index = middle.floor() as isize - 2;
        Self(weights.map(|weight| {
            index += 1;
            (index.clamp(0, length as isize - 1) as usize, weight)
        }))
    }
}

/// Returns OpenCV's weights of four pixels around a position that is `part` of the way from the second to the third.
pub(super) fn cubic(part: f64) -> [f64; 4] {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)]
}

fn sample(raster: Raster<'_>, horizontal: &Taps, vertical: &Taps, channel: usize) -> u8 {
    let along = |row: &[u8]| {
        horizontal.0.iter().map(|(x, weight)| f64::from(row[x * raster.channels + channel]) * weight).sum::<f64>()
    };
    let value: f64 = vertical.0.iter().map(|(y, weight)| along(raster.row(*y)) * weight).sum();
    value.round().clamp(0.0, 255.0) as u8
}
