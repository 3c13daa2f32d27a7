//! ncnn: Real-ESRGAN, and other nets that make pictures from pictures by the same layers.
//!
//! A model is two files: `.param`, a text that lists the layers, and `.bin`, their weights in that order.

mod bicubic;
mod graph;
mod layers;
mod param;
mod problems;
mod ratio;
mod weights;

use std::collections::HashSet;

use self::graph::Graph;
use self::param::Layer;
use self::problems::{broken, unsupported};
use crate::convert::ConvertError;

/// Converts an ncnn model to ONNX. The net that is written takes and returns pictures of 1 x channels x height x width, of any
/// size, by the names that the file gives them, such as `data` and `output`.
///
/// These layers are converted: `BinaryOp`, `Concat` of channels, `Convolution` with the activations that are fused to it,
/// `Eltwise` with coefficients, `Input`, `Interp` by the nearest pixel, bilinear or bicubic, `PReLU`, `PixelShuffle`, `ReLU`
/// with or without a slope, and `Split`. Weights may be of single or half precision.
///
/// # Errors
///
/// [`ConvertError::Broken`] for files that are not a valid ncnn model or do not belong together, [`ConvertError::Unsupported`]
/// for other layers, for settings that are not carried out exactly, and for quantised weights.
pub fn to_onnx(param: &str, bin: &[u8]) -> Result<Vec<u8>, ConvertError> {
    let layers = param::read(param)?;
    let Some((first, rest)) = layers.split_first().filter(|(first, _)| first.kind == "Input") else {
        return Err(broken("its first layer is not `Input`"));
    };
    let ([], [input]) = (&first.inputs[..], &first.outputs[..]) else {
        return Err(broken("its layer `Input` does not have one output"));
    };
    let channels = channels(input, first, rest)?;
    let outputs = outputs(&layers);
    let mut graph = Graph::new(input, channels, &outputs, bin);
    for layer in rest {
        layers::convert(&mut graph, layer)?;
    }
    graph.finish(&outputs)
}

/// Returns how many channels the input has: as many as the first convolution of it takes, or as the layer says.
fn channels(input: &str, first: &Layer<'_>, layers: &[Layer<'_>]) -> Result<usize, ConvertError> {
    let mut same = HashSet::from([input]);
    let mut taken = None;
    for layer in layers {
        if !layer.inputs.iter().any(|name| same.contains(name)) {
            continue;
        }
        match layer.kind {
            "Split" => same.extend(&layer.outputs),
            "Convolution" => {
                taken = Some(layers::channels(layer)?);
                break;
            }
            _ => {}
        }
    }
    let said = first.settings.count(2, 0)?;
    match (taken, said) {
        (Some(taken), said) if said == 0 || said == taken => Ok(taken),
        (None, said) if said > 0 => Ok(said),
        (None, _) => Err(unsupported("it does not say how many channels its input has")),
        (Some(taken), said) => Err(broken(format!("its input has {said} channels, and a layer takes {taken}"))),
    }
}

/// Returns the names of what no layer takes.
fn outputs<'a>(layers: &[Layer<'a>]) -> Vec<&'a str> {
    let taken: HashSet<&str> = layers.iter().flat_map(|layer| &layer.inputs).copied().collect();
    let made = layers.iter().flat_map(|layer| &layer.outputs).copied();
    made.filter(|name| !taken.contains(name)).collect()
}

#[cfg(test)]
mod tests;
