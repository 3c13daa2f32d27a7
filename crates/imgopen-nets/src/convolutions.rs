//! Convolutions that are carried out as transposed ones.
//!
//! rten multiplies the weights of a convolution by a matrix in which each pixel stands as often as the kernel has elements, and
//! gathers that matrix number by number, which takes longer than the products. For a transposed convolution it multiplies first, and
//! adds up the products in the places where they belong. With a stride of one, a convolution is a transposed one whose kernel is
//! turned by half a circle and has its channels exchanged: the same products, added up in another order. On processors with AVX-512
//! that takes from 0.55 to 0.8 of the time. The products of all pixels need memory meanwhile, so they are bounded.

use std::collections::{HashMap, HashSet};

use crate::onnx::fields::{attribute, element, graph, model, node, tensor};
use crate::onnx::outline::{Node, Outline};
use crate::onnx::wire::{Fields, Message, Value};
use crate::shapes;

/// The most bytes that the products of a convolution may take.
const MOST: u64 = 160 * 1024 * 1024;

/// The sides of pictures of which the file does not say how large they are: tiles are about as large.
const SIDE: usize = 256;

/// How many times as many channels a convolution may make as it is given. Gathering takes time for each of the ones, adding up for
/// each of the others.
const WIDENED: u64 = 3;

/// A convolution that is carried out as a transposed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turned {
    /// The name of its weights in the file.
    weights: String,
    dilations: [i64; 2],
    /// What is cut off at the edges: the beginnings of both axes, then the ends.
    pads: [i64; 4],
}

/// Returns the convolutions of a net to which that applies, by the names of their results.
pub(crate) fn turned(outline: &Outline) -> HashMap<String, Turned> {
    let Some(shapes) = shapes::with_sides(outline, SIDE) else { return HashMap::new() };
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for name in outline.nodes.iter().chain(&outline.nested).flat_map(|node| &node.inputs) {
        *uses.entry(name).or_default() += 1;
    }
    for port in &outline.outputs {
        *uses.entry(&port.name).or_default() += 1;
    }
    let casts: HashMap<&str, &str> = outline
        .nodes
        .iter()
        .filter(|node| node.is("Cast"))
        .filter_map(|node| Some((node.outputs.first()?.as_str(), node.inputs.first()?.as_str())))
        .collect();
    let is_used_once = |name: &str| uses.get(name) == Some(&1);
    let of = |node: &Node| {
        let ([result], [input, weights, ..]) = (&node.outputs[..], &node.inputs[..]) else { return None };
        let kernel = kernel(node)?;
        // Those of half precision are widened first.
        let stored = casts.get(weights.as_str()).copied().filter(|_| is_used_once(weights)).unwrap_or(weights);
        let [made, taken, height, width] = outline.constants.get(stored)?.shape[..] else { return None };
        if !is_used_once(stored) || made > taken.saturating_mul(WIDENED) || height.checked_mul(width)? < 2 {
            return None;
        }
        let pixels = match shapes.get(input.as_str())?[..] {
            [_, _, Some(height), Some(width)] => height.checked_mul(width)?,
            _ => return None,
        };
        let products = [made, height, width, pixels].into_iter().try_fold(4_u64, u64::checked_mul)?;
        let pads = kernel.turned_pads([height, width])?;
        let convolution = Turned { weights: stored.to_owned(), dilations: kernel.dilations, pads };
        (products <= MOST).then(|| (result.clone(), convolution))
    };
    outline.nodes.iter().filter(|node| node.is("Conv")).filter_map(of).collect()
}

/// The settings of a convolution with a stride of one in two dimensions.
struct Kernel {
    dilations: [i64; 2],
    pads: [i64; 4],
}

