//! Understands masks in the forms in which people make them, as shades: what is marked is white, the rest is black.
//!
//! A first look over all pixels finds out which form it is, because the same red is paint on black and background beside holes.

use image::{DynamicImage, GenericImageView, GrayImage};
use imgopen_engine::{EngineError, Input, Monitor};

use crate::decode::InputError;

/// Up to this value of its lightest channel a pixel is black, from that value of its darkest on white. JPEG files stray so far.
const BLACK: u8 = 40;
const WHITE: u8 = 215;
/// How far the channels of a pixel differ at most if it is gray, and at least if it is paint.
const GRAY: u8 = 24;
const PAINT: u8 = 60;
/// The number of colours, in steps of 16, that nearly all of a mask has; and which part that is, in percent.
const FEW: usize = 8;
const NEARLY_ALL: u64 = 80;
/// A mask whose lightest shade is darker than mid gray is stretched if that is no mere noise, or if it has two shades alone.
const MIDDLE: u8 = 128;
const NOISE: u8 = 16;

/// What marks the pixels of a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// They are lighter than black, in any colour.
    Light,
    /// They are painted on white, with at least one colour.
    Paint,
    /// They are opaque, in one colour or a few.
    Opacity,
    /// They are transparent, and the rest is a picture.
    Holes,
}

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
    /// [`EngineError::Rejected`] for a photograph; [`EngineError::Cancelled`].
    pub(crate) fn of(input: &Input, mask: &DynamicImage, monitor: &Monitor) -> Result<Self, EngineError> {
        let small = small_values(mask);
        let mask = small.as_ref().unwrap_or(mask);
        let opacity = highest_opacity(mask, monitor)?;
        let survey = Survey::of(mask, opacity, monitor)?;
        let Some(form) = survey.form() else {
            let problem = "looks like a photograph, and nothing in it is transparent, so that it marks nothing; give a mask \
                           that is white where the picture is to change, and black elsewhere";
            return Err(InputError::new(input, problem).into());
        };
        let mut shades = Vec::with_capacity(mask.width() as usize * mask.height() as usize);
        each_row(mask, monitor, |row| shades.extend(row.iter().map(|pixel| shade(*pixel, form, opacity))))?;
        stretch(&mut shades);
        let image = GrayImage::from_raw(mask.width(), mask.height(), shades).unwrap_or_default();
        Ok(Self { image, form, is_clear: opacity == 0, is_coloured: survey.paint > 0 })
    }
}

/// Counts of the pixels of a mask by which its form is recognised. All but the first are of opaque pixels.
#[derive(Debug, Default)]
struct Survey {
    clear: u64,
    opaque: u64,
    black: u64,
    white: u64,
    gray: u64,
    paint: u64,
    /// Between black and white.
    tones: u64,
    /// Tones that are lighter, or darker, than both neighbours.
    peaks: u64,
    /// What is not gray, by colours in steps of 16.
    colours: Vec<u64>,
}

impl Survey {
    fn of(mask: &DynamicImage, opacity: u8, monitor: &Monitor) -> Result<Self, EngineError> {
        let mut survey = Self { colours: vec![0; 16 * 16 * 16], ..Self::default() };
        each_row(mask, monitor, |row| {
            row.iter().for_each(|pixel| survey.count(*pixel, opacity));
            survey.peaks += row.windows(3).filter(|three| is_peak(three)).count() as u64;
        })?;
        Ok(survey)
    }

    fn count(&mut self, [r, g, b, alpha]: [u8; 4], opacity: u8) {
        if alpha <= opacity / 2 {
            self.clear += 1;
            return;
        }
        let (lightest, darkest) = (r.max(g).max(b), r.min(g).min(b));
        self.opaque += 1;
        self.black += u64::from(lightest <= BLACK);
        self.white += u64::from(darkest >= WHITE);
        self.tones += u64::from(lightest > BLACK && lightest < WHITE);
        self.paint += u64::from(lightest - darkest > PAINT);
        match lightest - darkest <= GRAY {
            true => self.gray += 1,
            false => self.colours[[r, g, b].iter().fold(0, |at, channel| at * 16 + usize::from(channel / 16))] += 1,
        }
    }

