use std::num::NonZeroUsize;

use super::*;
use crate::onnx::builder::{Builder, Setting, Weights};
use crate::runtime::{ProgramError, Rten};
use crate::tensor::{Dimension, Values};

fn rten() -> Rten {
    Rten::new(NonZeroUsize::MIN)
}

/// Numbers with few digits, of which sums and products are exact.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7 + 3) % 17) as f32 / 8.0 - 1.0).collect()
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn builder(shape: &[usize]) -> Builder {
    let mut builder = Builder::new(1024 * 1024, ["x".to_owned(), "y".to_owned()]);
    builder.input("x", &shape.iter().copied().map(Dimension::Fixed).collect::<Vec<_>>());
    builder
}

fn file(mut builder: Builder, value: &str) -> Vec<u8> {
    builder.node_as("Identity", &[value], "y", &[]);
    builder.output("y", &[const { Dimension::Unknown }; 4]);
    builder.finish()
}

fn net(builder: Builder, value: &str) -> Net {
    Net::from_bytes("test.onnx", file(builder, value), &rten(), &Limits::default()).unwrap()
}

/// Runs a net on numbers, and returns the shape and the elements of its result.
fn result(net: &Net, shape: [usize; 4]) -> (Vec<usize>, Vec<f32>) {
    let input = Tensor::new(shape, numbers(shape.iter().product())).unwrap();
    let [output] = net.run(&[("x", &input)], ["y"]).unwrap();
    match output.into_parts() {
        (shape, Values::F32(values)) => (shape, values),
        (_, other) => panic!("{other:?}"),
    }
}

/// A convolution by its definition.
struct Convolution<'a> {
    /// Channels, rows, columns.
    input: [usize; 3],
    /// Filters, channels of each, rows, columns.
    kernel: [usize; 4],
    weights: &'a [f32],
    stride: usize,
    /// Before rows and columns, after rows and columns.
    pads: [usize; 4],
    groups: usize,
}

impl Convolution<'_> {
    fn sides(&self) -> [usize; 2] {
        let side = |axis: usize| {
            (self.input[axis + 1] + self.pads[axis] + self.pads[axis + 2] - self.kernel[axis + 2]) / self.stride + 1
        };
        [side(0), side(1)]
    }

    fn at(&self, x: &[f32], filter: usize, row: usize, column: usize) -> f32 {
        let ([_, height, width], [filters, channels, rows, columns]) = (self.input, self.kernel);
        let first = filter / (filters / self.groups) * channels;
        let mut sum = 0.0;
        for channel in 0..channels {
            for (y, x_) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
                let place = (row * self.stride + y).checked_sub(self.pads[0]).filter(|place| *place < height);
                let other = (column * self.stride + x_).checked_sub(self.pads[1]).filter(|place| *place < width);
                if let (Some(top), Some(left)) = (place, other) {
                    let weight = self.weights[((filter * channels + channel) * rows + y) * columns + x_];
                    sum += weight * x[((first + channel) * height + top) * width + left];
                }
            }
        }
        sum
    }

    /// Compares with what the runtime makes of it.
    fn check(&self) {
        let [channels, height, width] = self.input;
        let mut builder = builder(&[1, channels, height, width]);
        let weights = builder.weights(Weights::F32, &self.kernel, &bytes(self.weights));
        let (kernel, stride) = ([self.kernel[2] as i64, self.kernel[3] as i64], [self.stride as i64; 2]);
        let pads = self.pads.map(|pad| pad as i64);
        let settings = [
            ("kernel_shape", Setting::Ints(&kernel)),
            ("strides", Setting::Ints(&stride)),
            ("pads", Setting::Ints(&pads)),
            ("group", Setting::Int(self.groups as i64)),
        ];
        let value = builder.node("Conv", &["x", &weights], &settings);
        let (shape, found) = result(&net(builder, &value), [1, channels, height, width]);
        let (x, [rows, columns]) = (numbers(channels * height * width), self.sides());
        let places = (0..self.kernel[0]).flat_map(|filter| (0..rows * columns).map(move |place| (filter, place)));
        let expected: Vec<f32> =
            places.map(|(filter, place)| self.at(&x, filter, place / columns, place % columns)).collect();
        assert_eq!((shape, found), (vec![1, self.kernel[0], rows, columns], expected));
    }
}

