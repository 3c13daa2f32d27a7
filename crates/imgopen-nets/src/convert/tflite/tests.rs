//! Small files that are written here, by the schema, and what they make of small pictures, by the definitions of their operators.

mod file;

use std::num::NonZeroUsize;

use proptest::prelude::*;

use self::file::{Draft, Field, Fields, Operator};
use super::*;
use crate::model::Limits;
use crate::net::Net;
use crate::runtime::Rten;
use crate::tensor::{Tensor, Values};

const CONV: i32 = 3;
const DEPTHWISE: i32 = 4;
const CUSTOM: i32 = 32;

/// Numbers with few digits, of which sums and products are exact.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7 + 3) % 17) as f32 / 8.0 - 1.0).collect()
}

/// Runs a file of one input and one output on [`numbers`].
fn run(draft: &Draft) -> Vec<f32> {
    let model = to_onnx(&draft.file()).unwrap();
    let net = Net::from_bytes("test.onnx", model, &Rten::new(NonZeroUsize::MIN), &Limits::default()).unwrap();
    let shape = draft.shape(0);
    let input = Tensor::new(shape.clone(), numbers(shape.iter().product())).unwrap();
    let [output] = net.run(&[("in", &input)], ["out"]).unwrap();
    assert_eq!(output.shape(), draft.shape(1));
    match output.into_parts() {
        (_, Values::F32(values)) => values,
        (_, other) => panic!("{other:?}"),
    }
}

fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 1e-5, "{index}: {found} in place of {expected}");
    }
}

/// The places of a picture in the order of a file: row, column, channel.
fn places([height, width, channels]: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..height * width * channels)
        .map(move |index| [index / channels / width, index / channels % width, index % channels])
}

/// A pixel of a picture; nothing beyond its edge.
fn pixel(x: &[f32], [height, width, channels]: [usize; 3], [row, column, channel]: [Option<usize>; 3]) -> Option<f32> {
    let (row, column) = (row.filter(|row| *row < height)?, column.filter(|column| *column < width)?);
    Some(x[(row * width + column) * channels + channel?])
}

/// Where a window with `before` pixels of padding stands.
fn at(step: usize, stride: usize, place: usize, dilation: usize, before: usize) -> Option<usize> {
    (step * stride + place * dilation).checked_sub(before)
}

/// A convolution by its definition, with filters as the file has them: filter, row, column, channel.
fn convolved(
    x: &[f32],
    shape: [usize; 3],
    (filters, kernel): (&[f32], [usize; 4]),
    (stride, dilation, before): (usize, usize, [usize; 2]),
    out: [usize; 3],
) -> Vec<f32> {
    let [_, rows, columns, depth] = kernel;
    places(out)
        .map(|[row, column, filter]| {
            let inside = places([rows, columns, depth]).filter_map(|[y, x_, channel]| {
                let place = [at(row, stride, y, dilation, before[0]), at(column, stride, x_, dilation, before[1])];
                let pixel = pixel(x, shape, [place[0], place[1], Some(channel)])?;
                Some(pixel * filters[((filter * rows + y) * columns + x_) * depth + channel])
            });
            inside.sum::<f32>()
        })
        .collect()
}

/// The options of a convolution: how it pads, the strides, the activation, and the dilations.
fn options(padding: u8, stride: i32, activation: u8, dilation: i32) -> Fields {
    vec![
        (0, Field::U8(padding)),
        (1, Field::I32(stride)),
        (2, Field::I32(stride)),
        (3, Field::U8(activation)),
        (4, Field::I32(dilation)),
        (5, Field::I32(dilation)),
    ]
}

fn conv(padding: u8, stride: i32, activation: u8, dilation: i32, out: &[i32]) -> Draft {
    let options = options(padding, stride, activation, dilation);
    let mut draft = Draft::one(CONV, &[1, 7, 6, 2], out, options);
    draft.f32("filters", &[3, 3, 3, 2], &numbers(54));
    draft.f32("bias", &[3], &[0.5, -1.0, 2.0]);
    draft
}

fn biased(values: Vec<f32>, bias: &[f32]) -> Vec<f32> {
    values.into_iter().enumerate().map(|(index, value)| value + bias[index % bias.len()]).collect()
}

