//! Reads GIF files: the first frame, on the screen that the file declares.
//!
//! What is not painted is transparent, as browsers show it: they do not look at the background colour.

use std::io::{self, Cursor};

use gif::{ColorOutput, DecodeOptions, DecodingError};
use image::{DynamicImage, RgbImage, RgbaImage};
use imgopen_engine::Monitor;

use crate::file_format::FileFormat;
use crate::numbers::le16;
use crate::problem::Problem;
use crate::watched::Watched;

/// The bytes of the header up to its palette, and of the header of a frame.
const HEADER: usize = 13;
const FRAME: usize = 10;

/// What a file says before pixels are decoded.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// The size of the screen.
    screen: (u32, u32),
    first: Frame,
    pub(crate) frames: u32,
    /// Whether the first frame has a palette, of its own or of the file.
    has_palette: bool,
    /// Whether the first frame is there up to its end.
    pub(crate) is_whole: bool,
}

/// Where a frame lies on the screen.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

/// A part of a file behind its header.
pub(crate) enum Block<'a> {
    /// An extension: its label and its data.
    Extension(u8, Data<'a>),
    /// A frame, and whether its data is there up to its end.
    Frame(bool),
}

/// Data in parts of up to 255 bytes, each behind its length.
#[derive(Clone, Copy)]
pub(crate) struct Data<'a>(&'a [u8]);

pub(crate) fn is_gif(bytes: &[u8]) -> bool {
    bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a")
}

/// Walks all blocks, to count the frames.
pub(crate) fn outline(bytes: &[u8]) -> Result<Outline, Problem> {
    let truncated = || Problem::Truncated(FileFormat::Gif);
    let screen = le16(bytes, 6).zip(le16(bytes, 8)).ok_or_else(truncated)?;
    let mut outline = Outline { screen, ..Outline::default() };
    let mut blocks = Blocks::new(bytes);
    loop {
        let at = blocks.at;
        match blocks.next() {
            Some(Block::Frame(is_whole)) => {
                if outline.frames == 0 {
                    let [left, top, width, height] = [1, 3, 5, 7].map(|place| le16(bytes, at + place));
                    let rectangle = left.zip(top).zip(width.zip(height));
                    let ((left, top), (width, height)) = rectangle.ok_or_else(truncated)?;
                    outline.first = Frame { left, top, width, height };
                    outline.is_whole = is_whole;
                    let flags = [HEADER - 3, at + FRAME - 1].map(|place| bytes.get(place).copied().unwrap_or_default());
                    outline.has_palette = flags.into_iter().any(|flags| palette_length(flags) > 0);
                }
                outline.frames += 1;
            }
            Some(Block::Extension(..)) => {}
            None if outline.frames > 0 => return Ok(outline),
            None => {
                let is_cut = matches!(bytes.get(at), None | Some(0x21 | 0x2c));
                return Err(if is_cut { truncated() } else { damaged("it has no frame") });
            }
        }
    }
}

impl Outline {
    /// Returns the size of the picture: that of the screen, or what it takes to show all of the first frame.
    pub(crate) fn size(&self) -> (u32, u32) {
        let Frame { left, top, width, height } = self.first;
        let (across, down) = self.screen;
        (across.max(left + width), down.max(top + height))
    }
}

/// The parts of a file behind its header.
struct Blocks<'a> {
    bytes: &'a [u8],
    /// Where the next one begins.
    at: usize,
}

/// Returns the parts of a file behind its header.
pub(crate) fn blocks(bytes: &[u8]) -> impl Iterator<Item = Block<'_>> {
    Blocks::new(bytes)
}

impl<'a> Blocks<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let flags = bytes.get(HEADER - 3).copied().unwrap_or_default();
        Self { bytes, at: HEADER + palette_length(flags) }
    }

    /// Returns the data at a place, and whether it ends.
    fn data(&mut self, start: usize) -> (Data<'a>, bool) {
        let mut at = start;
        while let Some(length @ 1..) = self.bytes.get(at) {
            at += 1 + usize::from(*length);
        }
        self.at = (at + 1).min(self.bytes.len());
        let data = self.bytes.get(start..at.min(self.bytes.len())).unwrap_or_default();
        (Data(data), at < self.bytes.len())
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        match self.bytes.get(self.at)? {
            0x21 => {
                let label = *self.bytes.get(self.at + 1)?;
                Some(Block::Extension(label, self.data(self.at + 2).0))
            }
            0x2c => {
                let flags = *self.bytes.get(self.at + FRAME - 1)?;
                // A byte about the compression is before the data.
                let start = self.at + FRAME + palette_length(flags) + 1;
                Some(Block::Frame(self.data(start).1))
            }
            _ => None,
        }
    }
}

