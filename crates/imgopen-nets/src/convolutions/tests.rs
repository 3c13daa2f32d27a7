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

impl Case {
    fn weights(self) -> Vec<f32> {
        numbers(self.channels[0] * self.channels[1] * self.kernel[0] * self.kernel[1])
    }

    fn bytes(self) -> Vec<u8> {
        match self.stored {
            Weights::F16 => self.weights().iter().flat_map(|number| f16::from_f32(*number).to_le_bytes()).collect(),
            _ => self.weights().iter().flat_map(|number| number.to_le_bytes()).collect(),
        }
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

fn operators(file: &[u8]) -> Vec<String> {
    let outline = outline::read(file, u64::MAX).unwrap();
    outline.nodes.into_iter().map(|node| node.operator).filter(|operator| operator != "Cast").collect()
}

#[test]
fn a_turned_convolution_has_the_same_result() {
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
        let turned = turn(&file, &outline::read(&file, u64::MAX).unwrap());
        let turned = turned.unwrap_or_else(|| panic!("{case:?} is not turned"));
        assert_eq!(operators(&turned), ["ConvTranspose"], "{case:?}");
        let net = Net::from_bytes("x.onnx", file, &Rten::new(NonZeroUsize::MIN), &Limits::default()).unwrap();
        let [height, width] = case.sides;
        let picture =
            Tensor::new([1, case.channels[0], height, width], numbers(case.channels[0] * height * width)).unwrap();
        let [result] = net.run(&[("x", &picture)], ["y"]).unwrap();
        let (result, expected) = (result.as_f32().unwrap(), case.expected());
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
        // It would make more of each pixel than is gathered for it.
        (Case { channels: [2, 7], ..SAME }, &[]),
        (Case { kernel: [1, 1], pads: [0; 4], ..SAME }, &[]),
        // The picture is extended by more than the kernel reaches.
        (Case { pads: [3, 1, 1, 1], ..SAME }, &[]),
        // 36 products of each pixel.
        (Case { sides: [1100, 1100], ..SAME }, &[]),
    ] {
        let file = case.file(settings);
        assert_eq!(turn(&file, &outline::read(&file, u64::MAX).unwrap()), None, "{case:?}");
    }
    let half = Case { sides: [1000, 1000], ..SAME }.file(&[]);
    assert!(turn(&half, &outline::read(&half, u64::MAX).unwrap()).is_some());
}

#[test]
fn weights_that_something_else_uses_stay_as_they_are() {
    let file = |also: &dyn Fn(&mut Builder, &str) -> String| {
        let mut builder = Builder::new(1 << 20, ["x".to_owned(), "y".to_owned()]);
        builder.input("x", &[1, 5, 9, 7].map(Dimension::Fixed));
        builder.output("y", &[]);
        let weights = builder.weights(Weights::F32, &[5, 5, 3, 3], &Case { channels: [5, 5], ..SAME }.bytes());
        let convolved = builder.node("Conv", &["x", &weights], &[("pads", Setting::Ints(&[1, 1, 1, 1]))]);
        let other = also(&mut builder, &weights);
        builder.node_as("Add", &[&convolved, &other], "y", &[]);
        builder.finish()
    };
    let pads = [("pads", Setting::Ints(&[1, 1, 1, 1]))];
    let twice = file(&|builder, weights| builder.node("Conv", &["x", weights], &pads));
    assert_eq!(turn(&twice, &outline::read(&twice, u64::MAX).unwrap()), None);
    let once = file(&|_, _| "x".to_owned());
    assert_eq!(operators(&turn(&once, &outline::read(&once, u64::MAX).unwrap()).unwrap()), ["ConvTranspose", "Add"]);
}

#[test]
fn the_products_count_as_memory_of_a_run() {
    let working = |case: Case| {
        let file = ModelFile::from_bytes("x.onnx", &case.file(&[]), &Limits::default()).unwrap();
        file.working(&[]).unwrap().unwrap()
    };
    // Of 63 pixels, 5 numbers are given and 4 made, and each of 9 elements of the kernel has 4 products. Twice, as all values.
    assert_eq!(working(SAME), 2 * 4 * 63 * (5 + 4 + 9 * 4));
    let wide = Case { channels: [1, 4], ..SAME };
    assert_eq!(working(wide), 2 * 4 * 63 * (1 + 4));
}
