//! Runs nets that make pictures from pictures on pictures of any size, tile by tile.
//!
//! A tile is a part of the picture with a surplus on each side where the picture goes on. Of what the net returns, the outer
//! part of the surplus, the margin, is cut off: the net has not seen what is beyond it. Over the inner part, the blend,
//! neighbours fade into each other. At the edges of the picture there is no surplus, so that the net sees them as it would see
//! those of the whole picture.
//!
//! If the margin is as wide as the net sees around a pixel, its receptive field, the result is that of the whole picture. Deep
//! nets see farther than any margin, but what is far off changes little; the blend hides that.

use std::ops::Range;

use imgopen_engine::{EngineError, Monitor};

use crate::planes::{Area, Planes};

/// How a picture is divided into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    /// The most pixels of a tile along each side, margins and blends included. It bounds the memory of a run, and the time
    /// until a cancellation is seen.
    pub side: usize,
    /// How many pixels of each inner side are cut off, counted in pixels of the picture.
    pub margin: usize,
    /// Over how many pixels on both sides of a seam neighbours fade into each other, counted in pixels of the picture.
    pub blend: usize,
    /// How many times as wide and high the net's results are. At least 1.
    pub scale: usize,
}

/// A part of one side of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    /// What the net is given.
    given: (usize, usize),
    /// What is kept of it, the blend included.
    kept: (usize, usize),
    /// How much of the beginning of `kept` fades in.
    fade: usize,
}

impl Tiles {
    /// Returns the number of tiles that a picture is divided into.
    ///
    /// # Errors
    ///
    /// [`EngineError::Failed`] if `side` leaves no room beside margin and blend, or the scale is 0.
    pub fn count(&self, width: usize, height: usize) -> Result<usize, EngineError> {
        Ok(self.spans(width)?.len() * self.spans(height)?.len())
    }

    /// Returns the most pixels that the net is given at once along each side: those of the largest tile.
    ///
    /// # Errors
    ///
    /// As [`count`](Self::count).
    pub fn largest(&self, width: usize, height: usize) -> Result<(usize, usize), EngineError> {
        let most = |spans: Vec<Span>| spans.iter().map(|span| span.given.1 - span.given.0).max().unwrap_or(0);
        Ok((most(self.spans(width)?), most(self.spans(height)?)))
    }

