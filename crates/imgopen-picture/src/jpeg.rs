//! Writing JPEG files in bands, each on a thread of its own.
//!
//! The bands are written as files and then made one: their pixels follow each other behind the header of the first, with a
//! restart mark between them. What is written depends on the picture alone, not on the number of threads.

use libjpeg_turbo_rs::{Encoder, PixelFormat, Subsampling};

use crate::header::{is_frame, jpeg_body, jpeg_marker};
use crate::parallel;

/// The quality, of 100: the loss is not seen, and the file is less than half as large as at 100.
const QUALITY: u8 = 93;
/// The pixels of a band. Joining costs nothing at this size, and smaller pictures are written before a thread has begun.
const BAND: usize = 512 * 1024;
/// The start of scan: the pixels follow its body.
const SCAN: u8 = 0xda;
/// The first of the eight restart marks, which take turns.
const RESTART: u8 = 0xd0;
/// The mark of the end.
const END: [u8; 2] = [0xff, 0xd9];

/// Pixels of 8 bits, row by row.
pub(crate) struct Pixels<'a> {
    pub(crate) samples: &'a [u8],
    /// At least 1, at most 65,535, as the height.
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) colors: Colors,
}

/// What is stored of each pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colors {
    Gray,
    /// Colours for each pixel.
    Full,
    /// Colours for squares of two by two pixels.
    Halved,
}

/// What stands before the pixels.
#[derive(Clone, Copy, Default)]
pub(crate) struct Before<'a> {
    pub(crate) profile: Option<&'a [u8]>,
    pub(crate) exif: Option<&'a [u8]>,
}

/// Writes the pixels.
pub(crate) fn write(pixels: &Pixels<'_>, before: Before<'_>) -> Result<Vec<u8>, String> {
    if pixels.samples.is_empty() {
        return Err("there are no pixels".to_owned());
    }
    let bands = pixels.bands();
    let all = bands.len();
    let file = |(index, band): (usize, Pixels<'_>)| match index {
        0 if all == 1 => band.encoder(before).encode(),
        0 => band.encoder(before).restart_blocks(band.units()).encode(),
        _ => band.encoder(Before::default()).encode(),
    };
    let files = parallel::map(bands.into_iter().enumerate().collect(), file);
    let mut files = files.into_iter().map(|file| file.map_err(|error| error.to_string()));
    let mut joined = files.next().ok_or("there is no band")??;
    if all == 1 {
        return Ok(joined);
    }
    set_height(&mut joined, pixels.height).ok_or("the first band has no frame")?;
    for (mark, band) in (RESTART..RESTART + 8).cycle().zip(files) {
        let band = band?;
        joined.truncate(joined.len() - END.len());
        joined.extend([0xff, mark]);
        joined.extend(scan(&band).ok_or("a band has no pixels")?);
    }
    Ok(joined)
}

impl Pixels<'_> {
    /// The side in pixels of the blocks that are written as a unit.
    fn unit(&self) -> usize {
        match self.colors {
            Colors::Gray | Colors::Full => 8,
            Colors::Halved => 16,
        }
    }

    /// How many units there are. In a band they are fewer than 65,536, which the file has room for.
    fn units(&self) -> u16 {
        (self.width.div_ceil(self.unit()) * self.height.div_ceil(self.unit())) as u16
    }

    fn channels(&self) -> usize {
        match self.colors {
            Colors::Gray => 1,
            Colors::Full | Colors::Halved => 3,
        }
    }

    /// Bands of whole rows of units, all but the last of one height.
    fn bands(&self) -> Vec<Pixels<'_>> {
        let height = (BAND / (self.width * self.unit())).max(1) * self.unit();
        let stride = self.width * self.channels();
        let band = |samples| Pixels { samples, height: samples.len() / stride, ..*self };
        self.samples.chunks(height * stride).map(band).collect()
    }

    fn encoder<'a>(&'a self, before: Before<'a>) -> Encoder<'a> {
        let (format, subsampling) = match self.colors {
            Colors::Gray => (PixelFormat::Grayscale, Subsampling::S444),
            Colors::Full => (PixelFormat::Rgb, Subsampling::S444),
            Colors::Halved => (PixelFormat::Rgb, Subsampling::S420),
        };
        let encoder = Encoder::new(self.samples, self.width, self.height, format);
        let encoder = encoder.quality(QUALITY).subsampling(subsampling);
        let encoder = before.profile.into_iter().fold(encoder, Encoder::icc_profile);
        before.exif.into_iter().fold(encoder, Encoder::exif_data)
    }
}

/// Says in the frame of a file how high its picture is.
fn set_height(file: &mut [u8], height: usize) -> Option<()> {
    let (at, _) = segment(file, is_frame)?;
    file.get_mut(at + 1..at + 3)?.copy_from_slice(&u16::try_from(height).ok()?.to_be_bytes());
    Some(())
}

/// The pixels of a file and the mark of its end.
fn scan(file: &[u8]) -> Option<&[u8]> {
    let (at, body) = segment(file, |marker| marker == SCAN)?;
    file.get(at + body.len()..)
}

/// The first segment of that kind: where its body begins, and the body.
fn segment(file: &[u8], is_wanted: impl Fn(u8) -> bool) -> Option<(usize, &[u8])> {
    let mut rest = file.get(2..)?;
    loop {
        let (marker, after) = jpeg_marker(rest)?;
        let (body, after) = jpeg_body(after)?;
        if is_wanted(marker) {
            return Some((file.len() - after.len() - body.len(), body));
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageFormat};

    use super::*;

    fn noise(count: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        // Soft enough for small files, and different in each place.
        (0..count).map(|at| (at / 500 % 200) as u8 + random.u8(0..40)).collect()
    }

    fn decoded(file: &[u8]) -> DynamicImage {
        image::load_from_memory_with_format(file, ImageFormat::Jpeg).unwrap()
    }

    #[test]
    fn bands_show_what_one_file_shows() {
        for colors in [Colors::Gray, Colors::Full, Colors::Halved] {
            for (width, height) in [(1500, 1100), (65_535, 40), (17, 65_535), (4096, 256), (1024, 1025)] {
                let channels = if colors == Colors::Gray { 1 } else { 3 };
                let samples = noise(width * height * channels);
                let pixels = Pixels { samples: &samples, width, height, colors };
                assert!(pixels.bands().len() > 1, "{width}x{height}");
                let whole = pixels.encoder(Before::default()).encode().unwrap();
                let joined = write(&pixels, Before::default()).unwrap();
                assert!(decoded(&joined) == decoded(&whole), "{colors:?} {width}x{height}");
                assert!(joined.len() < whole.len() + whole.len() / 500, "{colors:?} {width}x{height}");
            }
        }
    }

    #[test]
    fn more_than_eight_bands_go_on_counting() {
        let samples = noise(4096 * 2048);
        let pixels = Pixels { samples: &samples, width: 4096, height: 2048, colors: Colors::Gray };
        assert_eq!(pixels.bands().len(), 16);
        let whole = pixels.encoder(Before::default()).encode().unwrap();
        assert!(decoded(&write(&pixels, Before::default()).unwrap()) == decoded(&whole));
    }

    #[test]
    fn small_pictures_have_no_restart_marks() {
        let samples = noise(512 * 512 * 3);
        let pixels = Pixels { samples: &samples, width: 512, height: 512, colors: Colors::Halved };
        let file = write(&pixels, Before::default()).unwrap();
        assert_eq!(file, pixels.encoder(Before::default()).encode().unwrap());
        assert!(segment(&file, |marker| marker == 0xdd).is_none());
    }
}
