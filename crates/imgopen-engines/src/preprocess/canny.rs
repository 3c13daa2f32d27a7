//! Canny's edges, pixel for pixel as OpenCV's `Canny(gray, 100, 200)` finds them.
//!
//! Sobel gradients of 3x3 pixels, the picture's margin repeated outwards; their size is the sum of both parts (L1). A
//! pixel is an edge where the size is above the low threshold and greatest across the edge; the direction is one of
//! four, told in whole numbers by the tangent of 22.5 degrees. Edges count where they hang together, over any of eight
//! neighbours, with a pixel above the high threshold.
//!
//! All loops over pixels work on rows of 16 bits without branches, so that they become vector instructions.

use image::GrayImage;

/// The size of gradient below which nothing is an edge; the web UI's default.
const LOW: i16 = 100;
/// The size of gradient above which an edge is sure; the web UI's default.
const HIGH: i16 = 200;
/// The tangent of 22.5 degrees in parts of 2^16. For the whole numbers below 1024 the high half of a product tells on
/// which side of the slope a gradient lies, for no such product is itself whole.
const TAN_22: u32 = 2 * 13573;

/// Marks of pixels.
const WEAK: u8 = 1;
const STRONG: u8 = 2;

/// The edges in white on black.
pub(super) fn edges(gray: &GrayImage) -> GrayImage {
    let (width, height) = gray.dimensions();
    let mut marks = Marks::of(gray);
    marks.spread();
    let mut edges = GrayImage::new(width, height);
    for (row, marks) in edges.chunks_exact_mut(width as usize).zip(marks.pixels.chunks_exact(marks.stride).skip(1)) {
        show(&marks[1..], row);
    }
    edges
}

vectorised!(show = show_plainly(marks: &'a [u8], row: &'a mut [u8]));

#[inline(always)]
fn show_plainly(marks: &[u8], row: &mut [u8]) {
    for (edge, mark) in row.iter_mut().zip(marks) {
        *edge = if *mark == STRONG { u8::MAX } else { 0 };
    }
}

/// What each pixel is: no edge, a weak or a strong one. A margin of one pixel around is no edge.
struct Marks {
    pixels: Vec<u8>,
    stride: usize,
    /// Where the strong ones are whose neighbours have not been looked at.
    found: Vec<usize>,
}

impl Marks {
    fn of(gray: &GrayImage) -> Self {
        let (width, height) = (gray.width() as usize, gray.height() as usize);
        let stride = width + 2;
        let mut marks = Self { pixels: vec![0; stride * (height + 2)], stride, found: Vec::new() };
        let mut gradients = [Gradients::new(width), Gradients::new(width), Gradients::new(width)];
        let mut sums = [vec![0; stride], vec![0; stride]];
        let samples = gray.as_raw();
        let row = |y: usize| &samples[y.min(height - 1) * width..][..width];
        gradients[2].fill([row(0), row(0), row(1)], &mut sums);
        for y in 0..height {
            gradients.rotate_left(1);
            match y + 1 < height {
                true => gradients[2].fill([row(y), row(y + 1), row(y + 2)], &mut sums),
                false => gradients[2].sizes.fill(0),
            }
            marks.take(y, &gradients);
        }
        marks
    }

    /// Marks a row of which the gradients, and those of the rows beside it, are known.
    fn take(&mut self, y: usize, gradients: &[Gradients; 3]) {
        let start = (y + 1) * self.stride + 1;
        let row = &mut self.pixels[start..][..self.stride - 2];
        mark(gradients, row);
        // Eight pixels at a time; most have nothing.
        let mut at = start;
        let (eights, rest) = row.as_chunks::<8>();
        for eight in eights {
            let mut strong = u64::from_le_bytes(*eight) & (u64::MAX / 255 * u64::from(STRONG));
            while strong != 0 {
                self.found.push(at + strong.trailing_zeros() as usize / 8);
                strong &= strong - 1;
            }
            at += 8;
        }
        self.found.extend(rest.iter().enumerate().filter(|(_, mark)| **mark == STRONG).map(|(x, _)| at + x));
    }

    /// Makes strong what hangs together with a strong one.
    fn spread(&mut self) {
        let stride = self.stride;
        while let Some(at) = self.found.pop() {
            // The three of a row at once; the margin keeps all of them inside.
            for start in [at - stride - 1, at - 1, at + stride - 1] {
                for (x, mark) in self.pixels[start..start + 3].iter_mut().enumerate() {
                    if *mark == WEAK {
                        *mark = STRONG;
                        self.found.push(start + x);
                    }
                }
            }
        }
    }
}

