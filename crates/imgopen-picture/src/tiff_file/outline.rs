//! Parses the fields of a page: how its pixels are stored, where they are, and what their colours mean.
//!
//! Whatever is valid but not supported is rejected here by its name, so that no picture is read wrongly.

use super::directory::{Directory, File, Numbers};
use crate::file_format::FileFormat;
use crate::problem::Problem;

/// More pages than are counted, and more fields than are looked at to count them: directories may share their bytes.
const MOST_PAGES: usize = 1000;
const MOST_FIELDS: usize = 1 << 20;
/// The flags of a page that is a smaller version of another one, or a mask.
const PREVIEW_OR_MASK: u32 = 0b101;
/// The most channels, those included that are not used.
pub(super) const MOST_CHANNELS: usize = 8;
/// The longest side of a tile: the first multiple of 16, as tiles must have, beyond the longest side of a picture.
const LONGEST_TILE: u32 = 65_536;
/// How many more pixels tiles may have together than twice those of the picture: a column of tiles of 512 pixels for the
/// narrowest picture.
const PADDING: u64 = 1 << 25;
/// The same for each tile in JPEG, which is decoded as a whole: a tile of 1024 pixels.
const JPEG_PADDING: u64 = 1 << 20;
/// The most strips or tiles: more than 64 million pixels have in tiles of 16x16, with each of eight channels by itself.
const MOST_PARTS: usize = 1 << 21;
/// The bytes that a compressed strip or tile may take beside twice those of its pixels, or its share of the file if that is more.
/// Many could lie in the same place and have millions of bytes there that stand for no pixels.
const AROUND: usize = 4096;
/// The most bytes of what the JPEG files of all strips or tiles have in common. Those tables have 2 KiB or so.
const MOST_TABLES: usize = 16 * 1024;

/// The numbers of fields.
const SUBFILE_TYPE: u16 = 254;
const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const STRIP_OFFSETS: u16 = 273;
const ORIENTATION: u16 = 274;
const SAMPLES: u16 = 277;
const ROWS_PER_STRIP: u16 = 278;
const STRIP_LENGTHS: u16 = 279;
const PLANAR: u16 = 284;
const PREDICTOR: u16 = 317;
const COLOR_MAP: u16 = 320;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_LENGTHS: u16 = 325;
const SUB_DIRECTORIES: u16 = 330;
const INK_SET: u16 = 332;
const EXTRA_SAMPLES: u16 = 338;
const SAMPLE_FORMAT: u16 = 339;
const JPEG_TABLES: u16 = 347;
const PROFILE: u16 = 34_675;
const DNG_VERSION: u16 = 50_706;

/// What a file says about its first page.
#[derive(Debug)]
pub(crate) struct Outline<'a> {
    pub(crate) file: File<'a>,
    /// The fields of the page.
    pub(crate) directory: Directory<'a>,
    pub(crate) pages: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Whether all pixels are in the file.
    pub(crate) is_whole: bool,
    /// The number of the orientation, as in EXIF data, if there is one.
    pub(crate) orientation: Option<u32>,
    pub(crate) profile: Option<&'a [u8]>,
    pub(super) colors: Colors,
    pub(super) alpha: Option<Alpha>,
    /// The bits of a sample: 1, 2, 4, 8 or 16.
    pub(super) bits: u8,
    /// The samples of a pixel, those included that are not used; from 1 to [`MOST_CHANNELS`].
    pub(super) samples: usize,
    pub(super) compression: Compression,
    /// Whether samples are stored as differences from those of the pixel before.
    pub(super) is_predicted: bool,
    /// Whether the samples of each channel are stored by themselves.
    pub(super) is_planar: bool,
    pub(super) tables: Option<&'a [u8]>,
    pub(super) palette: Vec<[u8; 3]>,
    /// The size of a strip or tile.
    pub(super) chunk: (u32, u32),
    /// Where the strips or tiles are, row by row, channel by channel if they are stored so.
    places: Numbers<'a>,
    lengths: Option<Numbers<'a>>,
}

