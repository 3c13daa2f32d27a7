//! What becomes of each layer.

use super::bicubic::Kernels;
use super::graph::{Blob, Graph};
use super::param::{LARGEST, Layer};
use super::problems::unsupported;
use super::ratio::Ratio;
use crate::convert::ConvertError;
use crate::onnx::builder::{Setting, Weights};

/// Writes the operators that do what a layer does.
pub(super) fn convert<'a>(graph: &mut Graph<'a>, layer: &Layer<'a>) -> Result<(), ConvertError> {
    match layer.kind {
        "BinaryOp" => binary(graph, layer),
        "Concat" => concatenation(graph, layer),
        "Convolution" => convolution(graph, layer),
        "Eltwise" => elementwise(graph, layer),
        "Interp" => resampling(graph, layer),
        "PReLU" => slopes(graph, layer),
        "PixelShuffle" => shuffling(graph, layer),
        "ReLU" => rectification(graph, layer),
        "Split" => split(graph, layer),
        kind => Err(unsupported(format!("it has the layer `{kind}`"))),
    }
}

/// Returns the only input of a layer.
fn only<'g>(graph: &'g Graph<'_>, layer: &Layer<'_>) -> Result<&'g Blob, ConvertError> {
    match layer.inputs[..] {
        [input] => graph.blob(input),
        _ => Err(layer.settings.misfit("does not take one blob")),
    }
}

/// Returns the inputs of a layer, which all have the same size, and as many channels if `alike`.
fn all(graph: &Graph<'_>, layer: &Layer<'_>, alike: bool) -> Result<Vec<Blob>, ConvertError> {
    let blobs = layer.inputs.iter().map(|input| graph.blob(input).cloned()).collect::<Result<Vec<_>, _>>()?;
    let Some((first, rest)) = blobs.split_first() else { return Err(layer.settings.misfit("takes no blob")) };
    let is_same = |blob: &Blob| {
        let has_size = blob.scale.is_some() && blob.scale == first.scale;
        has_size && (!alike || blob.channels == first.channels)
    };
    match rest.iter().all(is_same) {
        true => Ok(blobs),
        false => Err(unsupported(format!("it has the layer `{}` on pictures of different sizes", layer.kind))),
    }
}

/// Notes the only output of a layer.
fn set<'a>(graph: &mut Graph<'a>, layer: &Layer<'a>, blob: Blob) -> Result<(), ConvertError> {
    match layer.outputs[..] {
        [output] => {
            graph.set(output, blob);
            Ok(())
        }
        _ => Err(layer.settings.misfit("does not make one blob")),
    }
}

/// Several names for the same.
fn split<'a>(graph: &mut Graph<'a>, layer: &Layer<'a>) -> Result<(), ConvertError> {
    let blob = only(graph, layer)?.clone();
    layer.outputs.iter().for_each(|output| graph.set(output, blob.clone()));
    Ok(())
}

/// Returns how many channels a convolution takes.
pub(super) fn channels(layer: &Layer<'_>) -> Result<usize, ConvertError> {
    let settings = &layer.settings;
    let (filters, columns) = (settings.count(0, 0)?, settings.count(1, 0)?);
    let rows = settings.count(11, columns)?;
    let weights = usize::try_from(settings.int(6, 0)?).unwrap_or(0);
    let kernels = filters.checked_mul(columns).and_then(|product| product.checked_mul(rows)).unwrap_or(0);
    match weights.checked_div(kernels) {
        Some(channels) if channels > 0 && channels * kernels == weights => Ok(channels),
        _ => Err(settings.misfit("has another number of weights than its kernels take")),
    }
}

