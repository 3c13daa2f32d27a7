//! TensorFlow Lite: the face detectors, face meshes and segmenters of MediaPipe, and other nets of the same operators.
//!
//! The net that is written takes and returns what the file does: the same names, and pictures as rows of pixels with their
//! channels together (NHWC). In between, channels come first, as ONNX has it; pictures are turned once at the beginning and
//! once at the end.

mod flatbuffer;
mod graph;
mod model;
mod names;
mod operators;
mod problems;

use self::graph::{Graph, Layout};
use self::model::Model;
use self::problems::{broken, unsupported};
use crate::convert::ConvertError;
use crate::onnx::builder::Builder;
use crate::tensor::Dimension;

/// The longest name of an input or output in bytes. Each operator that takes it has a copy.
const LONGEST_NAME: usize = 256;

/// Converts a TFLite model whose tensors are of single or half precision to ONNX.
///
/// These operators are converted: `ADD`, `AVERAGE_POOL_2D`, `CONCATENATION`, `CONV_2D`, `DEPTHWISE_CONV_2D`, `DEQUANTIZE` of
/// weights of half precision, `HARD_SWISH`, `LOGISTIC`, `MAX_POOL_2D`, `MEAN`, `MUL`, `PAD`, `PRELU`, `RELU`, `RESHAPE`,
/// `RESIZE_BILINEAR`, and MediaPipe's own `Convolution2DTransposeBias`; with any activation that is fused to them except
/// `SIGN_BIT`.
///
/// # Errors
///
/// [`ConvertError::Broken`] for a file that is not a valid TFLite model, [`ConvertError::Unsupported`] for one with other
/// operators, with several graphs, or with quantised or sparse tensors.
pub fn to_onnx(file: &[u8]) -> Result<Vec<u8>, ConvertError> {
    let Model { tensors, inputs, outputs, operators } = Model::read(file)?;
    let lengths = inputs.iter().chain(&outputs).map(|tensor| tensors[*tensor].name.len());
    if let Some(length) = lengths.max().filter(|length| *length > LONGEST_NAME) {
        return Err(broken(format!(
            "the name of an input or output has {length} bytes; at most {LONGEST_NAME} are read"
        )));
    }
    let name = |tensor: &usize| tensors[*tensor].name.to_owned();
    let ports: Vec<String> = inputs.iter().chain(&outputs).map(name).collect();
    for (index, name) in ports.iter().enumerate() {
        if name.is_empty() || ports[..index].contains(name) {
            return Err(broken(format!("the name `{name}` of an input or output is empty or not unique")));
        }
    }
    // Weights may be kept once as they are, and once for each order of dimensions in which they are used.
    let room = file.len().saturating_mul(4);
    let mut graph = Graph::new(tensors, Builder::new(room, ports));
    for input in &inputs {
        let tensor = graph.tensor(*input);
        if !tensor.is_f32() {
            return Err(unsupported(format!("its input `{}` is not of single precision", tensor.name)));
        }
        let (name, shape) = (tensor.name.to_owned(), fixed(&tensor.shape));
        graph.builder.input(&name, &shape);
        graph.set(*input, Layout::Original, name)?;
    }
    for operator in &operators {
        operators::convert(&mut graph, operator)?;
    }
    for output in &outputs {
        let value = graph.value(*output, Layout::Original)?;
        let tensor = graph.tensor(*output);
        let (name, shape) = (tensor.name.to_owned(), fixed(&tensor.shape));
        graph.builder.output(&name, &shape);
        graph.builder.node_as("Identity", &[&value], &name, &[]);
    }
    Ok(graph.builder.finish())
}

fn fixed(shape: &[usize]) -> Vec<Dimension> {
    shape.iter().copied().map(Dimension::Fixed).collect()
}

#[cfg(test)]
mod tests;