/// What the samples of a pixel are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colors {
    Gray {
        /// Whether 0 is white.
        is_inverted: bool,
    },
    Palette,
    Rgb,
    Cmyk,
    /// In JPEG only.
    YCbCr,
}

/// What the first sample behind the colours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alpha {
    /// The opacity.
    Plain,
    /// The opacity, by which the colours were multiplied.
    Multiplied,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
    Jpeg,
}

/// Where the strips or tiles are.
struct Layout<'a> {
    chunk: (u32, u32),
    places: Numbers<'a>,
    lengths: Option<Numbers<'a>>,
}

/// Parses a file that begins as TIFF files do.
pub(crate) fn outline(bytes: &[u8]) -> Result<Outline<'_>, Problem> {
    let file = File::read(bytes).ok_or(Problem::Truncated(FileFormat::Tiff))?;
    let (directory, pages) = first_page(file)?;
    let number = |tag: u16, default: u32| Ok::<_, Problem>(directory.number(tag)?.unwrap_or(default));
    let side = |tag: u16| directory.number(tag)?.ok_or_else(|| damaged("it does not say how large the picture is"));
    let (width, height) = (side(WIDTH)?, side(HEIGHT)?);
    if width == 0 || height == 0 {
        return Err(Problem::NoPixels { width, height });
    }
    let colors = colors(&directory)?;
    let (samples, alpha) = channels(&directory, colors)?;
    let bits = bits(&directory, colors, samples)?;
    if number(FILL_ORDER, 1)? != 1 {
        return Err(unsupported("with its bits in reverse order"));
    }
    let compression = compression(number(COMPRESSION, 1)?)?;
    let is_predicted = is_predicted(number(PREDICTOR, 1)?, compression, bits)?;
    let is_planar = samples > 1 && number(PLANAR, 1)? == 2;
    check_jpeg(compression, colors, (bits, samples), is_planar)?;
    let palette = if colors == Colors::Palette { palette(&directory, bits)? } else { Vec::new() };
    let layout = layout(&directory, (width, height))?;
    let mut outline = Outline {
        file,
        directory,
        pages,
        width,
        height,
        is_whole: true,
        orientation: directory.number(ORIENTATION).ok().flatten(),
        profile: directory.bytes(PROFILE),
        colors,
        alpha,
        bits,
        samples,
        compression,
        is_predicted,
        is_planar,
        tables: directory.bytes(JPEG_TABLES).filter(|_| compression == Compression::Jpeg),
        palette,
        chunk: layout.chunk,
        places: layout.places,
        lengths: layout.lengths,
    };
    let found = outline.expected().min(outline.places.len());
    outline.is_whole = (0..found).filter_map(|index| outline.part(index)).all(|(_, is_whole)| is_whole);
    Ok(outline)
}

/// Returns the first page that is neither a preview nor a mask, and how many of that kind there are.
fn first_page(file: File<'_>) -> Result<(Directory<'_>, u32), Problem> {
    let (mut seen, mut fields, mut first, mut count, mut has_parts) = (Vec::new(), 0, None, 0, false);
    let mut at = file.first().ok_or(Problem::Truncated(FileFormat::Tiff))?;
    // Directories may lead back to earlier ones.
    while at != 0 && seen.len() < MOST_PAGES && fields < MOST_FIELDS && !seen.contains(&at) {
        let Some(directory) = file.directory(at) else { break };
        seen.push(at);
        fields += directory.len();
        has_parts |= directory.has(SUB_DIRECTORIES);
        if directory.has(DNG_VERSION) {
            return Err(Problem::WrongKind("a raw photograph (DNG)"));
        }
        if directory.number(SUBFILE_TYPE).ok().flatten().unwrap_or_default() & PREVIEW_OR_MASK == 0 {
            count += 1;
            first = first.or(Some(directory));
        }
        at = directory.next();
    }
    match first {
        Some(first) => Ok((first, count)),
        // The picture behind the previews is in a directory of its own.
        None if has_parts => Err(Problem::WrongKind("a raw photograph")),
        None if !seen.is_empty() => Err(unsupported("that has only previews or masks")),
        None if at == 0 => Err(damaged("it has no page")),
        None => Err(Problem::Truncated(FileFormat::Tiff)),
    }
}

