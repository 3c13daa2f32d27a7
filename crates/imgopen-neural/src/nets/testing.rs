//! Files of nets for tests: signatures with a little arithmetic.
#![allow(clippy::unwrap_used)]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use imgopen_nets::onnx::{Builder, Setting, Weights};
use imgopen_nets::runtime::{Program, ProgramError, Runtime};
use imgopen_nets::{Dimension, Tensor};

/// Longer than anything takes that is waited for.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// A runtime whose runs say that they have begun, and end when that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    begun: Sender<()>,
    end: Arc<Mutex<Receiver<()>>>,
}

impl Waiting {
    /// Creates it, with what hears that runs have begun, and what ends them.
    pub fn new() -> (Self, Receiver<()>, Sender<()>) {
        let (begins, begun) = channel();
        let (ends, end) = channel();
        (Self { begun: begins, end: Arc::new(Mutex::new(end)) }, begun, ends)
    }
}

impl Runtime for Waiting {
    fn name(&self) -> &'static str {
        "waiting"
    }

    fn load(&self, _: Vec<u8>, _: Option<usize>) -> Result<Box<dyn Program>, ProgramError> {
        Ok(Box::new(self.clone()))
    }
}

impl Program for Waiting {
    fn run(&self, inputs: &[(&str, &Tensor)], _: &[usize]) -> Result<Vec<Tensor>, ProgramError> {
        self.begun.send(()).unwrap();
        let ended = self.end.lock().unwrap().recv_timeout(LONG);
        ended.map_err(|error| error.to_string())?;
        Ok(vec![inputs[0].1.clone()])
    }
}

/// A side of a signature; 0 stands for any size.
pub(super) fn sides(sides: &[usize]) -> Vec<Dimension> {
    let side = |(index, side): (usize, &usize)| match (*side, index % 2) {
        (0, 0) => Dimension::Named(format!("side_{index}")),
        (0, _) => Dimension::Unknown,
        (side, _) => Dimension::Fixed(side),
    };
    sides.iter().enumerate().map(side).collect()
}

/// A net with these inputs and outputs, the first of which is made by an operator from the first input. `weights` are those of
/// tensors of any numbers.
pub(super) fn net(
    inputs: &[(&str, &[usize])],
    outputs: &[(&str, &[usize])],
    operators: &[&str],
    weights: &[&[usize]],
) -> Vec<u8> {
    let taken = inputs.iter().chain(outputs).map(|(name, _)| (*name).to_owned());
    let mut builder = Builder::new(1 << 24, taken);
    inputs.iter().for_each(|(name, shape)| builder.input(name, &sides(shape)));
    outputs.iter().for_each(|(name, shape)| builder.output(name, &sides(shape)));
    for shape in weights {
        let count = shape.iter().product::<usize>();
        let numbers: Vec<u8> = (0..count * 2).map(|index| (index * 7919 % 60) as u8).collect();
        builder.weights(Weights::F16, shape, &numbers);
    }
    let (last, others) = operators.split_last().unwrap();
    let mut value = inputs[0].0.to_owned();
    for operator in others {
        value = builder.node(operator, &[&value], &[]);
    }
    for (name, _) in outputs {
        builder.node_as(last, &[&value], name, &[]);
    }
    builder.finish()
}

pub(super) fn u2net() -> Vec<u8> {
    const MASK: &[usize] = &[1, 1, 320, 320];
    let outputs = ["1959", "1960", "1961", "1962", "1963", "1964", "1965"].map(|name| (name, MASK));
    net(&[("input.1", &[1, 3, 320, 320])], &outputs, &["Relu", "Sigmoid"], &[&[64, 3, 3, 3]])
}

pub(super) fn isnet() -> Vec<u8> {
    net(&[("input", &[1, 3, 1024, 1024])], &[("output", &[1, 1, 1024, 1024])], &["Relu", "Sigmoid"], &[])
}

pub(super) fn birefnet() -> Vec<u8> {
    net(&[("input_image", &[1, 3, 1024, 1024])], &[("output_image", &[1, 1, 1024, 1024])], &["Softmax", "Relu"], &[])
}

pub(super) fn esrgan() -> Vec<u8> {
    enlarging(4)
}

/// A net with the signature of ESRGAN, which is that of denoisers, too: by its file, the sides of its result have the same names.
pub(super) fn enlarging(factor: u8) -> Vec<u8> {
    let mut builder = Builder::new(0, ["input", "output"].map(str::to_owned));
    builder.input("input", &sides(&[0, 3, 0, 0]));
    builder.output("output", &sides(&[0, 3, 0, 0]));
    let factor = f32::from(factor);
    let scales = builder.floats(&[1.0, 1.0, factor, factor]);
    builder.node_as("Resize", &["input", "", &scales], "output", &[("mode", Setting::Text("nearest"))]);
    builder.finish()
}

pub(super) fn gfpgan() -> Vec<u8> {
    net(&[("input", &[1, 3, 512, 512])], &[("output", &[1, 3, 512, 512])], &["LeakyRelu"], &[])
}

pub(super) fn codeformer() -> Vec<u8> {
    let outputs: [(&str, &[usize]); 3] =
        [("y", &[1, 3, 512, 512]), ("logits", &[1, 256, 1024]), ("style", &[1, 256, 16, 16])];
    net(&[("x", &[1, 3, 512, 512]), ("w", &[1])], &outputs, &["Softmax", "Relu"], &[])
}

pub(super) fn inswapper() -> Vec<u8> {
    let inputs: [(&str, &[usize]); 2] = [("target", &[1, 3, 128, 128]), ("source", &[1, 512])];
    net(&inputs, &[("output", &[1, 3, 128, 128])], &["Relu"], &[&[3, 3], &[512, 512]])
}

pub(super) fn arcface() -> Vec<u8> {
    net(&[("input.1", &[0, 3, 112, 112])], &[("683", &[1, 512])], &["Relu"], &[])
}

pub(super) fn lama() -> Vec<u8> {
    let inputs: [(&str, &[usize]); 2] = [("image", &[1, 3, 512, 512]), ("mask", &[1, 1, 512, 512])];
    net(&inputs, &[("output", &[1, 3, 512, 512])], &["Relu"], &[])
}

pub(super) fn tagger(side: usize) -> Vec<u8> {
    net(&[("input", &[0, side, side, 3])], &[("output", &[0, 9083])], &["Sigmoid"], &[])
}

/// A tagger that makes three scores, the number of which its file does not declare.
pub(super) fn open_tagger() -> Vec<u8> {
    let mut builder = Builder::new(0, ["input", "output"].map(str::to_owned));
    builder.input("input", &sides(&[1, 448, 448, 3]));
    builder.output("output", &sides(&[1, 0]));
    let settings = [("axes", Setting::Ints(&[1, 2])), ("keepdims", Setting::Int(0))];
    builder.node_as("ReduceMean", &["input"], "output", &settings);
    builder.finish()
}

pub(super) fn depth() -> Vec<u8> {
    net(&[("image", &[1, 3, 0, 0])], &[("depth", &[1, 0, 0])], &["Softmax", "Relu"], &[])
}
