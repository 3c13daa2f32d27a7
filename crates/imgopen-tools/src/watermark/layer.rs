//! Marks as layers with premultiplied alpha, ready to be blended.

use image::DynamicImage;

/// A sample type: 8 or 16 bits.
pub(super) trait Depth: Copy + Default + Ord + Into<u32> {
    /// The largest value.
    const MAX: u32;

    /// Converts a value of at most [`MAX`](Depth::MAX).
    fn cut(value: u32) -> Self;
}

impl Depth for u8 {
    const MAX: u32 = 255;

    fn cut(value: u32) -> Self {
        value as u8
    }
}

impl Depth for u16 {
    const MAX: u32 = 65_535;

    fn cut(value: u32) -> Self {
        value as u16
    }
}

/// Returns `a` times `b`, where the largest value stands for one.
pub(super) fn times<T: Depth>(a: u32, b: u32) -> u32 {
    (a * b + T::MAX / 2) / T::MAX
}

/// Pixels of red, green, blue and opacity, the colours premultiplied by the opacity.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layer<T> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixels: Vec<[T; 4]>,
}

/// A mark to blend into a picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Mark {
    /// A picture of 8 bits a channel.
    Shallow(Layer<u8>),
    /// A picture of 16 bits a channel.
    Deep(Layer<u16>),
    /// A text, in letters for dark and for light backgrounds.
    Text {
        /// White letters.
        on_dark: Layer<u8>,
        /// Black letters.
        on_light: Layer<u8>,
    },
}

impl Mark {
    /// Creates a mark from a picture, in 16 bits a channel if `deep`.
    pub(super) fn picture(image: DynamicImage, deep: bool) -> Self {
        let (width, height) = (image.width(), image.height());
        match deep {
            false => Self::Shallow(Layer { width, height, pixels: premultiplied(image.into_rgba8().into_raw()) }),
            true => Self::Deep(Layer { width, height, pixels: premultiplied(image.into_rgba16().into_raw()) }),
        }
    }

    /// Returns width and height in pixels.
    pub(super) fn size(&self) -> (u32, u32) {
        match self {
            Self::Shallow(layer) | Self::Text { on_dark: layer, .. } => (layer.width, layer.height),
            Self::Deep(layer) => (layer.width, layer.height),
        }
    }

    /// Returns whether any of it is neither black, gray nor white.
    pub(super) fn has_colour(&self) -> bool {
        match self {
            Self::Shallow(layer) | Self::Text { on_dark: layer, .. } => layer.has_colour(),
            Self::Deep(layer) => layer.has_colour(),
        }
    }
}

impl<T: Depth> Layer<T> {
    fn has_colour(&self) -> bool {
        self.pixels.iter().any(|[red, green, blue, _]| red != green || green != blue)
    }

    /// Converts the layer to another depth, with its opacity scaled by a number from 0 to 1.
    pub(super) fn faded<U: Depth>(&self, opacity: f64) -> Layer<U> {
        let factor = opacity * f64::from(U::MAX) / f64::from(T::MAX);
        let fade = |value: T| U::cut((f64::from(value.into()) * factor + 0.5) as u32);
        let table: Vec<U> = match T::MAX {
            255 => (0..=T::MAX).map(|value| fade(T::cut(value))).collect(),
            _ => Vec::new(),
        };
        let fade = |value: T| table.get(value.into() as usize).copied().unwrap_or_else(|| fade(value));
        let pixels = self.pixels.iter().map(|pixel| pixel.map(fade)).collect();
        Layer { width: self.width, height: self.height, pixels }
    }
}

fn premultiplied<T: Depth>(raw: Vec<T>) -> Vec<[T; 4]> {
    let pixels = raw.as_chunks::<4>().0.iter();
    pixels
        .map(|[red, green, blue, alpha]| {
            let colour = |value: T| T::cut(times::<T>(value.into(), (*alpha).into()));
            [colour(*red), colour(*green), colour(*blue), *alpha]
        })
        .collect()
}
