//! Lays out a text: its size, its lines, and its pixels.

use std::collections::HashMap;
use std::sync::PoisonError;

use cosmic_text::skrifa::instance::{LocationRef, Size};
use cosmic_text::skrifa::{FontRef, MetadataProvider};
use cosmic_text::{Align, Buffer, CacheKey, Metrics, Placement, Shaping, SwashContent, SwashImage, Wrap};
use imgopen_engine::{EngineError, Monitor};
use imgopen_types::WatermarkPosition;

use super::fonts::{Collection, Setter, without_font};
use super::layer::{Layer, Mark};
use super::order::placed;
use super::outline;
use super::place::Space;
use super::request::is_invisible;

/// The smallest letters: their em in pixels.
const SMALLEST: f32 = 8.0;
/// Lines are wrapped rather than set in letters smaller than this share of the picture's shorter side.
const READABLE: f32 = 1.0 / 40.0;
/// The line height as a multiple of the letter size.
const LINE: f32 = 1.3;
/// The width of the outline around letters as a share of their size.
const EDGE: f32 = 1.0 / 18.0;
/// The opacity of the outline.
const EDGE_OPACITY: f32 = 0.7;
/// A text whose outlines exceed the room by this factor is made smaller before it is drawn.
const FAR_OVER: f32 = 1.5;
/// The letter size at which a text is first measured. Layout scales linearly.
const MEASURED_AT: f32 = 100.0;

/// Lays out a text in the size that the space asks for.
///
/// # Errors
///
/// Names characters that cannot be shaped with any font, and says when a text does not fit. [`EngineError::Cancelled`].
pub(super) fn set(
    fonts: &Collection,
    text: &str,
    position: WatermarkPosition,
    space: &Space,
    monitor: &Monitor,
) -> Result<Mark, EngineError> {
    let inked = {
        // Release the lock, others wait for it.
        let mut setter = fonts.setter().lock().unwrap_or_else(PoisonError::into_inner);
        ink(&mut Setting::new(fonts, &mut setter, text, position), text, space, monitor)?
    };
    let drawn = Drawn::new(&inked, monitor)?;
    monitor.check_cancelled()?;
    Ok(drawn.into_mark())
}

/// Finds the size and draws the glyphs.
fn ink(setting: &mut Setting<'_>, text: &str, space: &Space, monitor: &Monitor) -> Result<Inked, EngineError> {
    setting.check_glyphs()?;
    let (width, height) = space.room;
    let rejected = || {
        let problem = format!(
            "{} characters do not fit {width}x{height} pixels in letters of {SMALLEST} pixels; give a shorter text, a \
             smaller margin or a larger picture",
            text.chars().count()
        );
        EngineError::rejected("watermarkText", problem)
    };
    let over = |extent: Extent| (extent.width() as f32 / width as f32).max(extent.height() as f32 / height as f32);
    let mut fit = setting.fit(space).ok_or_else(rejected)?;
    // The outlines show roughly how far letters reach beyond their lines, the pixels exactly.
    for _ in 0..6 {
        monitor.check_cancelled()?;
        let laid = setting.lay(fit);
        let about = over(laid.extent);
        if about > FAR_OVER {
            fit = Fit { grow: None, ..fit.times(0.99 / about) };
            if fit.size < SMALLEST {
                return Err(rejected());
            }
            continue;
        }
        let inked = setting.ink(&laid);
        let over = over(inked.extent);
        let by = match fit.grow.take() {
            Some(most) if over < 1.0 => {
                let wanted = (space.target as f32 / inked.extent.width() as f32).min(most / fit.size);
                wanted.max(SMALLEST / fit.size).min(1.0 / over)
            }
            _ if over <= 1.0 => 1.0,
            _ => 0.99 / over,
        };
        if (1.0..1.02).contains(&by) {
            return Ok(inked);
        }
        fit = fit.times(by);
        if fit.size < SMALLEST {
            // Shorter lines rather than unreadable letters.
            fit = Fit { size: SMALLEST, wrap: Wrap::WordOrGlyph, ..fit };
        }
    }
    Err(rejected())
}

/// A text in the course of layout.
struct Setting<'a> {
    setter: &'a mut Setter,
    buffer: Buffer,
}

