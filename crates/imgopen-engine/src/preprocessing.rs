//! How a preprocessor of ControlNet works for the job of another engine.

/// How a preprocessor of ControlNet makes a control picture, with the meanings of the web UI's extension.
///
/// Requests of `preview_controlnet` say nothing of it. An engine that has another one make a control picture for its own job
/// gives it by [`JobRequest::with_preprocessing`](crate::JobRequest::with_preprocessing). What cannot be done is rejected by the
/// name of the member here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocessing {
    /// The size at which the preprocessor reads the picture.
    pub resolution: Resolution,
    /// The first parameter, such as the low threshold of `canny`; `None` for the web UI's default.
    pub threshold_a: Option<f64>,
    /// The second parameter, such as the high threshold of `canny`; `None` for the web UI's default.
    pub threshold_b: Option<f64>,
}

/// The size that a picture is brought to before a preprocessor reads it. The ratio of its sides stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The shorter side has so many pixels.
    Shorter(u32),
    /// It covers this width and height, so that it is to be cropped to them: what the web UI calls pixel perfect.
    Covering(u32, u32),
    /// It lies within this width and height, so that it is to be padded to them: pixel perfect for the resize mode that fills.
    Within(u32, u32),
}

impl Resolution {
    /// Returns the size that a picture of this width and height is brought to, at least one pixel on each side.
    ///
    /// ```
    /// use imgopen_engine::Resolution;
    ///
    /// assert_eq!(Resolution::Shorter(512).size((1024, 2048)), (512, 1024));
    /// assert_eq!(Resolution::Covering(512, 512).size((300, 200)), (768, 512));
    /// ```
    pub fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        let least = f64::from(width.min(height).max(1));
        let ratios = |wide: u32, high: u32| {
            [f64::from(wide) / f64::from(width.max(1)), f64::from(high) / f64::from(height.max(1))]
        };
        let shorter = match self {
            Resolution::Shorter(shorter) => f64::from(shorter),
            Resolution::Covering(wide, high) => {
                let [across, down] = ratios(wide, high);
                across.max(down) * least
            }
            Resolution::Within(wide, high) => {
                let [across, down] = ratios(wide, high);
                across.min(down) * least
            }
        };
        // Rounded to even, as numpy does.
        let factor = shorter.round_ties_even().max(1.0) / least;
        let scaled = |side: u32| (f64::from(side) * factor).round_ties_even().max(1.0) as u32;
        (scaled(width), scaled(height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes are those of `resize_image_with_pad` and `pixel_perfect_resolution` of the web UI's extension.
    #[test]
    fn a_picture_keeps_its_ratio() {
        for (resolution, before, after) in [
            (Resolution::Shorter(512), (1024, 768), (683, 512)),
            (Resolution::Shorter(512), (100, 200), (512, 1024)),
            (Resolution::Shorter(64), (64, 128), (64, 128)),
            (Resolution::Shorter(5), (10, 25), (5, 12)),
            (Resolution::Covering(768, 512), (1000, 1000), (768, 768)),
            (Resolution::Within(768, 512), (1000, 1000), (512, 512)),
            (Resolution::Covering(64, 64), (128, 64), (128, 64)),
            (Resolution::Within(64, 64), (128, 64), (64, 32)),
            (Resolution::Within(1, 1), (1000, 10), (100, 1)),
            (Resolution::Shorter(64), (1, 1), (64, 64)),
        ] {
            assert_eq!(resolution.size(before), after, "{resolution:?} of {before:?}");
        }
    }
}
