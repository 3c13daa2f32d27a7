//! What becomes of each operator.

use super::graph::{Graph, Layout};
use super::model::{Data, Operator, count};
use super::problems::{broken, unsupported};
use crate::convert::ConvertError;
use crate::onnx::builder::Setting;

/// The ways in which TFLite pads, as `Padding` numbers them.
const SAME: u8 = 0;
const VALID: u8 = 1;

/// The most inputs of an operator.
const MOST_INPUTS: usize = 64;

/// A window that slides along one side of a picture.
#[derive(Debug, Clone, Copy)]
struct Slide {
    /// The pixels of the picture, and those of the result.
    sides: [usize; 2],
    kernel: usize,
    stride: usize,
    dilation: usize,
}

/// Writes the operators that do what one of the file does.
pub(super) fn convert(graph: &mut Graph<'_>, operator: &Operator<'_>) -> Result<(), ConvertError> {
    match operator.name {
        "ADD" => elementwise(graph, operator, "Add"),
        "AVERAGE_POOL_2D" => pool(graph, operator, "AveragePool"),
        "CONCATENATION" => concatenation(graph, operator),
        "CONV_2D" => convolution(graph, operator),
        "Convolution2DTransposeBias" => transposed_convolution(graph, operator),
        "DEPTHWISE_CONV_2D" => depthwise_convolution(graph, operator),
        "DEQUANTIZE" => widening(graph, operator),
        "HARD_SWISH" => unary(graph, operator, "HardSwish"),
        "LOGISTIC" => unary(graph, operator, "Sigmoid"),
        "MAX_POOL_2D" => pool(graph, operator, "MaxPool"),
        "MEAN" => mean(graph, operator),
        "MUL" => elementwise(graph, operator, "Mul"),
        "PAD" => padding(graph, operator),
        "PRELU" => slope(graph, operator),
        "RELU" => unary(graph, operator, "Relu"),
        "RESHAPE" => reshaping(graph, operator),
        "RESIZE_BILINEAR" => resampling(graph, operator),
        name => Err(unsupported(format!("it has the operator `{name}`"))),
    }
}

/// Weights of half precision; they are widened wherever they are used.
fn widening(graph: &mut Graph<'_>, operator: &Operator<'_>) -> Result<(), ConvertError> {
    let input = operator.input(0)?;
    match graph.constant(input)? {
        Some(Data::F16(_)) => graph.alias(operator.output, input),
        _ => Err(unsupported(format!("the tensor `{}` is quantised", graph.tensor(input).name))),
    }
}

fn convolution(graph: &mut Graph<'_>, operator: &Operator<'_>) -> Result<(), ConvertError> {
    let (input, output, filter) = (operator.input(0)?, operator.output, operator.input(1)?);
    let [_, height, width, channels] = graph.picture(input)?;
    let [_, out_height, out_width, out_channels] = graph.picture(output)?;
    let shape = graph.picture(filter)?;
    let [filters, rows, columns, depth] = shape;
    if filters != out_channels || !channels.is_multiple_of(depth) || !filters.is_multiple_of(channels / depth) {
        return Err(graph.misshapen(output));
    }
    let vertical = Slide {
        sides: [height, out_height],
        kernel: rows,
        stride: operator.count(2, 1)?,
        dilation: operator.count(5, 1)?,
    };
    let horizontal = Slide {
        sides: [width, out_width],
        kernel: columns,
        stride: operator.count(1, 1)?,
        dilation: operator.count(4, 1)?,
    };
    let (kind, data) = graph.weights(filter)?;
    let weights = graph.ordered(kind, data, shape, [0, 3, 1, 2])?;
    let value = slide(graph, operator, vertical, horizontal, &weights, channels / depth)?;
    activate(graph, operator, 3, value)
}

fn depthwise_convolution(graph: &mut Graph<'_>, operator: &Operator<'_>) -> Result<(), ConvertError> {
    let (input, output, filter) = (operator.input(0)?, operator.output, operator.input(1)?);
    let [_, height, width, channels] = graph.picture(input)?;
    let [_, out_height, out_width, out_channels] = graph.picture(output)?;
    let shape = graph.picture(filter)?;
    let [one, rows, columns, filters] = shape;
    if one != 1 || filters != out_channels || !filters.is_multiple_of(channels) {
        return Err(graph.misshapen(output));
    }
    let vertical = Slide {
        sides: [height, out_height],
        kernel: rows,
        stride: operator.count(2, 1)?,
        dilation: operator.count(6, 1)?,
    };
    let horizontal = Slide {
        sides: [width, out_width],
        kernel: columns,
        stride: operator.count(1, 1)?,
        dilation: operator.count(5, 1)?,
    };
    let (kind, data) = graph.weights(filter)?;
    let weights = graph.ordered(kind, data, shape, [3, 0, 1, 2])?;
    let value = slide(graph, operator, vertical, horizontal, &weights, channels)?;
    activate(graph, operator, 4, value)
}