    /// Runs a net over a picture. `net` is given tiles and returns pictures `scale` times as wide and high, with any number of
    /// channels.
    ///
    /// Before each tile the job's cancellation is checked, and progress is reported from the beginning of `progress` to its
    /// end, as shares of the job from 0 to 1.
    ///
    /// # Errors
    ///
    /// What `net` returns; [`EngineError::Cancelled`]; [`EngineError::Failed`] if the net's results have another size or number
    /// of channels, `side` leaves no room beside margin and blend, or the picture is empty.
    ///
    /// ```
    /// use imgopen_engine::{EngineError, Monitor};
    /// use imgopen_nets::{Planes, Tiles};
    ///
    /// let picture = Planes::new(1, 3, 2, vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6])?;
    /// let tiles = Tiles { side: 4, margin: 1, blend: 0, scale: 1 };
    /// let halved = |tile: Planes| {
    ///     let (width, height) = (tile.width(), tile.height());
    ///     let values = tile.into_values().into_iter().map(|value| value / 2.0).collect();
    ///     Planes::new(1, width, height, values).map_err(|error| EngineError::Failed(error.to_string()))
    /// };
    /// let result = tiles.run(&picture, &Monitor::new().0, 0.0..1.0, halved)?;
    /// assert_eq!(result.values(), [0.05, 0.1, 0.15, 0.2, 0.25, 0.3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run(
        &self,
        picture: &Planes,
        monitor: &Monitor,
        progress: Range<f64>,
        mut net: impl FnMut(Planes) -> Result<Planes, EngineError>,
    ) -> Result<Planes, EngineError> {
        let (columns, rows) = (self.spans(picture.width())?, self.spans(picture.height())?);
        if columns.is_empty() || rows.is_empty() {
            return Err(EngineError::Failed("the picture has no pixels".to_owned()));
        }
        let total = (columns.len() * rows.len()) as f64;
        let mut done = 0.0;
        let mut result: Option<Planes> = None;
        for row in &rows {
            // Where it overlaps the rows above, it is put together apart, so that each seam fades in one direction only.
            let mut seam: Option<Planes> = None;
            for column in &columns {
                monitor.stage(progress.start + (progress.end - progress.start) * done / total)?;
                let tile = self.tile(picture, column, row, &mut net)?;
                let result = result.get_or_insert_with(|| {
                    Planes::zeros(tile.channels(), picture.width() * self.scale, picture.height() * self.scale)
                });
                if tile.channels() != result.channels() {
                    let problem = "the net returns a changing number of channels";
                    return Err(EngineError::Failed(problem.to_owned()));
                }
                let fade = row.fade * self.scale;
                let seam = seam.get_or_insert_with(|| Planes::zeros(result.channels(), result.width(), fade));
                self.place(&tile, column, row, 0..fade, seam, 0);
                let top = row.kept.0 * self.scale + fade;
                self.place(&tile, column, row, fade..(row.kept.1 - row.kept.0) * self.scale, result, top);
                done += 1.0;
            }
            if let (Some(result), Some(seam)) = (&mut result, &seam) {
                fade_in(result, seam, row.kept.0 * self.scale);
            }
        }
        monitor.stage(progress.end)?;
        result.ok_or_else(|| EngineError::Failed("the picture has no pixels".to_owned()))
    }

    /// Has the net work on a tile.
    fn tile(
        &self,
        picture: &Planes,
        column: &Span,
        row: &Span,
        net: &mut impl FnMut(Planes) -> Result<Planes, EngineError>,
    ) -> Result<Planes, EngineError> {
        let (width, height) = (column.given.1 - column.given.0, row.given.1 - row.given.0);
        let tile = net(picture.cut(Area { left: column.given.0, top: row.given.0, width, height }))?;
        let wanted = (width * self.scale, height * self.scale);
        match (tile.width(), tile.height()) == wanted && tile.channels() > 0 {
            true => Ok(tile),
            false => Err(EngineError::Failed(format!(
                "the net returns {}x{} pixels in {} channels for {width}x{height}, in place of {}x{}",
                tile.width(),
                tile.height(),
                tile.channels(),
                wanted.0,
                wanted.1
            ))),
        }
    }

    /// Puts rows of what is kept of a tile into a picture, from `top` on, fading in from the tile on its left. `lines` counts
    /// from the first row that is kept.
    fn place(&self, tile: &Planes, column: &Span, row: &Span, lines: Range<usize>, target: &mut Planes, top: usize) {
        let scale = self.scale;
        let skipped = ((column.kept.0 - column.given.0) * scale, (row.kept.0 - row.given.0) * scale);
        let width = (column.kept.1 - column.kept.0) * scale;
        let (left, fade) = (column.kept.0 * scale, column.fade * scale);
        for channel in 0..tile.channels() {
            for (offset, line) in lines.clone().enumerate() {
                let source = &tile.row(channel, skipped.1 + line)[skipped.0..skipped.0 + width];
                let target = &mut target.row_mut(channel, top + offset)[left..left + width];
                for (index, (old, new)) in target[..fade].iter_mut().zip(source).enumerate() {
                    *old = faded(*old, *new, index, fade);
                }
                target[fade..].copy_from_slice(&source[fade..]);
            }
        }
    }

    /// Divides one side of a picture, as evenly as it goes.
    fn spans(&self, length: usize) -> Result<Vec<Span>, EngineError> {
        let surplus = self.margin.saturating_add(self.blend);
        let room = surplus.checked_mul(2).and_then(|surplus| self.side.checked_sub(surplus)).filter(|room| *room > 0);
        let (Some(room), true) = (room, self.scale > 0) else {
            let Self { side, margin, blend, scale } = self;
            let problem =
                format!("tiles of {side} pixels with margins of {margin}, blends of {blend}, and scale {scale}");
            return Err(EngineError::Failed(format!("{problem} leave no room")));
        };
        // A whole picture has no surplus.
        let count = if length <= self.side { length.min(1) } else { length.div_ceil(room) };
        let cut = |index: usize| length / count * index + length % count * index / count;
        let span = |index: usize| {
            let (start, end) = (cut(index), cut(index + 1));
            let wider = |by: usize| (start.saturating_sub(by), end.saturating_add(by).min(length));
            let kept = wider(self.blend);
            // Where the one before ends.
            let before = if index == 0 { kept.0 } else { start.saturating_add(self.blend).min(length) };
            Span { given: wider(surplus), kept, fade: before - kept.0 }
        };
        Ok((0..count).map(span).collect())
    }
}

/// Fades the first rows of a row of tiles in over the row above.
fn fade_in(result: &mut Planes, seam: &Planes, top: usize) {
    for channel in 0..result.channels() {
        for y in 0..seam.height() {
            let target = result.row_mut(channel, top + y);
            for (old, new) in target.iter_mut().zip(seam.row(channel, y)) {
                *old = faded(*old, *new, y, seam.height());
            }
        }
    }
}

/// Returns a value between two at a place of a fade. Equal ones stay exactly as they are.
fn faded(old: f32, new: f32, index: usize, fade: usize) -> f32 {
    let share = (index as f32 + 0.5) / fade as f32;
    old + share * (new - old)
}

#[cfg(test)]
mod tests;