#[test]
fn convolutions_pad_as_tensorflow_does() {
    let (x, filters, bias) = (numbers(84), numbers(54), [0.5, -1.0, 2.0]);
    let filters = (&filters[..], [3, 3, 3, 2]);
    // Rows: 7 to 4, with one pixel before and after. Columns: 6 to 3, with one pixel after.
    let expected = convolved(&x, [7, 6, 2], filters, (2, 1, [1, 0]), [4, 3, 3]);
    assert_eq!(run(&conv(0, 2, 0, 1, &[1, 4, 3, 3])), biased(expected, &bias));
    let expected = convolved(&x, [7, 6, 2], filters, (1, 1, [0, 0]), [5, 4, 3]);
    assert_eq!(run(&conv(1, 1, 0, 1, &[1, 5, 4, 3])), biased(expected, &bias));
    let expected = convolved(&x, [7, 6, 2], filters, (1, 2, [0, 0]), [3, 2, 3]);
    assert_eq!(run(&conv(1, 1, 0, 2, &[1, 3, 2, 3])), biased(expected, &bias));
}

#[test]
fn activations_are_fused() {
    let (x, filters) = (numbers(84), numbers(54));
    let plain = convolved(&x, [7, 6, 2], (&filters, [3, 3, 3, 2]), (1, 1, [0, 0]), [5, 4, 3]);
    let plain = biased(plain, &[0.5, -1.0, 2.0]);
    let activated = |activation: u8| run(&conv(1, 1, activation, 1, &[1, 5, 4, 3]));
    let of = |function: fn(f32) -> f32| plain.iter().copied().map(function).collect::<Vec<f32>>();
    assert_eq!(activated(1), of(|value| value.max(0.0)));
    assert_eq!(activated(2), of(|value| value.clamp(-1.0, 1.0)));
    assert_eq!(activated(3), of(|value| value.clamp(0.0, 6.0)));
    assert_near(&activated(4), &of(f32::tanh));
}

#[test]
fn depthwise_convolutions_have_filters_of_their_own_for_each_channel() {
    let options =
        vec![(0, Field::U8(0)), (1, Field::I32(1)), (2, Field::I32(1)), (3, Field::I32(2)), (4, Field::U8(0))];
    let mut draft = Draft::one(DEPTHWISE, &[1, 4, 5, 2], &[1, 4, 5, 4], options);
    draft.f32("filters", &[1, 3, 3, 4], &numbers(36));
    draft.f32("bias", &[4], &[0.0, 1.0, 0.5, -2.0]);
    let (x, filters) = (numbers(40), numbers(36));
    let expected = places([4, 5, 4]).map(|[row, column, filter]| {
        let inside = places([3, 3, 1]).filter_map(|[y, x_, _]| {
            let pixel = pixel(&x, [4, 5, 2], [at(row, 1, y, 1, 1), at(column, 1, x_, 1, 1), Some(filter / 2)])?;
            Some(pixel * filters[(y * 3 + x_) * 4 + filter])
        });
        inside.sum::<f32>()
    });
    assert_eq!(run(&draft), biased(expected.collect(), &[0.0, 1.0, 0.5, -2.0]));
}

#[test]
fn weights_of_half_precision_are_kept_bit_for_bit() {
    let mut draft = Draft::one(CONV, &[1, 1, 1, 1], &[1, 1, 1, 3], options(1, 1, 0, 1));
    // The half nearest to a third, 2, and the smallest one.
    let halves: [u16; 3] = [0x3555, 0x4000, 0x0001];
    draft.tensor("halves", &[3, 1, 1, 1], 1, halves.iter().flat_map(|half| half.to_le_bytes()).collect());
    let wide = draft.tensor("wide", &[3, 1, 1, 1], 0, Vec::new());
    let halves = wide - 1;
    draft.operators[0].inputs = vec![0, wide];
    let widen = draft.code(6, "");
    draft
        .operators
        .insert(0, Operator { code: widen, inputs: vec![halves], outputs: vec![wide], ..Operator::default() });
    let x = numbers(1)[0];
    assert_eq!(run(&draft), [0.333_251_95 * x, 2.0 * x, 5.960_464_5e-8 * x]);
    let model = to_onnx(&draft.file()).unwrap();
    let bits: Vec<u8> = [0x3555_u16, 0x4000, 0x0001].iter().flat_map(|half| half.to_le_bytes()).collect();
    assert!(model.windows(6).any(|window| window == bits));
}

