//! Encodes JPEG files in bands, in parallel.
//!
//! Each band is encoded as a file; then their pixels are joined after the header of the first, with restart markers between
//! them. The result depends on the picture only, not on the number of threads.

use libjpeg_turbo_rs::{Encoder, PixelFormat, Subsampling};

use imgopen_engine::Monitor;

use crate::chroma::Chroma;
use crate::jpeg_markers::{self as markers, is_frame};
use crate::parallel;

/// The quality, of 100: the loss is invisible, and the file is less than half as large as at 100.
const QUALITY: u8 = 93;
/// The pixels of a band. Joining costs nothing at this size, and smaller pictures are encoded before a thread has started.
const BAND: usize = 512 * 1024;
/// The start-of-scan marker: the pixels follow its body.
const SCAN: u8 = 0xda;
/// The first of the eight restart markers, which are used in rotation.
const RESTART: u8 = 0xd0;
/// The end marker.
const END: [u8; 2] = [0xff, 0xd9];

/// Pixels of 8 bits, row by row.
pub(crate) struct Pixels<'a> {
    pub(crate) samples: &'a [u8],
    /// From 1 to 65,535, as the height.
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) colors: Colors,
}

/// How colours are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colors {
    Gray,
    Rgb(Chroma),
}

/// The metadata before the pixels.
#[derive(Clone, Copy, Default)]
pub(crate) struct Preamble<'a> {
    pub(crate) profile: Option<&'a [u8]>,
    /// The unit of the density, and the pixels on it in both directions.
    pub(crate) density: Option<(u8, u16, u16)>,
}

/// Encodes the pixels, until the job is cancelled.
pub(crate) fn write(pixels: &Pixels<'_>, preamble: Preamble<'_>, monitor: Option<&Monitor>) -> Result<Vec<u8>, String> {
    if pixels.samples.is_empty() {
        return Err("the picture has no pixels".to_owned());
    }
    let bands = pixels.bands();
    let all = bands.len();
    let file = |(index, band): (usize, Pixels<'_>)| {
        if let Some(monitor) = monitor {
            monitor.check_cancelled().map_err(|error| error.to_string())?;
        }
        let file = match index {
            0 if all == 1 => band.encoder(preamble).encode(),
            0 => band.encoder(preamble).restart_blocks(band.units()).encode(),
            _ => band.encoder(Preamble::default()).encode(),
        };
        file.map_err(|error| error.to_string())
    };
    let mut files = parallel::map(bands.into_iter().enumerate().collect(), file).into_iter();
    let mut joined = files.next().ok_or("the picture has no band")??;
    if all == 1 {
        return Ok(joined);
    }
    set_height(&mut joined, pixels.height).ok_or("the first band has no frame")?;
    for (marker, band) in (RESTART..RESTART + 8).cycle().zip(files) {
        let band = band?;
        joined.truncate(joined.len() - END.len());
        joined.extend([0xff, marker]);
        joined.extend(scan(&band).ok_or("a band has no pixels")?);
    }
    Ok(joined)
}

impl Pixels<'_> {
    /// Returns the width and height in pixels of an encoding unit (MCU).
    fn unit(&self) -> (usize, usize) {
        let (across, down) = match self.colors {
            Colors::Gray => (1, 1),
            Colors::Rgb(chroma) => chroma.shared(),
        };
        (8 * usize::from(across), 8 * usize::from(down))
    }

    /// Returns the number of units. A band has fewer than 65,536, the limit of the restart interval.
    fn units(&self) -> u16 {
        let (width, height) = self.unit();
        (self.width.div_ceil(width) * self.height.div_ceil(height)) as u16
    }

    fn channels(&self) -> usize {
        match self.colors {
            Colors::Gray => 1,
            Colors::Rgb(_) => 3,
        }
    }

    /// Splits the pixels into bands of whole rows of units, all but the last of equal height.
    fn bands(&self) -> Vec<Pixels<'_>> {
        let (_, unit) = self.unit();
        let height = (BAND / (self.width * unit)).max(1) * unit;
        let stride = self.width * self.channels();
        let band = |samples| Pixels { samples, height: samples.len() / stride, ..*self };
        self.samples.chunks(height * stride).map(band).collect()
    }

    fn encoder<'a>(&'a self, preamble: Preamble<'a>) -> Encoder<'a> {
        let (format, subsampling) = match self.colors {
            Colors::Gray => (PixelFormat::Grayscale, Subsampling::S444),
            Colors::Rgb(Chroma::Full) => (PixelFormat::Rgb, Subsampling::S444),
            Colors::Rgb(Chroma::HalfWidth) => (PixelFormat::Rgb, Subsampling::S422),
            Colors::Rgb(Chroma::HalfHeight) => (PixelFormat::Rgb, Subsampling::S440),
            Colors::Rgb(Chroma::Halved) => (PixelFormat::Rgb, Subsampling::S420),
            Colors::Rgb(Chroma::QuarterWidth) => (PixelFormat::Rgb, Subsampling::S411),
        };
        let encoder = Encoder::new(self.samples, self.width, self.height, format);
        let encoder = encoder.quality(QUALITY).subsampling(subsampling);
        let encoder = preamble.profile.into_iter().fold(encoder, Encoder::icc_profile);
        preamble.density.into_iter().fold(encoder, |encoder, (unit, x, y)| encoder.density(unit, x, y))
    }
}

