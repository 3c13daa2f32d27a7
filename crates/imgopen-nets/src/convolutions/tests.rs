use std::num::NonZeroUsize;

use half::f16;

use super::*;
use crate::model::{Limits, ModelFile};
use crate::net::Net;
use crate::onnx::builder::{Builder, Setting, Weights};
use crate::onnx::outline;
use crate::runtime::Rten;
use crate::tensor::{Dimension, Tensor};

/// A convolution of a picture.
#[derive(Debug, Clone, Copy)]
struct Case {
    /// Of the picture.
    sides: [usize; 2],
    /// How many channels it has, and how many are made of them.
    channels: [usize; 2],
    kernel: [usize; 2],
    pads: [i64; 4],
    dilations: [i64; 2],
    stored: Weights,
}

const SAME: Case = Case {
    sides: [9, 7],
    channels: [5, 4],
    kernel: [3, 3],
    pads: [1, 1, 1, 1],
    dilations: [1, 1],
    stored: Weights::F32,
};

/// Numbers that differ, from -1 to 1, exact in half precision.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index * 7919 % 257) as f32 / 128.0 - 1.0).collect()
}

fn stored_as(stored: Weights, numbers: &[f32]) -> Vec<u8> {
    match stored {
        Weights::F16 => numbers.iter().flat_map(|number| f16::from_f32(*number).to_le_bytes()).collect(),
        _ => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
    }
}

impl Case {
    fn weights(self) -> Vec<f32> {
        numbers(self.channels[0] * self.channels[1] * self.kernel[0] * self.kernel[1])
    }

    fn bytes(self) -> Vec<u8> {
        stored_as(self.stored, &self.weights())
    }

