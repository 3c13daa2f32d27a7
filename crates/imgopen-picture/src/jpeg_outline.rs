//! Parses a JPEG file up to its pixels: how they are coded, which of them are there, and what their colours mean.
//!
//! Whatever the decoder cannot read is rejected here by its name, so that the decoder's errors are those of damaged files.

use crate::chroma::Chroma;
use crate::file_format::FileFormat;
use crate::jpeg_markers::{self as markers, is_frame};
use crate::problem::Problem;

/// More scans than any encoder writes. Each passes over the whole picture, however few bytes it has.
const MAX_SCANS: usize = 250;
/// The side of a block in pixels.
const BLOCK: u32 = 8;
/// The coefficients of a block.
const COEFFICIENTS: usize = 64;
/// The first coefficients, in zigzag order. Without them a picture is so blurred that readers differ in how they smooth it.
const COARSE: usize = 6;

/// What a JPEG file says beside its pixels.
#[derive(Debug)]
pub(crate) struct Outline<'a> {
    pub(crate) frame: Frame,
    pub(crate) colors: Colors,
    /// Whether the file has an end marker.
    pub(crate) has_end: bool,
    /// Whether the scans bring all coefficients, as far as their headers show.
    pub(crate) is_complete: bool,
    /// The parts of the colour profile, with their number, from 1, and how many there are.
    profile: Vec<(u8, u8, &'a [u8])>,
}

/// What the values of a pixel are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colors {
    Gray,
    Rgb,
    YCbCr,
    Cmyk,
    /// As YCbCr, with black beside it.
    Ycck,
}

/// The header of the pixels.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) width: u32,
    pub(crate) height: u32,
    is_progressive: bool,
    components: Vec<Component>,
}

/// A channel.
#[derive(Debug)]
struct Component {
    id: u8,
    /// The sampling factors across and down, relative to those of the other components.
    factors: (u8, u8),
    /// How many of the lowest bits each coefficient lacks so far.
    missing_bits: [Option<u8>; COEFFICIENTS],
}

/// Parses a file that begins as JPEG files do.
pub(crate) fn read(bytes: &[u8]) -> Result<Outline<'_>, Problem> {
    let mut parser = Parser::default();
    let mut has_end = false;
    let mut rest = bytes.get(2..).unwrap_or(&[]);
    while let Some((marker, after)) = markers::next(rest) {
        rest = match marker {
            0xd9 => {
                has_end = true;
                break;
            }
            // Markers without a body.
            0x01 | 0xd0..=0xd8 => after,
            _ => {
                let Some((body, after)) = markers::body(after) else { break };
                parser.segment(marker, body)?;
                after
            }
        };
    }
    parser.finish(has_end)
}

#[derive(Default)]
struct Parser<'a> {
    frame: Option<Frame>,
    scans: usize,
    /// Whether the height is given behind the pixels.
    has_late_height: bool,
    has_jfif: bool,
    /// The colour transform in Adobe's segment.
    adobe: Option<u8>,
    profile: Vec<(u8, u8, &'a [u8])>,
}

impl<'a> Parser<'a> {
    fn segment(&mut self, marker: u8, body: &'a [u8]) -> Result<(), Problem> {
        match marker {
            // The first segment of a picture in several resolutions.
            0xde => return Err(hierarchical()),
            0xf7 if self.frame.is_none() => return Err(Problem::UnsupportedJpeg("with JPEG-LS coding".to_owned())),
            0xda => return self.scan(body),
            0xdc => self.has_late_height = true,
            0xe0 if body.starts_with(b"JFIF\0") && self.scans == 0 => self.has_jfif = true,
            0xe2 => {
                if let Some([number, all, part @ ..]) = body.strip_prefix(b"ICC_PROFILE\0") {
                    self.profile.push((*number, *all, part));
                }
            }
            0xee if body.starts_with(b"Adobe") && self.scans == 0 => self.adobe = body.get(11).copied().or(self.adobe),
            _ if is_frame(marker) && self.frame.is_some() => return Err(hierarchical()),
            _ if is_frame(marker) => self.frame = Frame::parse(marker, body)?,
            _ => {}
        }
        Ok(())
    }

