//! What a model file contains, read without its weights and within limits.
//!
//! The runtimes trust a file more than this does: rten reserves memory by lengths in the file before it looks whether there are
//! that many bytes, and follows nested messages as deep as they go. So every file is read here first, and refused if a length
//! does not fit, if it nests too deep, or if it declares more than the limits allow.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::fields::{attribute, element, graph, kind, model, node, shape, tensor, tensor_kind, value};
use super::wire::{Fields, Value};
use crate::tensor::{Dimension, ElementType, Port, shown};

/// The most operators, constants, declared values and attributes, those of subgraphs included.
const MOST_PARTS: usize = 262_144;

/// The most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 8;

/// The most numbers that are not stored as raw bytes, each of which a runtime expands to eight.
const MOST_LOOSE: usize = 16_777_216;

/// The deepest nesting of subgraphs.
const DEEPEST: usize = 8;

/// The most operators that follow one another. Runtimes descend along such a chain on the stack of a thread.
const LONGEST: usize = 3_000;

/// The operators that repeat others, as often as numbers within a net say: a run of them may never end.
const ENDLESS: [&str; 2] = ["Loop", "Scan"];

/// The longest list of numbers that is kept, as needed for shapes.
const KEPT: usize = 64;

/// What a model file contains.
#[derive(Debug, Clone)]
pub(crate) struct Outline {
    /// The inputs that have to be given.
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// The operators, in an order in which they can run.
    pub nodes: Vec<Node>,
    /// Those of subgraphs, in any order.
    pub nested: Vec<Node>,
    /// The tensors in the file, by their names.
    pub constants: HashMap<String, Constant>,
    /// How many bytes the weights take in memory at most, once a runtime has widened them.
    pub weights: u64,
}

/// An operator.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub operator: String,
    /// Empty for those of ONNX itself.
    pub domain: String,
    /// Empty names stand for inputs that are left out.
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attributes: HashMap<String, Attribute>,
}

/// The value of an attribute, if it is one that says something about shapes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Attribute {
    Int(i64),
    Float(f32),
    Text(String),
    Ints(Vec<i64>),
    Other,
}

/// A tensor in the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Constant {
    pub shape: Vec<u64>,
    /// Its elements, if they are few.
    pub numbers: Option<Vec<f64>>,
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Counts {
    parts: usize,
    loose: usize,
    weights: u64,
    /// The operators of subgraphs.
    nested: Vec<Node>,
}

/// The content of an attribute.
#[derive(Debug, Default)]
struct ReadAttribute {
    name: String,
    value: Option<Attribute>,
    constant: Option<Constant>,
}

/// Reads a model file. No tensor may take more than `most` bytes.
///
/// # Errors
///
/// What is wrong with the file.
pub(crate) fn read(file: &[u8], most: u64) -> Result<Outline, String> {
    let mut counts = Counts::default();
    let (mut found, mut version) = (None, None);
    for field in Fields::new(file) {
        match field? {
            (model::IR_VERSION, value) => version = Some(value.int()?),
            (model::GRAPH, value) => {
                let earlier = found.replace(counts.graph(value.bytes()?, 0, most)?);
                if earlier.is_some() {
                    return Err("it has two graphs".to_owned());
                }
            }
            (model::OPSET_IMPORT | model::METADATA, _) => counts.part()?,
            _ => {}
        }
    }
    let (Some(mut outline), Some(_)) = (found, version) else {
        return Err("it is not an ONNX model".to_owned());
    };
    outline.inputs.retain(|input| !outline.constants.contains_key(&input.name));
    outline.weights = counts.weights;
    outline.nested = counts.nested;
    check_names(&outline)?;
    Ok(outline)
}

/// Returns whether a domain is that of ONNX's own operators.
pub(crate) fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

