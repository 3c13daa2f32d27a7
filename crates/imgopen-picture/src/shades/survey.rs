//! Counts of the pixels of a mask, by which its form is recognised.

use image::DynamicImage;
use imgopen_engine::{EngineError, Monitor};

use super::cells::Cells;
use super::rows::{Opacity, each_row};

/// Up to this value of its lightest channel a pixel is black, from that value of its darkest on white. JPEG files stray so far.
const BLACK: u8 = 40;
const WHITE: u8 = 215;
/// How far the channels of a pixel differ at most if it is gray.
pub(super) const GRAY: u8 = 24;
/// How far the channels of a pixel differ at least if it is paint.
const PAINT: u8 = 60;
/// The number of colours, in steps of 16, that nearly all of a mask has; and which part that is, in percent.
const FEW: usize = 8;
const NEARLY_ALL: u64 = 80;
/// The opacity from which on neighbours are compared.
const DENSE: u8 = 128;
/// The number of hills and valleys, in cells, that a photograph has at least, and how much of it is between black and white then,
/// in percent: small marks with soft edges are hills, too, but among black.
const HILLS: usize = 3;
const TONED: u64 = 70;
/// How much of a photograph is between black and white in percent, and how many tones it has at least, each in a five-hundredth of its
/// pixels, if that alone shows what it is: masks have black or white.
const ALL_TONED: u64 = 90;
const TONES: usize = 16;
const FIVE_HUNDREDTH: u64 = 500;

/// What marks the pixels of a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// They are lighter than black, in any colour.
    Light,
    /// They are painted on white, with at least one colour.
    Paint,
    /// They are opaque, in one colour or a few.
    Opacity,
    /// They are transparent, and the rest is a picture or of one colour.
    Holes,
}

/// Counts of pixels. All but those that are clear are of opaque pixels.
#[derive(Debug)]
pub(super) struct Survey {
    clear: u64,
    opaque: u64,
    black: u64,
    white: u64,
    gray: u64,
    paint: u64,
    /// Between black and white.
    tones: u64,
    /// The tones by their lightest channel.
    levels: Vec<u64>,
    /// Tones that are lighter, or darker, than both neighbours.
    peaks: u64,
    /// What is not gray, by colours in steps of 16.
    colours: Vec<u64>,
    edge: Edge,
    cells: Cells,
}

/// Counts of the outermost pixels, on all four sides.
#[derive(Debug, Default)]
struct Edge {
    all: u64,
    opaque: u64,
    black: u64,
    white: u64,
}

impl Survey {
    pub(super) fn of(mask: &DynamicImage, opacity: Opacity, monitor: &Monitor) -> Result<Self, EngineError> {
        let mut survey = Self::new(mask);
        let (right, bottom) = (mask.width() as usize - 1, mask.height() as usize - 1);
        let mut y = 0;
        each_row(mask, monitor, |row| {
            for (x, pixel) in row.iter().enumerate() {
                let is_edge = x == 0 || x == right || y == 0 || y == bottom;
                survey.count((x, y), *pixel, opacity.is_opaque(pixel[3]), is_edge);
            }
            survey.peaks += row.windows(3).filter(|three| is_peak(three)).count() as u64;
            y += 1;
        })?;
        Ok(survey)
    }

    fn new(mask: &DynamicImage) -> Self {
        Self {
            clear: 0,
            opaque: 0,
            black: 0,
            white: 0,
            gray: 0,
            paint: 0,
            tones: 0,
            levels: vec![0; 256],
            peaks: 0,
            colours: vec![0; 16 * 16 * 16],
            edge: Edge::default(),
            cells: Cells::new(mask),
        }
    }

