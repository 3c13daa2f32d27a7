//! How pictures are fitted to a size.

/// How a picture is fitted to another size. The values of `resize_mode` in the web UI.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fit {
    /// 0: stretched.
    #[default]
    Stretch,
    /// 1: enlarged to cover the size, and cropped.
    Crop,
    /// 2: reduced to lie within the size, and padded with the colours of its edges.
    Pad,
    /// 3: stretched in the latent space.
    Latent,
}

impl Fit {
    /// Returns the value of `resize_mode`.
    pub const fn number(self) -> u8 {
        match self {
            Fit::Stretch => 0,
            Fit::Crop => 1,
            Fit::Pad => 2,
            Fit::Latent => 3,
        }
    }
}
