//! What a net is for, by the inputs and outputs that its file declares. Where these are the same for several kinds of net, the
//! folder of the file decides, and between nets of a kind their operators and weights; the name of the file never does.

use std::fmt;

use imgopen_nets::{Dimension, ElementType, ModelFile, Port};

use self::Side::{Any, Batch, Is, Like};

/// What a net is for, as an operator's own file shows by its inputs and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Cuts objects out: one picture in, masks out (u2net, isnet, birefnet).
    Segmentation,
    /// Enlarges pictures (ESRGAN and its kin).
    Upscaling,
    /// Restores an aligned face of 512x512 (GFPGAN: one input; CodeFormer: picture and weight).
    FaceRestoration,
    /// Puts an identity on an aligned face of 128x128 (inswapper: `target` 1x3x128x128, `source` 1x512, and a matrix of 512x512
    /// among its weights).
    FaceSwap,
    /// Numbers of an aligned face of 112x112 that distinguish people (ArcFace: 1x3x112x112 to 1x512).
    FaceRecognition,
    /// Fills holes: picture 1x3xHxW and mask 1x1xHxW in, picture out (LaMa).
    Inpainting,
    /// Scores of tags, whose names are in a file beside it (WD14, DeepDanbooru: 1xHxWx3 to 1xN).
    Tags,
    /// Distance of what each pixel shows (depth-anything, MiDaS): 1x3xHxW to 1xHxW or 1x1xHxW.
    Depth,
}

/// How a net that cuts objects out takes its picture and returns its mask. For all, samples are divided by the largest one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cutter {
    /// U2Net: mean and deviation of ImageNet; a mask from 0 to 1.
    U2net,
    /// ISNet: samples less a half; a mask from 0 to 1.
    Isnet,
    /// ISNet for drawings, whose exports name what goes in `img`, and what comes out `mask`: the mean of ImageNet; a mask from 0 to 1.
    Anime,
    /// BiRefNet: mean and deviation of ImageNet; a mask from 0 to 1, or the numbers before the last sigmoid.
    Birefnet,
}

/// What a dimension has to be.
#[derive(Debug, Clone, Copy)]
enum Side {
    /// 1, or any size.
    Batch,
    /// Exactly that size.
    Is(usize),
    /// That size, or not declared.
    Like(usize),
    Any,
}

/// The sides of pictures that nets for tags take at least.
const TAGGED: usize = 128;

/// The sides of pictures that nets for super resolution take at least.
const ENLARGED: usize = 32;

/// The longest side of a picture that U2Net takes; ISNet takes larger ones.
const U2NET: usize = 512;

/// The side on which a net is tried that takes any: a multiple of 14, as of patches, and of 32, as of what is halved five times.
const TRIED: usize = 224;

/// The types of half precision, by their numbers in ONNX.
const FLOAT16: i32 = 10;
const BFLOAT16: i32 = 16;

/// The side that is given to a net with attention that takes any.
pub(crate) const FREE_SIDE: usize = 1024;

/// The largest factor by which nets enlarge.
pub(crate) const MOST_FACTOR: usize = 8;

impl Role {
    pub const ALL: [Role; 8] = [
        Role::Segmentation,
        Role::Upscaling,
        Role::FaceRestoration,
        Role::FaceSwap,
        Role::FaceRecognition,
        Role::Inpainting,
        Role::Tags,
        Role::Depth,
    ];