    fn scan(&mut self, body: &[u8]) -> Result<(), Problem> {
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(Problem::UnsupportedJpeg(format!("of more than {MAX_SCANS} scans")));
        }
        match &mut self.frame {
            Some(frame) => frame.add_scan(body),
            None => Ok(()),
        }
    }

    fn finish(self, has_end: bool) -> Result<Outline<'a>, Problem> {
        let frame = self.frame.ok_or_else(|| match has_end {
            true => Problem::Damaged(FileFormat::Jpeg, "it does not say how large the picture is".to_owned()),
            false => Problem::Truncated(FileFormat::Jpeg),
        })?;
        if frame.height == 0 && self.has_late_height {
            let kind = "that gives its height only behind its pixels (in a DNL marker)";
            return Err(Problem::UnsupportedJpeg(kind.to_owned()));
        }
        let colors = frame.colors(self.has_jfif, self.adobe);
        let is_complete = frame.is_complete(has_end);
        Ok(Outline { frame, colors, has_end, is_complete, profile: self.profile })
    }
}

impl Frame {
    /// Parses the header of pixels, of which the marker says how they are coded. `None` if it is too short.
    fn parse(marker: u8, body: &[u8]) -> Result<Option<Self>, Problem> {
        let coding = match marker {
            0xc3 | 0xc7 | 0xcb | 0xcf => Some("with lossless coding"),
            0xc5 | 0xc6 | 0xcd | 0xce => return Err(hierarchical()),
            0xc9 | 0xca => Some("with arithmetic coding"),
            _ => None,
        };
        if let Some(coding) = coding {
            return Err(Problem::UnsupportedJpeg(coding.to_owned()));
        }
        let [bits, _, _, _, _, count, components @ ..] = body else { return Ok(None) };
        let (Some(height), Some(width)) = (markers::number(body, 1), markers::number(body, 3)) else { return Ok(None) };
        if *bits != 8 {
            return Err(Problem::UnsupportedJpeg(format!("of {bits} bits for each value")));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(Problem::UnsupportedJpeg(format!("of {count} channels")));
        }
        let components: Vec<_> =
            components.as_chunks::<3>().0.iter().take((*count).into()).map(Component::parse).collect();
        if components.len() < (*count).into() {
            return Ok(None);
        }
        let is_repeated =
            |(at, component): (usize, &Component)| components[..at].iter().any(|it| it.id == component.id);
        if components.iter().enumerate().any(is_repeated) {
            return Err(Problem::UnsupportedJpeg("in which two channels have the same number".to_owned()));
        }
        let frame = Self { width: width.into(), height: height.into(), is_progressive: marker == 0xc2, components };
        frame.check_sampling()?;
        Ok(Some(frame))
    }

    pub(crate) fn channels(&self) -> usize {
        self.components.len()
    }

    /// Returns the largest sampling factors across and down.
    fn largest(&self) -> (u8, u8) {
        let largest = |factor: fn(&Component) -> u8| self.components.iter().map(factor).max().unwrap_or(1);
        (largest(|component| component.factors.0), largest(|component| component.factors.1))
    }

    /// Returns for each channel of half the width, and all or half of the height, how many rows of pixels share a value.
    pub(crate) fn rows_of_half_width(&self) -> Vec<Option<usize>> {
        let (most_across, most_down) = self.largest();
        let rows = |component: &Component| {
            let (across, down) = component.factors;
            let rows = [1, 2].into_iter().find(|rows| down * rows == most_down)?;
            (across * 2 == most_across).then_some(usize::from(rows))
        };
        self.components.iter().map(rows).collect()
    }

    fn check_sampling(&self) -> Result<(), Problem> {
        let (most_across, most_down) = self.largest();
        for Component { factors: (across, down), .. } in &self.components {
            if !(1..=4).contains(across) || !(1..=4).contains(down) {
                let problem = format!("its sampling factors are {across}x{down}; they are 1 to 4");
                return Err(Problem::Damaged(FileFormat::Jpeg, problem));
            }
            for (factor, most) in [(across, most_across), (down, most_down)] {
                if !most.is_multiple_of(*factor) {
                    return Err(Problem::UnsupportedJpeg(format!("whose channels are sampled {factor} to {most}")));
                }
            }
        }
        Ok(())
    }