/// The gradients of a row.
struct Gradients {
    /// Towards the right.
    across: Vec<i16>,
    /// Downwards.
    down: Vec<i16>,
    /// Their sizes, between two zeros.
    sizes: Vec<i16>,
}

impl Gradients {
    fn new(width: usize) -> Self {
        Self { across: vec![0; width], down: vec![0; width], sizes: vec![0; width + 2] }
    }

    /// Works the gradients out from the row and those above and below it. `sums` are as long as `sizes`.
    fn fill(&mut self, rows: [&[u8]; 3], [smooth, steep]: &mut [Vec<i16>; 2]) {
        columns(rows, smooth, steep);
        finish(smooth, steep, self);
    }
}

vectorised!(columns = columns_plainly(rows: [&'a [u8]; 3], smooth: &'a mut [i16], steep: &'a mut [i16]));
vectorised!(finish = finish_plainly(smooth: &'a [i16], steep: &'a [i16], gradients: &'a mut Gradients));
vectorised!(mark = mark_plainly(gradients: &'a [Gradients; 3], marks: &'a mut [u8]));

/// The gradients from the sums over columns.
#[inline(always)]
fn finish_plainly(smooth: &[i16], steep: &[i16], gradients: &mut Gradients) {
    let width = gradients.across.len();
    let (across, down) = (&mut gradients.across[..width], &mut gradients.down[..width]);
    let sizes = &mut gradients.sizes[1..][..width];
    let (left, right) = (&smooth[..width], &smooth[2..][..width]);
    let [a, b, c] = [&steep[..width], &steep[1..][..width], &steep[2..][..width]];
    for x in 0..width {
        let (to_right, to_bottom) = (right[x] - left[x], a[x] + 2 * b[x] + c[x]);
        across[x] = to_right;
        down[x] = to_bottom;
        sizes[x] = to_right.abs() + to_bottom.abs();
    }
}

/// The sums over the columns of three rows, weighted 1, 2, 1 and -1, 0, 1, with the margin repeated once on each side.
#[inline(always)]
fn columns_plainly([above, here, below]: [&[u8]; 3], smooth: &mut [i16], steep: &mut [i16]) {
    let width = here.len();
    let (above, below) = (&above[..width], &below[..width]);
    let (inner_smooth, inner_steep) = (&mut smooth[1..][..width], &mut steep[1..][..width]);
    for x in 0..width {
        let [a, b, c] = [above[x], here[x], below[x]].map(i16::from);
        inner_smooth[x] = a + 2 * b + c;
        inner_steep[x] = c - a;
    }
    for sums in [smooth, steep] {
        sums[0] = sums[1];
        sums[width + 1] = sums[width];
    }
}

/// Marks the pixels whose gradient is greatest across the edge. Of two in a row or column that are equal the first is
/// taken; on slopes neither is, as OpenCV does it.
#[inline(always)]
fn mark_plainly([above, here, below]: &[Gradients; 3], marks: &mut [u8]) {
    let width = marks.len();
    let (across, down) = (&here.across[..width], &here.down[..width]);
    let [a0, a1, a2] = [&above.sizes[..width], &above.sizes[1..][..width], &above.sizes[2..][..width]];
    let [h0, h1, h2] = [&here.sizes[..width], &here.sizes[1..][..width], &here.sizes[2..][..width]];
    let [b0, b1, b2] = [&below.sizes[..width], &below.sizes[1..][..width], &below.sizes[2..][..width]];
    for x in 0..width {
        let (size, along, up) = (h1[x], across[x].unsigned_abs(), down[x].unsigned_abs());
        let slope = ((u32::from(along) * TAN_22) >> 16) as u16;
        let level = up <= slope;
        let upright = up > slope + 2 * along;
        let falling = (across[x] ^ down[x]) < 0;
        let (before, behind) = if falling { (a2[x], b0[x]) } else { (a0[x], b2[x]) };
        let (before, behind) = if upright { (a1[x], b1[x]) } else { (before, behind) };
        let (before, behind) = if level { (h0[x], h2[x]) } else { (before, behind) };
        let straight = i16::from(level | upright);
        let greatest = (size > before) & (size + straight > behind) & (size > LOW);
        marks[x] = u8::from(greatest) + u8::from(greatest & (size > HIGH));
    }
}