#[test]
fn convolutions_are_those_of_their_definition() {
    let weights = numbers(54);
    let (input, kernel) = ([2, 7, 6], [3, 2, 3, 3]);
    Convolution { input, kernel, weights: &weights, stride: 2, pads: [1, 0, 1, 1], groups: 1 }.check();
    Convolution { input, kernel, weights: &weights, stride: 1, pads: [1; 4], groups: 1 }.check();
    let (input, kernel) = ([6, 5, 4], [6, 1, 3, 3]);
    Convolution { input, kernel, weights: &weights, stride: 1, pads: [1; 4], groups: 6 }.check();
    Convolution { input, kernel, weights: &weights, stride: 2, pads: [0, 1, 1, 0], groups: 6 }.check();
    // Two filters for each channel.
    Convolution { input: [3, 5, 4], kernel, weights: &weights, stride: 1, pads: [1; 4], groups: 3 }.check();
}

#[test]
fn slopes_hold_for_negative_numbers() {
    let mut builder = builder(&[1, 2, 3, 3]);
    let slopes = builder.weights(Weights::F32, &[2, 1, 1], &bytes(&[0.5, -2.0]));
    let value = builder.node("PRelu", &["x", &slopes], &[]);
    let (_, found) = result(&net(builder, &value), [1, 2, 3, 3]);
    let slope = |index: usize| if index < 9 { 0.5 } else { -2.0 };
    let expected = numbers(18).into_iter().enumerate();
    let expected: Vec<f32> = expected.map(|(index, x)| if x < 0.0 { slope(index) * x } else { x }).collect();
    assert_eq!(found, expected);
}

#[test]
fn pictures_are_enlarged_by_the_nearest_pixel() {
    let mut builder = builder(&[1, 1, 2, 3]);
    let scales = builder.floats(&[1.0, 1.0, 2.0, 2.0]);
    let settings = [
        ("mode", Setting::Text("nearest")),
        ("coordinate_transformation_mode", Setting::Text("asymmetric")),
        ("nearest_mode", Setting::Text("floor")),
    ];
    let value = builder.node("Resize", &["x", "", &scales], &settings);
    let (shape, found) = result(&net(builder, &value), [1, 1, 2, 3]);
    let x = numbers(6);
    let expected: Vec<f32> = (0..24).map(|index| x[index / 6 / 2 * 3 + index % 6 / 2]).collect();
    assert_eq!((shape, found), (vec![1, 1, 4, 6], expected));
}

