//! Decodes JPEG files of at most four pixels across in which channels have half the width.
//!
//! libjpeg repeats the values of such a channel if it has at most two columns, and the decoder smooths them. So the values are worked out
//! from what they were smoothed to: in a row of four pixels, the outermost ones depend on one column each.

use crate::jpeg_markers::{self as markers, is_frame};
use crate::jpeg_outline::{Colors, Outline};

/// The widest picture in which channels of half the width have at most two columns.
const WIDEST: usize = 4;
const CHANNELS: usize = 3;

/// Returns whether a file is one of those.
pub(super) fn is_narrow(outline: &Outline<'_>) -> bool {
    let frame = &outline.frame;
    let has_three = frame.channels() == CHANNELS && matches!(outline.colors, Colors::Rgb | Colors::YCbCr);
    has_three && frame.width as usize <= WIDEST && frame.rows_of_half_width().iter().any(Option::is_some)
}

/// Returns the values of the pixels in RGB, of those of the widened file as they are stored.
pub(super) fn unsmoothed(mut pixels: Vec<u8>, outline: &Outline<'_>) -> Vec<u8> {
    for (channel, rows) in outline.frame.rows_of_half_width().into_iter().enumerate() {
        if let Some(rows) = rows {
            repeat(&mut pixels, channel, rows);
        }
    }
    if outline.colors == Colors::YCbCr {
        pixels.as_chunks_mut::<CHANNELS>().0.iter_mut().for_each(|pixel| *pixel = rgb(*pixel));
    }
    let row = outline.frame.width as usize * CHANNELS;
    pixels.chunks_exact(WIDEST * CHANNELS).flat_map(|pixels| &pixels[..row]).copied().collect()
}

/// Returns a file whose header says that it is as wide as can be. All these pixels are in the same blocks.
pub(super) fn widened(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some((marker, after)) = markers::next(rest) {
        let Some((body, behind)) = markers::body_of(marker, after) else { break };
        if is_frame(marker) {
            let at = bytes.len() - behind.len() - body.len();
            if let Some(width) = file.get_mut(at + 3..at + 5) {
                width.copy_from_slice(&(WIDEST as u16).to_be_bytes());
            }
            break;
        }
        rest = behind;
    }
    file
}

/// Repeats the values of a channel, each over two columns and that many rows.
fn repeat(pixels: &mut [u8], channel: usize, rows: usize) {
    const ROW: usize = WIDEST * CHANNELS;
    for column in 0..2 {
        let outermost = column * (WIDEST - 1) * CHANNELS + channel;
        let seen: Vec<u8> = pixels.iter().skip(outermost).step_by(ROW).copied().collect();
        let values = if rows == 1 { seen } else { before_smoothing(&seen) };
        for (y, row) in pixels.chunks_exact_mut(ROW).enumerate() {
            for x in [2 * column, 2 * column + 1] {
                row[x * CHANNELS + channel] = values[y / rows];
            }
        }
    }
}

/// Returns the values of a column of half the height. Each was smoothed to two rows: three quarters of them are its own, the rest is of
/// the value before, or behind.
fn before_smoothing(seen: &[u8]) -> Vec<u8> {
    let mix = |near: u8, far: u8| ((3 * u16::from(near) + u16::from(far) + 2) / 4) as u8;
    let mut last = seen.first().copied().unwrap_or_default();
    let mut values = vec![last];
    for pair in seen.get(1..).unwrap_or_default().chunks_exact(2) {
        let (before, at) = (pair[0], pair[1]);
        // Its own row counts most: rounding may have moved the value before by a level.
        let distance = |value: &u8| {
            let [own, other] = [mix(*value, last).abs_diff(at), mix(last, *value).abs_diff(before)].map(u32::from);
            4 * own + other
        };
        last = (0..=u8::MAX).min_by_key(distance).unwrap_or(at);
        values.push(last);
    }
    values
}

/// Converts YCbCr as JFIF defines it.
fn rgb([y, blue, red]: [u8; CHANNELS]) -> [u8; CHANNELS] {
    let [y, blue, red] = [f32::from(y), f32::from(blue) - 128.0, f32::from(red) - 128.0];
    let channels = [y + 1.402 * red, y - 0.344_136 * blue - 0.714_136 * red, y + 1.772 * blue];
    channels.map(|channel| channel.round() as u8)
}
