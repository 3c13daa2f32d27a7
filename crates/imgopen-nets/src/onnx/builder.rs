//! Writes model files.

use std::collections::HashSet;

use super::fields::{attribute, element, graph, kind, model, node, opset, shape, tensor, tensor_kind, value};
use super::wire::Message;
use crate::tensor::Dimension;

/// The version of ONNX's format, and of its operators, that is written.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// A model file in the making. Operators are written in the order in which they are added, which must be one in which they can
/// run.
///
/// ```
/// use imgopen_nets::runtime::Rten;
/// use imgopen_nets::{Dimension, Limits, Net, Tensor, onnx::Builder};
///
/// let mut builder = Builder::new(0, ["x".to_owned(), "y".to_owned()]);
/// builder.input("x", &[Dimension::Fixed(3)]);
/// builder.output("y", &[Dimension::Fixed(3)]);
/// let two = builder.number(2.0);
/// builder.node_as("Mul", &["x", &two], "y", &[]);
///
/// let runtime = Rten::new(std::num::NonZeroUsize::MIN);
/// let net = Net::from_bytes("double.onnx", builder.finish(), &runtime, &Limits::default())?;
/// let [doubled] = net.run(&[("x", &Tensor::new([3], vec![1.0_f32, 2.0, 3.0])?)], ["y"])?;
/// assert_eq!(doubled.as_f32(), Some(&[2.0, 4.0, 6.0][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Builder {
    inputs: Vec<Message>,
    outputs: Vec<Message>,
    nodes: Vec<Message>,
    initializers: Vec<Message>,
    /// Names that the file may not use for its own values.
    taken: HashSet<String>,
    count: usize,
    /// How many bytes of weights there may still be.
    room: usize,
}

/// The value of an attribute.
#[derive(Debug, Clone, Copy)]
pub enum Setting<'a> {
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f32),
    /// A text.
    Text(&'a str),
    /// Whole numbers.
    Ints(&'a [i64]),
}

/// The element type of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// `float`.
    F32,
    /// `float16`.
    F16,
    /// `int64`.
    I64,
}

/// The weights are larger than the file that they come from allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the weights are larger than there is room for")]
pub struct TooLarge;

impl Weights {
    /// Returns how many bytes an element takes.
    pub fn size(self) -> usize {
        match self {
            Weights::F16 => 2,
            Weights::F32 => 4,
            Weights::I64 => 8,
        }
    }

    fn number(self) -> i64 {
        match self {
            Weights::F16 => element::FLOAT16,
            Weights::F32 => element::FLOAT,
            Weights::I64 => element::INT64,
        }
    }
}

impl Builder {
    /// Begins a file with at most `room` bytes of weights, in which `taken` are the names of inputs and outputs.
    pub fn new(room: usize, taken: impl IntoIterator<Item = String>) -> Self {
        Self {
            inputs: Vec::new(),
            outputs: Vec::new(),
            nodes: Vec::new(),
            initializers: Vec::new(),
            taken: taken.into_iter().collect(),
            count: 0,
            room,
        }
    }

    /// Declares an input of numbers with a fraction.
    pub fn input(&mut self, name: &str, shape: &[Dimension]) {
        self.inputs.push(port(name, shape));
    }

    /// Declares an output of numbers with a fraction.
    pub fn output(&mut self, name: &str, shape: &[Dimension]) {
        self.outputs.push(port(name, shape));
    }

    /// Takes room for weights, before they are made.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] if there is not enough left.
    pub fn reserve(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.room = self.room.checked_sub(bytes).ok_or(TooLarge)?;
        Ok(())
    }

    /// Adds weights, as little-endian bytes, for which there is room, and returns the name of their value. Those of half
    /// precision are widened when the net is loaded.
    pub fn weights(&mut self, kind: Weights, shape: &[usize], data: &[u8]) -> String {
        let name = self.name("weights");
        let dims = shape.iter().fold(Message::default(), |message, side| message.int(tensor::DIMS, *side as i64));
        let message = dims.int(tensor::DATA_TYPE, kind.number()).text(tensor::NAME, &name);
        self.initializers.push(message.bytes(tensor::RAW_DATA, data));
        match kind {
            Weights::F16 => self.node("Cast", &[&name], &[("to", Setting::Int(element::FLOAT))]),
            Weights::F32 | Weights::I64 => name,
        }
    }

