//! Rewrites convolutions as transposed ones for rten.
//!
//! For a convolution, rten multiplies the kernels by the patches of the picture (im2col), which it gathers number by number: that takes
//! longer than the products. For a transposed convolution it multiplies the kernels by the pixels, and adds up the products where
//! they belong (col2im). With strides of one, a convolution is a transposed one with its kernels rotated by 180° and the channels
//! of input and output swapped: the same products, added up in another order. On a processor with AVX-512 that takes from 0.6 to 0.85 of
//! the time. The products need memory meanwhile, so a convolution is left as it is if they could exceed a limit.

use std::collections::{HashMap, HashSet};

use crate::onnx::fields::{attribute, element, graph, model, node, tensor, value};
use crate::onnx::outline::{Node, Outline};
use crate::onnx::wire::{Fields, Message, Value};
use crate::shapes::{self, MOST_PRODUCTS};

/// How many times as many channels as of the input there may be of the output. Gathering takes time for each of the former, adding up for
/// each of the latter.
const WIDENED: u64 = 3;

/// More bytes than an operator grows by when it is rewritten.
const ROOM: usize = 256;

/// How a convolution is rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rewrite {
    /// The name of its kernels.
    kernels: String,
    /// The name under which the file has them: another one if they are widened first.
    stored: String,
    dilations: [i64; 2],
    /// What is cut off at the edges: the beginnings of both axes, then the ends.
    pads: [i64; 4],
    /// The bytes of the products of a pixel.
    products: u64,
}

/// Returns the convolutions of a net that can be rewritten, if they do not take too much memory, by the names of their results.
pub(crate) fn rewritable(outline: &Outline) -> HashMap<String, Rewrite> {
    // Subgraphs can use any value.
    if !outline.nested.is_empty() {
        return HashMap::new();
    }
    let mut users: HashMap<&str, Vec<&Node>> = HashMap::new();
    for node in &outline.nodes {
        for name in &node.inputs {
            users.entry(name).or_default().push(node);
        }
    }
    let results: HashSet<&str> = outline.outputs.iter().map(|port| port.name.as_str()).collect();
    let is_used_once = |name: &str| !results.contains(name) && users.get(name).is_some_and(|users| users.len() == 1);
    let casts: HashMap<&str, &str> = outline
        .nodes
        .iter()
        .filter(|node| node.is("Cast"))
        .filter_map(|node| Some((node.outputs.first()?.as_str(), node.inputs.first()?.as_str())))
        .collect();
    // Of convolutions alone, rten makes one with what scales or shifts their results.
    let is_merged = |result: &str| {
        users.get(result).into_iter().flatten().any(|user| {
            let is_shifted = user.is("Add") && user.inputs.iter().any(|input| outline.constants.contains_key(input));
            user.is("BatchNormalization") || is_shifted
        })
    };
    let rewrite = |node: &Node| {
        let ([result], [_, kernels, ..]) = (&node.outputs[..], &node.inputs[..]) else { return None };
        // Those of half precision are widened first.
        let stored = casts.get(kernels.as_str()).copied().filter(|_| is_used_once(kernels)).unwrap_or(kernels);
        let [made, taken, height, width] = outline.constants.get(stored)?.shape[..] else { return None };
        let is_worth_it = made <= taken.saturating_mul(WIDENED) && height.checked_mul(width)? > 1;
        if result.is_empty() || !is_used_once(stored) || !is_worth_it || is_merged(result) {
            return None;
        }
        let products = [made, height, width].into_iter().try_fold(4_u64, u64::checked_mul)?;
        let Settings { dilations, pads } = Settings::of(node)?;
        let pads = cut(pads, dilations, [height, width])?;
        Some((
            result.clone(),
            Rewrite { kernels: kernels.clone(), stored: stored.to_owned(), dilations, pads, products },
        ))
    };
    outline.nodes.iter().filter(|node| node.is("Conv")).filter_map(rewrite).collect()
}

/// The settings of a convolution in two dimensions with strides of one.
struct Settings {
    dilations: [i64; 2],
    pads: [i64; 4],
}