    /// Notes which coefficients a scan brings. One with an invalid header is left to the decoder.
    fn add_scan(&mut self, body: &[u8]) -> Result<(), Problem> {
        let Some((count, rest)) = body.split_first() else { return Ok(()) };
        let Some((selected, [first, last, bits, ..])) = rest.split_at_checked(2 * usize::from(*count)) else {
            return Ok(());
        };
        let (range, missing) = match self.is_progressive {
            true => (usize::from(*first)..usize::from(*last) + 1, bits & 0xf),
            false => (0..COEFFICIENTS, 0),
        };
        for [id, _] in selected.as_chunks::<2>().0 {
            let Some(at) = self.components.iter().position(|component| component.id == *id) else { continue };
            if *count == 1 {
                self.check_separate(&self.components[at])?;
            }
            if let Some(brought) = self.components[at].missing_bits.get_mut(range.clone()) {
                brought.fill(Some(missing));
            }
        }
        Ok(())
    }

    /// Checks that the decoder finds the blocks of a component that has a scan of its own: it takes their number from the
    /// size of the picture, or of the component with padding, which is too many for some of the factors 2 and 3. It counts
    /// the pixels of the picture in 16 bits.
    fn check_separate(&self, component: &Component) -> Result<(), Problem> {
        let (most_across, most_down) = self.largest();
        let (across, down) = component.factors;
        for (side, factor, most) in [(self.width, across, most_across), (self.height, down, most_down)] {
            let (factor, most) = (u32::from(factor), u32::from(most));
            let blocks = (side * factor).div_ceil(most).div_ceil(BLOCK);
            let padded = side.div_ceil(most * BLOCK) * factor;
            let whole = side.div_ceil(BLOCK);
            let found = if whole * BLOCK > u16::MAX.into() { padded } else { padded.min(whole) };
            if blocks != found {
                let sampling = format!("whose channels are sampled {factor} to {most} and stored one after the other");
                return Err(Problem::UnsupportedJpeg(sampling));
            }
        }
        Ok(())
    }

    /// Returns whether all scans are there. Some of a progressive picture may be left out on purpose, if the file has an end.
    fn is_complete(&self, has_end: bool) -> bool {
        let is_there = |missing: &Option<u8>| if has_end { missing.is_some() } else { *missing == Some(0) };
        let wanted = if has_end { COARSE } else { COEFFICIENTS };
        self.components.iter().all(|component| component.missing_bits[..wanted].iter().all(is_there))
    }

    /// Returns what the values of pixels are, by the rules of libjpeg.
    fn colors(&self, has_jfif: bool, adobe: Option<u8>) -> Colors {
        let ids: Vec<u8> = self.components.iter().map(|component| component.id).collect();
        match (ids.as_slice(), adobe) {
            ([_], _) => Colors::Gray,
            ([_, _, _, _], None | Some(0)) => Colors::Cmyk,
            ([_, _, _, _], Some(_)) => Colors::Ycck,
            _ if has_jfif => Colors::YCbCr,
            (_, Some(0)) => Colors::Rgb,
            (b"RGB", None) => Colors::Rgb,
            _ => Colors::YCbCr,
        }
    }

    /// Returns the chroma subsampling, if the channels are brightness and colours.
    fn chroma(&self, colors: Colors) -> Chroma {
        let (Colors::YCbCr | Colors::Ycck, [_, blue, red, ..]) = (colors, self.components.as_slice()) else {
            return Chroma::Full;
        };
        let (most_across, most_down) = self.largest();
        let finer = |factor: fn(&Component) -> u8| factor(blue).max(factor(red)).max(1);
        Chroma::at_most((most_across / finer(|it| it.factors.0), most_down / finer(|it| it.factors.1)))
    }
}

impl Component {
    fn parse([id, factors, _]: &[u8; 3]) -> Self {
        Self { id: *id, factors: (factors >> 4, factors & 0xf), missing_bits: [None; COEFFICIENTS] }
    }
}

impl Outline<'_> {
    pub(crate) fn chroma(&self) -> Chroma {
        self.frame.chroma(self.colors)
    }

    /// Returns the colour profile, if all its parts are there.
    pub(crate) fn profile(&self) -> Option<Vec<u8>> {
        let mut parts = self.profile.clone();
        parts.sort_by_key(|(number, ..)| *number);
        let is_next = |(at, (number, all, _)): (usize, &(u8, u8, &[u8]))| {
            usize::from(*number) == at + 1 && usize::from(*all) == parts.len()
        };
        let is_whole = !parts.is_empty() && parts.iter().enumerate().all(is_next);
        is_whole.then(|| parts.iter().flat_map(|(_, _, part)| part.iter().copied()).collect())
    }
}

fn hierarchical() -> Problem {
    Problem::UnsupportedJpeg("in several resolutions (hierarchical)".to_owned())
}