fn colors(directory: &Directory<'_>) -> Result<Colors, Problem> {
    match directory.number(PHOTOMETRIC)? {
        Some(0) => Ok(Colors::Gray { is_inverted: true }),
        Some(1) => Ok(Colors::Gray { is_inverted: false }),
        Some(2) => Ok(Colors::Rgb),
        Some(3) => Ok(Colors::Palette),
        Some(4) => Err(unsupported("that is a mask of another picture")),
        Some(5) if directory.number(INK_SET)?.is_some_and(|set| set != 1) => {
            Err(unsupported("in other inks than cyan, magenta, yellow and black"))
        }
        Some(5) => Ok(Colors::Cmyk),
        Some(6) => Ok(Colors::YCbCr),
        Some(8..=10) => Err(unsupported("in L*a*b* colours")),
        Some(32_803 | 34_892) => Err(Problem::WrongKind("a raw photograph")),
        Some(other) => Err(unsupported(format!("whose colours are of the kind {other}"))),
        None => Err(damaged("it does not say what its colours are")),
    }
}

impl Colors {
    /// Returns how many samples a colour takes.
    pub(super) fn channels(self) -> usize {
        match self {
            Self::Gray { .. } | Self::Palette => 1,
            Self::Rgb | Self::YCbCr => 3,
            Self::Cmyk => 4,
        }
    }
}

/// Returns how many samples a pixel has, and what the one behind its colour is.
fn channels(directory: &Directory<'_>, colors: Colors) -> Result<(usize, Option<Alpha>), Problem> {
    let samples = directory.number(SAMPLES)?.unwrap_or(1) as usize;
    let taken = colors.channels();
    if samples < taken {
        return Err(damaged(format!("it has {samples} channels, and its colours take {taken}")));
    }
    if samples > MOST_CHANNELS {
        return Err(unsupported(format!("of {samples} channels")));
    }
    let extra = directory.number(EXTRA_SAMPLES)?;
    let alpha = match (samples - taken, extra, colors) {
        (0, ..) => None,
        (_, Some(1), _) => Some(Alpha::Multiplied),
        (_, Some(2), _) | (1, None, Colors::Rgb) => Some(Alpha::Plain),
        _ => None,
    };
    match colors {
        Colors::Palette if samples > 1 => Err(unsupported("with a palette and further channels")),
        Colors::Cmyk if alpha.is_some() => Err(unsupported("in CMYK with transparency")),
        _ => Ok((samples, alpha)),
    }
}

fn bits(directory: &Directory<'_>, colors: Colors, samples: usize) -> Result<u8, Problem> {
    let bits = directory.numbers(BITS)?.map_or_else(|| vec![1], |bits| bits.first(MOST_CHANNELS));
    let Some(first) = bits.first().copied() else { return Err(damaged("it does not say how deep its colours are")) };
    if bits.iter().any(|bits| *bits != first) {
        return Err(unsupported("whose channels differ in their bits"));
    }
    let formats = directory.numbers(SAMPLE_FORMAT)?.map_or_else(Vec::new, |formats| formats.first(MOST_CHANNELS));
    match formats.iter().find(|format| !matches!(format, 1 | 4)) {
        Some(2) => return Err(unsupported("of signed numbers")),
        Some(3) => return Err(unsupported("of floating-point numbers")),
        Some(_) => return Err(unsupported("of complex numbers")),
        None => {}
    }
    match (first, colors) {
        (8, _) => Ok(8),
        (16, Colors::Gray { .. } | Colors::Rgb | Colors::Cmyk) => Ok(16),
        (1 | 2 | 4, Colors::Gray { .. } | Colors::Palette) if samples == 1 => Ok(first as u8),
        _ => Err(unsupported(format!("of {first} bits for each value"))),
    }
}