/// Writes a convolution, with its bias if it has one.
fn slide(
    graph: &mut Graph<'_>,
    operator: &Operator<'_>,
    vertical: Slide,
    horizontal: Slide,
    weights: &str,
    groups: usize,
) -> Result<String, ConvertError> {
    let pads = pads(graph, operator, vertical, horizontal)?;
    let input = graph.value(operator.input(0)?, Layout::Channels)?;
    let bias = bias(graph, operator)?;
    let inputs = [input.as_str(), weights, bias.as_deref().unwrap_or_default()];
    let used = if bias.is_some() { 3 } else { 2 };
    let sides = [vertical, horizontal];
    let (kernel, strides) = (sides.map(|side| side.kernel as i64), sides.map(|side| side.stride as i64));
    let dilations = sides.map(|side| side.dilation as i64);
    let settings = [
        ("kernel_shape", Setting::Ints(&kernel)),
        ("strides", Setting::Ints(&strides)),
        ("dilations", Setting::Ints(&dilations)),
        ("pads", Setting::Ints(&pads)),
        ("group", Setting::Int(groups as i64)),
    ];
    Ok(graph.builder.node("Conv", &inputs[..used], &settings))
}

/// Returns the value of the third input, which has a number for each channel of the output.
fn bias(graph: &mut Graph<'_>, operator: &Operator<'_>) -> Result<Option<String>, ConvertError> {
    let Some(bias) = operator.optional(2)? else { return Ok(None) };
    if graph.shape(bias) != [graph.picture(operator.output)?[3]] {
        return Err(graph.misshapen(bias));
    }
    graph.value(bias, Layout::Original).map(Some)
}

fn transposed_convolution(graph: &mut Graph<'_>, operator: &Operator<'_>) -> Result<(), ConvertError> {
    let (input, output, filter) = (operator.input(0)?, operator.output, operator.input(1)?);
    // `TfLiteTransposeConvParams`: how it pads, the stride along rows, and that along columns.
    let Some([_, step_x, step_y]) = operator.custom.as_chunks::<4>().0.first_chunk::<3>() else {
        return Err(broken("`Convolution2DTransposeBias` has no options"));
    };
    let steps = [step_y, step_x].map(|step| count(i32::from_le_bytes(*step)));
    let [Some(step_y), Some(step_x)] = steps else {
        return Err(broken("`Convolution2DTransposeBias` has a step that is not positive"));
    };
    let [_, height, width, channels] = graph.picture(input)?;
    let [_, out_height, out_width, out_channels] = graph.picture(output)?;
    let shape = graph.picture(filter)?;
    let [filters, rows, columns, depth] = shape;
    if filters != out_channels || depth != channels {
        return Err(graph.misshapen(output));
    }
    // What is too much is cut off, as evenly as it goes.
    let cut = |size: usize, kernel: usize, step: usize, wanted: usize| -> Result<(usize, usize), ConvertError> {
        let surplus = ((size - 1) * step + kernel).checked_sub(wanted).ok_or_else(|| graph.misshapen(output))?;
        Ok((surplus / 2, surplus.div_ceil(2)))
    };
    let (top, bottom) = cut(height, rows, step_y, out_height)?;
    let (left, right) = cut(width, columns, step_x, out_width)?;
    let (kind, data) = graph.weights(filter)?;
    let weights = graph.ordered(kind, data, shape, [3, 0, 1, 2])?;
    let input = graph.value(input, Layout::Channels)?;
    let bias = bias(graph, operator)?;
    let inputs = [input.as_str(), weights.as_str(), bias.as_deref().unwrap_or_default()];
    let used = if bias.is_some() { 3 } else { 2 };
    let (kernel, strides) = ([rows as i64, columns as i64], [step_y as i64, step_x as i64]);
    let pads = [top, left, bottom, right].map(|pad| pad as i64);
    let settings = [
        ("kernel_shape", Setting::Ints(&kernel)),
        ("strides", Setting::Ints(&strides)),
        ("pads", Setting::Ints(&pads)),
    ];
    let value = graph.builder.node("ConvTranspose", &inputs[..used], &settings);
    graph.set(output, Layout::Channels, value)
}