impl Settings {
    fn of(node: &Node) -> Option<Self> {
        let list = |name: &str| node.attributes.contains_key(name).then(|| node.ints(name));
        let strides = list("strides").unwrap_or(Some(&[1, 1]))?;
        let dilations = list("dilations").unwrap_or(Some(&[1, 1]))?;
        let pads = list("pads").unwrap_or(Some(&[0, 0, 0, 0]))?;
        let is_plain = strides == [1, 1]
            && node.int("group").unwrap_or(1) == 1
            && node.text("auto_pad").is_none_or(|padding| matches!(padding, "" | "NOTSET"));
        is_plain.then_some(())?;
        Some(Self { dilations: dilations.try_into().ok()?, pads: pads.try_into().ok()? })
    }
}

/// Returns what a transposed convolution cuts off where a convolution pads the picture.
fn cut(pads: [i64; 4], dilations: [i64; 2], kernel: [u64; 2]) -> Option<[i64; 4]> {
    let mut cut = [0; 4];
    for (index, pad) in pads.iter().enumerate() {
        let reach = i64::try_from(kernel[index % 2]).ok()?.checked_sub(1)?.checked_mul(dilations[index % 2])?;
        cut[index] = reach.checked_sub(*pad).filter(|cut| (0..=reach).contains(cut))?;
    }
    Some(cut)
}

/// Returns a model with transposed convolutions in place of those that can be rewritten, for pictures of which the sides are at most
/// that long where the file leaves them open. Without such a length, the sizes of pictures must follow from the file.
pub(crate) fn rewritten(file: Vec<u8>, outline: &Outline, side: Option<usize>) -> Vec<u8> {
    let chosen = chosen(outline, side);
    if chosen.is_empty() {
        return file;
    }
    // One that is written in a way that this does not know stays as it is.
    match rewritten_parts(&file, chosen) {
        Some((others, graph)) => {
            // A large file is in memory twice for as short as can be.
            drop(file);
            graph.into_last_field(others, model::GRAPH)
        }
        None => file,
    }
}

fn chosen(outline: &Outline, side: Option<usize>) -> HashMap<String, Rewrite> {
    let mut rewrites = rewritable(outline);
    let Some(shapes) = shapes::at_most(outline, side) else { return HashMap::new() };
    let inputs: HashMap<&str, &str> = outline
        .nodes
        .iter()
        .filter_map(|node| Some((node.outputs.first()?.as_str(), node.inputs.first()?.as_str())))
        .collect();
    let pixels = |result: &str| match shapes.get(inputs.get(result)?)?[..] {
        [_, _, Some(height), Some(width)] => height.checked_mul(width),
        _ => None,
    };
    let fits = |result: &str, rewrite: &Rewrite| {
        let products = pixels(result).and_then(|pixels| rewrite.products.checked_mul(pixels));
        products.is_some_and(|products| products <= MOST_PRODUCTS)
    };
    rewrites.retain(|result, rewrite| fits(result, rewrite));
    rewrites
}

/// Returns the rewritten graph of a model, and what the model has beside it.
fn rewritten_parts(file: &[u8], mut rewrites: HashMap<String, Rewrite>) -> Option<(Message, Message)> {
    let (mut others, mut found) = (Message::default(), None);
    for field in Fields::new(file) {
        match field.ok()? {
            (model::GRAPH, value) => found = Some(value.bytes().ok()?),
            (number, value) => others = copied(others, number, value)?,
        }
    }
    let file = found?;
    let stored = stored(file)?;
    rewrites.retain(|_, rewrite| stored.contains(&rewrite.stored));
    let kernels: HashSet<&str> =
        rewrites.values().flat_map(|rewrite| [rewrite.kernels.as_str(), rewrite.stored.as_str()]).collect();
    let mut message = Message::with_capacity(file.len() + ROOM * (rewrites.len() + 1));
    for field in Fields::new(file) {
        let (number, value) = field.ok()?;
        message = match (number, value) {
            (graph::NODE, Value::Bytes(bytes)) => match rewrites.get(&text(bytes, node::OUTPUT)?) {
                Some(rewrite) => message.message(number, &rewritten_node(bytes, rewrite)?),
                None => message.bytes(number, bytes),
            },
            (graph::INITIALIZER, Value::Bytes(bytes)) => match kernels.contains(&*text(bytes, tensor::NAME)?) {
                true => message.message(number, &Kernels::read(bytes)?.swapped(bytes)?),
                false => message.bytes(number, bytes),
            },
            // They have another shape than it says there.
            (graph::INPUT | graph::VALUE_INFO, Value::Bytes(bytes))
                if kernels.contains(&*text(bytes, value::NAME)?) =>
            {
                message
            }
            (number, value) => copied(message, number, value)?,
        };
    }
    Some((others, message))
}

