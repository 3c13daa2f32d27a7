//! Reads from a mask which pixels of a picture it marks.

use image::{DynamicImage, GrayImage};
use imgopen_engine::{EngineError, Input, Monitor, PictureLimits};

use crate::decode::{InputError, decode_input};
use crate::shades::{Form, NOISE, Shades};

/// Returns the pixels that a mask marks, row by row. `of` is the picture that it is for, upright, by the name of its field.
///
/// Masks are understood in the forms in which people make them. *Clear* is a pixel that is more transparent than the middle
/// between the least and the highest opacity, the *edge* are the outermost pixels, and a *picture* is the one that the mask is for,
/// or looks like a photograph. The first line that fits decides:
///
/// | mask | what it marks |
/// |---|---|
/// | clear, black or white all over | rejected: nothing, or everything |
/// | a picture with holes | what is clear, but not what is clear in the picture itself as well |
/// | a picture without holes; in gray, written again, scaled, with paint on it | rejected: nothing in it says what is marked |
/// | black and white, and something clear | what is white |
/// | at least two thirds of the edge opaque, and something clear: one colour or a drawing with holes | what is clear |
/// | gray, with black and something lighter, and the edge clear | what is lighter |
/// | a brush on nothing, in any colours, black too, half opaque or with soft edges | what is opaque, from a quarter on |
/// | colours, and more of the edge white than black | what is not white, black too |
/// | light on black: white, any colours, 0 and 1, a palette, gray | what is light: gray from the middle, colours from a quarter on |
/// | black on white, in gray | what is white: nothing says that it is inverted |
///
/// If its lightest shade or densest paint is darker than the middle, the others are compared with that, so that 0 and 1 count
/// like black and white, and faint paint like strong paint. Values of 16 bits that are below 4096 are taken as those of fewer bits.
/// Black, white and gray are so within 40 levels of 255, by which JPEG files stray.
///
/// # Errors
///
/// [`EngineError::Rejected`] if the mask cannot be read, has another size than the picture, is a picture without holes, or marks
/// nothing or everything; [`EngineError::Cancelled`].
pub fn read_mask(
    input: &Input,
    limits: &PictureLimits,
    of: (&str, &DynamicImage),
    monitor: &Monitor,
) -> Result<Vec<bool>, EngineError> {
    let mask = decode_input(input, limits, monitor)?.image;
    let wrong = |problem: String| EngineError::from(InputError::new(input, problem));
    let (field, picture) = of;
    let (width, height) = (mask.width(), mask.height());
    if (width, height) != (picture.width(), picture.height()) {
        let (wanted_width, wanted_height) = (picture.width(), picture.height());
        return Err(wrong(format!(
            "is {width}x{height} pixels, but the picture of `{field}` is {wanted_width}x{wanted_height}; give a mask of the \
             same size"
        )));
    }
    let shades = Shades::of(input, &mask, Some(of), monitor)?;
    let marked = shades.marked();
    match (marked.contains(&true), marked.contains(&false)) {
        (false, _) => Err(wrong(nothing(&shades))),
        (true, false) => Err(wrong(everything(&shades))),
        (true, true) => Ok(marked),
    }
}

/// Returns the shades of a mask, in the forms of [`read_mask`]: white where it marks, black where it does not. `of` is the picture
/// that it is for, which may have another size.
///
/// # Errors
///
/// [`EngineError::Rejected`] if the mask cannot be read or is a picture without holes; [`EngineError::Cancelled`].
pub fn mask_shades(
    input: &Input,
    limits: &PictureLimits,
    of: Option<(&str, &DynamicImage)>,
    monitor: &Monitor,
) -> Result<GrayImage, EngineError> {
    let mask = decode_input(input, limits, monitor)?.image;
    Ok(Shades::of(input, &mask, of, monitor)?.image)
}

/// Says what a mask is that marks nothing.
fn nothing(shades: &Shades) -> String {
    let lightest = shades.image.as_raw().iter().max().copied().unwrap_or_default();
    let what = match lightest {
        _ if shades.is_clear => "is transparent all over".to_owned(),
        0 => "is black all over".to_owned(),
        lightest => format!("has no shade lighter than {lightest} of 255"),
    };
    let classes = match lightest > 0 && lightest < NOISE {
        true => ", or the one class that is to go if its values are numbers of classes",
        false => "",
    };
    format!("{what}, so that nothing is to be removed; paint white what is to go{classes}")
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