fn pool(graph: &mut Graph<'_>, operator: &Operator<'_>, to: &str) -> Result<(), ConvertError> {
    let (input, output) = (operator.input(0)?, operator.output);
    let [_, height, width, channels] = graph.picture(input)?;
    let [_, out_height, out_width, out_channels] = graph.picture(output)?;
    if channels != out_channels {
        return Err(graph.misshapen(output));
    }
    let (stride_x, stride_y) = (operator.count(1, 1)?, operator.count(2, 1)?);
    let (columns, rows) = (operator.count(3, 1)?, operator.count(4, 1)?);
    let vertical = Slide { sides: [height, out_height], kernel: rows, stride: stride_y, dilation: 1 };
    let horizontal = Slide { sides: [width, out_width], kernel: columns, stride: stride_x, dilation: 1 };
    let pads = pads(graph, operator, vertical, horizontal)?;
    let input = graph.value(input, Layout::Channels)?;
    let (kernel, strides) = ([rows as i64, columns as i64], [stride_y as i64, stride_x as i64]);
    // Pixels beyond the edge count neither for the maximum nor for the average.
    let settings = [
        ("kernel_shape", Setting::Ints(&kernel)),
        ("strides", Setting::Ints(&strides)),
        ("pads", Setting::Ints(&pads)),
    ];
    let value = graph.builder.node(to, &[&input], &settings);
    activate(graph, operator, 5, value)
}

/// Returns how many pixels are put before and after each side, in the order of ONNX. The first option says how.
fn pads(
    graph: &Graph<'_>,
    operator: &Operator<'_>,
    vertical: Slide,
    horizontal: Slide,
) -> Result<[i64; 4], ConvertError> {
    let way = operator.byte(0)?;
    let pads = |slide: Slide| {
        let Slide { sides: [size, out], kernel, stride, dilation } = slide;
        let reach = (kernel - 1) * dilation + 1;
        let (steps, surplus) = match way {
            SAME => {
                let steps = size.div_ceil(stride);
                (Some(steps), ((steps - 1) * stride + reach).saturating_sub(size))
            }
            VALID => (size.checked_sub(reach).map(|rest| rest / stride + 1), 0),
            other => return Err(unsupported(format!("`{}` pads in the way {other}", operator.name))),
        };
        match steps == Some(out) {
            true => Ok(((surplus / 2) as i64, surplus.div_ceil(2) as i64)),
            false => Err(graph.misshapen(operator.output)),
        }
    };
    let ((top, bottom), (left, right)) = (pads(vertical)?, pads(horizontal)?);
    Ok([top, left, bottom, right])
}

fn elementwise(graph: &mut Graph<'_>, operator: &Operator<'_>, to: &str) -> Result<(), ConvertError> {
    let (one, other, output) = (operator.input(0)?, operator.input(1)?, operator.output);
    let mut is_picture = graph.shape(output).len() == 4;
    for input in [one, other] {
        if !fits(graph.shape(input), graph.shape(output)) {
            return Err(graph.misshapen(output));
        }
        is_picture &= graph.shape(input).len() == 4 || graph.constant(input)?.is_some();
    }
    let layout = if is_picture { Layout::Channels } else { Layout::Original };
    let (one, other) = (graph.value(one, layout)?, graph.value(other, layout)?);
    let value = graph.builder.node(to, &[&one, &other], &[]);
    let value = activated(graph, operator, 0, value)?;
    graph.set(output, layout, value)
}

/// Returns whether a tensor is widened to a shape by repeating it along dimensions of one.
fn fits(shape: &[usize], to: &[usize]) -> bool {
    let mut sides = shape.iter().rev().zip(to.iter().rev());
    shape.len() <= to.len() && sides.all(|(side, to)| side == to || *side == 1)
}

fn unary(graph: &mut Graph<'_>, operator: &Operator<'_>, to: &str) -> Result<(), ConvertError> {
    let (input, output) = (operator.input(0)?, operator.output);
    if graph.shape(input) != graph.shape(output) {
        return Err(graph.misshapen(output));
    }
    let layout = if graph.is_made(input, Layout::Channels) { Layout::Channels } else { Layout::Original };
    let input = graph.value(input, layout)?;
    let value = graph.builder.node(to, &[&input], &[]);
    graph.set(output, layout, value)
}