/// The parameters of a layout.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fit {
    /// The letter size in pixels.
    size: f32,
    /// The line width in pixels.
    width: f32,
    wrap: Wrap,
    /// The letter size at which the mark has the wanted width.
    grow: Option<f32>,
}

impl Fit {
    /// Creates a layout without wrapping.
    fn whole(size: f32) -> Self {
        Self { size, width: f32::MAX, wrap: Wrap::None, grow: None }
    }

    /// Returns the layout scaled by a factor.
    fn times(self, by: f32) -> Self {
        Self { size: self.size * by, width: self.width * by, ..self }
    }
}

impl<'a> Setting<'a> {
    fn new(fonts: &Collection, setter: &'a mut Setter, text: &str, position: WatermarkPosition) -> Self {
        let mut buffer = Buffer::new_empty(metrics(MEASURED_AT));
        let spans = fonts.spans(text);
        let plain = spans[0].1.clone();
        buffer.set_rich_text(spans, &plain, Shaping::Advanced, Some(alignment(position)));
        let mut setting = Self { setter, buffer };
        setting.measure(Fit::whole(MEASURED_AT));
        setting
    }

    /// Rejects characters without a glyph.
    fn check_glyphs(&self) -> Result<(), EngineError> {
        for run in self.buffer.layout_runs() {
            for glyph in run.glyphs.iter().filter(|glyph| glyph.glyph_id == 0) {
                let characters = &run.text[glyph.start..glyph.end];
                if !characters.chars().all(is_invisible) {
                    return Err(without_font(characters));
                }
            }
        }
        Ok(())
    }

    /// Lays out the text and returns its width and height in pixels.
    fn measure(&mut self, fit: Fit) -> (f32, f32) {
        self.buffer.set_wrap(fit.wrap);
        let width = (fit.wrap != Wrap::None).then_some(fit.width);
        self.buffer.set_metrics_and_size(metrics(fit.size), width, None);
        self.buffer.shape_until_scroll(&mut self.setter.system, false);
        let runs = self.buffer.layout_runs();
        runs.fold((0.0, 0.0), |(width, height), run| (run.line_w.max(width), height + run.line_height))
    }

    /// Finds a letter size and lines: the wanted width in the given lines, else in wrapped lines, else wider.
    fn fit(&mut self, space: &Space) -> Option<Fit> {
        let (width, height) = (space.room.0 as f32, space.room.1 as f32);
        let whole = self.measure(Fit::whole(MEASURED_AT));
        let target = space.target as f32;
        // Outlines are part of the mark.
        let down = height / (whole.1 / MEASURED_AT + 2.0 * EDGE);
        let largest = down.min(space.letters.unwrap_or(f32::MAX));
        let most = |target: f32| (target / (whole.0 / MEASURED_AT + 2.0 * EDGE)).min(largest);
        let readable = (width.min(height) * READABLE).max(SMALLEST);
        let one = Fit { grow: Some(largest), ..Fit::whole(most(target)) };
        if one.size >= readable {
            return Some(self.snug(one));
        }
        let broken = self.largest(target, Wrap::Word, one.size, readable, height);
        let broken = broken.or_else(|| self.largest(width, Wrap::Word, most(width).min(readable), readable, height));
        let broken = broken.or_else(|| self.largest(width, Wrap::WordOrGlyph, SMALLEST, readable, height));
        broken.map(|fit| self.snug(fit))
    }

    /// Returns the largest letter size up to `readable` at which the text, wrapped to that width, fits.
    fn largest(&mut self, width: f32, wrap: Wrap, least: f32, readable: f32, height: f32) -> Option<Fit> {
        let mut fits = |size: f32| {
            let edge = 2.0 * EDGE * size;
            let fit = Fit { size, width: width - edge, wrap, grow: None };
            let (wide, high) = self.measure(fit);
            (wide <= fit.width + 0.01 && high + edge <= height).then_some(fit)
        };
        let (mut low, mut high) = (least.max(SMALLEST), readable);
        let mut best = fits(low)?;
        for _ in 0..8 {
            let middle = (low + high) / 2.0;
            match fits(middle) {
                Some(fit) => (best, low) = (fit, middle),
                None => high = middle,
            }
        }
        Some(best)
    }

    /// Returns the layout with the line width of the longest line, so that alignment is within the mark.
    fn snug(&mut self, fit: Fit) -> Fit {
        let (width, _) = self.measure(fit);
        let wrap = if fit.wrap == Wrap::None { Wrap::Word } else { fit.wrap };
        // A little more, so that rounding does not wrap the longest line.
        Fit { width: width * 1.0005 + 0.05, wrap, ..fit }
    }

