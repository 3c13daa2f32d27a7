//! Works out the sizes of the values in a net, and from them how much memory a run takes.
//!
//! Rules are there for the operators of nets that work on pictures. What is not known, because an operator has no rule or a
//! size depends on the values, is left open, and everything that follows from it: the result is then the least that a run
//! takes.

use std::collections::{HashMap, HashSet};

use crate::onnx::outline::{Constant, Node, Outline};
use crate::tensor::{Dimension, Port};

/// A dimension of a value, known or not.
type Side = Option<u64>;

/// A value's dimensions.
type Shape = Vec<Side>;

/// Bytes for each element of a value; those of fewer bytes are few.
const ELEMENT: u64 = 4;

/// How many times the largest sum of values a run takes at most: runtimes keep the memory of values that are no longer needed for
/// later ones, which may not fit into it.
const REUSE: u64 = 2;

/// The most bytes that the products of a convolution may take for it to be carried out as a transposed one.
pub(crate) const MOST_PRODUCTS: u64 = 160 * 1024 * 1024;

/// The memory that a run takes beside the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Working {
    /// The bytes.
    pub bytes: u64,
    /// Whether the sizes of all values are known; otherwise a run may take more.
    pub is_whole: bool,
}

/// Returns the shapes of the values of a net, for inputs whose sides have that length where the file leaves them open. Without it, or where
/// something else is open, shapes are not known. `None` if they do not fit together.
pub(crate) fn at_most(outline: &Outline, side: Option<usize>) -> Option<HashMap<&str, Shape>> {
    let inputs = outline.inputs.iter().filter_map(|port| Some((port.name.as_str(), port.with_sides(side?)?)));
    let inputs: Vec<_> = inputs.collect();
    let given: Vec<_> = inputs.iter().map(|(name, shape)| (*name, &shape[..])).collect();
    infer(outline, &given, u64::MAX).ok()
}

/// Works out the memory of a run with inputs of these shapes. Inputs that are not given have the shapes that the file declares.
/// `rewritable` are the results of convolutions that may be carried out as transposed ones.
///
/// # Errors
///
/// Names the operator whose result takes more than `most` bytes.
pub(crate) fn working(
    outline: &Outline,
    rewritable: &HashSet<String>,
    given: &[(&str, &[usize])],
    most: u64,
) -> Result<Working, String> {
    let shapes = infer(outline, given, most)?;
    let mut last: HashMap<&str, usize> = HashMap::new();
    for (index, node) in outline.nodes.iter().enumerate() {
        last.extend(node.inputs.iter().chain(&node.outputs).map(|name| (name.as_str(), index)));
    }
    // They live until the end.
    last.extend(outline.outputs.iter().map(|port| (port.name.as_str(), usize::MAX)));
    let bytes = |name: &str| shapes.get(name).map_or(0, |shape| least(shape).saturating_mul(ELEMENT));
    let is_value = |name: &str| !name.is_empty() && !outline.constants.contains_key(name);
    let mut now: u64 = outline.inputs.iter().map(|port| bytes(&port.name)).fold(0, u64::saturating_add);
    let (mut peak, mut is_whole) = (now, outline.inputs.iter().all(|port| is_known(&shapes, &port.name)));
    for (index, node) in outline.nodes.iter().enumerate() {
        let outputs: u64 = node.outputs.iter().map(|name| bytes(name)).fold(0, u64::saturating_add);
        now = now.saturating_add(outputs);
        peak = peak.max(now.saturating_add(scratch(node, rewritable, &shapes)));
        is_whole &= node.outputs.iter().all(|name| name.is_empty() || is_known(&shapes, name));
        let mut ended: Vec<&str> = node.inputs.iter().chain(&node.outputs).map(String::as_str).collect();
        ended.retain(|name| is_value(name) && last.get(name) == Some(&index));
        ended.sort_unstable();
        ended.dedup();
        now = ended.into_iter().fold(now, |now, name| now.saturating_sub(bytes(name)));
    }
    Ok(Working { bytes: peak.saturating_mul(REUSE), is_whole })
}