fn check_names(outline: &Outline) -> Result<(), String> {
    if outline.outputs.is_empty() {
        return Err("it has no output".to_owned());
    }
    for (what, ports) in [("input", &outline.inputs), ("output", &outline.outputs)] {
        let mut names = HashSet::new();
        for port in ports {
            if port.name.is_empty() {
                return Err(format!("it has an {what} without a name"));
            }
            if !names.insert(&port.name) {
                return Err(format!("it has two {what}s `{}`", port.name));
            }
        }
    }
    Ok(())
}

/// Puts operators into an order in which each value is made before it is taken, as near to that of the file as can be: writers
/// append operators that belong in front. Checks that every value is made once, and that no chain of operators is too long.
fn sorted(nodes: Vec<Node>) -> Result<Vec<Node>, String> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for name in node.outputs.iter().map(String::as_str).filter(|name| !name.is_empty()) {
            if makers.insert(name, index).is_some() {
                return Err(format!("the value `{name}` is made twice"));
            }
        }
    }
    let mut takers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    // How many inputs of an operator have not been made yet, and how many operators there are on the longest way to it.
    let (mut missing, mut steps) = (vec![0_usize; nodes.len()], vec![1_usize; nodes.len()]);
    for (index, node) in nodes.iter().enumerate() {
        for maker in node.inputs.iter().filter_map(|name| makers.get(name.as_str())) {
            takers[*maker].push(index);
            missing[index] += 1;
        }
    }
    let mut ready: BTreeSet<usize> = (0..nodes.len()).filter(|index| missing[*index] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(index) = ready.pop_first() {
        if steps[index] > LONGEST {
            return Err(format!("more than {LONGEST} operators follow one another"));
        }
        order.push(index);
        for taker in &takers[index] {
            steps[*taker] = steps[*taker].max(steps[index] + 1);
            missing[*taker] -= 1;
            if missing[*taker] == 0 {
                ready.insert(*taker);
            }
        }
    }
    if let Some(node) = missing.iter().position(|missing| *missing > 0).map(|index| &nodes[index]) {
        return Err(format!("`{}` takes a value that is made from what it makes itself", node.operator));
    }
    let mut nodes: Vec<_> = nodes.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|index| nodes[index].take()).collect())
}

impl Counts {
    fn part(&mut self) -> Result<(), String> {
        self.parts += 1;
        match self.parts <= MOST_PARTS {
            true => Ok(()),
            false => Err(format!("it has more than {MOST_PARTS} parts")),
        }
    }

    fn loose(&mut self, count: usize) -> Result<(), String> {
        self.loose += count;
        match self.loose <= MOST_LOOSE {
            true => Ok(()),
            false => Err(format!("it has more than {MOST_LOOSE} numbers outside of raw data")),
        }
    }