#[test]
fn pools_do_not_count_what_is_beyond_the_edge() {
    let options = || {
        let sizes = [2, 2, 3, 2].into_iter().enumerate();
        let sizes = sizes.map(|(index, size)| (index + 1, Field::I32(size)));
        [(0, Field::U8(0))].into_iter().chain(sizes).collect::<Fields>()
    };
    let x = numbers(40);
    // Windows of 3 columns and 2 rows, in steps of 2: 5 columns have one pixel before and after, 4 rows none.
    let window = |[row, column, channel]: [usize; 3]| {
        let pixels = places([2, 3, 1]).filter_map(|[y, x_, _]| {
            pixel(&x, [4, 5, 2], [at(row, 2, y, 1, 0), at(column, 2, x_, 1, 1), Some(channel)])
        });
        pixels.collect::<Vec<f32>>()
    };
    let most = places([2, 3, 2]).map(window).map(|pixels| pixels.into_iter().fold(f32::MIN, f32::max));
    assert_eq!(run(&Draft::one(17, &[1, 4, 5, 2], &[1, 2, 3, 2], options())), most.collect::<Vec<_>>());
    let mean = places([2, 3, 2]).map(window).map(|pixels| pixels.iter().sum::<f32>() / pixels.len() as f32);
    let found = run(&Draft::one(1, &[1, 4, 5, 2], &[1, 2, 3, 2], options()));
    assert_near(&found, &mean.collect::<Vec<_>>());
}

#[test]
fn numbers_are_added_and_multiplied_by_channel() {
    let x = numbers(12);
    type Function = fn(f32, f32) -> f32;
    let functions: [(i32, Function); 2] = [(0, |one, other| one + other), (18, |one, other| one * other)];
    for (code, function) in functions {
        let mut draft = Draft::one(code, &[1, 2, 2, 3], &[1, 2, 2, 3], Vec::new());
        draft.f32("row", &[3], &[1.0, 0.5, -2.0]);
        let row = [1.0, 0.5, -2.0];
        let expected = x.iter().enumerate().map(|(index, value)| function(*value, row[index % 3]));
        assert_eq!(run(&draft), expected.collect::<Vec<_>>());
        // Two values, none of them a picture.
        let mut draft = Draft::one(code, &[4, 3], &[4, 3], Vec::new());
        draft.operators[0].inputs = vec![0, 0];
        assert_eq!(run(&draft), x.iter().map(|value| function(*value, *value)).collect::<Vec<_>>());
    }
}

#[test]
fn functions_of_one_number_are_applied_to_each() {
    type Function = fn(f32) -> f32;
    let functions: [(i32, Function); 3] =
        [(19, |x| x.max(0.0)), (14, |x| 1.0 / (1.0 + (-x).exp())), (117, |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0)];
    for (code, function) in functions {
        for shape in [&[1, 3, 2, 2][..], &[12][..]] {
            let found = run(&Draft::one(code, shape, shape, Vec::new()));
            assert_near(&found, &numbers(12).into_iter().map(function).collect::<Vec<_>>());
        }
    }
}

#[test]
fn slopes_belong_to_channels() {
    let mut draft = Draft::one(54, &[1, 2, 2, 3], &[1, 2, 2, 3], Vec::new());
    draft.f32("slopes", &[1, 1, 3], &[0.5, 2.0, -1.0]);
    let slopes = [0.5, 2.0, -1.0];
    let expected = numbers(12).into_iter().enumerate();
    let expected = expected.map(|(index, x)| if x < 0.0 { slopes[index % 3] * x } else { x });
    assert_eq!(run(&draft), expected.collect::<Vec<_>>());
}

#[test]
fn pictures_are_padded_with_zeros() {
    let mut draft = Draft::one(34, &[1, 2, 3, 2], &[1, 4, 4, 3], Vec::new());
    draft.i32("pads", &[4, 2], &[0, 0, 1, 1, 0, 1, 1, 0]);
    let x = numbers(12);
    let expected = places([4, 4, 3]).map(|[row, column, channel]| {
        pixel(&x, [2, 3, 2], [row.checked_sub(1), Some(column), channel.checked_sub(1)]).unwrap_or(0.0)
    });
    assert_eq!(run(&draft), expected.collect::<Vec<_>>());
}

