//! The density of pixels in print, in the units of the formats.

use super::tiff::{Directory, RATIONAL, SHORT, Tiff};

const INCH: f64 = 0.0254;
const CENTIMETRE: f64 = 0.01;

/// The fields of EXIF data, and their unit: 2 for inches, 3 for centimetres.
const X_RESOLUTION: u16 = 0x011a;
const Y_RESOLUTION: u16 = 0x011b;
const RESOLUTION_UNIT: u16 = 0x0128;

/// How many pixels there are on a length, in both directions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Density {
    x: f64,
    y: f64,
    unit: Unit,
}

/// The length.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unit {
    /// None: only the shape of pixels is known.
    Ratio,
    Inch,
    Centimetre,
    Metre,
}

impl Density {
    fn new(x: impl Into<f64>, y: impl Into<f64>, unit: Unit) -> Option<Self> {
        let (x, y) = (x.into(), y.into());
        let says_nothing = unit == Unit::Ratio && x == y;
        (x > 0.0 && y > 0.0 && !says_nothing).then_some(Self { x, y, unit })
    }

    /// Reads the body of PNG's chunk `pHYs`.
    pub(super) fn from_png(body: &[u8]) -> Option<Self> {
        let [x, y] = [body.first_chunk()?, body.get(4..)?.first_chunk()?].map(|four| u32::from_be_bytes(*four));
        let unit = match body.get(8..)? {
            [0] => Unit::Ratio,
            [1] => Unit::Metre,
            _ => return None,
        };
        Self::new(x, y, unit)
    }

    /// Reads the segment of JFIF behind its name.
    pub(super) fn from_jfif(body: &[u8]) -> Option<Self> {
        let [_, _, unit, x, x_low, y, y_low, ..] = *body else { return None };
        let unit = [Unit::Ratio, Unit::Inch, Unit::Centimetre].get(usize::from(unit))?;
        Self::new(u16::from_be_bytes([x, x_low]), u16::from_be_bytes([y, y_low]), *unit)
    }

    /// Reads the shape of pixels in a GIF file: 64 times width by height, less 15; 0 if it is unknown.
    pub(super) fn from_gif(aspect: u8) -> Option<Self> {
        // Wide pixels are fewer across.
        if aspect == 0 { None } else { Self::new(64_u16, u16::from(aspect) + 15, Unit::Ratio) }
    }

    /// Reads the numbers of a BMP file, which are 0 if they are unknown.
    pub(super) fn from_bmp((x, y): (u32, u32)) -> Option<Self> {
        Self::new(x, y, Unit::Metre)
    }

    /// Reads EXIF data.
    pub(super) fn from_exif(tiff: &Tiff) -> Option<Self> {
        let unit = match tiff.number(Directory::Main, RESOLUTION_UNIT) {
            None | Some(2) => Unit::Inch,
            Some(3) => Unit::Centimetre,
            _ => Unit::Ratio,
        };
        Self::new(tiff.rational(X_RESOLUTION)?, tiff.rational(Y_RESOLUTION)?, unit)
    }

    /// Returns the body of `pHYs`.
    pub(super) fn png(self) -> Option<Vec<u8>> {
        let (x, y, unit) = match self.unit {
            Unit::Ratio => (self.x, self.y, 0),
            _ => {
                let [x, y] = self.per(1.0);
                (x, y, 1)
            }
        };
        let side = |value: f64| whole(value, u32::MAX.into()).map(|value| (value as u32).to_be_bytes());
        Some([side(x)?, side(y)?].concat().into_iter().chain([unit]).collect())
    }

    /// Returns the unit and the numbers of JFIF, which are small.
    pub(super) fn jfif(self) -> Option<(u8, u16, u16)> {
        let (unit, [x, y]) = match self.unit {
            Unit::Ratio => (0, [self.x, self.y]),
            Unit::Centimetre => (2, [self.x, self.y]),
            Unit::Inch | Unit::Metre => (1, self.per(INCH)),
        };
        let side = |value: f64| whole(value, u16::MAX.into()).map(|value| value as u16);
        Some((unit, side(x)?, side(y)?))
    }