    fn graph(&mut self, message: &[u8], depth: usize, most: u64) -> Result<Outline, String> {
        if depth > DEEPEST {
            return Err(format!("its graphs nest deeper than {DEEPEST} levels"));
        }
        let (mut inputs, mut outputs, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
        let mut constants = HashMap::new();
        for field in Fields::new(message) {
            match field? {
                (graph::NODE, value) => {
                    let (node, constant) = self.node(value.bytes()?, depth, most)?;
                    if let (Some(constant), [output]) = (constant, &node.outputs[..]) {
                        constants.insert(output.clone(), constant);
                    }
                    nodes.push(node);
                }
                (graph::INITIALIZER, value) => {
                    let (name, constant) = self.tensor(value.bytes()?, most)?;
                    constants.insert(name, constant);
                }
                (graph::INPUT, value) => inputs.push(self.port(value.bytes()?)?),
                (graph::OUTPUT, value) => outputs.push(self.port(value.bytes()?)?),
                (graph::VALUE_INFO, value) => drop(self.port(value.bytes()?)?),
                _ => {}
            }
        }
        let nodes = sorted(nodes)?;
        Ok(Outline { inputs, outputs, nodes, nested: Vec::new(), constants, weights: 0 })
    }

    /// Reads an operator, and the tensor that it is if it is a constant.
    fn node(&mut self, message: &[u8], depth: usize, most: u64) -> Result<(Node, Option<Constant>), String> {
        self.part()?;
        let (mut operator, mut domain) = ("", "");
        let (mut inputs, mut outputs, mut attributes) = (Vec::new(), Vec::new(), HashMap::new());
        let mut constant = None;
        for field in Fields::new(message) {
            match field? {
                (node::INPUT, value) => {
                    self.part()?;
                    inputs.push(value.name()?.to_owned());
                }
                (node::OUTPUT, value) => {
                    self.part()?;
                    outputs.push(value.name()?.to_owned());
                }
                (node::OP_TYPE, value) => operator = value.name()?,
                (node::DOMAIN, value) => domain = value.name()?,
                (node::ATTRIBUTE, value) => {
                    let read = self.attribute(value.bytes()?, depth, most)?;
                    constant = constant.or(read.constant);
                    attributes.insert(read.name, read.value.unwrap_or(Attribute::Other));
                }
                _ => {}
            }
        }
        if is_standard(domain) && ENDLESS.contains(&operator) {
            return Err(format!("it has the operator `{operator}`, of which a run may never end"));
        }
        let constant = constant.filter(|_| operator == "Constant");
        Ok((Node { operator: operator.to_owned(), domain: domain.to_owned(), inputs, outputs, attributes }, constant))
    }

    fn attribute(&mut self, message: &[u8], depth: usize, most: u64) -> Result<ReadAttribute, String> {
        self.part()?;
        let mut read = ReadAttribute::default();
        let (mut ints, mut floats) = (Vec::new(), Vec::new());
        for field in Fields::new(message) {
            match field? {
                (attribute::NAME, value) => read.name = value.name()?.to_owned(),
                (attribute::I, value) => read.value = Some(Attribute::Int(value.int()?)),
                (attribute::F, value) => read.value = Some(Attribute::Float(value.float()?)),
                // It may be bytes that are not a text.
                (attribute::S, value) => {
                    let text = String::from_utf8_lossy(value.bytes()?).into_owned();
                    read.value = Some(Attribute::Text(text));
                }
                (attribute::T, value) => read.constant = Some(self.tensor(value.bytes()?, most)?.1),
                (attribute::G, value) => {
                    let inner = self.graph(value.bytes()?, depth + 1, most)?;
                    self.nested.extend(inner.nodes);
                }
                (attribute::INTS, value) => self.kept(&mut ints, |each| value.ints(each))?,
                (attribute::FLOATS, value) => self.kept(&mut floats, |each| value.floats(each))?,
                _ => {}
            }
        }
        if !ints.is_empty() && ints.len() <= KEPT {
            read.value = Some(Attribute::Ints(ints));
        }
        // The other forms of a constant.
        let numbers = match (read.name.as_str(), &read.value) {
            ("value_ints", Some(Attribute::Ints(ints))) => Some(ints.iter().map(|int| *int as f64).collect()),
            ("value_int", Some(Attribute::Int(int))) => Some(vec![*int as f64]),
            ("value_floats", None) if (1..=KEPT).contains(&floats.len()) => {
                Some(floats.into_iter().map(f64::from).collect())
            }
            ("value_float", Some(Attribute::Float(float))) => Some(vec![f64::from(*float)]),
            _ => None,
        };
        read.constant = read.constant.or_else(|| {
            let numbers: Vec<f64> = numbers?;
            let shape = if read.name.ends_with('s') { vec![numbers.len() as u64] } else { Vec::new() };
            Some(Constant { shape, numbers: Some(numbers) })
        });
        Ok(read)
    }

    /// Collects the first numbers of a list, and counts all.
    fn kept<T>(
        &mut self,
        list: &mut Vec<T>,
        read: impl FnOnce(&mut dyn FnMut(T)) -> Result<(), &'static str>,
    ) -> Result<(), String> {
        let mut count = 0;
        read(&mut |number| {
            count += 1;
            // One more than is kept shows that there are too many.
            if list.len() <= KEPT {
                list.push(number);
            }
        })?;
        self.loose(count)
    }

    fn tensor(&mut self, message: &[u8], most: u64) -> Result<(String, Constant), String> {
        self.part()?;
        let (mut name, mut dims, mut kind) = ("", Vec::new(), 0);
        let (mut raw, mut loose, mut numbers) = (None, 0_usize, Vec::new());
        for field in Fields::new(message) {
            match field? {
                (tensor::NAME, value) => name = value.name()?,
                (tensor::DIMS, value) => self.kept(&mut dims, |each| value.ints(each))?,
                (tensor::DATA_TYPE, value) => kind = value.int()?,
                (tensor::RAW_DATA, value) => raw = Some(value.bytes()?),
                (tensor::FLOAT_DATA, value) => {
                    loose += value.fixed_count::<4>()?;
                    self.kept(&mut numbers, |each| value.floats(|number| each(f64::from(number))))?;
                }
                (tensor::INT32_DATA | tensor::INT64_DATA | tensor::UINT64_DATA, value) => {
                    let mut count = 0;
                    self.kept(&mut numbers, |each| {
                        value.ints(|number| {
                            count += 1;
                            each(number as f64);
                        })
                    })?;
                    loose += count;
                }
                (tensor::DOUBLE_DATA, value) => {
                    let count = value.fixed_count::<8>()?;
                    self.loose(count)?;
                    loose += count;
                }
                (tensor::STRING_DATA, _) => return Err(format!("the tensor `{name}` has texts")),
                (tensor::EXTERNAL_DATA, _) => return Err(format!("the tensor `{name}` is in another file")),
                (tensor::DATA_LOCATION, value) if value.int()? != 0 => {
                    return Err(format!("the tensor `{name}` is in another file"));
                }
                _ => {}
            }
        }
        let shape = shape_of(name, &dims)?;
        let (size, widened) = sizes(kind).ok_or_else(|| format!("the tensor `{name}` has elements of type {kind}"))?;
        let count = shape.iter().try_fold(1_u64, |count, side| count.checked_mul(*side));
        let fits = |count: &u64| count.checked_mul(widened).is_some_and(|bytes| bytes <= most);
        let Some(count) = count.filter(fits) else {
            return Err(format!("the tensor `{name}` of {} takes more than the limit of {most} bytes", shown(&shape)));
        };
        let has = match raw {
            Some(raw) => raw.len() as u64,
            None => loose as u64 * size,
        };
        if has != count * size {
            return Err(format!(
                "the tensor `{name}` of {} has {has} bytes in place of {}",
                shown(&shape),
                count * size
            ));
        }
        self.weights = self.weights.saturating_add(count * widened);
        let numbers = match raw {
            Some(raw) if count <= KEPT as u64 => raw_numbers(kind, raw),
            None => Some(numbers).filter(|numbers| numbers.len() as u64 == count),
            Some(_) => None,
        };
        Ok((name.to_owned(), Constant { shape, numbers }))
    }

    fn port(&mut self, message: &[u8]) -> Result<Port, String> {
        self.part()?;
        let mut port = Port { name: String::new(), element: ElementType::Other(0), shape: None };
        for field in Fields::new(message) {
            match field? {
                (value::NAME, value) => port.name = value.name()?.to_owned(),
                (value::TYPE, value) => {
                    for field in Fields::new(value.bytes()?) {
                        match field? {
                            (kind::TENSOR, value) => self.tensor_kind(value.bytes()?, &mut port)?,
                            // They nest as deep as a file likes.
                            (kind::SEQUENCE | kind::MAP | kind::OPTIONAL, _) => {
                                return Err(format!("the value `{}` is not a tensor", port.name));
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(port)
    }

    fn tensor_kind(&mut self, message: &[u8], port: &mut Port) -> Result<(), String> {
        for field in Fields::new(message) {
            match field? {
                (tensor_kind::ELEMENT, value) => port.element = element_type(value.int()?),
                (tensor_kind::SHAPE, value) => {
                    let mut shape = Vec::new();
                    for field in Fields::new(value.bytes()?) {
                        if let (shape::DIM, value) = field? {
                            self.part()?;
                            shape.push(dimension(value)?);
                        }
                        if shape.len() > MOST_DIMENSIONS {
                            return Err(format!(
                                "the value `{}` has more than {MOST_DIMENSIONS} dimensions",
                                port.name
                            ));
                        }
                    }
                    port.shape = Some(shape);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn dimension(message: Value<'_>) -> Result<Dimension, String> {
    let mut dimension = Dimension::Unknown;
    for field in Fields::new(message.bytes()?) {
        match field? {
            // Some exporters write a negative size for an unknown one.
            (shape::VALUE, value) => {
                dimension = usize::try_from(value.int()?).map_or(Dimension::Unknown, Dimension::Fixed);
            }
            (shape::PARAM, value) => dimension = Dimension::Named(value.name()?.to_owned()),
            _ => {}
        }
    }
    Ok(dimension)
}

fn shape_of(name: &str, dims: &[i64]) -> Result<Vec<u64>, String> {
    if dims.len() > MOST_DIMENSIONS {
        return Err(format!("the tensor `{name}` has more than {MOST_DIMENSIONS} dimensions"));
    }
    let sides = dims.iter().map(|side| u64::try_from(*side)).collect::<Result<_, _>>();
    sides.map_err(|_| format!("the tensor `{name}` has a negative dimension"))
}

/// Returns how many bytes an element takes in a file, and in memory once a runtime has widened it. Quantised weights may be
/// kept both as they are and as numbers with a fraction.
fn sizes(kind: i64) -> Option<(u64, u64)> {
    Some(match kind {
        element::UINT8 | element::INT8 => (1, 5),
        element::BOOL => (1, 4),
        element::FLOAT16 => (2, 4),
        element::FLOAT | element::INT32 => (4, 4),
        element::INT64 | element::DOUBLE => (8, 8),
        _ => return None,
    })
}

fn element_type(kind: i64) -> ElementType {
    match kind {
        element::FLOAT => ElementType::F32,
        element::DOUBLE => ElementType::F64,
        element::UINT8 => ElementType::U8,
        element::INT32 => ElementType::I32,
        element::INT64 => ElementType::I64,
        element::BOOL => ElementType::Bool,
        other => ElementType::Other(i32::try_from(other).unwrap_or(i32::MAX)),
    }
}

/// Returns the elements of a tensor in raw data, if shapes may be among them.
fn raw_numbers(kind: i64, raw: &[u8]) -> Option<Vec<f64>> {
    Some(match kind {
        element::INT64 => raw.as_chunks().0.iter().map(|chunk| i64::from_le_bytes(*chunk) as f64).collect(),
        element::INT32 => raw.as_chunks().0.iter().map(|chunk| f64::from(i32::from_le_bytes(*chunk))).collect(),
        element::FLOAT => raw.as_chunks().0.iter().map(|chunk| f64::from(f32::from_le_bytes(*chunk))).collect(),
        _ => return None,
    })
}

impl Node {
    /// Returns whether it is that operator of ONNX itself.
    pub fn is(&self, operator: &str) -> bool {
        is_standard(&self.domain) && self.operator == operator
    }

    pub fn int(&self, attribute: &str) -> Option<i64> {
        match self.attributes.get(attribute)? {
            Attribute::Int(int) => Some(*int),
            _ => None,
        }
    }

    pub fn ints(&self, attribute: &str) -> Option<&[i64]> {
        match self.attributes.get(attribute)? {
            Attribute::Ints(ints) => Some(ints),
            _ => None,
        }
    }

    pub fn text(&self, attribute: &str) -> Option<&str> {
        match self.attributes.get(attribute)? {
            Attribute::Text(text) => Some(text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
