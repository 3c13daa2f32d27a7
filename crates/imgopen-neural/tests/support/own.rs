//! Tiny nets as an operator would put them into the models directory.

use std::fs;
use std::path::Path;

use imgopen_nets::Dimension::{self, Fixed};
use imgopen_nets::onnx::{Builder, Setting, Weights};

/// Puts a file into a folder of a models directory.
pub fn put(models: &Path, folder: &str, name: &str, bytes: &[u8]) {
    let directory = models.join(folder);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(name), bytes).unwrap();
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn builder(names: &[&str]) -> Builder {
    Builder::new(1 << 16, names.iter().map(|name| (*name).to_owned()))
}

fn free(channels: usize) -> [Dimension; 4] {
    [Fixed(1), Fixed(channels), Dimension::Named("height".to_owned()), Dimension::Named("width".to_owned())]
}

/// A convolution of single pixels from three channels into one.
fn sum(builder: &mut Builder, input: &str, weights: [f32; 3], bias: f32) -> String {
    let kernel = builder.weights(Weights::F32, &[1, 3, 1, 1], &floats(&weights));
    let bias = builder.weights(Weights::F32, &[1], &floats(&[bias]));
    builder.node("Conv", &[input, &kernel, &bias], &[("kernel_shape", Setting::Ints(&[1, 1]))])
}

/// A net with the signature of u2net: seven masks, from 0.1 to 0.6, of which the first finds what is bright.
pub fn u2net() -> Vec<u8> {
    let names = ["1959", "1960", "1961", "1962", "1963", "1964", "1965"];
    let mut builder = builder(&[&["input.1"][..], &names[..]].concat());
    builder.input("input.1", &[1, 3, 320, 320].map(Fixed));
    names.iter().for_each(|name| builder.output(name, &[1, 1, 320, 320].map(Fixed)));
    let bright = sum(&mut builder, "input.1", [100.0; 3], 0.0);
    let mask = builder.node("Sigmoid", &[&bright], &[]);
    let (half, tenth) = (builder.number(0.5), builder.number(0.1));
    let smaller = builder.node("Mul", &[&mask, &half], &[]);
    names.iter().for_each(|name| builder.node_as("Add", &[&smaller, &tenth], name, &[]));
    builder.finish()
}

/// A net with the signature of u2net that divides by the range of what it is given, so that a picture of one colour has no mask.
pub fn dividing_u2net() -> Vec<u8> {
    let mut builder = builder(&["input.1", "1959"]);
    builder.input("input.1", &[1, 3, 320, 320].map(Fixed));
    builder.output("1959", &[1, 1, 320, 320].map(Fixed));
    let sum = sum(&mut builder, "input.1", [1.0, 0.0, 0.0], 0.0);
    let most = builder.node("ReduceMax", &[&sum], &[]);
    let least = builder.node("ReduceMin", &[&sum], &[]);
    let over = builder.node("Sub", &[&sum, &least], &[]);
    let range = builder.node("Sub", &[&most, &least], &[]);
    builder.node_as("Div", &[&over, &range], "1959", &[]);
    builder.finish()
}

/// A net with the signature of ISNet that no runtime knows how to run.
pub fn unknown_operator() -> Vec<u8> {
    let mut builder = builder(&["input", "output"]);
    builder.input("input", &[1, 3, 64, 64].map(Fixed));
    builder.output("output", &[1, 1, 64, 64].map(Fixed));
    builder.node_as("Telepathy", &["input"], "output", &[]);
    builder.finish()
}

/// A net with the signature of BiRefNet that finds what is bright, before the last sigmoid.
pub fn birefnet() -> Vec<u8> {
    let mut builder = builder(&["input_image", "output_image"]);
    builder.input("input_image", &[1, 3, 64, 64].map(Fixed));
    builder.output("output_image", &[1, 1, 64, 64].map(Fixed));
    // Attention over one channel is 1 everywhere.
    let one = sum(&mut builder, "input_image", [1.0; 3], 0.0);
    let one = builder.node("Softmax", &[&one], &[("axis", Setting::Int(1))]);
    let bright = sum(&mut builder, "input_image", [100.0; 3], 0.0);
    builder.node_as("Mul", &[&bright, &one], "output_image", &[]);
    builder.finish()
}