#[test]
fn pictures_are_resampled_between_the_centres_of_pixels() {
    let mut builder = builder(&[1, 1, 4, 5]);
    let sizes = builder.ints(&[1, 1, 6, 3]);
    let settings = [("mode", Setting::Text("linear")), ("coordinate_transformation_mode", Setting::Text("half_pixel"))];
    let value = builder.node("Resize", &["x", "", "", &sizes], &settings);
    let (shape, found) = result(&net(builder, &value), [1, 1, 4, 5]);
    assert_eq!(shape, [1, 1, 6, 3]);
    let x = numbers(20);
    // A place in the picture as a pixel, the next one, and the share of that one.
    let place = |index: usize, from: usize, to: usize| {
        let at = (index as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let at = at.clamp(0.0, from as f64 - 1.0);
        (at as usize, (at as usize + 1).min(from - 1), at.fract())
    };
    for (index, found) in found.into_iter().enumerate() {
        let ((top, bottom, down), (left, right, across)) = (place(index / 3, 4, 6), place(index % 3, 5, 3));
        let row = |y: usize| f64::from(x[y * 5 + left]) * (1.0 - across) + f64::from(x[y * 5 + right]) * across;
        let expected = row(top) * (1.0 - down) + row(bottom) * down;
        assert!((f64::from(found) - expected).abs() < 1e-6, "{index}: {found} in place of {expected}");
    }
}

#[test]
fn channels_become_pixels() {
    let mut builder = builder(&[1, 8, 2, 3]);
    let settings = [("blocksize", Setting::Int(2)), ("mode", Setting::Text("CRD"))];
    let value = builder.node("DepthToSpace", &["x"], &settings);
    let (shape, found) = result(&net(builder, &value), [1, 8, 2, 3]);
    let x = numbers(48);
    let expected = |index: usize| {
        let (channel, y, x_) = (index / 24, index / 6 % 4, index % 6);
        x[((channel * 4 + y % 2 * 2 + x_ % 2) * 2 + y / 2) * 3 + x_ / 2]
    };
    let expected: Vec<f32> = (0..48).map(expected).collect();
    assert_eq!((shape, found), (vec![1, 2, 4, 6], expected));
}

#[test]
fn weights_of_half_precision_are_widened_exactly() {
    let mut builder = builder(&[1, 1, 1, 1]);
    // 1, -2, the half nearest to a third, the smallest and the largest one.
    let halves: [u16; 5] = [0x3c00, 0xc000, 0x3555, 0x0001, 0x7bff];
    let data: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
    let weights = builder.weights(Weights::F16, &[5, 1, 1, 1], &data);
    let one = builder.number(1.0);
    // The number that is given counts for nothing, and one is added.
    let nothing = builder.number(0.0);
    let nothing = builder.node("Mul", &["x", &nothing], &[]);
    let ones = builder.node("Add", &[&nothing, &one], &[]);
    let value = builder.node("Conv", &[&ones, &weights], &[("kernel_shape", Setting::Ints(&[1, 1]))]);
    let (_, found) = result(&net(builder, &value), [1, 1, 1, 1]);
    assert_eq!(found, [1.0, -2.0, 0.333_251_95, 5.960_464_5e-8, 65504.0]);
}

#[test]
fn bytes_and_whole_numbers_go_in_and_come_out() {
    // The writer of this crate declares numbers with a fraction only, so casts stand between.
    let mut builder = builder(&[1, 1, 1, 3]);
    let value = builder.node("Cast", &["x"], &[("to", Setting::Int(7))]);
    let net = net(builder, &value);
    let input = Tensor::new([1, 1, 1, 3], vec![3.0_f32, -2.0, 7.0]).unwrap();
    let [output] = net.run(&[("x", &input)], ["y"]).unwrap();
    assert_eq!(output.values(), &Values::I64(vec![3, -2, 7]));
}

#[test]
fn what_does_not_fit_is_named() {
    let mut builder = builder(&[1, 1, 2, 2]);
    let value = builder.node("Relu", &["x"], &[]);
    let net = net(builder, &value);
    let fits = Tensor::new([1, 1, 2, 2], vec![0.0_f32; 4]).unwrap();
    let other = Tensor::new([1, 1, 2, 3], vec![0.0_f32; 6]).unwrap();
    let bytes = Tensor::new([1, 1, 2, 2], vec![0_u8; 4]).unwrap();
    let problem = |inputs: &[(&str, &Tensor)], output: &str| net.run(inputs, [output]).unwrap_err().to_string();
    let start = "the net in \"test.onnx\" does not fit its use: ";
    for (found, expected) in [
        (problem(&[], "y"), "its input `x` is not given"),
        (problem(&[("z", &fits)], "y"), "it has no input `z`; its inputs are `x`"),
        (problem(&[("x", &fits), ("x", &fits)], "y"), "2 inputs are given; it has 1"),
        (problem(&[("x", &other)], "y"), "its input `x` has the shape 1x1x2x2; 1x1x2x3 is given"),
        (problem(&[("x", &bytes)], "y"), "its input `x` has elements of float; others are given"),
        (problem(&[("x", &fits)], "z"), "it has no output `z`; its outputs are `y`"),
    ] {
        assert_eq!(found, format!("{start}{expected}"));
    }
}

#[test]
fn a_run_that_takes_more_memory_than_allowed_is_refused() {
    let mut builder = builder(&[1, 1, 100, 100]);
    let value = builder.node("Relu", &["x"], &[]);
    let limits = Limits { working: 100_000, ..Limits::default() };
    let net = Net::from_bytes("test.onnx", file(builder, &value), &rten(), &limits).unwrap();
    let input = Tensor::new([1, 1, 100, 100], vec![0.0_f32; 10_000]).unwrap();
    let error = net.run(&[("x", &input)], ["y"]).unwrap_err();
    // Input and output, twice.
    assert!(error.to_string().ends_with("a run takes 160000 bytes of memory; at most 100000 are allowed"), "{error}");
    let limits = Limits { file: 10, ..Limits::default() };
    let error = Net::from_bytes("test.onnx", vec![0; 11], &rten(), &limits).unwrap_err();
    let expected = "the model file \"test.onnx\" cannot be used: it is larger than the limit of 10 bytes";
    assert_eq!(error.to_string(), expected);
}

/// What is not a number would become a black pixel, and a mask of it an empty one, for which callers would be blamed.
#[test]
fn numbers_that_are_not_finite_are_a_failure_of_the_net() {
    for (operator, input) in [("Log", -1.0), ("Sqrt", -1.0), ("Reciprocal", 0.0)] {
        let mut builder = builder(&[1, 1, 1, 2]);
        let value = builder.node(operator, &["x"], &[]);
        let net = net(builder, &value);
        let run = |first: f32| {
            let input = Tensor::new([1, 1, 1, 2], vec![first, 1.0]).unwrap();
            net.run(&[("x", &input)], ["y"]).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(run(1.0), Ok(()));
        let expected = "the net in \"test.onnx\" failed: its output `y` has numbers that are not finite";
        assert_eq!(run(input), Err(expected.to_owned()), "{operator} {input}");
    }
}

#[test]
fn a_trial_finds_what_a_net_cannot_do() {
    let mut builder = Builder::new(1024, ["x".to_owned(), "y".to_owned()]);
    let named = |name: &str| Dimension::Named(name.to_owned());
    builder.input("x", &[named("batch"), Dimension::Fixed(3), named("height"), Dimension::Unknown]);
    let sides = builder.ints(&[1, 3, 32, 32]);
    let value = builder.node("Reshape", &["x", &sides], &[]);
    let flexible = net(builder, &value);
    assert_eq!(flexible.trial(32).unwrap().shape(), [1, 3, 32, 32]);
    // The runtime says so in its own words.
    assert!(matches!(flexible.trial(48), Err(NetError::Run { .. })));
    let mut builder = self::builder(&[1, 1, 4, 4]);
    let value = builder.node("ReduceMax", &["x"], &[]);
    let lowest = builder.node("ReduceMin", &["x"], &[]);
    let range = builder.node("Sub", &[&value, &lowest], &[]);
    let value = builder.node("Div", &["x", &range], &[]);
    // Numbers that are all the same would be divided by nothing.
    assert_eq!(net(builder, &value).trial(1).unwrap().shape(), [1, 1, 4, 4]);
    let mut builder = self::builder(&[1, 1, 1, 2]);
    let value = builder.node("Neg", &["x"], &[]);
    let value = builder.node("Log", &[&value], &[]);
    let error = net(builder, &value).trial(1).unwrap_err().to_string();
    assert_eq!(error, "the net in \"test.onnx\" failed: its output `y` has numbers that are not finite");
    let huge = self::builder(&[1, 3, 8192, 8192]);
    let error = net(huge, "x").trial(1).unwrap_err().to_string();
    assert!(error.ends_with("its input `x` of 1x3x8192x8192 is too large"), "{error}");
}

#[test]
fn rten_refuses_what_it_would_carry_out_in_another_way() {
    let mut builder = builder(&[1, 1, 4, 4]);
    let scales = builder.floats(&[1.0, 1.0, 2.0, 2.0]);
    let value = builder.node("Resize", &["x", "", &scales], &[("mode", Setting::Text("cubic"))]);
    let error = Net::from_bytes("test.onnx", file(builder, &value), &rten(), &Limits::default()).unwrap_err();
    let expected = "the model file \"test.onnx\" cannot be used: rten carries out `Resize` with the mode `cubic` by linear \
                    interpolation";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_operator_that_the_runtime_does_not_have_is_named() {
    let mut builder = builder(&[1, 1, 4, 4]);
    let value = builder.node("Telepathy", &["x"], &[]);
    let error = Net::from_bytes("test.onnx", file(builder, &value), &rten(), &Limits::default()).unwrap_err();
    assert!(
        matches!(&error, NetError::File { file, problem } if file == "test.onnx" && problem.contains("Telepathy")),
        "{error}"
    );
}

/// Panics wherever it can.
#[derive(Debug)]
struct Panicking {
    loads: bool,
}

impl Runtime for Panicking {
    fn name(&self) -> &'static str {
        "panicking"
    }

    fn load(&self, _: Vec<u8>, _: Option<usize>) -> Result<Box<dyn Program>, ProgramError> {
        assert!(self.loads, "it does not load");
        Ok(Box::new(PanickingProgram))
    }
}

struct PanickingProgram;

impl Program for PanickingProgram {
    fn run(&self, inputs: &[(&str, &Tensor)], _: &[usize]) -> Result<Vec<Tensor>, ProgramError> {
        panic!("it does not run with {} inputs", inputs.len())
    }
}

#[test]
fn a_panic_of_a_runtime_is_an_error() {
    let file = || file(builder(&[1, 1, 1, 1]), "x");
    let load = |loads| Net::from_bytes("test.onnx", file(), &Panicking { loads }, &Limits::default());
    let expected = "the model file \"test.onnx\" cannot be used: the runtime panicked: it does not load";
    assert_eq!(load(false).unwrap_err().to_string(), expected);
    let input = Tensor::new([1, 1, 1, 1], vec![0.0_f32]).unwrap();
    let error = load(true).unwrap().run(&[("x", &input)], ["y"]).unwrap_err();
    let expected = "the net in \"test.onnx\" failed: the runtime panicked: it does not run with 1 inputs";
    assert_eq!(error.to_string(), expected);
}

/// Whatever a byte of a file becomes, loading and running it ends with a result or an error.
#[test]
fn no_change_of_a_model_brings_the_runtime_down() {
    let mut builder = builder(&[1, 2, 6, 6]);
    let weights = builder.weights(Weights::F16, &[2, 2, 3, 3], &[0x3c; 72]);
    let pads = Setting::Ints(&[1, 1, 1, 1]);
    let value = builder.node("Conv", &["x", &weights], &[("kernel_shape", Setting::Ints(&[3, 3])), ("pads", pads)]);
    let file = file(builder, &value);
    let (runtime, mebibyte) = (rten(), 1024 * 1024);
    let limits = Limits { file: mebibyte, tensor: mebibyte, working: 8 * mebibyte, side: None };
    let mut runs = 0;
    for at in 0..file.len() {
        for change in [0x01, 0x10, 0x80, 0xff] {
            let mut file = file.clone();
            file[at] ^= change;
            let Ok(net) = Net::from_bytes("test.onnx", file, &runtime, &limits) else { continue };
            let input = Tensor::new([1, 2, 6, 6], numbers(72)).unwrap();
            runs += usize::from(net.run(&[("x", &input)], ["y"]).is_ok());
        }
    }
    // Changes of weights, above all.
    assert!(runs > 100, "{runs}");
}