fn convolution<'a>(graph: &mut Graph<'a>, layer: &Layer<'a>) -> Result<(), ConvertError> {
    let settings = &layer.settings;
    settings.only(&[0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19])?;
    // Quantised weights, padding with other numbers than 0, weights that are computed.
    for key in [8, 19] {
        if settings.int(key, 0)? != 0 {
            return Err(settings.unsupported(key));
        }
    }
    if settings.float(18, 0.0)? != 0.0 {
        return Err(settings.unsupported(18));
    }
    let Blob { value, channels, scale } = only(graph, layer)?.clone();
    if self::channels(layer)? != channels {
        return Err(settings.misfit("takes another number of channels than it is given"));
    }
    let (filters, columns) = (settings.count(0, 0)?, settings.count(1, 0)?);
    let rows = settings.count(11, columns)?;
    let [dilation_x, step_x] = [settings.count(2, 1)?, settings.count(3, 1)?];
    let [dilation_y, step_y] = [settings.count(12, dilation_x)?, settings.count(13, step_x)?];
    if [dilation_x, dilation_y, step_x, step_y].contains(&0) {
        return Err(settings.misfit("has a step of 0"));
    }
    // Negative numbers stand for rules.
    if settings.int(4, 0)? < 0 {
        return Err(settings.unsupported(4));
    }
    let left = settings.count(4, 0)?;
    let (right, top) = (settings.count(15, left)?, settings.count(14, left)?);
    let bottom = settings.count(16, top)?;
    let weights = graph.tagged(&[filters, channels, rows, columns])?;
    let bias = match settings.int(5, 0)? {
        0 => None,
        _ => Some(graph.plain(&[filters])?),
    };
    let inputs = [value.as_str(), weights.as_str(), bias.as_deref().unwrap_or_default()];
    let used = if bias.is_some() { 3 } else { 2 };
    let (kernel, strides) = ([rows as i64, columns as i64], [step_y as i64, step_x as i64]);
    let (dilations, pads) = ([dilation_y as i64, dilation_x as i64], [top, left, bottom, right].map(|pad| pad as i64));
    let operator = [
        ("kernel_shape", Setting::Ints(&kernel)),
        ("strides", Setting::Ints(&strides)),
        ("dilations", Setting::Ints(&dilations)),
        ("pads", Setting::Ints(&pads)),
    ];
    let value = graph.builder.node("Conv", &inputs[..used], &operator);
    let value = activated(graph, layer, value)?;
    let keeps_size = step_x == 1
        && step_y == 1
        && left + right == dilation_x * (columns - 1)
        && top + bottom == dilation_y * (rows - 1);
    set(graph, layer, Blob { value, channels: filters, scale: scale.filter(|_| keeps_size) })
}

/// Adds the activation that is fused to a layer.
fn activated(graph: &mut Graph<'_>, layer: &Layer<'_>, value: String) -> Result<String, ConvertError> {
    let settings = &layer.settings;
    let numbers = settings.floats(10)?;
    Ok(match (settings.int(9, 0)?, &numbers[..]) {
        (0, _) => value,
        (1, _) => graph.builder.node("Relu", &[&value], &[]),
        (2, [slope]) => graph.builder.node("LeakyRelu", &[&value], &[("alpha", Setting::Float(*slope))]),
        (3, [least, most]) => {
            let (least, most) = (graph.builder.number(*least), graph.builder.number(*most));
            graph.builder.node("Clip", &[&value, &least, &most], &[])
        }
        (4, _) => graph.builder.node("Sigmoid", &[&value], &[]),
        (2 | 3, _) => return Err(settings.misfit("has an activation without its numbers")),
        _ => return Err(settings.unsupported(9)),
    })
}

fn slopes<'a>(graph: &mut Graph<'a>, layer: &Layer<'a>) -> Result<(), ConvertError> {
    layer.settings.only(&[0])?;
    let blob = only(graph, layer)?.clone();
    let count = layer.settings.count(0, 0)?;
    if count != 1 && count != blob.channels {
        return Err(layer.settings.misfit("has another number of slopes than it is given channels"));
    }
    let slopes = graph.plain(&[count, 1, 1])?;
    let value = graph.builder.node("PRelu", &[&blob.value, &slopes], &[]);
    set(graph, layer, Blob { value, ..blob })
}

fn rectification<'a>(graph: &mut Graph<'a>, layer: &Layer<'a>) -> Result<(), ConvertError> {
    layer.settings.only(&[0])?;
    let blob = only(graph, layer)?.clone();
    let slope = layer.settings.float(0, 0.0)?;
    let value = if slope == 0.0 {
        graph.builder.node("Relu", &[&blob.value], &[])
    } else {
        graph.builder.node("LeakyRelu", &[&blob.value], &[("alpha", Setting::Float(slope))])
    };
    set(graph, layer, Blob { value, ..blob })
}