fn slope(graph: &mut Graph<'_>, operator: &Operator<'_>) -> Result<(), ConvertError> {
    let (input, slopes, output) = (operator.input(0)?, operator.input(1)?, operator.output);
    let is_fit = fits(graph.shape(slopes), graph.shape(output));
    if graph.picture(input)? != graph.picture(output)? || !is_fit {
        return Err(graph.misshapen(output));
    }
    graph.weights(slopes)?;
    let (input, slopes) = (graph.value(input, Layout::Channels)?, graph.value(slopes, Layout::Channels)?);
    let value = graph.builder.node("PRelu", &[&input, &slopes], &[]);
    graph.set(output, Layout::Channels, value)
}

fn padding(graph: &mut Graph<'_>, operator: &Operator<'_>) -> Result<(), ConvertError> {
    let (input, output) = (operator.input(0)?, operator.output);
    let (sides, out) = (graph.picture(input)?, graph.picture(output)?);
    // Before and after each dimension, in the order of the file.
    let pads = graph.ints(operator.input(1)?)?;
    let (pads, rest) = pads.as_chunks::<2>();
    let grown = sides.iter().zip(pads).map(|(side, [before, after])| {
        let [before, after] = [before, after].map(|pad| usize::try_from(*pad).ok());
        side.checked_add(before?)?.checked_add(after?)
    });
    if pads.len() != 4 || !rest.is_empty() || !grown.eq(out.map(Some)) {
        return Err(graph.misshapen(output));
    }
    let [before, after] = [0, 1].map(|end: usize| Layout::CHANNELS.map(|axis| i64::from(pads[axis][end])));
    let pads = graph.builder.ints(&[before, after].concat());
    let input = graph.value(input, Layout::Channels)?;
    let value = graph.builder.node("Pad", &[&input, &pads], &[]);
    graph.set(output, Layout::Channels, value)
}

fn reshaping(graph: &mut Graph<'_>, operator: &Operator<'_>) -> Result<(), ConvertError> {
    let (input, output) = (operator.input(0)?, operator.output);
    let elements = |index: usize| graph.shape(index).iter().product::<usize>();
    if elements(input) != elements(output) {
        return Err(graph.misshapen(output));
    }
    let shape: Vec<i64> = graph.shape(output).iter().map(|side| *side as i64).collect();
    let (input, shape) = (graph.value(input, Layout::Original)?, graph.builder.ints(&shape));
    let value = graph.builder.node("Reshape", &[&input, &shape], &[]);
    graph.set(output, Layout::Original, value)
}

fn concatenation(graph: &mut Graph<'_>, operator: &Operator<'_>) -> Result<(), ConvertError> {
    let output = operator.output;
    let rank = graph.shape(output).len();
    let axis = operator.int(0, 0)?;
    let axis = usize::try_from(if axis < 0 { i64::from(axis) + rank as i64 } else { i64::from(axis) }).ok();
    let axis = axis.filter(|axis| *axis < rank).ok_or_else(|| broken("`CONCATENATION` has no such dimension"))?;
    if operator.inputs() > MOST_INPUTS {
        return Err(broken(format!("`CONCATENATION` has {} inputs", operator.inputs())));
    }
    let inputs = (0..operator.inputs()).map(|index| operator.input(index)).collect::<Result<Vec<_>, _>>()?;
    let mut sum = 0_usize;
    for input in &inputs {
        let (shape, out) = (graph.shape(*input), graph.shape(output));
        let is_same = |(index, (side, out)): (usize, (&usize, &usize))| index == axis || side == out;
        if shape.len() != rank || !shape.iter().zip(out).enumerate().all(is_same) {
            return Err(graph.misshapen(output));
        }
        sum = sum.saturating_add(shape[axis]);
    }
    if sum != graph.shape(output)[axis] {
        return Err(graph.misshapen(output));
    }
    let is_picture = rank == 4 && inputs.iter().all(|input| graph.is_made(*input, Layout::Channels));
    let layout = if is_picture { Layout::Channels } else { Layout::Original };
    let axis = if is_picture { Layout::CHANNELS.iter().position(|from| *from == axis).unwrap_or(axis) } else { axis };
    let values = inputs.iter().map(|input| graph.value(*input, layout)).collect::<Result<Vec<_>, _>>()?;
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let value = graph.builder.node("Concat", &values, &[("axis", Setting::Int(axis as i64))]);
    let value = activated(graph, operator, 1, value)?;
    graph.set(output, layout, value)
}