    /// Whether the opaque pixels are those of a photograph: in many colours, or with tones that go up and down all over.
    fn is_photograph(&self) -> bool {
        let mut colours = self.colours.clone();
        colours.sort_unstable_by(|one, other| other.cmp(one));
        let plain = self.gray + colours.iter().take(FEW).sum::<u64>();
        let [plain, tones, peaks] = [plain, self.tones, self.peaks].map(|count| count * 100);
        let is_textured = peaks >= self.opaque * 8 || (peaks >= self.opaque * 2 && tones >= self.opaque * 40);
        self.opaque > 0 && (plain < self.opaque * NEARLY_ALL || is_textured)
    }

    /// Returns the form, or `None` for a photograph without holes.
    fn form(&self) -> Option<Form> {
        let thousandth = |count: u64| count > 0 && count * 1000 >= self.opaque;
        let hundredth = |count: u64| count > 0 && count * 100 >= self.opaque;
        match (self.clear > 0, self.is_photograph()) {
            (true, true) => Some(Form::Holes),
            (false, true) => None,
            (true, false) if thousandth(self.black) && thousandth(self.opaque - self.black) => Some(Form::Light),
            (true, false) => Some(Form::Opacity),
            (false, false) if self.paint > 0 && hundredth(self.white) && !hundredth(self.black) => Some(Form::Paint),
            (false, false) => Some(Form::Light),
        }
    }
}

/// Whether the middle one of three opaque pixels is a tone that is clearly lighter, or darker, than the others.
fn is_peak(three: &[[u8; 4]]) -> bool {
    const CLEARLY: u8 = 4;
    let [left, middle, right] = three else { return false };
    let [left, tone, right] = [left, middle, right].map(|[r, g, b, _]| *r.max(g).max(b));
    let (is_tone, is_opaque) = (tone > BLACK && tone < WHITE, three.iter().all(|pixel| pixel[3] >= MIDDLE));
    let is_far = tone.abs_diff(left) >= CLEARLY && tone.abs_diff(right) >= CLEARLY;
    is_tone && is_opaque && is_far && (tone > left) == (tone > right)
}

/// Returns how much a pixel is marked.
fn shade([r, g, b, alpha]: [u8; 4], form: Form, opacity: u8) -> u8 {
    let times = |one: u8, other: u8| (u32::from(one) * u32::from(other) / 255) as u8;
    match form {
        Form::Light if opacity == 0 => 0,
        Form::Light => times(r.max(g).max(b), alpha),
        Form::Paint => 255 - r.min(g).min(b),
        Form::Opacity => alpha,
        Form::Holes => 255 - alpha,
    }
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

fn highest_opacity(mask: &DynamicImage, monitor: &Monitor) -> Result<u8, EngineError> {
    if !mask.color().has_alpha() {
        return Ok(255);
    }
    let mut highest = 0;
    each_row(mask, monitor, |row| highest = row.iter().map(|pixel| pixel[3]).fold(highest, u8::max))?;
    Ok(highest)
}

/// Returns a gray mask of 16 bits in 8 bits, if its values are those of 8 bits, such as 0 and 1.
fn small_values(mask: &DynamicImage) -> Option<DynamicImage> {
    let DynamicImage::ImageLuma16(deep) = mask else { return None };
    let values: Option<Vec<u8>> = deep.as_raw().iter().map(|value| u8::try_from(*value).ok()).collect();
    Some(GrayImage::from_raw(mask.width(), mask.height(), values?)?.into())
}

/// Calls a function with each row of pixels in 8 bits: red, green, blue, opacity.
fn each_row(mask: &DynamicImage, monitor: &Monitor, mut take: impl FnMut(&[[u8; 4]])) -> Result<(), EngineError> {
    let mut row = Vec::with_capacity(mask.width() as usize);
    for y in 0..mask.height() {
        monitor.check_cancelled()?;
        row.clear();
        let part = |channels: usize| {
            let length = mask.width() as usize * channels;
            y as usize * length..(y as usize + 1) * length
        };
        match mask {
            DynamicImage::ImageLuma8(gray) => row.extend(gray.as_raw()[part(1)].iter().map(|v| [*v, *v, *v, 255])),
            DynamicImage::ImageRgb8(image) => {
                row.extend(image.as_raw()[part(3)].as_chunks::<3>().0.iter().map(|[r, g, b]| [*r, *g, *b, 255]));
            }
            DynamicImage::ImageRgba8(image) => row.extend(image.as_raw()[part(4)].as_chunks::<4>().0),
            other => row.extend((0..other.width()).map(|x| other.get_pixel(x, y).0)),
        }
        take(&row);
    }
    Ok(())
}
