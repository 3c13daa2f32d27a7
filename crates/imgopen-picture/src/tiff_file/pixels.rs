//! Decodes the pixels of a page.

use std::io::Read;

use image::{DynamicImage, ImageBuffer};
use imgopen_engine::Monitor;

use super::outline::{Alpha, Colors, MOST_CHANNELS, Outline, damaged};
use super::strips;
use crate::cmyk;
use crate::problem::Problem;

/// Decodes the pixels, as they are stored: samples of 8 or 16 bits, gray or RGB, with the opacity or without.
pub(crate) fn decode(outline: &Outline<'_>, monitor: Option<&Monitor>) -> Result<DynamicImage, Problem> {
    outline.check_parts()?;
    let mut canvas = Canvas::new(outline);
    let mut bytes = vec![0; outline.row_bytes() as usize];
    let mut row = Vec::new();
    for index in 0..outline.expected() {
        let (part, _) = outline.part(index).ok_or_else(|| damaged("it lacks a strip or tile"))?;
        let place = Place::of(outline, index);
        if place.channel >= canvas.taken {
            continue;
        }
        let mut source = strips::open(outline, part, place.rows, monitor)?;
        for y in 0..place.rows {
            // Callers look for that first.
            if monitor.is_some_and(Monitor::is_cancelled) {
                return Err(damaged("it was not read to its end"));
            }
            let read = source.read_exact(&mut bytes);
            read.map_err(|_| damaged("its compressed pixels are invalid or end too early"))?;
            unpack(outline, &bytes, &mut row);
            if outline.is_predicted {
                add_up(&mut row, outline.interleaved(), outline.bits);
            }
            canvas.put(&place, place.top + y, &row);
        }
    }
    canvas.finish().ok_or_else(|| damaged("it has fewer pixels than its header says"))
}

/// Where a strip or tile lies.
struct Place {
    /// The first channel in it.
    channel: usize,
    left: u32,
    top: u32,
    /// How much of it is in the picture.
    columns: u32,
    rows: u32,
}

impl Place {
    fn of(outline: &Outline<'_>, index: usize) -> Self {
        let (across, down) = outline.grid();
        let (width, height) = outline.chunk;
        let all = across as usize * down as usize;
        let (channel, index) = (index / all, index % all);
        let (left, top) = ((index % across as usize) as u32 * width, (index / across as usize) as u32 * height);
        let (columns, rows) = (width.min(outline.width - left), height.min(outline.height - top));
        Self { channel, left, top, columns, rows }
    }
}

/// Reads the samples of a row, whatever their bits.
fn unpack(outline: &Outline<'_>, bytes: &[u8], row: &mut Vec<u16>) {
    row.clear();
    match outline.bits {
        16 => row.extend(bytes.as_chunks::<2>().0.iter().map(|two| outline.file.short(*two))),
        8 => row.extend(bytes.iter().map(|byte| u16::from(*byte))),
        bits => {
            let mask = (1 << bits) - 1;
            let samples = |byte: &u8| {
                let byte = u16::from(*byte);
                (1..=8 / bits).map(move |part| (byte >> (8 - bits * part)) & mask)
            };
            row.extend(bytes.iter().flat_map(samples));
        }
    }
}

/// Makes samples of differences from those of the pixel before.
fn add_up(row: &mut [u16], samples: usize, bits: u8) {
    let mask = if bits == 8 { 0xff } else { u16::MAX };
    let mut before = [0_u16; MOST_CHANNELS];
    for pixel in row.chunks_exact_mut(samples) {
        for (sample, before) in pixel.iter_mut().zip(&mut before) {
            *sample = sample.wrapping_add(*before) & mask;
            *before = *sample;
        }
    }
}

/// The picture.
struct Canvas<'a> {
    outline: &'a Outline<'a>,
    /// The samples of a pixel that are taken from the file.
    taken: usize,
    /// The samples of a pixel of the picture.
    channels: usize,
    samples: Samples,
}

enum Samples {
    Shallow(Vec<u8>),
    Deep(Vec<u16>),
}

