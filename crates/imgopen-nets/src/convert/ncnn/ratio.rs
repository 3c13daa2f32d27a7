//! How many times as large as the input a picture within the net is.

/// A positive fraction in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ratio {
    pub over: u32,
    pub under: u32,
}

/// The parts that the fractions of a setting may have.
const PARTS: f32 = 8.0;

/// The largest fraction.
const LARGEST: u32 = 64;

impl Ratio {
    /// The size of the input.
    pub const ONE: Self = Self { over: 1, under: 1 };

    /// Returns a whole number of eighths as a fraction, if it is one.
    pub fn of(number: f32) -> Option<Self> {
        let parts = number * PARTS;
        let is_whole = parts >= 1.0 && parts <= PARTS * LARGEST as f32 && parts.fract() == 0.0;
        is_whole.then(|| Self { over: parts as u32, under: PARTS as u32 }.lowest())
    }

    /// Returns the product, unless it is too large.
    pub fn times(self, other: Self) -> Option<Self> {
        let (over, under) = (self.over.checked_mul(other.over)?, self.under.checked_mul(other.under)?);
        Some(Self { over, under }.lowest()).filter(|ratio| ratio.over <= LARGEST)
    }

    /// Returns whether pictures of every size become pictures of whole pixels.
    pub fn is_whole(self) -> bool {
        self.under == 1
    }

    fn lowest(self) -> Self {
        let (mut one, mut other) = (self.over, self.under);
        while other != 0 {
            (one, other) = (other, one % other);
        }
        Self { over: self.over / one, under: self.under / one }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eighths_are_fractions_in_lowest_terms() {
        assert_eq!(Ratio::of(0.75), Some(Ratio { over: 3, under: 4 }));
        assert_eq!(Ratio::of(4.0).and_then(|four| four.times(Ratio::of(0.75)?)), Some(Ratio { over: 3, under: 1 }));
        assert_eq!([0.0, -1.0, 0.3, 65.0, f32::NAN, f32::INFINITY].map(Ratio::of), [None; 6]);
        assert!(!Ratio { over: 3, under: 4 }.is_whole() && Ratio::ONE.is_whole());
    }
}
