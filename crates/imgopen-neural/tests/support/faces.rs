//! Tiny nets for faces: a mesh that is always the same, and nets as an operator has them for swaps.

use std::fs;
use std::path::Path;

use imgopen_nets::Dimension::{self, Fixed, Named};
use imgopen_nets::onnx::{Builder, Setting, Weights};

const POINTS: usize = 468;
const SIDE: usize = 192;

/// The points of the outline of a face, from the middle of the forehead clockwise.
const OVAL: [usize; 36] = [
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
];

fn floats(numbers: impl IntoIterator<Item = f32>) -> Vec<u8> {
    numbers.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn triangles() -> Vec<[usize; 3]> {
    let text = include_str!("../../src/swap/triangles.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let triangle = |text: &str| {
        let numbers: Vec<usize> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
        [numbers[0], numbers[1], numbers[2]]
    };
    lines.flat_map(|line| line.split(',').map(triangle).collect::<Vec<_>>()).collect()
}

/// A flat mesh in the middle of the picture that the net takes, each of whose points is in the middle of its neighbours. `slope` is
/// by how much the depth rises with each pixel to the right.
fn points(slope: f32) -> Vec<f32> {
    let (triangles, middle) = (triangles(), SIDE as f32 / 2.0);
    let mut points = vec![[middle; 2]; POINTS];
    for (place, index) in OVAL.into_iter().enumerate() {
        let angle = place as f32 / OVAL.len() as f32 * std::f32::consts::TAU;
        points[index] = [middle + 52.0 * angle.sin(), middle - 62.0 * angle.cos()];
    }
    for _ in 0..600 {
        let mut sums = vec![[0.0_f32; 3]; POINTS];
        for triangle in &triangles {
            for index in triangle {
                for other in triangle.iter().filter(|other| *other != index) {
                    let [x, y] = points[*other];
                    sums[*index].iter_mut().zip([x, y, 1.0]).for_each(|(sum, value)| *sum += value);
                }
            }
        }
        for (index, [x, y, count]) in sums.into_iter().enumerate() {
            if !OVAL.contains(&index) {
                points[index] = [x / count, y / count];
            }
        }
    }
    points.into_iter().flat_map(|[x, y]| [x, y, slope * (x - middle)]).collect()
}

/// A net with the signature of MediaPipe's that finds the same mesh in every picture, and is sure of it.
pub fn mesh(slope: f32) -> Vec<u8> {
    mesh_scored(slope, 9.0)
}

/// The same, of which the net says with that number how sure it is: with 0, that there is a face is as likely as not.
pub fn mesh_scored(slope: f32, score: f32) -> Vec<u8> {
    let names = ["input_1", "conv2d_20", "conv2d_30"].map(str::to_owned);
    let mut builder = Builder::new(1 << 20, names);
    builder.input("input_1", &[1, SIDE, SIDE, 3].map(Fixed));
    builder.output("conv2d_20", &[1, 3 * POINTS].map(Fixed));
    builder.output("conv2d_30", &[1, 1].map(Fixed));
    let count = SIDE * SIDE * 3;
    let shape = builder.ints(&[1, count as i64]);
    let flat = builder.node("Reshape", &["input_1", &shape], &[]);
    let nothing = builder.weights(Weights::F32, &[count, 1], &vec![0; 4 * count]);
    let zero = builder.node("MatMul", &[&flat, &nothing], &[]);
    let sure = builder.number(score);
    builder.node_as("Add", &[&zero, &sure], "conv2d_30", &[]);
    let points = builder.weights(Weights::F32, &[1, 3 * POINTS], &floats(points(slope)));
    builder.node_as("Add", &[&zero, &points], "conv2d_20", &[]);
    builder.finish()
}

/// Numbers that look random, from -1 to 1.
fn noise(count: usize) -> impl Iterator<Item = f32> {
    let number = |index: usize| (index as u32).wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(2_246_822_519);
    (0..count).map(move |index| number(index) as f32 / u32::MAX as f32 * 2.0 - 1.0)
}

/// A net with the signature of ArcFace's, whose numbers are mixed from means of squares of the face, times a factor.
pub fn recogniser(factor: f32) -> Vec<u8> {
    let mut builder = Builder::new(1 << 20, ["input.1", "683"].map(str::to_owned));
    builder.input("input.1", &[Named("batch".to_owned()), Fixed(3), Fixed(112), Fixed(112)]);
    builder.output("683", &[Fixed(1), Fixed(512)]);
    let squares = [("kernel_shape", Setting::Ints(&[14, 14])), ("strides", Setting::Ints(&[14, 14]))];
    let means = builder.node("AveragePool", &["input.1"], &squares);
    let shape = builder.ints(&[1, 192]);
    let flat = builder.node("Reshape", &[&means, &shape], &[]);
    let mixed = builder.weights(Weights::F32, &[192, 512], &floats(noise(192 * 512).map(|number| number * factor)));
    builder.node_as("MatMul", &[&flat, &mixed], "683", &[]);
    builder.finish()
}

/// A net with the signature of inswapper's that paints the negative of a face. Its matrix leaves numbers as they are; with another
/// `side`, it is none of that net.
pub fn painter(side: usize) -> Vec<u8> {
    painter_times(side, 1.0)
}

/// The same, whose matrix multiplies numbers by a factor.
pub fn painter_times(side: usize, factor: f32) -> Vec<u8> {
    let mut builder = Builder::new(4 << 20, ["target", "source", "output"].map(str::to_owned));
    let face = |channels: usize| -> [Dimension; 4] { [1, channels, 128, 128].map(Fixed) };
    builder.input("target", &face(3));
    builder.input("source", &[1, 512].map(Fixed));
    builder.output("output", &face(3));
    let nothing = builder.weights(Weights::F32, &[512, 1], &[0; 4 * 512]);
    let zero = builder.node("MatMul", &["source", &nothing], &[]);
    let one = builder.number(1.0);
    let white = builder.node("Add", &[&zero, &one], &[]);
    builder.node_as("Sub", &[&white, "target"], "output", &[]);
    // By its shape the net is recognised, by its place its use.
    let identity =
        |side: usize| floats((0..side * side).map(move |place| if place % (side + 1) == 0 { factor } else { 0.0 }));
    builder.weights(Weights::F32, &[512, 512], &identity(512));
    if side != 512 {
        builder.weights(Weights::F32, &[side, side], &identity(side));
    }
    builder.finish()
}

/// Puts a net into the folder of a models directory where those for faces are.
pub fn put(models: &Path, name: &str, bytes: &[u8]) {
    let directory = models.join("insightface");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(name), bytes).unwrap();
}