/// Sets the height in the frame header of a file.
fn set_height(file: &mut [u8], height: usize) -> Option<()> {
    let (at, _) = segment(file, is_frame)?;
    file.get_mut(at + 1..at + 3)?.copy_from_slice(&u16::try_from(height).ok()?.to_be_bytes());
    Some(())
}

/// Returns the pixels of a file with its end marker.
fn scan(file: &[u8]) -> Option<&[u8]> {
    let (at, body) = segment(file, |marker| marker == SCAN)?;
    file.get(at + body.len()..)
}

/// Returns the first segment of that kind: the position of its body, and the body.
fn segment(file: &[u8], is_wanted: impl Fn(u8) -> bool) -> Option<(usize, &[u8])> {
    let mut rest = file.get(2..)?;
    loop {
        let (marker, after) = markers::next(rest)?;
        let (body, after) = markers::body_of(marker, after)?;
        if is_wanted(marker) {
            return Some((file.len() - after.len() - body.len(), body));
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use image::DynamicImage;
    use imgopen_engine::PictureLimits;

    use super::*;

    fn noise(count: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        // Smooth enough for small files, and different everywhere.
        (0..count).map(|at| (at / 500 % 200) as u8 + random.u8(0..40)).collect()
    }

    fn decoded(file: &[u8]) -> DynamicImage {
        crate::decode(file, &PictureLimits::default()).unwrap().image
    }

    #[test]
    fn bands_decode_to_the_same_pixels_as_one_file() {
        for colors in Chroma::ALL.map(Colors::Rgb).into_iter().chain([Colors::Gray]) {
            for (width, height) in [(1500, 1100), (65_535, 40), (17, 65_535), (4096, 256), (1024, 1025)] {
                let channels = if colors == Colors::Gray { 1 } else { 3 };
                let samples = noise(width * height * channels);
                let pixels = Pixels { samples: &samples, width, height, colors };
                assert!(pixels.bands().len() > 1, "{width}x{height}");
                let whole = pixels.encoder(Preamble::default()).encode().unwrap();
                let joined = write(&pixels, Preamble::default(), None).unwrap();
                assert!(decoded(&joined) == decoded(&whole), "{colors:?} {width}x{height}");
                assert!(joined.len() < whole.len() + whole.len() / 500, "{colors:?} {width}x{height}");
            }
        }
    }

    #[test]
    fn restart_markers_rotate_beyond_eight_bands() {
        let samples = noise(4096 * 2048);
        let pixels = Pixels { samples: &samples, width: 4096, height: 2048, colors: Colors::Gray };
        assert_eq!(pixels.bands().len(), 16);
        let whole = pixels.encoder(Preamble::default()).encode().unwrap();
        assert!(decoded(&write(&pixels, Preamble::default(), None).unwrap()) == decoded(&whole));
    }

    #[test]
    fn a_cancelled_job_encodes_no_further_band() {
        let samples = noise(4096 * 2048);
        let pixels = Pixels { samples: &samples, width: 4096, height: 2048, colors: Colors::Gray };
        let (monitor, _, checks) = Monitor::counted(3);
        write(&pixels, Preamble::default(), Some(&monitor)).unwrap_err();
        // One for each band, whether it is encoded or not.
        assert_eq!(checks.count(), 16);
    }

    #[test]
    fn small_pictures_have_no_restart_markers() {
        let samples = noise(512 * 512 * 3);
        let pixels = Pixels { samples: &samples, width: 512, height: 512, colors: Colors::Rgb(Chroma::Halved) };
        let file = write(&pixels, Preamble::default(), None).unwrap();
        assert_eq!(file, pixels.encoder(Preamble::default()).encode().unwrap());
        assert!(segment(&file, |marker| marker == 0xdd).is_none());
    }
}
