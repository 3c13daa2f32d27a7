//! Reads from a mask which pixels of a picture it marks.

use image::GrayImage;
use imgopen_engine::{EngineError, Input, Monitor, PictureLimits};

use crate::decode::{InputError, decode_input};
use crate::shades::{Form, Shades};

/// The shade from which on a pixel is marked.
const MARKED: u8 = 128;

/// Returns the pixels that a mask marks, row by row. `size` is that of the picture of the field `of`. Masks are understood in
/// these forms:
///
/// - light on black, in any colour; if nothing is lighter than mid gray, compared with its lightest shade;
/// - paint on white, if some of it has a colour; black on white marks the white;
/// - paint on nothing: what is opaque, in one colour or a few, also if it is black or half opaque. If there is black and
///   something lighter, what is light and opaque;
/// - a photograph with holes: what is transparent.
///
/// # Errors
///
/// [`EngineError::Rejected`] if the mask cannot be read, has another size, is a photograph without holes, or marks nothing or
/// everything; [`EngineError::Cancelled`].
pub fn read_mask(
    input: &Input,
    limits: &PictureLimits,
    (of, size): (&str, (u32, u32)),
    monitor: &Monitor,
) -> Result<Vec<bool>, EngineError> {
    let mask = decode_input(input, limits, monitor)?.image;
    let wrong = |problem: String| EngineError::from(InputError::new(input, problem));
    let (width, height) = (mask.width(), mask.height());
    if (width, height) != size {
        let (wanted_width, wanted_height) = size;
        return Err(wrong(format!(
            "is {width}x{height} pixels, but the picture of `{of}` is {wanted_width}x{wanted_height}; give a mask of the \
             same size"
        )));
    }
    let shades = Shades::of(input, &mask, monitor)?;
    let marked: Vec<_> = shades.image.as_raw().iter().map(|shade| *shade >= MARKED).collect();
    match (marked.contains(&true), marked.contains(&false)) {
        (false, _) => Err(wrong(nothing(&shades))),
        (true, false) => Err(wrong(everything(&shades))),
        (true, true) => Ok(marked),
    }
}

/// Returns the shades of a mask, in the forms of [`read_mask`]: white where it marks, black where it does not.
///
/// # Errors
///
/// [`EngineError::Rejected`] if the mask cannot be read or is a photograph without holes; [`EngineError::Cancelled`].
pub fn mask_shades(input: &Input, limits: &PictureLimits, monitor: &Monitor) -> Result<GrayImage, EngineError> {
    let mask = decode_input(input, limits, monitor)?.image;
    Ok(Shades::of(input, &mask, monitor)?.image)
}

/// Says what a mask is that marks nothing.
fn nothing(shades: &Shades) -> String {
    let lightest = shades.image.as_raw().iter().max().copied().unwrap_or_default();
    let what = match lightest {
        _ if shades.is_clear => "is transparent all over".to_owned(),
        0 => "is black all over".to_owned(),
        lightest => format!("has no shade lighter than {lightest} of 255"),
    };
    format!("{what}, so that nothing is to be removed; paint white what is to go")
}

/// Says what a mask is that marks everything.
fn everything(shades: &Shades) -> String {
    let darkest = shades.image.as_raw().iter().min().copied().unwrap_or_default();
    let what = match (shades.form, darkest) {
        (Form::Light, 255) if !shades.is_coloured => "is white all over".to_owned(),
        (Form::Light, _) if !shades.is_coloured => format!("has no shade darker than {darkest} of 255"),
        _ => "marks all of the picture".to_owned(),
    };
    format!("{what}, so that nothing is left to fill from; leave black what is to stay")
}

#[cfg(test)]
mod tests;