    /// Puts it into EXIF data, unless it is there.
    pub(super) fn put(self, tiff: &mut Tiff) {
        if self.unit == Unit::Ratio || Self::from_exif(tiff).is_some_and(|there| there.is_near(self)) {
            return;
        }
        let (unit, sides) = match self.unit {
            Unit::Centimetre => (3, [self.x, self.y]),
            _ => (2, self.per(INCH)),
        };
        for (tag, side) in [X_RESOLUTION, Y_RESOLUTION].into_iter().zip(sides) {
            // Whole numbers stay whole.
            let (above, below) =
                if (side - side.round()).abs() < 0.01 { (side.round(), 1) } else { (side * 1000.0, 1000) };
            let Some(above) = whole(above, u32::MAX.into()) else { return };
            let value = [tiff.long(above as u32), tiff.long(below)].concat();
            tiff.set(Directory::Main, tag, RATIONAL, &value);
        }
        let unit = tiff.short(unit);
        tiff.set(Directory::Main, RESOLUTION_UNIT, SHORT, &unit);
    }

    /// Returns the pixels on so many metres.
    fn per(self, metres: f64) -> [f64; 2] {
        let unit = match self.unit {
            Unit::Ratio | Unit::Metre => 1.0,
            Unit::Inch => INCH,
            Unit::Centimetre => CENTIMETRE,
        };
        // First by the length that is asked for, so that nothing is lost if both are the same.
        [self.x, self.y].map(|side| side * (metres / unit))
    }

    fn is_near(self, other: Self) -> bool {
        let pairs = self.per(1.0).into_iter().zip(other.per(1.0));
        (self.unit == Unit::Ratio) == (other.unit == Unit::Ratio)
            && pairs.into_iter().all(|(a, b)| (a - b).abs() <= 1.0)
    }
}

/// Rounds a number, if it is at least 1 and at most that.
fn whole(value: f64, most: f64) -> Option<f64> {
    Some(value.round()).filter(|value| (1.0..=most).contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 300 on an inch are 300 / 0.0254 = 11811.02 on a metre.
    #[test]
    fn units_are_converted() {
        let inches = Density::from_jfif(&[1, 1, 1, 1, 44, 0, 72, 0, 0]).unwrap();
        assert_eq!(inches.png().unwrap(), [0, 0, 0x2e, 0x23, 0, 0, 0x0b, 0x13, 1]);
        assert_eq!(inches.jfif(), Some((1, 300, 72)));
        let metres = Density::from_png(&inches.png().unwrap()).unwrap();
        assert_eq!(metres.jfif(), Some((1, 300, 72)));
        let mut tiff = Tiff::new();
        metres.put(&mut tiff);
        assert_eq!((tiff.rational(X_RESOLUTION), tiff.rational(Y_RESOLUTION)), (Some(300.0), Some(72.0)));
        assert_eq!(Density::from_exif(&tiff), Some(inches));
        let centimetres = Density::from_jfif(&[1, 2, 2, 0, 118, 0, 118]).unwrap();
        assert_eq!(
            (centimetres.png().unwrap()[..4].to_vec(), centimetres.jfif()),
            (vec![0, 0, 0x2e, 0x18], Some((2, 118, 118)))
        );
    }

    #[test]
    fn shapes_of_pixels_are_kept_and_nonsense_is_not() {
        let ratio = Density::from_png(&[0, 0, 0, 4, 0, 0, 0, 3, 0]).unwrap();
        assert_eq!((ratio.jfif(), ratio.png().unwrap()), (Some((0, 4, 3)), vec![0, 0, 0, 4, 0, 0, 0, 3, 0]));
        for nonsense in [&[1, 1, 0, 0, 1, 0, 1][..], &[1, 1, 1, 0, 0, 0, 0], &[1, 1, 3, 0, 1, 0, 2], &[1, 1, 1]] {
            assert_eq!(Density::from_jfif(nonsense), None, "{nonsense:?}");
        }
        let fine = Density::from_png(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1]).unwrap();
        assert_eq!(fine.jfif(), None);
    }
}
