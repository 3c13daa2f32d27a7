//! Colours to put in place of a background.

use std::fmt;

use image::{DynamicImage, ImageBuffer, Rgb};
use imgopen_engine::EngineError;
use imgopen_picture::{Carried, Decoded, to_space_of};
use imgopen_types::RemoveBackgroundRequest;

use crate::pixels::Sample;

/// A colour in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colour([u8; 3]);

impl Colour {
    /// Reads the colour of a request; `None` if the background is to become transparent.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] if it is not a colour.
    pub fn of(request: &RemoveBackgroundRequest) -> Result<Option<Self>, EngineError> {
        let Some(text) = request.background_color.as_deref() else { return Ok(None) };
        let problem = || {
            format!(
                "\"{}\" given; give a colour of six or three hexadecimal digits, such as \"#FFFFFF\", or leave it out for a \
                 transparent background",
                text.escape_debug()
            )
        };
        Self::parse(text).map(Some).ok_or_else(|| EngineError::rejected("backgroundColor", problem()))
    }

    /// Reads `#FFFFFF` and `#FFF`, in any case, with or without the sign.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.strip_prefix('#').unwrap_or(text);
        let digits = digits.chars().map(|digit| digit.to_digit(16)).collect::<Option<Vec<u32>>>()?;
        let channels = match digits[..] {
            [r, g, b] => [r * 17, g * 17, b * 17],
            [r, red, g, green, b, blue] => [r * 16 + red, g * 16 + green, b * 16 + blue],
            _ => return None,
        };
        // Two digits are at most 255.
        Some(Self(channels.map(|channel| channel as u8)))
    }

    /// Returns its numbers from 0 to 1 in the colour space of a picture. One for a gray picture stays in sRGB.
    pub fn within(self, picture: &Decoded, is_coloured: bool) -> [f32; 3] {
        let own = self.0.map(Sample::level);
        if !is_coloured {
            return own;
        }
        let pixel: ImageBuffer<Rgb<u16>, Vec<u16>> = ImageBuffer::from_pixel(1, 1, Rgb(own.map(u16::nearest)));
        let pixel = Decoded {
            image: pixel.into(),
            header: picture.header,
            profile: None,
            parameters: None,
            carried: Carried::default(),
            is_lossy_webp: false,
        };
        // Only its kind of pixels is looked at.
        let other = Decoded {
            image: DynamicImage::new_rgb8(1, 1),
            header: picture.header,
            profile: picture.profile.clone(),
            parameters: None,
            carried: picture.carried.clone(),
            is_lossy_webp: false,
        };
        to_space_of(pixel, &other).into_rgb16().get_pixel(0, 0).0.map(Sample::level)
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02X}{green:02X}{blue:02X}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(colour: Option<&str>) -> Result<Option<Colour>, EngineError> {
        let builder = RemoveBackgroundRequest::builder().business_task_id("1");
        let request = builder.source_image("https://a.example/b.png").build();
        Colour::of(&RemoveBackgroundRequest { background_color: colour.map(str::to_owned), ..request.unwrap() })
    }

    #[test]
    fn colours_are_read_as_hexadecimal_digits() {
        for (text, expected) in [
            ("#FFFFFF", [255, 255, 255]),
            ("#0a80Ff", [10, 128, 255]),
            (" 102030 ", [16, 32, 48]),
            ("#fA0", [255, 170, 0]),
        ] {
            assert_eq!(of(Some(text)), Ok(Some(Colour(expected))), "{text}");
        }
        assert_eq!((of(None), Colour([10, 128, 255]).to_string()), (Ok(None), "#0A80FF".to_owned()));
    }

    #[test]
    fn anything_else_is_rejected_by_field() {
        for text in ["", "#", "white", "#FFFF", "#FFFFFFFF", "#+12345", "##FFFFF", "#FFFFF\u{ff26}"] {
            let error = of(Some(text)).unwrap_err().to_string();
            assert!(error.starts_with("`backgroundColor`: \"") && error.contains("such as \"#FFFFFF\""), "{error}");
        }
    }
}