fn is_known(shapes: &HashMap<&str, Shape>, name: &str) -> bool {
    shapes.get(name).is_some_and(|shape| shape.iter().all(Option::is_some))
}

/// Returns how many elements a value has at least: unknown dimensions count as one.
fn least(shape: &[Option<u64>]) -> u64 {
    product(shape.iter().flatten())
}

fn product<'a>(sides: impl Iterator<Item = &'a u64>) -> u64 {
    sides.fold(1, |product, side| product.saturating_mul(*side))
}

/// Returns the bytes that an operator takes at most beside its values: the products of all pixels and weights, before a transposed
/// convolution adds them up.
fn scratch(node: &Node, rewritable: &HashSet<String>, shapes: &HashMap<&str, Shape>) -> u64 {
    let is_rewritable = node.outputs.first().is_some_and(|result| rewritable.contains(result));
    if !is_rewritable && !node.is("ConvTranspose") {
        return 0;
    }
    let shape = |index: usize| node.inputs.get(index).and_then(|name| shapes.get(name.as_str()));
    let pixels = shape(0).map_or(0, |shape| product(shape.iter().skip(2).flatten()));
    // The channels that are taken come first, but for a convolution second.
    let taken = usize::from(is_rewritable);
    let weights = shape(1).map_or(0, |shape| {
        product(shape.iter().enumerate().filter(|(axis, _)| *axis != taken).filter_map(|(_, side)| side.as_ref()))
    });
    let products = pixels.saturating_mul(weights).saturating_mul(ELEMENT);
    if is_rewritable && products > MOST_PRODUCTS { 0 } else { products }
}

/// Works out the shapes of all values.
fn infer<'a>(outline: &'a Outline, given: &[(&str, &[usize])], most: u64) -> Result<HashMap<&'a str, Shape>, String> {
    let mut shapes: HashMap<&str, Shape> = HashMap::new();
    for (name, constant) in &outline.constants {
        shapes.insert(name, constant.shape.iter().copied().map(Some).collect());
    }
    for port in &outline.inputs {
        let given = given.iter().find(|(name, _)| *name == port.name);
        let shape = given.map(|(_, shape)| shape.iter().map(|side| Some(*side as u64)).collect());
        if let Some(shape) = shape.or_else(|| declared(port)) {
            check(&shape, most, || format!("the input `{}`", port.name))?;
            shapes.insert(&port.name, shape);
        }
    }
    for node in &outline.nodes {
        let shape = Inputs { outline, node, shapes: &shapes }.output();
        let (Some(shape), Some(output)) = (shape, node.outputs.first()) else { continue };
        check(&shape, most, || format!("the result `{output}` of `{}`", node.operator))?;
        shapes.insert(output, shape);
    }
    Ok(shapes)
}

fn declared(port: &Port) -> Option<Shape> {
    let side = |dimension: &Dimension| match dimension {
        Dimension::Fixed(size) => Some(*size as u64),
        Dimension::Named(_) | Dimension::Unknown => None,
    };
    port.shape.as_ref().map(|shape| shape.iter().map(side).collect())
}

fn check(shape: &[Option<u64>], most: u64, what: impl FnOnce() -> String) -> Result<(), String> {
    match least(shape).saturating_mul(ELEMENT) <= most {
        true => Ok(()),
        false => Err(format!("{} takes more than the limit of {most} bytes", what())),
    }
}

/// An operator with the shapes of its inputs.
struct Inputs<'a> {
    outline: &'a Outline,
    node: &'a Node,
    shapes: &'a HashMap<&'a str, Shape>,
}