/// A pool of single pixels, which changes nothing, but has channels come first.
fn turning(draft: &mut Draft, input: i32, output: i32) {
    let sizes = (1..5).map(|index| (index, Field::I32(1)));
    let options = [(0, Field::U8(0))].into_iter().chain(sizes).collect();
    let code = draft.code(17, "");
    let pool = Operator { code, inputs: vec![input], outputs: vec![output], options, ..Operator::default() };
    draft.operators.insert(0, pool);
}

#[test]
fn reshaping_keeps_the_order_of_the_file() {
    let mut draft = Draft::one(22, &[1, 2, 3, 2], &[6, 2], Vec::new());
    let turned = draft.tensor("turned", &[1, 2, 3, 2], 0, Vec::new());
    draft.operators[0].inputs = vec![turned];
    turning(&mut draft, 0, turned);
    assert_eq!(run(&draft), numbers(12));
}

#[test]
fn pictures_are_joined_along_any_dimension() {
    let x = numbers(12);
    for (axis, out, is_turned) in [
        (3, [1, 2, 3, 4], false),
        (1, [1, 4, 3, 2], false),
        (3, [1, 2, 3, 4], true),
        (1, [1, 4, 3, 2], true),
        (-2, [1, 2, 6, 2], true),
    ] {
        let mut draft = Draft::one(2, &[1, 2, 3, 2], &out, vec![(0, Field::I32(axis))]);
        // The input and its positive part.
        let positive = draft.tensor("positive", &[1, 2, 3, 2], 0, Vec::new());
        let turned = draft.tensor("turned", &[1, 2, 3, 2], 0, Vec::new());
        let input = if is_turned { turned } else { 0 };
        draft.operators[0].inputs = vec![input, positive];
        let code = draft.code(19, "");
        let relu = Operator { code, inputs: vec![input], outputs: vec![positive], ..Operator::default() };
        draft.operators.insert(0, relu);
        if is_turned {
            turning(&mut draft, 0, turned);
        }
        let sides = [2, 3, 2];
        let axis = if axis < 0 { 1 } else { axis as usize - 1 };
        let expected = places([out[1], out[2], out[3]].map(|side| side as usize)).map(|mut place| {
            let is_second = place[axis] >= sides[axis];
            place[axis] %= sides[axis];
            let value = x[(place[0] * 3 + place[1]) * 2 + place[2]];
            if is_second { value.max(0.0) } else { value }
        });
        assert_eq!(run(&draft), expected.collect::<Vec<_>>(), "{axis}, {is_turned}");
    }
}

#[test]
fn means_are_taken_over_rows_and_columns() {
    let x = numbers(12);
    let mean = |channel: usize| x.iter().skip(channel).step_by(2).sum::<f32>() / 6.0;
    for (keeps, out) in [(1, &[1, 1, 1, 2][..]), (0, &[1, 2][..])] {
        let mut draft = Draft::one(40, &[1, 2, 3, 2], out, vec![(0, Field::U8(keeps))]);
        draft.i32("axes", &[2], &[1, -2]);
        assert_near(&run(&draft), &[mean(0), mean(1)]);
    }
}

#[test]
fn pictures_are_resampled_in_each_of_three_ways() {
    let x = numbers(24);
    for (corners, centres) in [(0, 0), (0, 1), (1, 0)] {
        let options = vec![(2, Field::U8(corners)), (3, Field::U8(centres))];
        let mut draft = Draft::one(23, &[1, 3, 4, 2], &[1, 6, 7, 2], options);
        draft.i32("size", &[2], &[6, 7]);
        let place = |index: usize, from: f32, to: f32| {
            let at = match (corners, centres) {
                (0, 0) => index as f32 * from / to,
                (0, _) => (index as f32 + 0.5) * from / to - 0.5,
                _ => index as f32 * (from - 1.0) / (to - 1.0),
            };
            let at = at.clamp(0.0, from - 1.0);
            (at as usize, (at as usize + 1).min(from as usize - 1), at.fract())
        };
        let expected = places([6, 7, 2]).map(|[row, column, channel]| {
            let ((top, bottom, down), (left, right, across)) = (place(row, 3.0, 6.0), place(column, 4.0, 7.0));
            let value = |y: usize, x_: usize| x[(y * 4 + x_) * 2 + channel];
            let row = |y: usize| value(y, left) * (1.0 - across) + value(y, right) * across;
            row(top) * (1.0 - down) + row(bottom) * down
        });
        assert_near(&run(&draft), &expected.collect::<Vec<_>>());
    }
}