fn palette_length(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 0x07) + 1) }
}

impl<'a> Data<'a> {
    /// Returns the parts.
    pub(crate) fn parts(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (part, after) = after.split_at(after.len().min(usize::from(*length)));
            rest = after;
            Some(part)
        })
    }

    /// Returns the first part, and what follows it with the lengths in between.
    pub(crate) fn split(self) -> (&'a [u8], &'a [u8]) {
        let first = self.parts().next().unwrap_or_default();
        (first, self.0.get(1 + first.len()..).unwrap_or_default())
    }
}

/// Returns the colour profile.
pub(crate) fn profile(bytes: &[u8]) -> Option<Vec<u8>> {
    blocks(bytes).find_map(|block| match block {
        Block::Extension(0xff, data) if data.split().0 == b"ICCRGBG1012" => {
            Some(data.parts().skip(1).flatten().copied().collect())
        }
        _ => None,
    })
}

/// Decodes the first frame.
pub(crate) fn decode(bytes: &[u8], monitor: Option<&Monitor>) -> Result<DynamicImage, Problem> {
    let outline = outline(bytes)?;
    let Frame { left, top, width, height } = outline.first;
    let (across, down) = outline.size();
    if width == 0 || height == 0 {
        return Err(damaged("its first frame has no pixels"));
    }
    if !outline.has_palette {
        return Err(damaged("its first frame has no palette"));
    }
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.allow_unknown_blocks(true);
    let mut decoder = options.read_info(Watched::new(Cursor::new(bytes), monitor)).map_err(problem)?;
    let frame = decoder.next_frame_info().map_err(problem)?.ok_or_else(|| damaged("it has no frame"))?;
    if [frame.width, frame.height].map(u32::from) != [width, height] {
        return Err(damaged("its first frame has two sizes"));
    }
    let transparent = frame.transparent;
    let mut indices = vec![0; width as usize * height as usize];
    decoder.read_into_buffer(&mut indices).map_err(problem)?;
    let mut colors = [[0, 0, 0, 255]; 256];
    let palette = decoder.palette().map_err(problem)?;
    for (color, [red, green, blue]) in colors.iter_mut().zip(palette.as_chunks::<3>().0) {
        *color = [*red, *green, *blue, 255];
    }
    if let Some(index) = transparent {
        colors[usize::from(index)][3] = 0;
    }
    let is_opaque = (across, down) == (width, height) && transparent.is_none_or(|index| !indices.contains(&index));
    let channels = if is_opaque { 3 } else { 4 };
    let mut samples = vec![0; across as usize * down as usize * channels];
    let lines = samples.chunks_exact_mut(across as usize * channels).skip(top as usize);
    for (line, row) in lines.zip(indices.chunks_exact(width as usize)) {
        let pixels = line.chunks_exact_mut(channels).skip(left as usize);
        for (pixel, index) in pixels.zip(row) {
            pixel.copy_from_slice(&colors[usize::from(*index)][..channels]);
        }
    }
    let image = match is_opaque {
        true => RgbImage::from_raw(across, down, samples).map(DynamicImage::from),
        false => RgbaImage::from_raw(across, down, samples).map(DynamicImage::from),
    };
    image.ok_or_else(|| damaged("it has fewer pixels than its header says"))
}

fn damaged(problem: &str) -> Problem {
    Problem::Damaged(FileFormat::Gif, problem.to_owned())
}

fn problem(error: DecodingError) -> Problem {
    match error {
        DecodingError::UnexpectedEof => Problem::Truncated(FileFormat::Gif),
        DecodingError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => Problem::Truncated(FileFormat::Gif),
        _ => damaged("its compressed pixels are invalid or end too early"),
    }
}
