//! A part of a picture around a piece of a hole, at the size at which a net fills it.

use image::{DynamicImage, GrayImage};
use imgopen_engine::{EngineError, Monitor};
use imgopen_nets::Session;
use imgopen_tools::fill::Area;

use super::net;
use crate::pixels::{self, Channels};
use crate::plane::{Plane, places};

/// How far from the edge of the hole, in pixels of the part, what the net makes is matched to what is around.
const MATCHED: usize = 8;

/// A piece of a hole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    /// Which pixels of the picture are to be filled.
    pub hole: &'a [bool],
    /// What the piece fills.
    pub inner: Area,
    /// From where.
    pub outer: Area,
}

/// A part of a picture.
pub(super) struct Part {
    pub width: usize,
    pub height: usize,
    channels: Channels,
    /// Whether the picture has transparency.
    is_transparent: bool,
    /// 1 where the hole is, with what mixes with it, and 0 elsewhere.
    mask: Plane,
}

/// What a net has made of a part.
pub(super) struct Filled {
    colours: [Plane; 3],
    opacity: Option<Plane>,
}

impl Part {
    /// Takes the part around a piece, at a size within that width and height.
    pub fn of(
        image: &DynamicImage,
        piece: &Piece<'_>,
        (most_width, most_height): (usize, usize),
        monitor: &Monitor,
    ) -> Result<Self, EngineError> {
        let Area { left, top, .. } = piece.outer;
        let (width, height) = (piece.outer.width(), piece.outer.height());
        let crop = image.crop_imm(left as u32, top as u32, width as u32, height as u32);
        let mut hole = GrayImage::new(width as u32, height as u32);
        let rows = piece.hole.chunks_exact(image.width() as usize).skip(top);
        for (marks, samples) in rows.zip(hole.chunks_exact_mut(width)) {
            monitor.check_cancelled()?;
            for (mark, sample) in marks.iter().skip(left).zip(samples) {
                *sample = if *mark { u8::MAX } else { 0 };
            }
        }
        let share = (most_width as f64 / width as f64).min(most_height as f64 / height as f64).min(1.0);
        let scaled = |side: usize, most: usize| ((side as f64 * share).round() as usize).clamp(1, most.max(1));
        let (width, height) = (scaled(width, most_width), scaled(height, most_height));
        let is_transparent = crop.color().has_alpha();
        let channels = Channels::of(&resized(&crop, width, height)?)?;
        drop(crop);
        let [shares, ..] = Channels::of(&resized(&hole.into(), width, height)?)?.colours;
        let values = shares.values.iter().map(|share| if *share > 0.0 { 1.0 } else { 0.0 }).collect();
        Ok(Self { width, height, channels, is_transparent, mask: Plane { width, height, values } })
    }

    /// Returns whether there is anything to fill the hole from.
    pub fn has_known(&self) -> bool {
        self.mask.values.contains(&0.0)
    }

    /// Has a net fill the hole.
    pub fn filled(
        &self,
        session: &Session,
        sides: Option<(usize, usize)>,
        monitor: &Monitor,
    ) -> Result<Filled, EngineError> {
        let known = self.mask.with(&self.mask, |hole, _| 1.0 - hole);
        let [red, green, blue] = &self.channels.colours;
        let run = |planes: [&Plane; 3]| -> Result<[Plane; 3], EngineError> {
            monitor.check_cancelled()?;
            let [first, second, third] = net::run(session, sides, planes, &self.mask)?;
            let [of_first, of_second, of_third] = planes;
            Ok([
                matched(first, of_first, &known, monitor)?,
                matched(second, of_second, &known, monitor)?,
                matched(third, of_third, &known, monitor)?,
            ])
        };
        if !self.is_transparent {
            return Ok(Filled { colours: run([red, green, blue])?, opacity: None });
        }
        // Colours that transparency hides are not for the net.
        let seen = self.channels.opacity.with(&known, |opacity, known| opacity * known);
        let [red, green, blue] = [red.seen(&seen, monitor)?, green.seen(&seen, monitor)?, blue.seen(&seen, monitor)?];
        let colours = run([&red, &green, &blue])?;
        let opacity = &self.channels.opacity;
        let is_opaque =
            opacity.values.iter().zip(&known.values).all(|(opacity, known)| *known == 0.0 || *opacity == 1.0);
        let opacity = match is_opaque {
            true => Plane { values: vec![1.0; opacity.values.len()], ..*opacity },
            false => mean(&run([opacity, opacity, opacity])?),
        };
        Ok(Filled { colours, opacity: Some(opacity) })
    }
}