fn compression(number: u32) -> Result<Compression, Problem> {
    let kind = match number {
        1 => return Ok(Compression::None),
        5 => return Ok(Compression::Lzw),
        7 => return Ok(Compression::Jpeg),
        8 | 32_946 => return Ok(Compression::Deflate),
        32_773 => return Ok(Compression::PackBits),
        2..=4 => "with the compression of faxes (CCITT)".to_owned(),
        6 => "with JPEG of the old kind".to_owned(),
        34_712 | 33_003 | 33_005 => "with JPEG 2000 in it".to_owned(),
        34_925 => "with LZMA".to_owned(),
        50_000 => "with Zstandard".to_owned(),
        50_001 => "with WebP in it".to_owned(),
        50_002 | 52_546 => "with JPEG XL in it".to_owned(),
        _ => format!("with the compression {number}"),
    };
    Err(unsupported(kind))
}

/// Only some compressions have differences, as for libtiff.
fn is_predicted(predictor: u32, compression: Compression, bits: u8) -> Result<bool, Problem> {
    if !matches!(compression, Compression::Lzw | Compression::Deflate) {
        return Ok(false);
    }
    match predictor {
        1 => Ok(false),
        2 if bits >= 8 => Ok(true),
        2 => Err(unsupported("with differences of fewer than 8 bits")),
        3 => Err(unsupported("of floating-point numbers")),
        _ => Err(damaged(format!("its predictor is {predictor}; there are 1 to 3"))),
    }
}

/// JPEG has 8 bits, and no channels behind its colours. YCbCr is read in JPEG only.
fn check_jpeg(
    compression: Compression,
    colors: Colors,
    (bits, samples): (u8, usize),
    is_planar: bool,
) -> Result<(), Problem> {
    let kind = match (compression == Compression::Jpeg, colors) {
        (true, Colors::Palette) => "with JPEG and a palette".to_owned(),
        (true, _) if bits != 8 => format!("with JPEG of {bits} bits for each value"),
        (true, _) if is_planar => "with JPEG for each channel".to_owned(),
        (true, _) if samples != colors.channels() => "with JPEG and further channels".to_owned(),
        (false, Colors::YCbCr) => "in YCbCr without JPEG".to_owned(),
        _ => return Ok(()),
    };
    Err(unsupported(kind))
}

/// Returns the palette, which has 16 bits for each value. Some programs write 8 bits.
fn palette(directory: &Directory<'_>, bits: u8) -> Result<Vec<[u8; 3]>, Problem> {
    let count = 1 << bits;
    let values = directory.numbers(COLOR_MAP)?.map_or_else(Vec::new, |values| values.first(3 * count));
    let is_short = values.iter().all(|value| *value < 256);
    let values: Vec<_> = values.iter().map(|value| (if is_short { *value } else { *value >> 8 }) as u8).collect();
    match values.as_slice() {
        values if values.len() == 3 * count => {
            Ok((0..count).map(|at| [values[at], values[count + at], values[2 * count + at]]).collect())
        }
        values => Err(damaged(format!("its palette has {} values, and {} are needed", values.len(), 3 * count))),
    }
}

fn layout<'a>(directory: &Directory<'a>, (width, height): (u32, u32)) -> Result<Layout<'a>, Problem> {
    let (chunk, (places, lengths)) = match directory.number(TILE_WIDTH)?.zip(directory.number(TILE_HEIGHT)?) {
        // Some programs give tiles the fields of strips.
        Some(tile) if directory.has(TILE_OFFSETS) => (tile, (TILE_OFFSETS, TILE_LENGTHS)),
        Some(tile) => (tile, (STRIP_OFFSETS, STRIP_LENGTHS)),
        None => {
            let rows = directory.number(ROWS_PER_STRIP)?.unwrap_or(height).min(height);
            ((width, rows), (STRIP_OFFSETS, STRIP_LENGTHS))
        }
    };
    if chunk.0 == 0 || chunk.1 == 0 {
        return Err(damaged(format!("its strips or tiles are {}x{} pixels", chunk.0, chunk.1)));
    }
    let places = directory.numbers(places)?.ok_or_else(|| damaged("it does not say where its pixels are"))?;
    Ok(Layout { chunk, places, lengths: directory.numbers(lengths)? })
}