#[test]
fn transposed_convolutions_spread_each_pixel() {
    // 3x3 filters in steps of 2: a picture of 5x7, from which nothing is cut, or one of 4x6, from whose end a pixel is cut.
    for (height, width) in [(5, 7), (4, 6)] {
        let mut draft = Draft::one(CUSTOM, &[1, 2, 3, 2], &[1, height, width, 2], Vec::new());
        draft.codes[0].1 = "Convolution2DTransposeBias";
        draft.operators[0].custom = [1_i32, 2, 2].iter().flat_map(|number| number.to_le_bytes()).collect();
        draft.f32("filters", &[2, 3, 3, 2], &numbers(36));
        draft.f32("bias", &[2], &[0.5, -0.25]);
        let (x, filters) = (numbers(12), numbers(36));
        let out = [height as usize, width as usize, 2];
        let mut expected: Vec<f32> = places(out).map(|[_, _, filter]| [0.5, -0.25][filter]).collect();
        for ([row, column, channel], value) in places([2, 3, 2]).zip(&x) {
            for [y, x_, filter] in places([3, 3, 2]) {
                let (top, left) = (row * 2 + y, column * 2 + x_);
                if top < out[0] && left < out[1] {
                    let weight = filters[((filter * 3 + y) * 3 + x_) * 2 + channel];
                    expected[(top * out[1] + left) * 2 + filter] += weight * value;
                }
            }
        }
        assert_eq!(run(&draft), expected);
    }
}