impl<'a> Canvas<'a> {
    fn new(outline: &'a Outline<'a>) -> Self {
        let taken = outline.colors.channels() + usize::from(outline.alpha.is_some());
        let channels = if outline.colors == Colors::Palette { 3 } else { taken };
        let count = outline.width as usize * outline.height as usize * channels;
        // CMYK is converted in 8 bits.
        let samples = match outline.bits == 16 && !outline.is_cmyk() {
            true => Samples::Deep(vec![0; count]),
            false => Samples::Shallow(vec![0; count]),
        };
        Self { outline, taken, channels, samples }
    }

    /// Puts in a row of a strip or tile.
    fn put(&mut self, place: &Place, y: u32, row: &[u16]) {
        let outline = self.outline;
        let start = (y as usize * outline.width as usize + place.left as usize) * self.channels + place.channel;
        let pixels = row.chunks_exact(outline.interleaved()).take(place.columns as usize);
        for (pixel, at) in pixels.zip((start..).step_by(self.channels)) {
            if outline.colors == Colors::Palette {
                let color = outline.palette.get(usize::from(pixel[0])).copied().unwrap_or_default();
                self.samples.put(at, color.into_iter().map(u16::from));
            } else {
                let taken = pixel.iter().take(self.taken).enumerate();
                self.samples.put(at, taken.map(|(channel, sample)| outline.value(place.channel + channel, *sample)));
            }
        }
    }

    fn finish(self) -> Option<DynamicImage> {
        use DynamicImage::*;
        let (width, height) = (self.outline.width, self.outline.height);
        let is_multiplied = self.outline.alpha == Some(Alpha::Multiplied);
        match self.samples {
            Samples::Shallow(samples) if self.outline.is_cmyk() => {
                let samples = cmyk::to_rgb(samples, self.outline.profile);
                ImageBuffer::from_raw(width, height, samples).map(ImageRgb8)
            }
            Samples::Shallow(mut samples) => {
                if is_multiplied {
                    samples.chunks_exact_mut(self.channels).for_each(|pixel| divide(pixel, 255));
                }
                match self.channels {
                    1 => ImageBuffer::from_raw(width, height, samples).map(ImageLuma8),
                    2 => ImageBuffer::from_raw(width, height, samples).map(ImageLumaA8),
                    3 => ImageBuffer::from_raw(width, height, samples).map(ImageRgb8),
                    _ => ImageBuffer::from_raw(width, height, samples).map(ImageRgba8),
                }
            }
            Samples::Deep(mut samples) => {
                if is_multiplied {
                    samples.chunks_exact_mut(self.channels).for_each(|pixel| divide(pixel, 65_535));
                }
                match self.channels {
                    1 => ImageBuffer::from_raw(width, height, samples).map(ImageLuma16),
                    2 => ImageBuffer::from_raw(width, height, samples).map(ImageLumaA16),
                    3 => ImageBuffer::from_raw(width, height, samples).map(ImageRgb16),
                    _ => ImageBuffer::from_raw(width, height, samples).map(ImageRgba16),
                }
            }
        }
    }
}

impl Samples {
    fn put(&mut self, at: usize, values: impl Iterator<Item = u16>) {
        match self {
            Self::Shallow(samples) => samples[at..].iter_mut().zip(values).for_each(|(it, value)| *it = value as u8),
            Self::Deep(samples) => samples[at..].iter_mut().zip(values).for_each(|(it, value)| *it = value),
        }
    }
}

impl Outline<'_> {
    /// Returns what a sample becomes in the picture.
    fn value(&self, channel: usize, sample: u16) -> u16 {
        let most = u16::MAX >> (16 - self.bits);
        match self.colors {
            Colors::Cmyk if self.bits == 16 => ((u32::from(sample) + 128) / 257) as u16,
            Colors::Gray { is_inverted } => {
                let gray = if is_inverted && channel == 0 { most - sample } else { sample };
                if self.bits < 8 { gray * (255 / most) } else { gray }
            }
            _ => sample,
        }
    }
}

/// Undoes the multiplication of colours by the opacity, which is the last sample.
fn divide<T: Copy + Into<u32> + TryFrom<u32>>(pixel: &mut [T], most: u32) {
    let Some((alpha, colors)) = pixel.split_last_mut() else { return };
    let alpha: u32 = (*alpha).into();
    if alpha == 0 {
        return;
    }
    for color in colors {
        let multiplied: u32 = (*color).into();
        let divided = ((multiplied * most + alpha / 2) / alpha).min(most);
        *color = T::try_from(divided).unwrap_or(*color);
    }
}