impl Filled {
    /// Writes it into the picture, where the piece's hole is.
    pub fn write(&self, image: &mut DynamicImage, piece: &Piece<'_>, monitor: &Monitor) -> Result<(), EngineError> {
        let Piece { hole, inner, outer } = *piece;
        let (width, size) = (image.width() as usize, (self.colours[0].width, self.colours[0].height));
        let (columns, rows) = (places(size.0, outer.width()), places(size.1, outer.height()));
        let planes: Vec<&Plane> = self.colours.iter().chain(&self.opacity).collect();
        let mut mixed = Vec::new();
        let mut made: Vec<Vec<f32>> = vec![Vec::new(); planes.len()];
        for y in inner.top..inner.bottom {
            monitor.check_cancelled()?;
            for (plane, row) in planes.iter().zip(&mut made) {
                plane.enlarge_row(rows[y - outer.top], &columns, &mut mixed, row);
            }
            let level = |channel: usize, x: usize| made.get(channel).map_or(1.0, |row| row[x - outer.left]);
            let marked = (inner.left..inner.right).filter(|x| hole[y * width + x]);
            let pixels = marked.map(|x| (x, [level(0, x), level(1, x), level(2, x), level(3, x)]));
            pixels::set_row(image, y, pixels)?;
        }
        Ok(())
    }
}

/// Shifts what a net has made towards what is known along the edge of the hole, less and less further in.
fn matched(made: Plane, given: &Plane, known: &Plane, monitor: &Monitor) -> Result<Plane, EngineError> {
    let off = given.with(&made, |given, made| given - made).average(known, MATCHED, monitor)?;
    let near = known.mean(MATCHED, monitor)?;
    let shift = off.with(&near, |off, near| off * (2.0 * near).min(1.0));
    let mut matched = made.with(&shift, |made, shift| made + shift);
    for ((level, given), known) in matched.values.iter_mut().zip(&given.values).zip(&known.values) {
        // The colours of what is known are interpolated with those of the hole when the part is enlarged.
        if *known == 1.0 {
            *level = *given;
        }
    }
    Ok(matched)
}

/// Returns the mean of three planes.
fn mean([first, second, third]: &[Plane; 3]) -> Plane {
    first.with(second, |first, second| first + second).with(third, |sum, third| (sum + third) / 3.0)
}

/// Returns a picture at another size, or itself at its own.
fn resized(image: &DynamicImage, width: usize, height: usize) -> Result<DynamicImage, EngineError> {
    let (width, height) = (width as u32, height as u32);
    match (image.width(), image.height()) == (width, height) {
        true => Ok(image.clone()),
        false => pixels::resized(image, width, height),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_matched_to_what_is_around() {
        let plane = |value: &dyn Fn(usize) -> f32| Plane { width: 60, height: 1, values: (0..60).map(value).collect() };
        let known = plane(&|x| if (20..55).contains(&x) { 0.0 } else { 1.0 });
        let (given, made) = (plane(&|_| 0.5), plane(&|_| 0.25));
        let matched = matched(made, &given, &known, &Monitor::new().0).unwrap();
        assert!(matched.values[..20].iter().all(|level| *level == 0.5));
        // At the edge nearly as around, and further in as it was made.
        assert!((matched.values[20] - 0.5).abs() < 0.05, "{}", matched.values[20]);
        assert!((matched.values[36] - 0.25).abs() < 1e-3, "{}", matched.values[36]);
        assert!(matched.values[20..30].windows(2).all(|pair| pair[0] >= pair[1]));
    }
}