#[test]
fn what_is_not_converted_is_named() {
    let unsupported = |draft: &Draft| match to_onnx(&draft.file()) {
        Err(error @ ConvertError::Unsupported { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let start = "the TFLite model cannot be converted: ";
    let draft = Draft::one(124, &[4], &[4], Vec::new());
    assert_eq!(unsupported(&draft), format!("{start}it has the operator `DENSIFY`"));
    let mut draft = Draft::one(CUSTOM, &[4], &[4], Vec::new());
    draft.codes[0].1 = "Telepathy";
    assert_eq!(unsupported(&draft), format!("{start}it has the operator `Telepathy`"));
    let draft = Draft::one(300, &[4], &[4], Vec::new());
    assert_eq!(
        unsupported(&draft),
        format!("{start}it has an operator with the number 300, which is newer than this program")
    );
    let mut draft = conv(1, 1, 0, 1, &[1, 5, 4, 3]);
    draft.tensors[0].kind = 9;
    assert_eq!(unsupported(&draft), format!("{start}its input `in` is not of single precision"));
    let mut draft = conv(1, 1, 0, 1, &[1, 5, 4, 3]);
    draft.tensors[2].kind = 9;
    assert_eq!(unsupported(&draft), format!("{start}the tensor `filters` has elements of the type 9"));
    let mut draft = conv(1, 1, 0, 1, &[1, 5, 4, 3]);
    draft.tensors[2].is_sparse = true;
    assert_eq!(unsupported(&draft), format!("{start}the tensor `filters` is sparse"));
    let draft = conv(1, 1, 5, 1, &[1, 5, 4, 3]);
    assert_eq!(unsupported(&draft), format!("{start}`CONV_2D` has the activation 5"));
    let mut draft = conv(1, 1, 0, 1, &[1, 5, 4, 3]);
    draft.graphs = 2;
    assert_eq!(unsupported(&draft), format!("{start}it has 2 graphs; one is converted"));
}

#[test]
fn files_that_contradict_themselves_are_broken() {
    let broken = |draft: &Draft| match to_onnx(&draft.file()) {
        Err(error @ ConvertError::Broken { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let start = "it is not a valid TFLite model: ";
    let shape = "does not have the shape that its operator gives it";
    let draft = conv(1, 1, 0, 1, &[1, 5, 5, 3]);
    assert_eq!(broken(&draft), format!("{start}the tensor `out` {shape}"));
    let mut draft = conv(1, 1, 0, 1, &[1, 5, 4, 3]);
    draft.tensors[3].shape = vec![4];
    draft.tensors[3].data = vec![0; 16];
    assert_eq!(broken(&draft), format!("{start}the tensor `bias` {shape}"));
    let mut draft = conv(1, 1, 0, 1, &[1, 5, 4, 3]);
    draft.tensors[2].data.pop();
    assert_eq!(broken(&draft), format!("{start}the tensor `filters` has 215 bytes, which do not fit its shape"));
    let mut draft = conv(1, 1, 0, 1, &[1, 5, 4, 3]);
    draft.operators[0].inputs[0] = 1;
    draft.tensors[1].shape = vec![1, 7, 6, 2];
    assert_eq!(broken(&draft), format!("{start}the tensor `out` {shape}"));
    let mut draft = Draft::one(19, &[4], &[4], Vec::new());
    draft.operators[0].inputs = vec![1];
    assert_eq!(broken(&draft), format!("{start}the tensor `out` is used before it is made"));
    let mut draft = Draft::one(19, &[4], &[4], Vec::new());
    draft.operators.push(draft.operators[0].clone());
    assert_eq!(broken(&draft), format!("{start}the tensor `out` is made twice"));
    let mut draft = Draft::one(19, &[4], &[4], Vec::new());
    draft.operators[0].inputs = vec![2];
    assert_eq!(broken(&draft), format!("{start}`RELU` has an input that is not there"));
    let draft = Draft::one(19, &[4, 0], &[4, 0], Vec::new());
    assert_eq!(broken(&draft), format!("{start}the tensor `in` has a dimension that is not positive"));
    assert!(to_onnx(b"<html>").unwrap_err().to_string().contains("`TFL3`"));
}

/// Operators that take an input with a long name would fill any memory with copies of it.
#[test]
fn names_of_inputs_and_outputs_are_short() {
    for tensor in [0, 1] {
        let named = |length: usize| {
            let mut draft = conv(0, 2, 1, 1, &[1, 4, 3, 3]);
            draft.tensors[tensor].name = "a".repeat(length).leak();
            to_onnx(&draft.file())
        };
        assert!(named(256).is_ok());
        let expected =
            "it is not a valid TFLite model: the name of an input or output has 257 bytes; at most 256 are read";
        assert_eq!(named(257).unwrap_err().to_string(), expected);
    }
}

/// As many copies of the same weights as a small file can name would fill any memory.
#[test]
fn weights_that_are_used_again_and_again_are_refused() {
    let mut draft = Draft::one(0, &[1000], &[1000], Vec::new());
    draft.f32("weights", &[1000], &numbers(1000));
    let mut last = 0;
    for index in 0..40 {
        let output = draft.tensor(if index == 39 { "last" } else { "sum" }, &[1000], 0, Vec::new());
        let same = draft.tensor("same", &[1000], 0, Vec::new());
        draft.tensors[same as usize].buffer_of = Some(2);
        draft.operators.push(Operator { inputs: vec![last, same], outputs: vec![output], ..Operator::default() });
        last = output;
    }
    let error = to_onnx(&draft.file()).unwrap_err();
    let expected = "it is not a valid TFLite model: its weights add up to more than the file has";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_truncated_file_is_broken_at_every_length() {
    let file = conv(0, 2, 1, 1, &[1, 4, 3, 3]).file();
    assert!(to_onnx(&file).is_ok());
    for length in 0..file.len() {
        assert!(matches!(to_onnx(&file[..length]), Err(ConvertError::Broken { .. })), "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

    #[test]
    fn no_change_of_a_file_makes_the_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut file = conv(0, 2, 1, 1, &[1, 4, 3, 3]).file();
        for (index, byte) in changes {
            let at = index.index(file.len());
            file[at] = byte;
        }
        let _ = to_onnx(&file);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = to_onnx(&[&[0, 0, 0, 0][..], &b"TFL3"[..], &bytes[..]].concat());
        let _ = to_onnx(&[&[8, 0, 0, 0][..], &b"TFL3"[..], &bytes[..]].concat());
    }
}