/// Returns the names of the tensors in a graph that can be kernels of a rewritten convolution.
fn stored(file: &[u8]) -> Option<HashSet<String>> {
    let mut names = HashSet::new();
    for field in Fields::new(file) {
        let (graph::INITIALIZER, value) = field.ok()? else { continue };
        let bytes = value.bytes().ok()?;
        if Kernels::read(bytes).is_some() {
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

fn rewritten_node(file: &[u8], rewrite: &Rewrite) -> Option<Message> {
    // rten asks for the first two.
    let lists: [(&str, &[i64]); 3] = [("strides", &[1, 1]), ("dilations", &rewrite.dilations), ("pads", &rewrite.pads)];
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

/// Kernels as a file stores them: for each channel of the output, those of all channels of the input.
struct Kernels<'a> {
    shape: [usize; 4],
    /// Of an element, in bytes.
    size: usize,
    raw: &'a [u8],
}

impl<'a> Kernels<'a> {
    /// Reads a `TensorProto`, if its elements are stored as raw bytes, and in four dimensions.
    fn read(file: &'a [u8]) -> Option<Self> {
        let (mut shape, mut kind, mut raw) = (Vec::new(), 0, None);
        for field in Fields::new(file) {
            match field.ok()? {
                (tensor::DIMS, value) => {
                    value.ints(|side| shape.push(usize::try_from(side).unwrap_or_default())).ok()?;
                }
                (tensor::DATA_TYPE, value) => kind = value.int().ok()?,
                (tensor::RAW_DATA, value) => raw = Some(value.bytes().ok()?),
                _ => {}
            }
        }
        let size = match kind {
            element::FLOAT => 4_usize,
            element::FLOAT16 => 2,
            _ => return None,
        };
        let (shape, raw) = (<[usize; 4]>::try_from(shape).ok()?, raw?);
        let bytes = shape.iter().try_fold(size, |bytes, side| bytes.checked_mul(*side))?;
        (bytes == raw.len()).then_some(Self { shape, size, raw })
    }

    /// Returns the `TensorProto` with kernels rotated by 180°, and the channels of input and output swapped.
    fn swapped(&self, file: &[u8]) -> Option<Message> {
        let [made, taken, height, width] = self.shape;
        let dims = [taken, made, height, width].iter().fold(Message::with_capacity(file.len()), |message, side| {
            message.int(tensor::DIMS, i64::try_from(*side).unwrap_or_default())
        });
        Fields::new(file).try_fold(dims, |message, field| match field.ok()? {
            (tensor::DIMS, _) => Some(message),
            (tensor::RAW_DATA, _) => Some(message.bytes(tensor::RAW_DATA, &self.elements())),
            (number, value) => copied(message, number, value),
        })
    }

    fn elements(&self) -> Vec<u8> {
        let [made, taken, height, width] = self.shape;
        let length = height * width * self.size;
        let mut bytes = Vec::with_capacity(self.raw.len());
        for input in 0..taken {
            for output in 0..made {
                let kernel = &self.raw[(output * taken + input) * length..][..length];
                kernel.rchunks_exact(self.size).for_each(|element| bytes.extend_from_slice(element));
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