    /// Returns the folder of the models directory in which its nets belong.
    pub fn folder(self) -> &'static str {
        match self {
            Role::Segmentation => "rembg",
            Role::Upscaling => "ESRGAN",
            Role::FaceRestoration => "GFPGAN",
            Role::FaceSwap | Role::FaceRecognition => "insightface",
            Role::Inpainting => "lama",
            Role::Tags => "tagger",
            Role::Depth => "depth",
        }
    }

    /// Returns the side of pictures on which a net is tried that takes any.
    pub fn tried_side(self) -> usize {
        match self {
            // It makes many times more of them.
            Role::Upscaling => ENLARGED,
            _ => TRIED,
        }
    }

    /// Returns why a net is not for this role after all that has made a tensor of these dimensions in its trial, if it is not.
    /// Files often declare the same names for sides of different lengths, or none.
    pub fn misfit(self, file: &ModelFile, made: &[usize]) -> Option<String> {
        let (height, width) = sizes(file.inputs())?;
        let given = [1, 3, height.unwrap_or(self.tried_side()), width.unwrap_or(self.tried_side())];
        let (fits, wanted) = match self {
            Role::Upscaling => {
                let is_larger =
                    |factor: usize| made == [given[0], given[1], factor * given[2], factor * given[3]].as_slice();
                ((2..=MOST_FACTOR).any(is_larger), "enlarges 2 to 8 times")
            }
            Role::FaceRestoration | Role::FaceSwap | Role::Inpainting => {
                (made == given.as_slice(), "makes pictures of the same size")
            }
            Role::Segmentation | Role::FaceRecognition | Role::Tags | Role::Depth => (true, ""),
        };
        let written = |sides: &[usize]| sides.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        (!fits).then(|| format!("it makes {} out of {}; a net for {self} {wanted}", written(made), written(&given)))
    }

    /// Returns whether a net of this role may have the inputs and outputs of a file.
    fn fits(self, file: &ModelFile) -> bool {
        let (inputs, outputs) = (file.inputs(), file.outputs());
        let Some(first) = outputs.first() else { return false };
        match self {
            Role::Segmentation => {
                let is_sized = matches!(sizes(inputs), Some((Some(_), Some(_)))) || has_attention(file);
                one(inputs, &[Batch, Is(3), Any, Any]) && is(first, &[Batch, Like(1), Any, Any]) && is_sized
            }
            Role::Upscaling => enlarges(inputs, outputs),
            Role::FaceRestoration => {
                let (faces, others): (Vec<_>, Vec<_>) =
                    inputs.iter().partition(|port| is(port, &[Batch, Is(3), Is(512), Is(512)]));
                faces.len() == 1
                    && others.len() <= 1
                    && others.iter().all(|port| is_number(port))
                    && is(first, &[Batch, Like(3), Like(512), Like(512)])
            }
            Role::FaceSwap => {
                two(inputs, &[Batch, Is(3), Is(128), Is(128)], &[Batch, Is(512)])
                    && is(first, &[Batch, Like(3), Like(128), Like(128)])
                    && file.has_weights(&[512, 512])
            }
            Role::FaceRecognition => {
                one(inputs, &[Batch, Is(3), Is(112), Is(112)]) && one(outputs, &[Batch, Like(512)])
            }
            Role::Inpainting => {
                two(inputs, &[Batch, Is(3), Any, Any], &[Batch, Is(1), Any, Any])
                    && same_sides(inputs)
                    && is(first, &[Batch, Like(3), Any, Any])
            }
            Role::Tags => tags(inputs, outputs),
            Role::Depth => {
                let is_map = is(first, &[Batch, Any, Any]) || is(first, &[Batch, Like(1), Any, Any]);
                one(inputs, &[Batch, Is(3), Any, Any]) && outputs.len() == 1 && is_map
            }
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Segmentation => "background removal",
            Role::Upscaling => "super resolution",
            Role::FaceRestoration => "face restoration",
            Role::FaceSwap => "face swap",
            Role::FaceRecognition => "face recognition",
            Role::Inpainting => "filling of holes",
            Role::Tags => "tags",
            Role::Depth => "depth",
        })
    }
}

/// Returns the roles that a net with the inputs and outputs of a file may have.
pub(crate) fn roles(file: &ModelFile) -> Vec<Role> {
    Role::ALL.into_iter().filter(|role| role.fits(file)).collect()
}

/// Returns how a net that cuts objects out is used.
pub(crate) fn cutter(file: &ModelFile) -> Cutter {
    if has_attention(file) {
        return Cutter::Birefnet;
    }
    match sizes(file.inputs()) {
        Some((Some(height), Some(width))) if height.max(width) <= U2NET => Cutter::U2net,
        _ if is_for_drawings(file) => Cutter::Anime,
        _ => Cutter::Isnet,
    }
}

fn is_for_drawings(file: &ModelFile) -> bool {
    let names = |ports: &[Port]| ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>();
    names(file.inputs()) == ["img"] && names(file.outputs()) == ["mask"]
}

/// Writes inputs and outputs, for people who look for what is wrong with a file.
pub(crate) fn shown(file: &ModelFile) -> String {
    let ports = |ports: &[Port]| ports.iter().map(port).collect::<Vec<_>>().join(", ");
    let shown = format!("takes {}; returns {}", ports(file.inputs()), ports(file.outputs()));
    let is_half = |port: &Port| matches!(port.element, ElementType::Other(FLOAT16 | BFLOAT16));
    match file.inputs().iter().chain(file.outputs()).any(is_half) {
        true => format!("{shown}, in half precision; convert it to `float`"),
        false => shown,
    }
}

/// Returns the height and the width of the first input of four dimensions with three channels, where the file fixes them.
pub(crate) fn sizes(inputs: &[Port]) -> Option<(Option<usize>, Option<usize>)> {
    let input = inputs.iter().find(|port| is(port, &[Batch, Is(3), Any, Any]))?;
    match input.shape.as_deref()? {
        [_, _, height, width] => Some((fixed(height), fixed(width))),
        _ => None,
    }
}