    /// Lays out the text and returns the positions of its glyphs without drawing them.
    fn lay(&mut self, fit: Fit) -> Laid {
        self.measure(fit);
        let (mut glyphs, mut extent) = (Vec::new(), Extent::NONE);
        for run in self.buffer.layout_runs() {
            for glyph in placed(run.glyphs).iter().filter(|glyph| glyph.glyph_id != 0) {
                let glyph = glyph.physical((0.0, run.line_y), 1.0);
                extent = extent.with(self.setter.outline(glyph.cache_key, fit.size).moved(glyph.x, glyph.y));
                glyphs.push((glyph.cache_key, glyph.x, glyph.y));
            }
        }
        let edge = (fit.size * EDGE).round().max(1.0) as i32;
        Laid { glyphs, edge, extent: extent.grown(edge) }
    }

    /// Draws the glyphs, equal ones once.
    fn ink(&mut self, laid: &Laid) -> Inked {
        let Setter { system, glyphs: cache } = &mut *self.setter;
        let (mut images, mut drawn): (Vec<SwashImage>, HashMap<CacheKey, Option<usize>>) = Default::default();
        let (mut glyphs, mut extent) = (Vec::new(), Extent::NONE);
        for (key, x, y) in &laid.glyphs {
            let index = *drawn.entry(*key).or_insert_with(|| {
                let image = cache.get_image_uncached(system, *key).filter(|image| !image.data.is_empty())?;
                images.push(image);
                Some(images.len() - 1)
            });
            let Some(image) = index else { continue };
            let Placement { left, top, width, height } = images[image].placement;
            let (left, top) = (x.saturating_add(left), y.saturating_sub(top));
            extent = extent.with(Extent { left, top, right: left + width as i32, bottom: top + height as i32 });
            glyphs.push(Glyph { left, top, image });
        }
        Inked { images, glyphs, edge: laid.edge, extent: extent.grown(laid.edge) }
    }
}

impl Setter {
    /// Returns the bounds of a glyph's outline around its position, in whole pixels; an estimate if it has no outline.
    fn outline(&mut self, key: CacheKey, size: f32) -> Extent {
        let font = self.system.get_font(key.font_id, key.font_weight);
        let index = self.system.db().face(key.font_id).map_or(0, |face| face.index);
        let bounds = font.and_then(|font| {
            let font = FontRef::from_index(font.data(), index).ok()?;
            font.glyph_metrics(Size::new(size), LocationRef::default()).bounds(key.glyph_id.into())
        });
        let Some(bounds) = bounds else {
            return Extent { left: 0, top: -size.ceil() as i32, right: size.ceil() as i32, bottom: 0 };
        };
        let (left, right) = (bounds.x_min.floor() as i32, bounds.x_max.ceil() as i32);
        Extent { left, top: -bounds.y_max.ceil() as i32, right, bottom: -bounds.y_min.floor() as i32 }
    }
}

fn metrics(size: f32) -> Metrics {
    Metrics::new(size, size * LINE)
}

fn alignment(position: WatermarkPosition) -> Align {
    use WatermarkPosition::*;
    match position {
        TopLeft | CenterLeft | BottomLeft => Align::Left,
        TopCenter | Center | BottomCenter | Tile => Align::Center,
        TopRight | CenterRight | BottomRight => Align::Right,
    }
}

/// An area, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Extent {
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

impl Extent {
    const NONE: Self = Self { left: i32::MAX, top: i32::MAX, right: i32::MIN, bottom: i32::MIN };

