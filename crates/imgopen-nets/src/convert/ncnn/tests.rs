//! Small files that are written here, and what they make of small pictures, by the definitions of their layers.

use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::*;
use crate::model::Limits;
use crate::net::Net;
use crate::planes::Planes;
use crate::runtime::Rten;

/// Numbers with few digits, of which sums and products are exact.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7 + 3) % 17) as f32 / 8.0 - 1.0).collect()
}

fn picture(channels: usize, width: usize, height: usize) -> Planes {
    Planes::new(channels, width, height, numbers(channels * width * height)).unwrap()
}

/// A file of these layers after one of `channels` channels, `blobs` blobs in all.
fn param(channels: usize, blobs: usize, layers: &[&str]) -> String {
    let input = format!("Input in 0 1 data 2={channels}");
    let lines: Vec<&str> = [input.as_str()].into_iter().chain(layers.iter().copied()).collect();
    format!("7767517\n{} {blobs}\n{}\n", lines.len(), lines.join("\n"))
}

fn singles(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Weights of single precision with their tag.
fn tagged(numbers: &[f32]) -> Vec<u8> {
    [vec![0; 4], singles(numbers)].concat()
}

/// Runs a file with the output `out`.
fn run(param: &str, bin: &[u8], picture: &Planes) -> Planes {
    let model = to_onnx(param, bin).unwrap();
    let net = Net::from_bytes("test.onnx", model, &Rten::new(NonZeroUsize::MIN), &Limits::default()).unwrap();
    let [out] = net.run(&[("data", &picture.clone().into_tensor())], ["out"]).unwrap();
    Planes::from_tensor(out).unwrap()
}

/// Applies a function of channel, row and column to a picture of that size.
fn made(channels: usize, width: usize, height: usize, value: impl Fn(usize, usize, usize) -> f32) -> Planes {
    let places =
        (0..channels * height * width).map(|index| (index / width / height, index / width % height, index % width));
    Planes::new(channels, width, height, places.map(|(channel, y, x)| value(channel, y, x)).collect()).unwrap()
}

/// A convolution of 3x3 pixels by its definition, with a pixel of padding.
fn convolved(picture: &Planes, filters: usize, weights: &[f32], bias: &[f32]) -> Planes {
    made(filters, picture.width(), picture.height(), |filter, y, x| {
        let mut sum = bias.get(filter).copied().unwrap_or(0.0);
        for channel in 0..picture.channels() {
            for (down, across) in (0..9).map(|index| (index / 3, index % 3)) {
                let (row, column) = ((y + down).checked_sub(1), (x + across).checked_sub(1));
                let row = row.filter(|row| *row < picture.height()).map(|row| picture.row(channel, row));
                let pixel = row.zip(column).and_then(|(row, column)| row.get(column));
                sum += pixel.map_or(0.0, |pixel| {
                    pixel * weights[((filter * picture.channels() + channel) * 3 + down) * 3 + across]
                });
            }
        }
        sum
    })
}

const CONVOLUTION: &str = "Convolution conv 1 1 data out 0=3 1=3 4=1 5=1 6=54";

#[test]
fn convolutions_take_weights_of_single_precision() {
    let (weights, bias) = (numbers(54), [0.5, -1.0, 2.0]);
    let picture = picture(2, 5, 4);
    let param = param(2, 2, &[CONVOLUTION]);
    let expected = convolved(&picture, 3, &weights, &bias);
    for tag in [0, 0x0002_c056_u32] {
        let bin = [tag.to_le_bytes().to_vec(), singles(&weights), singles(&bias)].concat();
        assert_eq!(run(&param, &bin, &picture), expected);
    }
}

#[test]
fn weights_of_half_precision_are_kept_bit_for_bit() {
    // A kernel of 1x1 for each of three filters: the half nearest to a third, 2, and the smallest one, and two bytes that fill
    // a word.
    let halves = [0x3555_u16, 0x4000, 0x0001].iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<u8>>();
    let bin = [0x0130_6b47_u32.to_le_bytes().to_vec(), halves.clone(), vec![0; 2]].concat();
    let param = param(1, 2, &["Convolution conv 1 1 data out 0=3 1=1 6=3"]);
    let picture = picture(1, 2, 1);
    let expected = made(3, 2, 1, |filter, _, x| [0.333_251_95, 2.0, 5.960_464_5e-8][filter] * picture.values()[x]);
    assert_eq!(run(&param, &bin, &picture), expected);
    let model = to_onnx(&param, &bin).unwrap();
    assert!(model.windows(6).any(|window| window == halves));
}

#[test]
fn strides_pads_and_kernels_may_differ_by_direction() {
    // 2 columns and 1 row, in steps of 3 columns and 2 rows, with 1 column before and 2 rows after.
    let layer = "Convolution conv 1 1 data out 0=1 1=2 11=1 3=3 13=2 4=1 15=0 14=0 16=2 6=2";
    let picture = picture(1, 6, 3);
    let found = run(&param(1, 2, &[layer]), &tagged(&[0.5, 2.0]), &picture);
    let expected = made(1, 2, 3, |_, y, x| {
        let at = |column: Option<usize>| {
            if y * 2 < 3 {
                column.and_then(|column| picture.row(0, y * 2).get(column).copied()).unwrap_or(0.0)
            } else {
                0.0
            }
        };
        0.5 * at((x * 3).checked_sub(1)) + 2.0 * at(Some(x * 3))
    });
    assert_eq!(found, expected);
}

#[test]
fn activations_are_fused() {
    let (weights, picture) = (numbers(54), picture(2, 5, 4));
    let bin = [tagged(&weights), singles(&[0.0; 3])].concat();
    let plain = convolved(&picture, 3, &weights, &[]);
    type Function = fn(f32) -> f32;
    let functions: [(&str, Function); 4] = [
        ("9=1", |x| x.max(0.0)),
        ("9=2 -23310=1,2.5e-1", |x| if x < 0.0 { 0.25 * x } else { x }),
        ("9=3 -23310=2,-5.0e-1,1.0", |x| x.clamp(-0.5, 1.0)),
        ("9=4", |x| 1.0 / (1.0 + (-x).exp())),
    ];
    for (settings, function) in functions {
        let found = run(&param(2, 2, &[&format!("{CONVOLUTION} {settings}")]), &bin, &picture);
        for (found, plain) in found.values().iter().zip(plain.values()) {
            assert!((found - function(*plain)).abs() < 1e-6, "{settings}: {found} for {plain}");
        }
    }
}

#[test]
fn slopes_hold_for_negative_numbers() {
    let picture = picture(2, 5, 4);
    let of = |slopes: [f32; 2]| {
        made(2, 5, 4, |channel, y, x| {
            let value = picture.row(channel, y)[x];
            if value < 0.0 { slopes[channel] * value } else { value }
        })
    };
    let found = run(&param(2, 2, &["PReLU slopes 1 1 data out 0=2"]), &singles(&[0.5, -2.0]), &picture);
    assert_eq!(found, of([0.5, -2.0]));
    assert_eq!(run(&param(2, 2, &["PReLU slopes 1 1 data out 0=1"]), &singles(&[0.5]), &picture), of([0.5; 2]));
    assert_eq!(run(&param(2, 2, &["ReLU slope 1 1 data out 0=2.5e-1"]), &[], &picture), of([0.25; 2]));
    assert_eq!(run(&param(2, 2, &["ReLU none 1 1 data out"]), &[], &picture), of([0.0; 2]));
}

#[test]
fn pictures_are_split_joined_and_combined() {
    let picture = picture(2, 5, 4);
    let value = |channel: usize, y: usize, x: usize| picture.row(channel, y)[x];
    let (split, relu) = ("Split split 1 2 data a b", "ReLU relu 1 1 b c");
    let run = |layer: &str| run(&param(2, 5, &[split, relu, layer]), &[], &picture);
    let relu = |channel: usize, y: usize, x: usize| value(channel, y, x).max(0.0);
    let joined =
        made(4, 5, 4, |channel, y, x| if channel < 2 { value(channel, y, x) } else { relu(channel - 2, y, x) });
    assert_eq!(run("Concat concat 2 1 a c out"), joined);
    let of = |function: fn(f32, f32) -> f32| {
        made(2, 5, 4, |channel, y, x| function(value(channel, y, x), relu(channel, y, x)))
    };
    assert_eq!(run("Eltwise sum 2 1 a c out 0=1 -23301=2,2.5e-1,1.0"), of(|one, other| 0.25 * one + other));
    assert_eq!(run("Eltwise sum 2 1 a c out 0=1"), of(|one, other| one + other));
    assert_eq!(run("Eltwise product 2 1 a c out 0=0"), of(|one, other| one * other));
    assert_eq!(run("Eltwise most 2 1 a c out 0=2"), of(f32::max));
    assert_eq!(run("BinaryOp sum 2 1 a c out 0=0"), of(|one, other| one + other));
    assert_eq!(run("BinaryOp difference 2 1 a c out 0=1"), of(|one, other| one - other));
    assert_eq!(run("BinaryOp reversed 2 1 a c out 0=7"), of(|one, other| other - one));
    assert_eq!(run("BinaryOp least 2 1 a c out 0=5"), of(f32::min));
}

#[test]
fn a_number_may_stand_for_the_second_picture() {
    let picture = picture(1, 3, 2);
    let of = |function: fn(f32) -> f32| made(1, 3, 2, |_, y, x| function(picture.row(0, y)[x]));
    let run = |settings: &str| {
        run(&param(1, 2, &[&format!("BinaryOp op 1 1 data out {settings} 1=1 2=5.0e-1")]), &[], &picture)
    };
    assert_eq!(run("0=2"), of(|x| x * 0.5));
    assert_eq!(run("0=8"), of(|x| 0.5 / x));
}

#[test]
fn pictures_are_enlarged_by_the_nearest_pixel_or_between_pixels() {
    let picture = picture(2, 5, 4);
    let found = run(&param(2, 2, &["Interp enlarge 1 1 data out 0=1 1=3.0 2=3.0"]), &[], &picture);
    assert_eq!(found, made(2, 15, 12, |channel, y, x| picture.row(channel, y / 3)[x / 3]));
    let found = run(&param(2, 2, &["Interp enlarge 1 1 data out 0=2 1=2.0 2=2.0"]), &[], &picture);
    let expected = made(2, 10, 8, |channel, y, x| {
        // Places lie a quarter of a pixel from a centre.
        let place = |index: usize, length: usize| {
            let (near, next) =
                (index / 2, if index.is_multiple_of(2) { (index / 2).saturating_sub(1) } else { index / 2 + 1 });
            (near, next.min(length - 1))
        };
        let ((top, bottom), (left, right)) = (place(y, 4), place(x, 5));
        let row = |y: usize| 0.75 * picture.row(channel, y)[left] + 0.25 * picture.row(channel, y)[right];
        0.75 * row(top) + 0.25 * row(bottom)
    });
    for (found, expected) in found.values().iter().zip(expected.values()) {
        assert!((found - expected).abs() < 1e-6, "{found} in place of {expected}");
    }
}

/// Bicubic interpolation by its definition, with the curve of ncnn and the nearest pixel beyond the edge.
fn bicubic(picture: &Planes, over: usize, under: usize) -> Planes {
    let curve = |distance: f64| match distance.abs() {
        near if near < 1.0 => 1.25 * near.powi(3) - 2.25 * near.powi(2) + 1.0,
        far if far < 2.0 => -0.75 * far.powi(3) + 3.75 * far.powi(2) - 6.0 * far + 3.0,
        _ => 0.0,
    };
    let taps = |index: usize, length: usize| {
        let at = (index as f64 + 0.5) * under as f64 / over as f64 - 0.5;
        let first = at.floor() - 1.0;
        (0..4).map(move |tap| {
            let place = first + f64::from(tap);
            (place.clamp(0.0, length as f64 - 1.0) as usize, curve(at - place))
        })
    };
    made(picture.channels(), picture.width() * over / under, picture.height() * over / under, |channel, y, x| {
        let rows = taps(y, picture.height()).map(|(row, down)| {
            let pixels =
                taps(x, picture.width()).map(|(column, across)| across * f64::from(picture.row(channel, row)[column]));
            down * pixels.sum::<f64>()
        });
        rows.sum::<f64>() as f32
    })
}

#[test]
fn bicubic_interpolation_is_a_convolution() {
    let enlarge = "Interp enlarge 1 1 data big 0=1 1=4.0 2=4.0";
    let picture = picture(2, 5, 4);
    let big = made(2, 20, 16, |channel, y, x| picture.row(channel, y / 4)[x / 4]);
    for (scale, over, under) in [("5.000000e-01", 1, 2), ("7.500000e-01", 3, 4), ("2.0", 2, 1), ("1.500000e+00", 3, 2)]
    {
        let reduce = format!("Interp reduce 1 1 big out 0=3 1={scale} 2={scale}");
        let found = run(&param(2, 3, &[enlarge, &reduce]), &[], &picture);
        let expected = bicubic(&big, over, under);
        assert_eq!((found.width(), found.height()), (expected.width(), expected.height()), "{scale}");
        for (index, (found, expected)) in found.values().iter().zip(expected.values()).enumerate() {
            assert!((found - expected).abs() < 1e-5, "{scale}, {index}: {found} in place of {expected}");
        }
    }
}

#[test]
fn channels_become_pixels() {
    let picture = picture(8, 3, 2);
    let shuffled = |channel: fn(usize, usize) -> usize| {
        made(2, 6, 4, |of, y, x| picture.row(channel(of, y % 2 * 2 + x % 2), y / 2)[x / 2])
    };
    let found = run(&param(8, 2, &["PixelShuffle shuffle 1 1 data out 0=2"]), &[], &picture);
    assert_eq!(found, shuffled(|of, place| of * 4 + place));
    let found = run(&param(8, 2, &["PixelShuffle shuffle 1 1 data out 0=2 1=1"]), &[], &picture);
    assert_eq!(found, shuffled(|of, place| place * 2 + of));
}

/// The shape of the nets for video: a convolution beside an enlarged copy, then half of the size.
#[test]
fn the_input_may_have_no_stated_channels() {
    let text = "7767517\n7 8\nInput in 0 1 data\nSplit split 1 2 data a b\nConvolution conv 1 1 b c 0=12 1=3 4=1 6=324\n\
                PixelShuffle shuffle 1 1 c d 0=2\nInterp enlarge 1 1 a e 0=1 1=2.0 2=2.0\nBinaryOp sum 2 1 d e f 0=0\n\
                Interp reduce 1 1 f out 0=3 1=5.0e-1 2=5.0e-1\n";
    let (weights, picture) = (numbers(324), picture(3, 5, 4));
    let conv = convolved(&picture, 12, &weights, &[]);
    let sum = made(3, 10, 8, |channel, y, x| {
        conv.row(channel * 4 + y % 2 * 2 + x % 2, y / 2)[x / 2] + picture.row(channel, y / 2)[x / 2]
    });
    let (found, expected) = (run(text, &tagged(&weights), &picture), bicubic(&sum, 1, 2));
    for (found, expected) in found.values().iter().zip(expected.values()) {
        assert!((found - expected).abs() < 1e-5, "{found} in place of {expected}");
    }
}

#[test]
fn what_is_not_converted_is_named() {
    let unsupported = |param: &str, bin: &[u8]| match to_onnx(param, bin) {
        Err(error @ ConvertError::Unsupported { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let start = "the ncnn model cannot be converted: ";
    let value = "with a value that is not converted";
    for (layer, expected) in [
        ("Telepathy mind 1 1 data out", "it has the layer `Telepathy`".to_owned()),
        ("Convolution conv 1 1 data out 0=1 1=1 6=2 9=5", format!("the layer `conv` has the setting 9 {value}")),
        ("Convolution conv 1 1 data out 0=1 1=1 4=-233 6=2", format!("the layer `conv` has the setting 4 {value}")),
        ("Convolution conv 1 1 data out 0=1 1=1 6=2 8=1", format!("the layer `conv` has the setting 8 {value}")),
        ("Convolution conv 1 1 data out 0=1 1=1 6=2 77=1", format!("the layer `conv` has the setting 77 {value}")),
        ("Interp resize 1 1 data out 0=1 1=5.0e-1 2=5.0e-1", format!("the layer `resize` has the setting 1 {value}")),
        ("Interp resize 1 1 data out 0=1 1=2.0 2=3.0", format!("the layer `resize` has the setting 1 {value}")),
        ("Interp resize 1 1 data out 0=1 3=100 4=100", format!("the layer `resize` has the setting 3 {value}")),
        ("Interp resize 1 1 data out 0=7 1=2.0 2=2.0", format!("the layer `resize` has the setting 0 {value}")),
        ("Concat concat 1 1 data out 0=1", format!("the layer `concat` has the setting 0 {value}")),
    ] {
        assert_eq!(unsupported(&param(2, 2, &[layer]), &tagged(&[1.0, 2.0])), format!("{start}{expected}"));
    }
    let sizes =
        param(2, 5, &["Split s 1 2 data a b", "Interp i 1 1 a c 0=1 1=2.0 2=2.0", "BinaryOp sum 2 1 b c out 0=0"]);
    assert_eq!(unsupported(&sizes, &[]), format!("{start}it has the layer `BinaryOp` on pictures of different sizes"));
    let bytes = 0x000d_4b38_u32.to_le_bytes();
    let expected = format!("{start}it has weights with the tag 0x000d4b38, such as quantised ones");
    assert_eq!(unsupported(&param(2, 2, &[CONVOLUTION]), &bytes), expected);
    let unknown = "7767517\n2 2\nInput in 0 1 data\nReLU relu 1 1 data out\n";
    assert_eq!(unsupported(unknown, &[]), format!("{start}it does not say how many channels its input has"));
}

#[test]
fn files_that_contradict_themselves_are_broken() {
    let broken = |param: &str, bin: &[u8]| match to_onnx(param, bin) {
        Err(error @ ConvertError::Broken { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let start = "it is not a valid ncnn model: ";
    let relu = "ReLU relu 1 1 data out";
    for (param, expected) in [
        ("<html>".to_owned(), "its first line is not 7767517"),
        ("7767517\n".to_owned(), "its second line is not the numbers of layers and blobs"),
        ("7767517\n99999999 2\n".to_owned(), "it has 99999999 layers; at most 65536 are read"),
        ("7767517\n3 2\nInput in 0 1 data\n".to_owned(), "it has 1 layers in place of 3"),
        (param(2, 3, &[relu]), "it has 2 blobs in place of 3"),
        (param(2, 2, &["ReLU relu 1 1 nothing out"]), "the blob `nothing` is taken before it is made"),
        (param(2, 2, &["ReLU relu 1 1 data data"]), "the blob `data` is made twice"),
        (param(2, 2, &["ReLU relu 1 9 data out"]), "the line of the layer `relu` is incomplete"),
        (param(2, 2, &["ReLU relu 1 1 data out x=1"]), "the layer `relu` has the setting `x=1`"),
        (param(2, 2, &["ReLU relu 1 1 data out 0=inf"]), "the setting 0 of the layer `relu` is `inf`"),
        (
            param(2, 2, &["PReLU p 1 1 data out 0=3"]),
            "the layer `p` has another number of slopes than it is given channels",
        ),
        (param(3, 2, &[CONVOLUTION]), "its input has 3 channels, and a layer takes 2"),
        (
            param(2, 2, &["Convolution conv 1 1 data out 0=3 1=3 6=55"]),
            "the layer `conv` has another number of weights than its kernels take",
        ),
        (
            param(2, 2, &["PixelShuffle shuffle 1 1 data out 0=2"]),
            "the layer `shuffle` is given a number of channels that does not fill its blocks",
        ),
        ("7767517\n1 1\nReLU relu 0 1 out\n".to_owned(), "its first layer is not `Input`"),
    ] {
        assert_eq!(broken(&param, &[]), format!("{start}{expected}"));
    }
    assert_eq!(
        broken(&param(2, 2, &[relu]), &[1]),
        format!("{start}its weights have 1 bytes more than its layers take")
    );
}

/// Layers that take a blob with a long name would fill any memory with copies of it.
#[test]
fn names_of_blobs_are_short() {
    let named = |length: usize| to_onnx(&param(2, 2, &[&format!("ReLU relu 1 1 data {}", "a".repeat(length))]), &[]);
    assert!(named(256).is_ok());
    let expected =
        "it is not a valid ncnn model: the layer `relu` has a blob whose name has 257 bytes; at most 256 are read";
    assert_eq!(named(257).unwrap_err().to_string(), expected);
}

/// Each layer has twice as many channels as the one before.
#[test]
fn channels_cannot_grow_without_end() {
    let doubled = |layers: usize| {
        let name = |number: usize| if number == 0 { "data".to_owned() } else { format!("b{number}") };
        let line = |number: usize| format!("Concat c{number} 2 1 {0} {0} {1}", name(number), name(number + 1));
        let lines: Vec<String> = (0..layers).map(line).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        to_onnx(&param(1, layers + 1, &lines), &[])
    };
    assert!(doubled(16).is_ok());
    for layers in [17, 64, 70] {
        let expected = "it is not a valid ncnn model: the layer `c16` makes more than 65536 channels";
        assert_eq!(doubled(layers).unwrap_err().to_string(), expected, "{layers}");
    }
}

#[test]
fn truncated_files_are_broken_at_every_length() {
    let text = param(2, 3, &["Convolution conv 1 1 data a 0=3 1=3 4=1 5=1 6=54", "ReLU relu 1 1 a out"]);
    let bin = [tagged(&numbers(54)), singles(&[0.5, -1.0, 2.0])].concat();
    assert!(to_onnx(&text, &bin).is_ok());
    for length in 0..bin.len() {
        assert!(matches!(to_onnx(&text, &bin[..length]), Err(ConvertError::Broken { .. })), "{length}");
    }
    // A shorter name of the last blob is one, too.
    for length in 0..text.len() - "out\n".len() {
        assert!(to_onnx(&text[..length], &bin).is_err(), "{length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1024) })]

    #[test]
    fn no_change_of_the_files_makes_the_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = "7767517\n5 6\nInput in 0 1 data\nSplit split 1 2 data a b\nConvolution conv 1 1 b c 0=3 1=3 4=1 6=81 9=2 \
                    -23310=1,2.0e-1\nEltwise sum 2 1 a c d 0=1 -23301=2,2.0e-1,1.0\nInterp big 1 1 d out 0=3 1=2.0 2=2.0\n";
        let mut param = text.as_bytes().to_vec();
        let mut bin = tagged(&numbers(81));
        for (index, byte) in changes {
            // Digits above all.
            let at = index.index(param.len());
            param[at] = if byte < 128 { byte } else { b'0' + byte % 10 };
            let at = index.index(bin.len());
            bin[at] = byte;
        }
        bin.truncate(cut.index(2 * bin.len()));
        let _ = to_onnx(&String::from_utf8_lossy(&param), &bin);
    }
}