/// Returns the settings of a convolution, if it is one that can be turned.
fn kernel(node: &Node) -> Option<Kernel> {
    let list = |name: &str| node.attributes.contains_key(name).then(|| node.ints(name));
    let strides = list("strides").unwrap_or(Some(&[1, 1]))?;
    let dilations = list("dilations").unwrap_or(Some(&[1, 1]))?;
    let pads = list("pads").unwrap_or(Some(&[0, 0, 0, 0]))?;
    let is_plain = strides == [1, 1]
        && node.int("group").unwrap_or(1) == 1
        && node.text("auto_pad").is_none_or(|padding| matches!(padding, "" | "NOTSET"));
    is_plain.then_some(())?;
    Some(Kernel { dilations: dilations.try_into().ok()?, pads: pads.try_into().ok()? })
}

impl Kernel {
    /// Returns what a transposed convolution cuts off where this one extends the picture.
    fn turned_pads(&self, sides: [u64; 2]) -> Option<[i64; 4]> {
        let mut turned = [0; 4];
        for (index, pad) in self.pads.iter().enumerate() {
            let reach = i64::try_from(sides[index % 2]).ok()?.checked_sub(1)?.checked_mul(self.dilations[index % 2])?;
            turned[index] = reach.checked_sub(*pad).filter(|cut| (0..=reach).contains(cut))?;
        }
        Some(turned)
    }
}

/// Returns a model in which convolutions are transposed ones; `None` if there are none, or the model is written in a way that this
/// does not know.
pub(crate) fn turn(file: &[u8], outline: &Outline) -> Option<Vec<u8>> {
    let turned = turned(outline);
    if turned.is_empty() {
        return None;
    }
    let (mut message, mut found) = (Message::default(), None);
    for field in Fields::new(file) {
        match field.ok()? {
            (model::GRAPH, value) => found = Some(value.bytes().ok()?),
            (number, value) => message = copied(message, number, value)?,
        }
    }
    Some(message.message(model::GRAPH, &turned_graph(found?, turned)?).into_bytes())
}

fn turned_graph(file: &[u8], mut turned: HashMap<String, Turned>) -> Option<Message> {
    let stored = weights(file)?;
    turned.retain(|_, convolution| stored.contains(&convolution.weights));
    let names: HashSet<&str> = turned.values().map(|convolution| convolution.weights.as_str()).collect();
    let mut message = Message::default();
    for field in Fields::new(file) {
        let (number, value) = field.ok()?;
        message = match number {
            graph::NODE => {
                let bytes = value.bytes().ok()?;
                match turned.get(&text(bytes, node::OUTPUT)?) {
                    Some(convolution) => message.message(number, &turned_node(bytes, convolution)?),
                    None => message.bytes(number, bytes),
                }
            }
            graph::INITIALIZER => {
                let bytes = value.bytes().ok()?;
                match names.contains(text(bytes, tensor::NAME)?.as_str()) {
                    true => message.message(number, &turned_weights(bytes)?),
                    false => message.bytes(number, bytes),
                }
            }
            // The shapes that are declared there do not hold any more.
            graph::INPUT | graph::VALUE_INFO if names.contains(text(value.bytes().ok()?, 1)?.as_str()) => message,
            _ => copied(message, number, value)?,
        };
    }
    Some(message)
}

/// Returns the names of the weights in a graph that can be turned.
fn weights(file: &[u8]) -> Option<HashSet<String>> {
    let mut names = HashSet::new();
    for field in Fields::new(file) {
        let (graph::INITIALIZER, value) = field.ok()? else { continue };
        let bytes = value.bytes().ok()?;
        if Stored::read(bytes).is_some() {
            names.insert(text(bytes, tensor::NAME)?);
        }
    }
    Some(names)
}

/// Returns the first text of a message in a field, empty if it has none.
fn text(message: &[u8], number: u64) -> Option<String> {
    for field in Fields::new(message) {
        let (found, value) = field.ok()?;
        if found == number {
            return Some(value.name().ok()?.to_owned());
        }
    }
    Some(String::new())
}