/// A net that repeats each pixel, for pictures of any size or of a fixed one.
pub fn upscaler(factor: usize, side: Option<usize>) -> Vec<u8> {
    let mut builder = builder(&["input", "output"]);
    let shape = |by: usize| match side {
        Some(side) => [1, 3, by * side, by * side].map(Fixed),
        None => free(3),
    };
    builder.input("input", &shape(1));
    builder.output("output", &shape(factor));
    let scales = builder.floats(&[1.0, 1.0, factor as f32, factor as f32]);
    let way = [
        ("mode", Setting::Text("nearest")),
        ("coordinate_transformation_mode", Setting::Text("asymmetric")),
        ("nearest_mode", Setting::Text("floor")),
    ];
    builder.node_as("Resize", &["input", "", &scales], "output", &way);
    builder.finish()
}

/// A net with the signature of LaMa that fills holes with a colour from 0 to 1, and returns samples up to `most`.
pub fn lama(side: Option<usize>, colour: [f32; 3], most: f32) -> Vec<u8> {
    let mut builder = builder(&["image", "mask", "output"]);
    let shape = |channels: usize| match side {
        Some(side) => [1, channels, side, side].map(Fixed),
        None => free(channels),
    };
    builder.input("image", &shape(3));
    builder.input("mask", &shape(1));
    builder.output("output", &shape(3));
    let kernel = builder.weights(Weights::F32, &[3, 1, 1, 1], &floats(&colour));
    let filled = builder.node("Conv", &["mask", &kernel], &[("kernel_shape", Setting::Ints(&[1, 1]))]);
    let whole = builder.node("Add", &["image", &filled], &[]);
    let most = builder.number(most);
    builder.node_as("Mul", &[&whole, &most], "output", &[]);
    builder.finish()
}

/// A net with the signature of LaMa that returns fewer pixels than it says.
pub fn cropping_lama() -> Vec<u8> {
    let mut builder = builder(&["image", "mask", "output"]);
    builder.input("image", &[1, 3, 64, 64].map(Fixed));
    builder.input("mask", &[1, 1, 64, 64].map(Fixed));
    builder.output("output", &[1, 3, 64, 64].map(Fixed));
    let whole = builder.node("Add", &["image", "mask"], &[]);
    let settings = [("kernel_shape", Setting::Ints(&[2, 2])), ("strides", Setting::Ints(&[2, 2]))];
    builder.node_as("MaxPool", &[&whole], "output", &settings);
    builder.finish()
}

/// A net with the signature of a net for depth, with an interpolation that rten would carry out in another way.
pub fn cubic_depth() -> Vec<u8> {
    let mut builder = builder(&["image", "depth"]);
    builder.input("image", &[1, 3, 64, 64].map(Fixed));
    builder.output("depth", &[1, 1, 128, 128].map(Fixed));
    let bright = sum(&mut builder, "image", [1.0; 3], 5.0);
    let scales = builder.floats(&[1.0, 1.0, 2.0, 2.0]);
    builder.node_as("Resize", &[&bright, "", &scales], "depth", &[("mode", Setting::Text("cubic"))]);
    builder.finish()
}

/// A net with the signature of Depth Anything that says that what is bright is near.
pub fn depth() -> Vec<u8> {
    let mut builder = builder(&["image", "depth"]);
    builder.input("image", &free(3));
    let [one, _, height, width] = free(1);
    builder.output("depth", &[one, height, width]);
    let bright = sum(&mut builder, "image", [1.0; 3], 5.0);
    let one = builder.node("Softmax", &[&bright], &[("axis", Setting::Int(1))]);
    let bright = builder.node("Mul", &[&bright, &one], &[]);
    let axes = builder.ints(&[1]);
    builder.node_as("Squeeze", &[&bright, &axes], "depth", &[]);
    builder.finish()
}
