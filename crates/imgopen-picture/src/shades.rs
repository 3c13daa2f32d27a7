//! Understands masks in the forms in which people make them, as shades: what is marked is white, the rest is black.
//!
//! A first look over all pixels finds out which form it is, because the same red is paint on black and background beside holes.
//! The forms are those of [`read_mask`](crate::read_mask).

mod cells;
mod rows;
mod survey;

use image::{DynamicImage, GrayImage};
use imgopen_engine::{EngineError, Input, Monitor};

use self::cells::Cells;
use self::rows::{Opacity, each_row, small_values};
pub(crate) use self::survey::Form;
use self::survey::{GRAY, Survey};
use crate::decode::InputError;

/// A mask whose lightest shade is darker than mid gray is stretched if that is no mere noise, or if it has two shades alone.
const MIDDLE: u8 = 128;
pub(crate) const NOISE: u8 = 16;
/// The shade from which on a pixel is marked by its opacity.
const QUARTER: u8 = 64;

/// The picture that a mask is for, by the name of its field.
pub(crate) type Source<'a> = (&'a str, &'a DynamicImage);

/// A mask that is understood.
#[derive(Debug)]
pub(crate) struct Shades {
    /// 255 where the mask marks, 0 where it does not.
    pub(crate) image: GrayImage,
    pub(crate) form: Form,
    /// Whether nothing in it is opaque.
    pub(crate) is_clear: bool,
    /// Whether it has colours.
    pub(crate) is_coloured: bool,
}

impl Shades {
    /// Reads the shades of a mask.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] for a picture without holes; [`EngineError::Cancelled`].
    pub(crate) fn of(
        input: &Input,
        mask: &DynamicImage,
        source: Option<Source>,
        monitor: &Monitor,
    ) -> Result<Self, EngineError> {
        let small = small_values(mask);
        let mask = small.as_ref().unwrap_or(mask);
        let opacity = Opacity::of(mask, monitor)?;
        let survey = Survey::of(mask, opacity, monitor)?;
        let of_source = source.map(|(_, image)| Cells::of(image, monitor)).transpose()?;
        let is_source = of_source.is_some_and(|cells| survey.is_picture(&cells));
        let form = match is_source || survey.is_photograph() {
            true if survey.has_clear() => Form::Holes,
            true => return Err(unmarked(input, source.filter(|_| is_source), "nothing in it is transparent")),
            false => survey.form(),
        };
        let mut shades = Vec::with_capacity(mask.width() as usize * mask.height() as usize);
        each_row(mask, monitor, |row| shades.extend(row.iter().map(|pixel| shade(*pixel, form, opacity))))?;
        if let (Form::Holes, true, Some((_, image))) = (form, is_source, source) {
            keep_clear(&mut shades, image, monitor)?;
            if shades.iter().all(|shade| *shade == 0) {
                return Err(unmarked(input, source, "nothing more of it is transparent"));
            }
        }
        stretch(&mut shades);
        let image = GrayImage::from_raw(mask.width(), mask.height(), shades).unwrap_or_default();
        Ok(Self { image, form, is_clear: opacity.highest == 0, is_coloured: survey.is_coloured() })
    }

    /// Returns which pixels are marked, row by row.
    pub(crate) fn marked(&self) -> Vec<bool> {
        let least = match self.form {
            Form::Opacity | Form::Holes => QUARTER,
            Form::Light | Form::Paint => MIDDLE,
        };
        self.image.as_raw().iter().map(|shade| *shade >= least).collect()
    }
}

/// Rejects a mask that is a picture: the one that it is for, or another one.
fn unmarked(input: &Input, source: Option<Source>, why: &str) -> EngineError {
    let what = match source {
        Some((field, _)) => format!("is the picture of `{field}`, on which paint is not recognised"),
        None => "looks like a photograph".to_owned(),
    };
    let fix = "give a mask that is white where the picture is to change, and black elsewhere";
    InputError::new(input, format!("{what}, and {why}, so that it marks nothing; {fix}")).into()
}

/// Returns how much a pixel is marked.
fn shade([r, g, b, alpha]: [u8; 4], form: Form, opacity: Opacity) -> u8 {
    let times = |one: u8, other: u8| (u32::from(one) * u32::from(other) / 255) as u8;
    let (lightest, darkest) = (r.max(g).max(b), r.min(g).min(b));
    // A colour is fainter than white, and was chosen nevertheless.
    let strong = |shade: u8| if lightest - darkest > GRAY { shade.saturating_mul(2) } else { shade };
    match form {
        Form::Light if opacity.highest == 0 => 0,
        Form::Light => times(strong(lightest), alpha),
        Form::Paint => strong(255 - darkest),
        Form::Opacity => alpha - opacity.lowest,
        Form::Holes => opacity.highest - alpha,
    }
}

/// Marks nothing that is clear in the picture itself, if the mask has its size.
fn keep_clear(shades: &mut [u8], picture: &DynamicImage, monitor: &Monitor) -> Result<(), EngineError> {
    if !picture.color().has_alpha() || shades.len() != picture.width() as usize * picture.height() as usize {
        return Ok(());
    }
    let opacity = Opacity::of(picture, monitor)?;
    let mut rows = shades.chunks_exact_mut(picture.width() as usize);
    each_row(picture, monitor, |row| {
        let marked = rows.next().into_iter().flatten().zip(row);
        marked.filter(|(_, pixel)| !opacity.is_opaque(pixel[3])).for_each(|(shade, _)| *shade = 0);
    })
}

/// Makes the lightest shade white if it is darker than mid gray: some programs write 0 and 1, or a half transparent brush.
fn stretch(shades: &mut [u8]) {
    let mut has = [false; 256];
    shades.iter().for_each(|shade| has[usize::from(*shade)] = true);
    let lightest = has.iter().rposition(|has| *has).unwrap_or_default() as u8;
    let is_meant = lightest >= NOISE || has.iter().filter(|has| **has).count() == 2;
    if lightest == 0 || lightest >= MIDDLE || !is_meant {
        return;
    }
    for shade in shades {
        *shade = (u32::from(*shade) * 255 / u32::from(lightest)) as u8;
    }
}