fn copied(message: Message, number: u64, value: Value<'_>) -> Option<Message> {
    match value {
        Value::Bytes(bytes) => Some(message.bytes(number, bytes)),
        Value::Varint(varint) => Some(message.int(number, varint.cast_signed())),
        Value::Fixed32(bytes) => Some(message.float(number, f32::from_le_bytes(bytes))),
        Value::Fixed64 => None,
    }
}

fn turned_node(file: &[u8], convolution: &Turned) -> Option<Message> {
    // rten asks for the first two.
    let lists: [(&str, &[i64]); 3] =
        [("strides", &[1, 1]), ("dilations", &convolution.dilations), ("pads", &convolution.pads)];
    let is_replaced = |name: &str| name == "auto_pad" || lists.iter().any(|(list, _)| *list == name);
    let mut message = Message::default();
    for field in Fields::new(file) {
        message = match field.ok()? {
            (node::OP_TYPE, _) => message.text(node::OP_TYPE, "ConvTranspose"),
            (node::ATTRIBUTE, value) if is_replaced(&text(value.bytes().ok()?, attribute::NAME)?) => message,
            (number, value) => copied(message, number, value)?,
        };
    }
    let list = |(name, ints): &(&str, &[i64])| {
        let list = Message::default().text(attribute::NAME, name).int(attribute::TYPE, attribute::IS_INTS);
        ints.iter().fold(list, |list, int| list.int(attribute::INTS, *int))
    };
    Some(message.messages(node::ATTRIBUTE, &lists.iter().map(list).collect::<Vec<_>>()))
}

/// Weights as a file stores them.
struct Stored<'a> {
    shape: [usize; 4],
    /// Of an element, in bytes.
    size: usize,
    raw: &'a [u8],
}

impl<'a> Stored<'a> {
    /// Reads a `TensorProto`, if its elements are stored as raw bytes, and in four dimensions.
    fn read(file: &'a [u8]) -> Option<Self> {
        let (mut shape, mut kind, mut raw) = (Vec::new(), 0, None);
        for field in Fields::new(file) {
            match field.ok()? {
                (tensor::DIMS, value) => {
                    value.ints(|side| shape.push(usize::try_from(side).unwrap_or_default())).ok()?
                }
                (tensor::DATA_TYPE, value) => kind = value.int().ok()?,
                (tensor::RAW_DATA, value) => raw = Some(value.bytes().ok()?),
                _ => {}
            }
        }
        let size = match kind {
            element::FLOAT => 4,
            element::FLOAT16 => 2,
            _ => return None,
        };
        let (shape, raw) = (<[usize; 4]>::try_from(shape).ok()?, raw?);
        let bytes = shape.iter().try_fold(size, |bytes: usize, side| bytes.checked_mul(*side))?;
        (bytes == raw.len()).then_some(Self { shape, size, raw })
    }

    /// Returns the elements with kernels turned by half a circle, and the channels that are taken before those that are made.
    fn turned(&self) -> Vec<u8> {
        let [made, taken, height, width] = self.shape;
        let places = height * width;
        let mut bytes = Vec::with_capacity(self.raw.len());
        for channel in 0..taken {
            for kernel in 0..made {
                let elements = &self.raw[(kernel * taken + channel) * places * self.size..][..places * self.size];
                elements.rchunks_exact(self.size).for_each(|element| bytes.extend_from_slice(element));
            }
        }
        bytes
    }
}

fn turned_weights(file: &[u8]) -> Option<Message> {
    let stored = Stored::read(file)?;
    let [made, taken, height, width] = stored.shape;
    let mut message = [taken, made, height, width]
        .iter()
        .fold(Message::default(), |message, side| message.int(tensor::DIMS, i64::try_from(*side).unwrap_or_default()));
    for field in Fields::new(file) {
        message = match field.ok()? {
            (tensor::DIMS, _) => message,
            (tensor::RAW_DATA, _) => message.bytes(tensor::RAW_DATA, &stored.turned()),
            (number, value) => copied(message, number, value)?,
        };
    }
    Some(message)
}

#[cfg(test)]
mod tests;