fn concatenation<'a>(graph: &mut Graph<'a>, layer: &Layer<'a>) -> Result<(), ConvertError> {
    layer.settings.only(&[0])?;
    if layer.settings.int(0, 0)? != 0 {
        return Err(layer.settings.unsupported(0));
    }
    let blobs = all(graph, layer, false)?;
    let values: Vec<&str> = blobs.iter().map(|blob| blob.value.as_str()).collect();
    let value = graph.builder.node("Concat", &values, &[("axis", Setting::Int(1))]);
    let channels = blobs.iter().try_fold(0_usize, |sum, blob| sum.checked_add(blob.channels));
    let channels = channels.filter(|channels| *channels <= LARGEST);
    let channels = channels.ok_or_else(|| layer.settings.misfit(&format!("makes more than {LARGEST} channels")))?;
    set(graph, layer, Blob { value, channels, scale: blobs[0].scale })
}

fn elementwise<'a>(graph: &mut Graph<'a>, layer: &Layer<'a>) -> Result<(), ConvertError> {
    layer.settings.only(&[0, 1])?;
    let operator = match layer.settings.int(0, 0)? {
        0 => "Mul",
        1 => "Add",
        2 => "Max",
        _ => return Err(layer.settings.unsupported(0)),
    };
    let blobs = all(graph, layer, true)?;
    let factors = layer.settings.floats(1)?;
    if !factors.is_empty() && (operator != "Add" || factors.len() != blobs.len()) {
        return Err(layer.settings.unsupported(1));
    }
    let mut sum: Option<String> = None;
    for (index, blob) in blobs.iter().enumerate() {
        let factor = factors.get(index).copied().unwrap_or(1.0);
        let mut value = blob.value.clone();
        if factor != 1.0 {
            let factor = graph.builder.number(factor);
            value = graph.builder.node("Mul", &[&value, &factor], &[]);
        }
        sum = Some(match sum {
            Some(sum) => graph.builder.node(operator, &[&sum, &value], &[]),
            None => value,
        });
    }
    let value = sum.unwrap_or_default();
    set(graph, layer, Blob { value, channels: blobs[0].channels, scale: blobs[0].scale })
}

fn binary<'a>(graph: &mut Graph<'a>, layer: &Layer<'a>) -> Result<(), ConvertError> {
    let settings = &layer.settings;
    settings.only(&[0, 1, 2])?;
    let (operator, is_reversed) = match settings.int(0, 0)? {
        0 => ("Add", false),
        1 => ("Sub", false),
        2 => ("Mul", false),
        3 => ("Div", false),
        4 => ("Max", false),
        5 => ("Min", false),
        7 => ("Sub", true),
        8 => ("Div", true),
        _ => return Err(settings.unsupported(0)),
    };
    let blobs = all(graph, layer, true)?;
    let (first, second) = match (settings.int(1, 0)?, &blobs[..]) {
        (0, [first, second]) => (first.value.clone(), second.value.clone()),
        (1, [only]) => (only.value.clone(), graph.builder.number(settings.float(2, 0.0)?)),
        _ => return Err(settings.misfit("takes another number of blobs than it says")),
    };
    let inputs: [&str; 2] = if is_reversed { [&second, &first] } else { [&first, &second] };
    let value = graph.builder.node(operator, &inputs, &[]);
    set(graph, layer, Blob { value, channels: blobs[0].channels, scale: blobs[0].scale })
}