impl Inputs<'_> {
    /// Returns the shape of the operator's first output, if there is a rule and enough is known.
    fn output(&self) -> Option<Shape> {
        if !self.node.is(&self.node.operator) {
            return None;
        }
        match self.node.operator.as_str() {
            "Abs"
            | "BatchNormalization"
            | "Cast"
            | "Clip"
            | "Elu"
            | "Erf"
            | "Exp"
            | "HardSigmoid"
            | "HardSwish"
            | "Identity"
            | "InstanceNormalization"
            | "LeakyRelu"
            | "Log"
            | "Neg"
            | "PRelu"
            | "Relu"
            | "Sigmoid"
            | "Softmax"
            | "Softplus"
            | "Sqrt"
            | "Tanh" => self.shape(0).cloned(),
            "Add" | "Div" | "Max" | "Min" | "Mul" | "Pow" | "Sub" => self.broadcast(),
            "Conv" => self.convolution(),
            "ConvTranspose" => self.transposed_convolution(),
            "AveragePool" | "MaxPool" => self.pooling(),
            "GlobalAveragePool" | "GlobalMaxPool" => {
                let shape = self.shape(0)?;
                Some(shape.iter().enumerate().map(|(axis, side)| if axis < 2 { *side } else { Some(1) }).collect())
            }
            "Concat" => self.concatenation(),
            "ConstantOfShape" => self.numbers(0).map(|sides| sides.iter().map(|side| whole(*side)).collect()),
            "DepthToSpace" => self.pixels(true),
            "SpaceToDepth" => self.pixels(false),
            "Expand" => self.expansion(),
            "Pad" => self.padding(),
            "ReduceMax" | "ReduceMean" | "ReduceMin" | "ReduceSum" => self.reduction(),
            "Reshape" => self.reshaping(),
            "Resize" | "Upsample" => self.resampling(),
            "Tile" => self.tiling(),
            "Transpose" => self.transposition(),
            _ => None,
        }
    }

    fn name(&self, index: usize) -> Option<&str> {
        self.node.inputs.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    fn shape(&self, index: usize) -> Option<&Shape> {
        self.shapes.get(self.name(index)?)
    }

    /// Returns the elements of an input that is in the file.
    fn numbers(&self, index: usize) -> Option<&[f64]> {
        self.constant(index)?.numbers.as_deref()
    }

    fn constant(&self, index: usize) -> Option<&Constant> {
        self.outline.constants.get(self.name(index)?)
    }

    fn broadcast(&self) -> Option<Shape> {
        let shapes = (0..self.node.inputs.len()).map(|index| self.shape(index)).collect::<Option<Vec<_>>>()?;
        let rank = shapes.iter().map(|shape| shape.len()).max()?;
        let side = |axis: usize| {
            let sides = shapes.iter().filter_map(|shape| shape.get((axis + shape.len()).checked_sub(rank)?));
            let mut side = Some(1);
            for next in sides {
                side = match (side, *next) {
                    (Some(1), next) => next,
                    (side, Some(1)) => side,
                    (Some(side), Some(_)) => Some(side),
                    // One of them may be one, but then the other one counts.
                    (known, None) | (None, known) => known,
                };
            }
            side
        };
        Some((0..rank).map(side).collect())
    }

    /// Returns batch and channels, and the spatial dimensions, of the first input.
    fn picture(&self) -> Option<([Side; 2], &[Side])> {
        let (head, sides) = self.shape(0)?.split_first_chunk()?;
        Some((*head, sides))
    }

    /// Returns a list of whole numbers, one for each spatial dimension and end.
    fn list(&self, attribute: &str, count: usize, default: u64) -> Option<Vec<u64>> {
        match self.node.ints(attribute) {
            Some(ints) if ints.len() == count => ints.iter().map(|int| u64::try_from(*int).ok()).collect(),
            Some(_) => None,
            None => Some(vec![default; count]),
        }
    }

    fn convolution(&self) -> Option<Shape> {
        let weights = self.shape(1)?;
        let sides = self.windows(weights.get(2..)?)?;
        let ([batch, _], _) = self.picture()?;
        Some([vec![batch, *weights.first()?], sides].concat())
    }

    fn pooling(&self) -> Option<Shape> {
        let kernel: Shape = self.node.ints("kernel_shape")?.iter().map(|side| u64::try_from(*side).ok()).collect();
        let sides = self.windows(&kernel)?;
        let (head, _) = self.picture()?;
        Some([head.to_vec(), sides].concat())
    }

    /// Returns how many windows of a kernel there are along each spatial dimension.
    fn windows(&self, kernel: &[Option<u64>]) -> Option<Shape> {
        let (_, sides) = self.picture()?;
        let rank = sides.len();
        let (strides, dilations) = (self.list("strides", rank, 1)?, self.list("dilations", rank, 1)?);
        let pads = self.list("pads", 2 * rank, 0)?;
        let is_same = self.node.text("auto_pad").is_some_and(|pad| pad.starts_with("SAME"));
        let is_up = self.node.int("ceil_mode") == Some(1);
        (kernel.len() == rank).then_some(())?;
        let windows = |axis: usize| {
            let (side, stride) = (sides[axis]?, strides[axis]);
            if stride == 0 {
                return None;
            }
            if is_same {
                return Some(side.div_ceil(stride));
            }
            let reach = kernel[axis]?.checked_sub(1)?.checked_mul(dilations[axis])?.checked_add(1)?;
            let padded = side.checked_add(pads[axis])?.checked_add(pads[axis + rank])?;
            let steps = padded.checked_sub(reach)?;
            Some(1 + if is_up { steps.div_ceil(stride) } else { steps / stride })
        };
        Some((0..rank).map(windows).collect())
    }

    fn transposed_convolution(&self) -> Option<Shape> {
        let weights = self.shape(1)?;
        let ([batch, _], sides) = self.picture()?;
        let rank = sides.len();
        let kernel = weights.get(2..).filter(|kernel| kernel.len() == rank)?;
        let groups = u64::try_from(self.node.int("group").unwrap_or(1)).ok()?;
        let (strides, dilations) = (self.list("strides", rank, 1)?, self.list("dilations", rank, 1)?);
        let (pads, more) = (self.list("pads", 2 * rank, 0)?, self.list("output_padding", rank, 0)?);
        let side = |axis: usize| {
            let steps = sides[axis]?.checked_sub(1)?.checked_mul(strides[axis])?;
            let reach = kernel[axis]?.checked_sub(1)?.checked_mul(dilations[axis])?.checked_add(1)?;
            let whole = steps.checked_add(reach)?.checked_add(more[axis])?;
            whole.checked_sub(pads[axis].checked_add(pads[axis + rank])?)
        };
        let channels = weights.get(1).copied().flatten().and_then(|channels| channels.checked_mul(groups));
        Some([vec![batch, channels], (0..rank).map(side).collect()].concat())
    }

    fn concatenation(&self) -> Option<Shape> {
        let shapes = (0..self.node.inputs.len()).map(|index| self.shape(index)).collect::<Option<Vec<_>>>()?;
        let mut shape: Shape = (*shapes.first()?).clone();
        let axis = axis(self.node.int("axis")?, shape.len())?;
        let mut sides = shapes.iter().map(|shape| shape.get(axis).copied().flatten());
        shape[axis] = sides.try_fold(0_u64, |sum, side| sum.checked_add(side?));
        Some(shape)
    }

    /// Moves channels to pixels, or pixels to channels.
    fn pixels(&self, grows: bool) -> Option<Shape> {
        let block = u64::try_from(self.node.int("blocksize")?).ok().filter(|block| *block > 0)?;
        let [batch, channels, sides @ ..] = self.shape(0)?.as_slice() else { return None };
        let area = block.checked_mul(block)?;
        let times = |side: Option<u64>, factor: u64| side.and_then(|side| side.checked_mul(factor));
        let channels = if grows { channels.map(|channels| channels / area) } else { times(*channels, area) };
        let sides = sides.iter().map(|side| if grows { times(*side, block) } else { side.map(|side| side / block) });
        Some([vec![*batch, channels], sides.collect()].concat())
    }

    fn expansion(&self) -> Option<Shape> {
        let wanted: Shape = self.numbers(1)?.iter().map(|side| whole(*side)).collect();
        let shape = self.shape(0)?;
        let rank = shape.len().max(wanted.len());
        let side = |axis: usize| {
            let of = |shape: &Shape| match (axis + shape.len()).checked_sub(rank) {
                Some(axis) => shape[axis],
                None => Some(1),
            };
            if of(&wanted) == Some(1) { of(shape) } else { of(&wanted) }
        };
        Some((0..rank).map(side).collect())
    }

    fn padding(&self) -> Option<Shape> {
        let shape = self.shape(0)?;
        let attribute = || self.node.ints("pads").map(|pads| pads.iter().map(|pad| *pad as f64).collect::<Vec<_>>());
        let pads = self.numbers(1).map(<[f64]>::to_vec).or_else(attribute)?;
        (pads.len() == 2 * shape.len()).then_some(())?;
        let (before, after) = pads.split_at(shape.len());
        let sides = shape.iter().zip(before.iter().zip(after));
        Some(sides.map(|(side, (before, after))| whole((*side)? as f64 + before + after)).collect())
    }

    fn reduction(&self) -> Option<Shape> {
        let shape = self.shape(0)?;
        let attribute = || self.node.ints("axes").map(|axes| axes.iter().map(|axis| *axis as f64).collect::<Vec<_>>());
        let axes = self.numbers(1).map(<[f64]>::to_vec).or_else(attribute)?;
        let axes = axes.iter().map(|number| axis(*number as i64, shape.len())).collect::<Option<Vec<_>>>()?;
        let keeps = self.node.int("keepdims") != Some(0);
        let sides = shape.iter().enumerate().map(|(index, side)| match (axes.contains(&index), keeps) {
            (false, _) => Some(*side),
            (true, true) => Some(Some(1)),
            (true, false) => None,
        });
        Some(sides.flatten().collect())
    }

    fn reshaping(&self) -> Option<Shape> {
        let shape = self.shape(0)?;
        let wanted = self.numbers(1)?;
        let mut sides: Shape = Vec::new();
        for (index, side) in wanted.iter().enumerate() {
            sides.push(match *side as i64 {
                0 => *shape.get(index)?,
                -1 => None,
                side => u64::try_from(side).ok(),
            });
        }
        let mut open = wanted.iter().enumerate().filter(|(_, side)| **side as i64 == -1).map(|(index, _)| index);
        if let (Some(index), None, true) = (open.next(), open.next(), shape.iter().all(Option::is_some)) {
            sides[index] = least(shape).checked_div(least(&sides));
        }
        Some(sides)
    }

    fn resampling(&self) -> Option<Shape> {
        let shape = self.shape(0)?;
        // `Upsample`, and early forms of `Resize`, have no region of interest.
        let scales = if self.node.is("Upsample") { 1 } else { 2 };
        if let Some(sizes) = self.numbers(3).filter(|sizes| sizes.len() == shape.len()) {
            return Some(sizes.iter().map(|size| whole(*size)).collect());
        }
        let scales = self.numbers(scales).filter(|scales| scales.len() == shape.len())?;
        Some(shape.iter().zip(scales).map(|(side, scale)| whole(((*side)? as f64 * scale).floor())).collect())
    }

    fn tiling(&self) -> Option<Shape> {
        let shape = self.shape(0)?;
        let repeats = self.numbers(1).filter(|repeats| repeats.len() == shape.len())?;
        Some(shape.iter().zip(repeats).map(|(side, repeat)| whole((*side)? as f64 * repeat)).collect())
    }

    fn transposition(&self) -> Option<Shape> {
        let shape = self.shape(0)?;
        match self.node.ints("perm") {
            Some(perm) => perm.iter().map(|from| shape.get(usize::try_from(*from).ok()?).copied()).collect(),
            None => Some(shape.iter().rev().copied().collect()),
        }
    }
}

/// Returns an axis that may be counted from the end.
fn axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    usize::try_from(axis).ok().filter(|_| axis < rank)
}

/// Returns a size that was computed, unless it is negative. Huge ones stay huge.
fn whole(size: f64) -> Option<u64> {
    (size >= 0.0).then_some(size as u64)
}

#[cfg(test)]
mod tests;