    /// Returns the smallest area that contains both.
    fn with(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    fn moved(self, x: i32, y: i32) -> Self {
        Self {
            left: self.left.saturating_add(x),
            top: self.top.saturating_add(y),
            right: self.right.saturating_add(x),
            bottom: self.bottom.saturating_add(y),
        }
    }

    /// Returns the area extended on each side; an empty one is extended from a point.
    fn grown(self, by: i32) -> Self {
        let Self { left, top, right, bottom } = if self == Self::NONE { Self::default() } else { self };
        Self {
            left: left.saturating_sub(by),
            top: top.saturating_sub(by),
            right: right.saturating_add(by),
            bottom: bottom.saturating_add(by),
        }
    }

    fn width(self) -> u32 {
        self.right.abs_diff(self.left)
    }

    fn height(self) -> u32 {
        self.bottom.abs_diff(self.top)
    }
}

/// A text after layout.
struct Laid {
    /// Each glyph with its position.
    glyphs: Vec<(CacheKey, i32, i32)>,
    /// The width of the outline around letters.
    edge: i32,
    /// Its approximate bounds with outlines.
    extent: Extent,
}

/// A text whose glyphs are drawn.
struct Inked {
    images: Vec<SwashImage>,
    glyphs: Vec<Glyph>,
    edge: i32,
    /// Its bounds with outlines.
    extent: Extent,
}

/// The image of a glyph, and its position.
struct Glyph {
    left: i32,
    top: i32,
    image: usize,
}

/// The pixels of a text.
struct Drawn {
    width: u32,
    height: u32,
    /// The coverage of each pixel by the letters.
    letters: Vec<u8>,
    /// The coverage by the letters with their outlines.
    edges: Vec<u8>,
    /// The pixels of coloured glyphs, premultiplied; empty if there are none.
    colours: Vec<[u8; 4]>,
}

impl Drawn {
    fn new(inked: &Inked, monitor: &Monitor) -> Result<Self, EngineError> {
        let Extent { left, top, .. } = inked.extent;
        let (width, height) = (inked.extent.width(), inked.extent.height());
        let size = width as usize * height as usize;
        let mut drawn = Self { width, height, letters: vec![0; size], edges: Vec::new(), colours: Vec::new() };
        for glyph in &inked.glyphs {
            monitor.check_cancelled()?;
            drawn.add(&inked.images[glyph.image], (glyph.left - left) as usize, (glyph.top - top) as usize);
        }
        drawn.edges = outline::widen(&drawn.letters, width as usize, inked.edge as usize, monitor)?;
        Ok(drawn)
    }

    fn add(&mut self, image: &SwashImage, left: usize, top: usize) {
        let (width, coloured) = (image.placement.width as usize, image.content == SwashContent::Color);
        if coloured && self.colours.is_empty() {
            self.colours = vec![[0; 4]; self.letters.len()];
        }
        let bytes = if coloured { 4 } else { 1 };
        for (row, samples) in image.data.chunks_exact(width * bytes).enumerate() {
            let first = (top + row) * self.width as usize + left;
            let letters = &mut self.letters[first..first + width];
            match coloured {
                false => letters.iter_mut().zip(samples).for_each(|(all, one)| *all = (*all).max(*one)),
                true => {
                    let colours = &mut self.colours[first..first + width];
                    for ((all, pixel), colour) in letters.iter_mut().zip(samples.as_chunks().0).zip(colours) {
                        *all = (*all).max(pixel[3]);
                        *colour = pixel.map(|sample| (u32::from(sample) * u32::from(pixel[3]) / 255) as u8);
                        colour[3] = pixel[3];
                    }
                }
            }
        }
    }

    fn into_mark(self) -> Mark {
        Mark::Text { on_dark: self.layer(255), on_light: self.layer(0) }
    }

    /// Returns letters in that gray, with outlines in its opposite.
    fn layer(&self, gray: u8) -> Layer<u8> {
        let edge_opacity = (EDGE_OPACITY * 255.0) as u32;
        let pixel = |(letter, edge): (&u8, &u8)| {
            let (letter, edge) = (u32::from(*letter), u32::from(*edge) * edge_opacity / 255);
            let edge = edge * (255 - letter) / 255;
            let colour = (letter * u32::from(gray) + edge * (255 - u32::from(gray))) / 255;
            [colour as u8, colour as u8, colour as u8, (letter + edge) as u8]
        };
        let mut pixels: Vec<[u8; 4]> = self.letters.iter().zip(&self.edges).map(pixel).collect();
        for (pixel, colour) in pixels.iter_mut().zip(&self.colours).filter(|(_, colour)| colour[3] > 0) {
            // The outline shows through the colour.
            let through = 255 - u32::from(colour[3]);
            for (sample, colour) in pixel.iter_mut().zip(colour) {
                *sample = (u32::from(*colour) + u32::from(*sample) * through / 255).min(255) as u8;
            }
        }
        Layer { width: self.width, height: self.height, pixels }
    }
}