impl<'a> Outline<'a> {
    /// Whether the colours are amounts of ink, which are converted to sRGB.
    pub(crate) fn is_cmyk(&self) -> bool {
        self.colors == Colors::Cmyk
    }

    /// Returns how many strips or tiles there are across and down.
    pub(super) fn grid(&self) -> (u32, u32) {
        (self.width.div_ceil(self.chunk.0), self.height.div_ceil(self.chunk.1))
    }

    /// Returns how many strips or tiles there must be.
    pub(super) fn expected(&self) -> usize {
        let (across, down) = self.grid();
        let planes = if self.is_planar { self.samples } else { 1 };
        (across as usize).saturating_mul(down as usize).saturating_mul(planes)
    }

    /// Returns the samples of a pixel in a strip or tile.
    pub(super) fn interleaved(&self) -> usize {
        if self.is_planar { 1 } else { self.samples }
    }

    /// Returns the bytes of a row of a strip or tile.
    pub(super) fn row_bytes(&self) -> u64 {
        (u64::from(self.chunk.0) * self.interleaved() as u64 * u64::from(self.bits)).div_ceil(8)
    }

    /// Returns a strip or tile, as far as it is of use, and whether it is wholly in the file.
    pub(super) fn part(&self, index: usize) -> Option<(&'a [u8], bool)> {
        let bytes = self.file.bytes;
        let rest = &bytes[(self.places.get(index)? as usize).min(bytes.len())..];
        let (_, down) = self.grid();
        let strip = (index % down as usize) as u32;
        // Tiles are stored with all of their rows, and the last strip is not.
        let rows = match self.chunk.0 == self.width {
            true => self.chunk.1.min(self.height - strip * self.chunk.1),
            false => self.chunk.1,
        };
        let unpacked = self.row_bytes().saturating_mul(rows.into());
        let length = match (self.compression, self.lengths.and_then(|lengths| lengths.get(index))) {
            // Some programs give none, or a wrong one.
            (Compression::None, _) => unpacked,
            (_, None | Some(0)) => rest.len() as u64,
            (_, Some(length)) => length.into(),
        };
        let is_whole = !rest.is_empty() && length <= rest.len() as u64;
        let share = bytes.len() / self.expected();
        let most = unpacked.saturating_mul(2).saturating_add(share.max(AROUND) as u64);
        Some((&rest[..length.min(most).min(rest.len() as u64) as usize], is_whole))
    }

    /// Checks that all strips or tiles are there, and that they are neither far larger than the picture nor far too many, which
    /// costs time and memory.
    pub(super) fn check_parts(&self) -> Result<(), Problem> {
        let (expected, found) = (self.expected(), self.places.len());
        if expected > MOST_PARTS {
            return Err(unsupported(format!("in {expected} strips or tiles")));
        }
        if let Some(tables) = self.tables.filter(|tables| tables.len() > MOST_TABLES) {
            return Err(unsupported(format!("with {} bytes of tables for JPEG", tables.len())));
        }
        if found < expected {
            return Err(damaged(format!("it has {found} strips or tiles, and {expected} are needed")));
        }
        let (across, down) = self.grid();
        let sides = [(across, self.chunk.0), (down, self.chunk.1)];
        let [wide, high] = sides.map(|(count, side)| u64::from(count) * u64::from(side));
        let (width, height) = self.chunk;
        let most = |padding: u64| (2 * u64::from(self.width) * u64::from(self.height)).saturating_add(padding);
        let is_large = width > LONGEST_TILE || wide.saturating_mul(high) > most(PADDING);
        let is_jpeg = self.compression == Compression::Jpeg;
        if is_large || is_jpeg && u64::from(width) * u64::from(height) > most(JPEG_PADDING) {
            return Err(unsupported(format!("whose tiles of {width}x{height} pixels are far larger than the picture")));
        }
        Ok(())
    }
}

pub(super) fn unsupported(kind: impl Into<String>) -> Problem {
    Problem::Unsupported(FileFormat::Tiff, kind.into())
}

pub(super) fn damaged(problem: impl Into<String>) -> Problem {
    Problem::Damaged(FileFormat::Tiff, problem.into())
}