    fn count(&mut self, place: (usize, usize), pixel: [u8; 4], is_opaque: bool, is_edge: bool) {
        let [r, g, b, _] = pixel;
        let (lightest, darkest) = (r.max(g).max(b), r.min(g).min(b));
        let is_tone = lightest > BLACK && lightest < WHITE;
        self.cells.add(place, pixel, is_opaque, is_tone);
        self.edge.all += u64::from(is_edge);
        if !is_opaque {
            self.clear += 1;
            return;
        }
        self.opaque += 1;
        self.black += u64::from(lightest <= BLACK);
        self.white += u64::from(darkest >= WHITE);
        self.tones += u64::from(is_tone);
        self.levels[usize::from(lightest)] += u64::from(is_tone);
        self.paint += u64::from(lightest - darkest > PAINT);
        match lightest - darkest <= GRAY {
            true => self.gray += 1,
            false => self.colours[[r, g, b].iter().fold(0, |at, channel| at * 16 + usize::from(channel / 16))] += 1,
        }
        if is_edge {
            self.edge.opaque += 1;
            self.edge.black += u64::from(lightest <= BLACK);
            self.edge.white += u64::from(darkest >= WHITE);
        }
    }

    pub(super) fn is_coloured(&self) -> bool {
        self.paint > 0
    }

    /// Whether something is transparent.
    pub(super) fn has_clear(&self) -> bool {
        self.clear > 0
    }

    /// Whether what is opaque is that picture.
    pub(super) fn is_picture(&self, picture: &Cells) -> bool {
        self.cells.is_picture(picture)
    }

    /// Whether the opaque pixels are those of a photograph: in many colours, with tones that go up and down all over, or in many tones
    /// without black and white.
    pub(super) fn is_photograph(&self) -> bool {
        let mut colours = self.colours.clone();
        colours.sort_unstable_by(|one, other| other.cmp(one));
        let plain = self.gray + colours.iter().take(FEW).sum::<u64>();
        let [plain, tones, peaks] = [plain, self.tones, self.peaks].map(|count| count * 100);
        let is_textured = peaks >= self.opaque * 8 || (peaks >= self.opaque * 2 && tones >= self.opaque * 40);
        let is_hilly = tones >= self.opaque * TONED && self.cells.hills() >= HILLS;
        let levels = self.levels.iter().filter(|count| **count * FIVE_HUNDREDTH >= self.opaque).count();
        let is_toned = tones >= self.opaque * ALL_TONED && levels >= TONES;
        self.opaque > 0 && (plain < self.opaque * NEARLY_ALL || is_textured || is_hilly || is_toned)
    }

    /// Returns the form of a mask that is not a photograph.
    pub(super) fn form(&self) -> Form {
        match self.clear > 0 && self.opaque > 0 {
            true => self.form_with_clear(),
            false if self.is_paint_on_white() => Form::Paint,
            false => Form::Light,
        }
    }

    fn form_with_clear(&self) -> Form {
        let thousandth = |count: u64| count > 0 && count * 1000 >= self.opaque;
        let is_gray = !self.is_coloured() && thousandth(self.black) && thousandth(self.opaque - self.black);
        let is_black_and_white = (self.black + self.white) * 10 >= self.opaque * 9;
        match self.edge.opaque * 3 >= self.edge.all * 2 {
            _ if is_gray && thousandth(self.white) && is_black_and_white => Form::Light,
            true => Form::Holes,
            false if is_gray => Form::Light,
            false => Form::Opacity,
        }
    }

    /// Whether a part of what is not white is in colours, and more of the outermost pixels are white than black.
    fn is_paint_on_white(&self) -> bool {
        let counts = match self.edge.white == self.edge.black {
            true => (self.white, self.black),
            false => (self.edge.white, self.edge.black),
        };
        self.paint > 0 && self.paint * 10 >= self.opaque - self.white && counts.0 > counts.1
    }
}

/// Whether the middle one of three opaque pixels is a tone that is clearly lighter, or darker, than the others.
fn is_peak(three: &[[u8; 4]]) -> bool {
    const CLEARLY: u8 = 4;
    let [left, middle, right] = three else { return false };
    let [left, tone, right] = [left, middle, right].map(|[r, g, b, _]| *r.max(g).max(b));
    let (is_tone, is_opaque) = (tone > BLACK && tone < WHITE, three.iter().all(|pixel| pixel[3] >= DENSE));
    let is_far = tone.abs_diff(left) >= CLEARLY && tone.abs_diff(right) >= CLEARLY;
    is_tone && is_opaque && is_far && (tone > left) == (tone > right)
}