fn port(port: &Port) -> String {
    let sides = match port.shape.as_deref() {
        None => "any shape".to_owned(),
        Some([]) => "one number".to_owned(),
        Some(sides) => sides.iter().map(Dimension::to_string).collect::<Vec<_>>().join("x"),
    };
    format!("`{}` ({}, {sides})", port.name, port.element)
}

fn fixed(side: &Dimension) -> Option<usize> {
    match side {
        Dimension::Fixed(size) => Some(*size),
        Dimension::Named(_) | Dimension::Unknown => None,
    }
}

/// Returns whether a port is a tensor of numbers with a fraction and such dimensions.
fn is(port: &Port, sides: &[Side]) -> bool {
    let Some(shape) = port.shape.as_deref().filter(|_| port.element == ElementType::F32) else { return false };
    let fits = |(declared, wanted): (&Dimension, &Side)| match (fixed(declared), wanted) {
        (Some(size), Side::Batch) => size == 1,
        (Some(size), Side::Is(wanted) | Side::Like(wanted)) => size == *wanted,
        (None, Side::Is(_)) => false,
        (None, Side::Batch | Side::Like(_)) | (_, Side::Any) => true,
    };
    shape.len() == sides.len() && shape.iter().zip(sides).all(fits)
}

/// Returns whether a port is a single number.
fn is_number(port: &Port) -> bool {
    let is_known = !matches!(port.element, ElementType::U8 | ElementType::Bool | ElementType::Other(_));
    let is_single = |shape: &[Dimension]| shape.iter().all(|side| fixed(side).is_none_or(|size| size == 1));
    is_known && port.shape.as_deref().is_some_and(|shape| shape.len() <= 2 && is_single(shape))
}

/// Returns whether there is one port, of such dimensions.
fn one(ports: &[Port], sides: &[Side]) -> bool {
    matches!(ports, [only] if is(only, sides))
}

/// Returns whether there are two ports, one of the first and one of the second dimensions, in either order.
fn two(ports: &[Port], first: &[Side], second: &[Side]) -> bool {
    match ports {
        [a, b] => (is(a, first) && is(b, second)) || (is(b, first) && is(a, second)),
        _ => false,
    }
}

fn same_sides(ports: &[Port]) -> bool {
    let mut sides = ports.iter().map(|port| match port.shape.as_deref() {
        Some([_, _, height, width]) => Some((fixed(height), fixed(width))),
        _ => None,
    });
    let first = sides.next().flatten();
    first.is_some() && sides.all(|other| other == first)
}

fn enlarges(inputs: &[Port], outputs: &[Port]) -> bool {
    if !(one(inputs, &[Batch, Is(3), Any, Any]) && one(outputs, &[Batch, Like(3), Any, Any])) {
        return false;
    }
    let factor = |from: &Dimension, to: &Dimension| match (fixed(from), fixed(to)) {
        (Some(from), Some(to)) if from > 0 && to.is_multiple_of(from) => Some(Some(to / from)),
        (Some(_), Some(_)) => None,
        _ => Some(None),
    };
    let shape = |ports: &[Port]| ports.first().and_then(|port| port.shape.clone());
    let (Some(input), Some(output)) = (shape(inputs), shape(outputs)) else { return false };
    let ([_, _, height, width], [_, _, taller, wider]) = (&input[..], &output[..]) else { return false };
    if [height, width].into_iter().filter_map(fixed).any(|side| side < ENLARGED) {
        return false;
    }
    match (factor(height, taller), factor(width, wider)) {
        (Some(Some(down)), Some(Some(across))) => down == across && (2..=MOST_FACTOR).contains(&down),
        (Some(down), Some(across)) => down.or(across).is_none_or(|factor| (2..=MOST_FACTOR).contains(&factor)),
        _ => false,
    }
}

fn tags(inputs: &[Port], outputs: &[Port]) -> bool {
    let Some([_, height, width, _]) = inputs.first().and_then(|port| port.shape.as_deref()) else { return false };
    let is_square = fixed(height).is_some_and(|side| side >= TAGGED && fixed(width) == Some(side));
    is_square
        && one(inputs, &[Batch, Any, Any, Is(3)])
        && one(outputs, &[Batch, Any])
        && scores(outputs).is_none_or(|count| count > 1)
}

/// Returns how many tags a net scores, if its file declares that.
pub(super) fn scores(outputs: &[Port]) -> Option<usize> {
    outputs.first().and_then(|port| port.shape.as_deref()?.last()).and_then(fixed)
}

/// Returns whether a net compares places with each other, as transformers do.
pub(crate) fn has_attention(file: &ModelFile) -> bool {
    file.operators().any(|operator| operator == "Softmax")
}

#[cfg(test)]
mod tests;
