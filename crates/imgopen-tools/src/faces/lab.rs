//! Locally assembled binary (LAB) features: which of the eight blocks around a block are at most as bright. A block is 3x3
//! pixels.

use image::GrayImage;

use super::model::{Boosted, GROUP};

/// The LAB features at every pixel of a picture.
pub(super) struct Lab {
    width: usize,
    features: Vec<u8>,
}

/// The bits of the blocks around one: to the right and down from the first block, in blocks.
const AROUND: [(usize, usize, u8); 8] =
    [(0, 0, 0x80), (1, 0, 0x40), (2, 0, 0x20), (2, 1, 0x08), (2, 2, 0x01), (1, 2, 0x02), (0, 2, 0x04), (0, 1, 0x10)];

impl Lab {
    /// Computes the features of a picture of at least 9x9 pixels.
    pub(super) fn new(image: &GrayImage) -> Self {
        let width = image.width() as usize;
        let sums = block_sums(image.as_raw(), width);
        let mut features = vec![0; image.as_raw().len()];
        let rows = image.height() as usize - 8;
        let columns = width - 8;
        for (row, features) in features.chunks_exact_mut(width).take(rows).enumerate() {
            let block = |right: usize, down: usize| &sums[(row + 3 * down) * width + 3 * right..][..columns];
            let middle = block(1, 1);
            for (right, down, bit) in AROUND {
                let around = block(right, down);
                for ((feature, middle), around) in features[..columns].iter_mut().zip(middle).zip(around) {
                    *feature |= u8::from(middle >= around) * bit;
                }
            }
        }
        Self { width, features }
    }

    /// Returns a cascade that evaluates windows of the picture.
    pub(super) fn cascade<'a>(&'a self, boosted: &'a Boosted) -> Cascade<'a> {
        let offset = |(x, y): &(usize, usize)| y * self.width + x;
        Cascade { lab: self, offsets: boosted.places.iter().map(offset).collect(), boosted }
    }
}

/// A cascade on a picture.
pub(super) struct Cascade<'a> {
    lab: &'a Lab,
    boosted: &'a Boosted,
    /// The offsets of the features from the start of the window.
    offsets: Vec<usize>,
}

impl Cascade<'_> {
    /// Returns the sum of votes for a window, if it is a candidate.
    pub(super) fn votes(&self, x: usize, y: usize) -> Option<f32> {
        let window = &self.lab.features[y * self.lab.width + x..];
        let groups = self.offsets.as_chunks::<GROUP>().0.iter().zip(self.boosted.votes.as_chunks::<GROUP>().0);
        let mut sum = 0.0;
        for ((offsets, votes), threshold) in groups.zip(&self.boosted.thresholds) {
            for (offset, votes) in offsets.iter().zip(votes) {
                sum += votes[usize::from(window[*offset])];
            }
            if sum < *threshold {
                return None;
            }
        }
        Some(sum)
    }
}

/// Returns the sums of the 3x3 pixels that begin at each pixel; those that reach beyond the picture are meaningless.
fn block_sums(pixels: &[u8], width: usize) -> Vec<u16> {
    let mut across: Vec<u16> = pixels.iter().map(|pixel| u16::from(*pixel)).collect();
    let kept = across.len() - 2;
    for (sum, (one, two)) in across[..kept].iter_mut().zip(pixels[1..].iter().zip(&pixels[2..])) {
        *sum += u16::from(*one) + u16::from(*two);
    }
    let mut sums = across.clone();
    for (sum, (one, two)) in sums.iter_mut().zip(across[width..].iter().zip(&across[2 * width..])) {
        *sum += one + two;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_mark_blocks_that_are_at_most_as_bright() {
        // Blocks of different brightness, the middle one 50.
        let bright = [[40, 60, 50], [51, 50, 49], [0, 255, 50]];
        let image = GrayImage::from_fn(9, 9, |x, y| image::Luma([bright[y as usize / 3][x as usize / 3]]));
        assert_eq!(Lab::new(&image).features[0], 0x80 | 0x20 | 0x08 | 0x04 | 0x01);
    }
}