    /// The model file, with other settings of its convolution before its own.
    fn file(self, settings: &[(&str, Setting<'_>)]) -> Vec<u8> {
        let mut builder = Builder::new(1 << 24, ["x".to_owned(), "y".to_owned()]);
        let [height, width] = self.sides;
        builder.input("x", &[1, self.channels[0], height, width].map(Dimension::Fixed));
        builder.output("y", &[]);
        let [taken, made] = self.channels;
        let weights = builder.weights(self.stored, &[made, taken, self.kernel[0], self.kernel[1]], &self.bytes());
        let bias = builder.floats(&numbers(made));
        let own = [("pads", Setting::Ints(&self.pads)), ("dilations", Setting::Ints(&self.dilations))];
        let missing = own.iter().filter(|(name, _)| settings.iter().all(|(given, _)| given != name)).copied();
        let settings: Vec<_> = settings.iter().copied().chain(missing).collect();
        builder.node_as("Conv", &["x", &weights, &bias], "y", &settings);
        builder.finish()
    }

    /// The result, by the definition of a convolution.
    fn expected(self) -> Vec<f64> {
        let [taken, made] = self.channels;
        let (picture, weights) = (numbers(taken * self.sides[0] * self.sides[1]), self.weights());
        let reach = [0, 1].map(|axis| (self.kernel[axis] as i64 - 1) * self.dilations[axis]);
        let length = [0, 1].map(|axis| self.sides[axis] as i64 + self.pads[axis] + self.pads[axis + 2] - reach[axis]);
        let at = |channel: usize, y: i64, x: i64| match (usize::try_from(y), usize::try_from(x)) {
            (Ok(y), Ok(x)) if y < self.sides[0] && x < self.sides[1] => {
                f64::from(picture[(channel * self.sides[0] + y) * self.sides[1] + x])
            }
            _ => 0.0,
        };
        let mut values = Vec::new();
        for (kernel, bias) in numbers(made).into_iter().enumerate() {
            for (top, left) in (0..length[0]).flat_map(|top| (0..length[1]).map(move |left| (top, left))) {
                let mut sum = f64::from(bias);
                for channel in 0..taken {
                    for (y, x) in (0..self.kernel[0]).flat_map(|y| (0..self.kernel[1]).map(move |x| (y, x))) {
                        let weight = weights[((kernel * taken + channel) * self.kernel[0] + y) * self.kernel[1] + x];
                        let y = top - self.pads[0] + y as i64 * self.dilations[0];
                        let x = left - self.pads[1] + x as i64 * self.dilations[1];
                        sum += f64::from(weight) * at(channel, y, x);
                    }
                }
                values.push(sum);
            }
        }
        values
    }
}

/// The operators that rten is given.
fn operators(file: Vec<u8>, side: Option<usize>) -> Vec<String> {
    let read = |file: &[u8]| outline::read(file, u64::MAX).unwrap();
    let outline = read(&file);
    let nodes = read(&rewritten(file, &outline, side)).nodes;
    nodes.into_iter().map(|node| node.operator).filter(|operator| operator != "Cast").collect()
}

fn run(file: Vec<u8>, picture: &Tensor) -> Vec<f32> {
    let net = Net::from_bytes("x.onnx", file, &Rten::new(NonZeroUsize::MIN), &Limits::default()).unwrap();
    let [result] = net.run(&[("x", picture)], ["y"]).unwrap();
    result.as_f32().unwrap().to_vec()
}

#[test]
fn a_rewritten_convolution_has_the_same_result() {
    for case in [
        SAME,
        Case { stored: Weights::F16, ..SAME },
        Case { kernel: [1, 3], pads: [0, 1, 0, 1], ..SAME },
        Case { kernel: [5, 2], pads: [0, 1, 3, 0], ..SAME },
        Case { kernel: [2, 4], pads: [0, 0, 0, 0], ..SAME },
        Case { pads: [4, 2, 1, 0], dilations: [2, 3], ..SAME },
        // Numbers of channels that take one byte in a file, and two.
        Case { channels: [130, 3], ..SAME },
        Case { channels: [100, 200], stored: Weights::F16, ..SAME },
    ] {
        let file = case.file(&[]);
        assert_eq!(operators(file.clone(), None), ["ConvTranspose"], "{case:?}");
        let [height, width] = case.sides;
        let numbers = numbers(case.channels[0] * height * width);
        let result = run(file, &Tensor::new([1, case.channels[0], height, width], numbers).unwrap());
        let expected = case.expected();
        assert_eq!(result.len(), expected.len(), "{case:?}");
        for (found, expected) in result.iter().zip(&expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-3, "{case:?}: {found} in place of {expected}");
        }
    }
}

#[test]
fn other_convolutions_stay_as_they_are() {
    let groups = Case { channels: [4, 4], ..SAME };
    for (case, settings) in [
        (SAME, &[("strides", Setting::Ints(&[2, 2]))][..]),
        (SAME, &[("auto_pad", Setting::Text("SAME_UPPER"))]),
        (groups, &[("group", Setting::Int(2))]),
        // More would be added up for each pixel than is gathered.
        (Case { channels: [1, 4], ..SAME }, &[]),
        (Case { kernel: [1, 1], pads: [0; 4], ..SAME }, &[]),
        // The picture is padded by more than the kernel reaches.
        (Case { pads: [3, 1, 1, 1], ..SAME }, &[]),
        // 36 products of each pixel.
        (Case { sides: [1100, 1100], ..SAME }, &[]),
    ] {
        assert_eq!(operators(case.file(settings), None), ["Conv"], "{case:?}");
    }
    assert_eq!(operators(Case { sides: [1000, 1000], ..SAME }.file(&[]), None), ["ConvTranspose"]);
}

/// A net for a picture of 5 channels, whose sides may be open, with a convolution by kernels of that shape, and what is made of that.
fn net(
    sides: Dimension,
    stored: Weights,
    kernels: &[usize],
    more: impl FnOnce(&mut Builder, &str, &str) -> String,
) -> Vec<u8> {
    let mut builder = Builder::new(1 << 20, ["x".to_owned(), "y".to_owned()]);
    builder.input("x", &[Dimension::Fixed(2), Dimension::Fixed(5), sides.clone(), sides]);
    builder.output("y", &[]);
    let kernels = builder.weights(stored, kernels, &stored_as(stored, &numbers(kernels.iter().product())));
    // Neither pads nor dilations nor a bias.
    let convolved = builder.node("Conv", &["x", &kernels], &[]);
    let result = more(&mut builder, &convolved, &kernels);
    builder.node_as("Identity", &[&result], "y", &[]);
    builder.finish()
}

#[test]
fn kernels_that_something_else_uses_stay_as_they_are() {
    for stored in [Weights::F32, Weights::F16] {
        let net =
            |more: &dyn Fn(&mut Builder, &str, &str) -> String| net(Dimension::Fixed(9), stored, &[5, 5, 3, 3], more);
        let alone = net(&|_, convolved, _| convolved.to_owned());
        assert_eq!(operators(alone.clone(), None), ["ConvTranspose", "Identity"]);
        let twice = net(&|builder, convolved, kernels| builder.node("Conv", &[convolved, kernels], &[]));
        assert_eq!(operators(twice, None), ["Conv", "Conv", "Identity"]);
        let other = net(&|builder, convolved, kernels| {
            let mean = builder.node("ReduceMean", &[kernels], &[("keepdims", Setting::Int(0))]);
            builder.node("Mul", &[convolved, &mean], &[])
        });
        assert_eq!(operators(other, None), ["Conv", "ReduceMean", "Mul", "Identity"]);
        let stored = net(&|builder, convolved, _| {
            let other = builder.node("Abs", &["weights_1"], &[]);
            builder.node("Concat", &[convolved, &other], &[("axis", Setting::Int(0))])
        });
        assert_eq!(operators(stored, None), ["Conv", "Abs", "Concat", "Identity"]);
        // rten makes one of the two.
        let shifted = net(&|builder, convolved, _| {
            let bias = builder.weights(Weights::F32, &[5, 1, 1], &[0; 20]);
            builder.node("Add", &[convolved, &bias], &[])
        });
        assert_eq!(operators(shifted, None), ["Conv", "Add", "Identity"]);
        // The kernels are a result themselves.
        let result = with_field(&alone, graph::OUTPUT, &Message::default().text(value::NAME, "weights_1").into_bytes());
        assert_eq!(operators(result, None), ["Conv", "Identity"]);
        // Files of older exporters name the kernels as inputs, too, with their shape.
        let declared = declared(&alone, "weights_1", &[5, 5, 3, 3]);
        assert_eq!(operators(declared.clone(), None), ["ConvTranspose", "Identity"]);
        let outline = outline::read(&declared, u64::MAX).unwrap();
        let graph = graph_of(&rewritten(declared.clone(), &outline, None));
        let inputs = Fields::new(&graph).filter(|field| matches!(field, Ok((graph::INPUT, _)))).count();
        assert_eq!(inputs, 1, "the shape of the kernels is another one now");
        let pictures = Tensor::new([2, 5, 9, 9], numbers(2 * 5 * 81)).unwrap();
        let (one, other) = (run(alone, &pictures), run(declared, &pictures));
        assert_eq!((one.len(), one), (2 * 5 * 49, other));
    }
}

/// A subgraph could use them.
#[test]
fn nets_with_subgraphs_stay_as_they_are() {
    let file = net(Dimension::Fixed(9), Weights::F16, &[5, 5, 3, 3], |_, convolved, _| convolved.to_owned());
    let used = Message::default().text(node::INPUT, "weights_1").text(node::OUTPUT, "z").text(node::OP_TYPE, "Cast");
    let inner = Message::default().message(graph::NODE, &used);
    let branch = Message::default().text(attribute::NAME, "then_branch").message(attribute::G, &inner);
    let outer = Message::default().text(node::INPUT, "x").text(node::OUTPUT, "w").text(node::OP_TYPE, "If");
    let outer = outer.message(node::ATTRIBUTE, &branch).into_bytes();
    assert_eq!(operators(with_field(&file, graph::NODE, &outer), None), ["Conv", "Identity", "If"]);
}

/// The file, which declares an input of that name.
fn declared(file: &[u8], name: &str, shape: &[usize]) -> Vec<u8> {
    let mut builder = Builder::new(0, []);
    builder.input(name, &shape.iter().copied().map(Dimension::Fixed).collect::<Vec<_>>());
    builder.output("y", &[]);
    let inputs = graph_of(&builder.finish());
    let input = Fields::new(&inputs).map(Result::unwrap).find(|(number, _)| *number == graph::INPUT).unwrap();
    with_field(file, graph::INPUT, input.1.bytes().unwrap())
}

fn graph_of(file: &[u8]) -> Vec<u8> {
    let mut fields = Fields::new(file).map(Result::unwrap);
    fields.find(|(number, _)| *number == model::GRAPH).unwrap().1.bytes().unwrap().to_vec()
}

/// The file, whose graph has one field more.
fn with_field(file: &[u8], number: u64, content: &[u8]) -> Vec<u8> {
    let graph = [graph_of(file), Message::default().bytes(number, content).into_bytes()].concat();
    let others = Fields::new(file).map(Result::unwrap).filter(|(number, _)| *number != model::GRAPH);
    let others = others.fold(Message::default(), |message, (number, value)| copied(message, number, value).unwrap());
    others.bytes(model::GRAPH, &graph).into_bytes()
}

#[test]
fn open_sides_need_a_bound() {
    let open = || net(Dimension::Unknown, Weights::F16, &[5, 5, 3, 3], |_, convolved, _| convolved.to_owned());
    assert_eq!(operators(open(), None), ["Conv", "Identity"]);
    assert_eq!(operators(open(), Some(500)), ["ConvTranspose", "Identity"]);
    // 45 products of each pixel.
    assert_eq!(operators(open(), Some(1000)), ["Conv", "Identity"]);
    let limits = Limits { side: Some(500), ..Limits::default() };
    let net = Net::from_bytes("x.onnx", open(), &Rten::new(NonZeroUsize::MIN), &limits).unwrap();
    let pictures = |side: usize| Tensor::new([2, 5, 3, side], vec![0.0_f32; 30 * side]).unwrap();
    assert!(net.run(&[("x", &pictures(500))], ["y"]).is_ok());
    let error = net.run(&[("x", &pictures(501))], ["y"]).unwrap_err().to_string();
    assert!(error.contains("its input `x` is given sides of more than 500 pixels"), "{error}");
}

#[test]
fn kernels_of_one_or_three_dimensions_stay_as_they_are() {
    let mut builder = Builder::new(1 << 20, ["x".to_owned(), "y".to_owned()]);
    builder.input("x", &[1, 5, 9].map(Dimension::Fixed));
    builder.output("y", &[]);
    let bytes: Vec<u8> = numbers(75).iter().flat_map(|number| number.to_le_bytes()).collect();
    let kernels = builder.weights(Weights::F32, &[5, 5, 3], &bytes);
    builder.node_as("Conv", &["x", &kernels], "y", &[]);
    assert_eq!(operators(builder.finish(), None), ["Conv"]);
}

#[test]
fn the_products_count_as_memory_of_a_run() {
    let working = |case: Case| {
        let file = ModelFile::from_bytes("x.onnx", &case.file(&[]), &Limits::default()).unwrap();
        file.working(&[]).unwrap().unwrap()
    };
    // Of 63 pixels, 5 numbers are given and 4 made, and each of 9 elements of the kernel has 4 products. Twice, as all values.
    assert_eq!(working(SAME), 2 * 4 * 63 * (5 + 4 + 9 * 4));
    assert_eq!(working(Case { channels: [1, 4], ..SAME }), 2 * 4 * 63 * (1 + 4));
    // They would take too much.
    assert_eq!(working(Case { sides: [1100, 1100], ..SAME }), 2 * 4 * 1100 * 1100 * (5 + 4));
}
