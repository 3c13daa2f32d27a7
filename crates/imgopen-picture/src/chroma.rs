//! Chroma subsampling.

/// The chroma subsampling: how many pixels share one value of colour, across and down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Chroma {
    /// 4:4:4: each pixel has its own.
    #[default]
    Full,
    /// 4:2:2: two across.
    HalfWidth,
    /// 4:4:0: two down.
    HalfHeight,
    /// 4:2:0: two across and two down, as in most JPEG photographs.
    Halved,
    /// 4:1:1: four across.
    QuarterWidth,
}

impl Chroma {
    /// All of them, the coarsest first.
    pub(crate) const ALL: [Self; 5] = [Self::Halved, Self::QuarterWidth, Self::HalfWidth, Self::HalfHeight, Self::Full];

    /// Returns how many pixels share one value, across and down.
    pub(crate) fn shared(self) -> (u8, u8) {
        match self {
            Self::Full => (1, 1),
            Self::HalfWidth => (2, 1),
            Self::HalfHeight => (1, 2),
            Self::Halved => (2, 2),
            Self::QuarterWidth => (4, 1),
        }
    }

    /// Returns the coarsest subsampling that loses nothing of colours of which so many pixels share a value, across and
    /// down: none of its values is for pixels of two others. Encoders write no others.
    pub(crate) fn at_most((across, down): (u8, u8)) -> Self {
        let fits = |chroma: &Self| {
            let (own_across, own_down) = chroma.shared();
            across.is_multiple_of(own_across) && down.is_multiple_of(own_down)
        };
        Self::ALL.into_iter().find(fits).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_subsampling_becomes_a_finer_one() {
        for (shared, chroma) in [
            ((1, 1), Chroma::Full),
            ((2, 1), Chroma::HalfWidth),
            ((1, 2), Chroma::HalfHeight),
            ((2, 2), Chroma::Halved),
            ((4, 1), Chroma::QuarterWidth),
            ((3, 1), Chroma::Full),
            ((1, 3), Chroma::Full),
            ((3, 3), Chroma::Full),
            ((3, 2), Chroma::HalfHeight),
            ((2, 3), Chroma::HalfWidth),
            ((4, 3), Chroma::QuarterWidth),
            ((1, 4), Chroma::HalfHeight),
            ((4, 2), Chroma::Halved),
            ((2, 4), Chroma::Halved),
            ((4, 4), Chroma::Halved),
        ] {
            assert_eq!(Chroma::at_most(shared), chroma, "{shared:?}");
        }
    }
}