    /// Adds a single number, which takes no room, and returns the name of its value.
    pub fn number(&mut self, number: f32) -> String {
        self.weights(Weights::F32, &[], &number.to_le_bytes())
    }

    /// Adds a short list of numbers, which takes no room, and returns the name of its value.
    pub fn floats(&mut self, numbers: &[f32]) -> String {
        let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.weights(Weights::F32, &[numbers.len()], &data)
    }

    /// Adds a short list of whole numbers, which takes no room, and returns the name of its value.
    pub fn ints(&mut self, numbers: &[i64]) -> String {
        let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.weights(Weights::I64, &[numbers.len()], &data)
    }

    /// Adds an operator, and returns the name of its result. An empty name stands for an input that is left out.
    pub fn node(&mut self, operator: &str, inputs: &[&str], settings: &[(&str, Setting<'_>)]) -> String {
        let output = self.name(operator);
        self.node_as(operator, inputs, &output, settings);
        output
    }

    /// Adds an operator whose result has a name.
    pub fn node_as(&mut self, operator: &str, inputs: &[&str], output: &str, settings: &[(&str, Setting<'_>)]) {
        let message = inputs.iter().fold(Message::default(), |message, input| message.text(node::INPUT, input));
        let message = message.text(node::OUTPUT, output).text(node::OP_TYPE, operator);
        let settings = settings.iter().map(|(name, setting)| setting.message(name)).collect::<Vec<_>>();
        self.nodes.push(message.messages(node::ATTRIBUTE, &settings));
    }

    /// Returns the file.
    pub fn finish(self) -> Vec<u8> {
        let graph = Message::default()
            .messages(graph::NODE, &self.nodes)
            .text(graph::NAME, "converted")
            .messages(graph::INITIALIZER, &self.initializers)
            .messages(graph::INPUT, &self.inputs)
            .messages(graph::OUTPUT, &self.outputs);
        let opset = Message::default().text(opset::DOMAIN, "").int(opset::VERSION, OPSET);
        Message::default()
            .int(model::IR_VERSION, IR_VERSION)
            .text(model::PRODUCER_NAME, env!("CARGO_PKG_NAME"))
            .message(model::GRAPH, &graph)
            .message(model::OPSET_IMPORT, &opset)
            .into_bytes()
    }

    fn name(&mut self, what: &str) -> String {
        loop {
            self.count += 1;
            let name = format!("{}_{}", what.to_lowercase(), self.count);
            if !self.taken.contains(&name) {
                return name;
            }
        }
    }
}

impl Setting<'_> {
    fn message(&self, name: &str) -> Message {
        let message = Message::default().text(attribute::NAME, name);
        match self {
            Setting::Int(int) => message.int(attribute::I, *int).int(attribute::TYPE, attribute::IS_INT),
            Setting::Float(float) => message.float(attribute::F, *float).int(attribute::TYPE, attribute::IS_FLOAT),
            Setting::Text(text) => message.text(attribute::S, text).int(attribute::TYPE, attribute::IS_STRING),
            Setting::Ints(ints) => ints
                .iter()
                .fold(message, |message, int| message.int(attribute::INTS, *int))
                .int(attribute::TYPE, attribute::IS_INTS),
        }
    }
}

fn port(name: &str, shape: &[Dimension]) -> Message {
    let dimensions = shape.iter().map(|dimension| match dimension {
        Dimension::Fixed(size) => Message::default().int(shape::VALUE, *size as i64),
        Dimension::Named(name) => Message::default().text(shape::PARAM, name),
        Dimension::Unknown => Message::default(),
    });
    let shape = Message::default().messages(shape::DIM, &dimensions.collect::<Vec<_>>());
    let tensor = Message::default().int(tensor_kind::ELEMENT, element::FLOAT).message(tensor_kind::SHAPE, &shape);
    let kind = Message::default().message(kind::TENSOR, &tensor);
    Message::default().text(value::NAME, name).message(value::TYPE, &kind)
}
