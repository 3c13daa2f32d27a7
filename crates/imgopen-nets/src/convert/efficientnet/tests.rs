//! A small architecture whose numbers are known. That the real one is right is tested with the package itself, in `tests/packs`.

use std::num::NonZeroUsize;

use super::*;
use crate::convert::torch::tests::{Written, file};
use crate::runtime::Rten;
use crate::{Limits, ModelFile, Net, Tensor};

const TINY: Architecture = Architecture {
    side: 5,
    stem: 2,
    stages: &[
        Stage { blocks: 1, kernel: 3, stride: 1, growth: 1, channels: 2 },
        Stage { blocks: 2, kernel: 5, stride: 2, growth: 2, channels: 3 },
    ],
    head: 4,
    classes: 3,
};

fn tensor(name: String, shape: &[usize], value: impl Fn(usize) -> f32) -> Written {
    let count = shape.iter().product::<usize>();
    Written { name, shape: shape.to_vec(), elements: (0..count).map(value).collect() }
}

/// Normalisation that adds `bias` to what is almost unchanged: the variance and what is added to it are 1 together.
fn normalisation(name: &str, channels: usize, bias: f32) -> Vec<Written> {
    let part = |part: &str, value: f32| tensor(format!("{name}.{part}"), &[channels], move |_| value);
    vec![part("weight", 1.0), part("bias", bias), part("running_mean", 0.0), part("running_var", 1.0 - EPSILON)]
}

/// All tensors of an architecture, whose kernels have that value.
fn tensors(net: &Architecture, kernel: f32) -> Vec<Written> {
    let convolution = |name: &str, shape: [usize; 4]| tensor(format!("{name}.weight"), &shape, |_| kernel);
    let mut all = vec![convolution("_conv_stem", [net.stem, 3, 3, 3])];
    all.extend(normalisation("_bn0", net.stem, 1.0));
    let (mut channels, mut number) = (net.stem, 0);
    for stage in net.stages {
        for _ in 0..stage.blocks {
            let name = |part: &str| format!("_blocks.{number}.{part}");
            let within = channels * stage.growth;
            if stage.growth > 1 {
                all.push(convolution(&name("_expand_conv"), [within, channels, 1, 1]));
                all.extend(normalisation(&name("_bn0"), within, 0.0));
            }
            all.push(convolution(&name("_depthwise_conv"), [within, 1, stage.kernel, stage.kernel]));
            all.extend(normalisation(&name("_bn1"), within, 0.0));
            all.push(convolution(&name("_project_conv"), [stage.channels, within, 1, 1]));
            all.extend(normalisation(&name("_bn2"), stage.channels, 0.5));
            (channels, number) = (stage.channels, number + 1);
        }
    }
    all.push(convolution("_conv_head", [net.head, channels, 1, 1]));
    all.extend(normalisation("_bn1", net.head, 9.0));
    all.push(tensor("_fc.weight".to_owned(), &[net.classes, net.head], |at| (at / net.head) as f32 * 0.1));
    all.push(tensor("_fc.bias".to_owned(), &[net.classes], |_| 0.25));
    all
}

fn load(bytes: Vec<u8>) -> Net {
    Net::from_bytes("tiny.onnx", bytes, &Rten::new(NonZeroUsize::MIN), &Limits::default()).unwrap()
}

fn probabilities(net: &Net, side: usize) -> Vec<f32> {
    let values: Vec<f32> = (0..3 * side * side).map(|index| (index % 11) as f32 / 11.0).collect();
    let picture = Tensor::new([1, 3, side, side], values).unwrap();
    let [found] = net.run(&[(INPUT, &picture)], [OUTPUT]).unwrap();
    found.as_f32().unwrap().to_vec()
}

/// With kernels of zero, the head is its bias of 9, cut to 6: the sums are 0.25 + 4 * 6 * 0.1 * class.
#[test]
fn the_head_is_cut_and_summed() {
    let net = load(written(&file(&tensors(&TINY, 0.0)), &TINY).unwrap());
    let sums = [0.25_f32, 2.65, 5.05].map(f32::exp);
    let expected = sums.map(|sum| sum / sums.iter().sum::<f32>());
    let found = probabilities(&net, TINY.side);
    assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5), "{found:?}");
}

#[test]
fn every_tensor_has_a_place() {
    let net = load(written(&file(&tensors(&TINY, 0.05)), &TINY).unwrap());
    let found = probabilities(&net, TINY.side);
    assert!((found.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{found:?}");
    // The sizes within the net follow from the file, so its memory is known.
    assert!(net.file().working(&[]).unwrap().is_some());
    for index in 0..tensors(&TINY, 0.0).len() {
        let mut all = tensors(&TINY, 0.0);
        let name = all.remove(index).name;
        let error = written(&file(&all), &TINY).unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}`")), "{error}");
    }
    let mut more = tensors(&TINY, 0.0);
    more.push(tensor("_se_reduce.weight".to_owned(), &[1], |_| 0.0));
    let error = written(&file(&more), &TINY).unwrap_err().to_string();
    assert!(error.contains("`_se_reduce.weight`, which its architecture does not"), "{error}");
}

#[test]
fn other_architectures_are_refused() {
    let error = to_onnx(&file(&tensors(&TINY, 0.0))).unwrap_err().to_string();
    assert!(error.contains("`_conv_stem.weight` has the dimensions [2, 3, 3, 3] in place of [32, 3, 3, 3]"), "{error}");
    assert!(to_onnx(b"not a file of PyTorch").is_err());
}

/// What the real one takes and returns, with weights of zero.
#[test]
fn the_real_architecture_is_written() {
    let bytes = to_onnx(&file(&tensors(&LITE0, 0.0))).unwrap();
    let model = ModelFile::from_bytes("lite0.onnx", &bytes, &Limits::default()).unwrap();
    let shape = |port: &crate::Port| port.shape.clone().unwrap();
    assert_eq!(shape(&model.inputs()[0]), [1, 3, 224, 224].map(Dimension::Fixed));
    assert_eq!(shape(&model.outputs()[0]), [1, 1000].map(Dimension::Fixed));
    let working = model.working(&[]).unwrap().unwrap();
    assert!(working < 256 * 1024 * 1024, "{working}");
}