fn resampling(graph: &mut Graph<'_>, operator: &Operator<'_>) -> Result<(), ConvertError> {
    let (input, output) = (operator.input(0)?, operator.output);
    let ([batch, _, _, channels], out) = (graph.picture(input)?, graph.picture(output)?);
    let wanted = graph.ints(operator.input(1)?)?.into_iter().map(count).collect::<Option<Vec<_>>>();
    let Some([height, width]) = wanted.as_deref() else {
        return Err(broken("`RESIZE_BILINEAR` has a size that is not one"));
    };
    if out != [batch, *height, *width, channels] {
        return Err(graph.misshapen(output));
    }
    let way = match (operator.byte(2)?, operator.byte(3)?) {
        (0, 0) => "asymmetric",
        (0, _) => "half_pixel",
        (_, 0) => "align_corners",
        (_, _) => return Err(broken("`RESIZE_BILINEAR` aligns both corners and centres")),
    };
    let sizes = graph.builder.ints(&[batch, channels, *height, *width].map(|side| side as i64));
    let input = graph.value(input, Layout::Channels)?;
    let settings = [("mode", Setting::Text("linear")), ("coordinate_transformation_mode", Setting::Text(way))];
    let value = graph.builder.node("Resize", &[&input, "", "", &sizes], &settings);
    graph.set(output, Layout::Channels, value)
}

fn mean(graph: &mut Graph<'_>, operator: &Operator<'_>) -> Result<(), ConvertError> {
    let (input, output) = (operator.input(0)?, operator.output);
    let shape = graph.shape(input);
    let rank = shape.len();
    let axis = |axis: i32| {
        let axis = if axis < 0 { i64::from(axis) + rank as i64 } else { i64::from(axis) };
        usize::try_from(axis).ok().filter(|axis| *axis < rank)
    };
    let axes = graph.ints(operator.input(1)?)?.into_iter().map(axis).collect::<Option<Vec<_>>>();
    let axes = axes.filter(|axes| !axes.is_empty());
    let mut axes = axes.ok_or_else(|| broken("`MEAN` has no such dimension"))?;
    axes.sort_unstable();
    axes.dedup();
    let keeps = operator.byte(0)? != 0;
    let left = shape.iter().enumerate().filter_map(|(index, side)| match axes.contains(&index) {
        true => keeps.then_some(1),
        false => Some(*side),
    });
    if !left.eq(graph.shape(output).iter().copied()) {
        return Err(graph.misshapen(output));
    }
    let layout = if keeps && rank == 4 { Layout::Channels } else { Layout::Original };
    let place = |axis: usize| match layout {
        Layout::Channels => Layout::CHANNELS.iter().position(|from| *from == axis).unwrap_or(axis) as i64,
        Layout::Original => axis as i64,
    };
    let axes: Vec<i64> = axes.into_iter().map(place).collect();
    let input = graph.value(input, layout)?;
    let settings = [("axes", Setting::Ints(&axes)), ("keepdims", Setting::Int(keeps.into()))];
    let value = graph.builder.node("ReduceMean", &[&input], &settings);
    graph.set(output, layout, value)
}

/// Notes the value of an operator on pictures, after the activation that one of its options names.
fn activate(graph: &mut Graph<'_>, operator: &Operator<'_>, option: usize, value: String) -> Result<(), ConvertError> {
    let value = activated(graph, operator, option, value)?;
    graph.set(operator.output, Layout::Channels, value)
}

/// Adds the activation that an option names, as `ActivationFunctionType` numbers them.
fn activated(
    graph: &mut Graph<'_>,
    operator: &Operator<'_>,
    option: usize,
    value: String,
) -> Result<String, ConvertError> {
    let (least, most) = match operator.byte(option)? {
        0 => return Ok(value),
        1 => return Ok(graph.builder.node("Relu", &[&value], &[])),
        2 => (-1.0, 1.0),
        3 => (0.0, 6.0),
        4 => return Ok(graph.builder.node("Tanh", &[&value], &[])),
        other => return Err(unsupported(format!("`{}` has the activation {other}", operator.name))),
    };
    let (least, most) = (graph.builder.number(least), graph.builder.number(most));
    Ok(graph.builder.node("Clip", &[&value, &least, &most], &[]))
}