fn resampling<'a>(graph: &mut Graph<'a>, layer: &Layer<'a>) -> Result<(), ConvertError> {
    let settings = &layer.settings;
    settings.only(&[0, 1, 2, 3, 4, 5, 6])?;
    // Sizes in pixels, sizes that are computed, corners that are aligned.
    for key in [3, 4, 5, 6] {
        if settings.int(key, 0)? != 0 {
            return Err(settings.unsupported(key));
        }
    }
    let blob = only(graph, layer)?.clone();
    let (rows, columns) = (settings.float(1, 1.0)?, settings.float(2, 1.0)?);
    let scale = Ratio::of(rows).filter(|_| rows == columns).ok_or_else(|| settings.unsupported(1))?;
    // Otherwise the size would depend on how a fraction of a pixel is rounded.
    let grown = blob.scale.and_then(|before| before.times(scale)).filter(|grown| grown.is_whole());
    let grown = grown.ok_or_else(|| settings.unsupported(1))?;
    let way = match settings.int(0, 0)? {
        1 => vec![
            ("mode", Setting::Text("nearest")),
            ("coordinate_transformation_mode", Setting::Text("asymmetric")),
            ("nearest_mode", Setting::Text("floor")),
        ],
        2 => vec![("mode", Setting::Text("linear")), ("coordinate_transformation_mode", Setting::Text("half_pixel"))],
        3 => {
            let value = bicubic(graph, layer, &blob, scale)?;
            return set(graph, layer, Blob { value, scale: Some(grown), ..blob });
        }
        _ => return Err(settings.unsupported(0)),
    };
    let scales = graph.builder.floats(&[1.0, 1.0, rows, columns]);
    let value = graph.builder.node("Resize", &[&blob.value, "", &scales], &way);
    set(graph, layer, Blob { value, scale: Some(grown), ..blob })
}

fn bicubic(graph: &mut Graph<'_>, layer: &Layer<'_>, blob: &Blob, scale: Ratio) -> Result<String, ConvertError> {
    let Kernels { before, after, rows } = Kernels::of(scale).ok_or_else(|| layer.settings.unsupported(1))?;
    let (block, side) = (rows.len(), rows.first().map_or(0, Vec::len));
    // For each channel, a kernel for each pixel of a block.
    let kernels = rows.iter().flat_map(|row| rows.iter().map(move |column| (row, column)));
    let kernel: Vec<u8> = kernels
        .flat_map(|(row, column)| row.iter().flat_map(move |y| column.iter().map(move |x| (y * x) as f32)))
        .flat_map(f32::to_le_bytes)
        .collect();
    graph.reserve(blob.channels.saturating_mul(kernel.len() / 4))?;
    let weights = graph.builder.weights(
        Weights::F32,
        &[blob.channels * block * block, 1, side, side],
        &kernel.repeat(blob.channels),
    );
    let [before, after, stride, side] = [before, after, scale.under as usize, side].map(|pixels| pixels as i64);
    let pads = graph.builder.ints(&[0, 0, before, before, 0, 0, after, after]);
    let padded = graph.builder.node("Pad", &[&blob.value, &pads], &[("mode", Setting::Text("edge"))]);
    let (kernel, strides) = ([side, side], [stride, stride]);
    let operator = [
        ("kernel_shape", Setting::Ints(&kernel)),
        ("strides", Setting::Ints(&strides)),
        ("group", Setting::Int(blob.channels as i64)),
    ];
    let value = graph.builder.node("Conv", &[&padded, &weights], &operator);
    if block == 1 {
        return Ok(value);
    }
    let settings = [("blocksize", Setting::Int(block as i64)), ("mode", Setting::Text("CRD"))];
    Ok(graph.builder.node("DepthToSpace", &[&value], &settings))
}

fn shuffling<'a>(graph: &mut Graph<'a>, layer: &Layer<'a>) -> Result<(), ConvertError> {
    let settings = &layer.settings;
    settings.only(&[0, 1])?;
    let blob = only(graph, layer)?.clone();
    let block = settings.count(0, 1)?;
    let scale = Ratio::of(block as f32).ok_or_else(|| settings.unsupported(0))?;
    let mode = match settings.int(1, 0)? {
        0 => "CRD",
        1 => "DCR",
        _ => return Err(settings.unsupported(1)),
    };
    if !blob.channels.is_multiple_of(block * block) {
        return Err(settings.misfit("is given a number of channels that does not fill its blocks"));
    }
    let operator = [("blocksize", Setting::Int(block as i64)), ("mode", Setting::Text(mode))];
    let value = graph.builder.node("DepthToSpace", &[&blob.value], &operator);
    let scale = blob.scale.and_then(|before| before.times(scale));
    set(graph, layer, Blob { value, channels: blob.channels / (block * block), scale })
}
