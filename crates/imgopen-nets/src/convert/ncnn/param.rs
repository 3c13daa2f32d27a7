//! Reads `.param` files: a line with a mark, a line with the numbers of layers and of blobs, and a line for each layer.

use std::collections::HashSet;

use super::problems::{broken, unsupported};
use crate::convert::ConvertError;

/// The first line.
const MARK: &str = "7767517";

/// The most layers.
const MOST: usize = 65_536;

/// The longest name of a blob in bytes. Operators have copies of those of inputs and outputs.
const LONGEST_NAME: usize = 256;

/// The largest number of pixels, channels or steps in a setting, and of the channels of a blob.
pub(super) const LARGEST: usize = 65_536;

/// The key of a list is this less the number of its setting.
const LISTS: i32 = -23_300;

/// A setting that repeats the shapes of the blobs.
const SHAPES: i32 = 30;

/// A layer.
#[derive(Debug, Clone)]
pub(super) struct Layer<'a> {
    /// The kind, such as `Convolution`.
    pub kind: &'a str,
    /// The blobs that it takes.
    pub inputs: Vec<&'a str>,
    /// The blobs that it makes.
    pub outputs: Vec<&'a str>,
    pub settings: Settings<'a>,
}

/// The settings of a layer, by their numbers.
#[derive(Debug, Clone)]
pub(super) struct Settings<'a> {
    /// The name of the layer.
    layer: &'a str,
    pairs: Vec<(i32, &'a str)>,
}

/// Reads the layers. Every blob is made before it is taken, and once.
pub(super) fn read(param: &str) -> Result<Vec<Layer<'_>>, ConvertError> {
    let mut lines = param.lines().map(str::trim).filter(|line| !line.is_empty());
    if lines.next() != Some(MARK) {
        return Err(broken(format!("its first line is not {MARK}")));
    }
    let counts: Vec<usize> = words(lines.next().unwrap_or_default()).map_while(|word| word.parse().ok()).collect();
    let [layers, blobs] = counts[..] else {
        return Err(broken("its second line is not the numbers of layers and blobs"));
    };
    if layers > MOST {
        return Err(broken(format!("it has {layers} layers; at most {MOST} are read")));
    }
    let read = lines.map(layer).collect::<Result<Vec<_>, _>>()?;
    if read.len() != layers {
        return Err(broken(format!("it has {} layers in place of {layers}", read.len())));
    }
    let mut made = HashSet::new();
    for layer in &read {
        if let Some(name) = layer.inputs.iter().find(|name| !made.contains(*name)) {
            return Err(broken(format!("the blob `{name}` is taken before it is made")));
        }
        if let Some(name) = layer.outputs.iter().find(|name| !made.insert(**name)) {
            return Err(broken(format!("the blob `{name}` is made twice")));
        }
    }
    match made.len() == blobs {
        true => Ok(read),
        false => Err(broken(format!("it has {} blobs in place of {blobs}", made.len()))),
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split_ascii_whitespace()
}

fn layer(line: &str) -> Result<Layer<'_>, ConvertError> {
    let mut rest = words(line);
    let (kind, name) = (rest.next().unwrap_or_default(), rest.next().unwrap_or_default());
    let incomplete = || broken(format!("the line of the layer `{name}` is incomplete"));
    let mut count = || rest.next().and_then(|word| word.parse::<usize>().ok()).ok_or_else(incomplete);
    let (inputs, outputs) = (count()?, count()?);
    let blobs: Vec<&str> = rest.by_ref().take(inputs.saturating_add(outputs)).collect();
    let (taken, made) =
        blobs.split_at_checked(inputs).filter(|(_, made)| made.len() == outputs).ok_or_else(incomplete)?;
    if let Some(length) = blobs.iter().map(|blob| blob.len()).max().filter(|length| *length > LONGEST_NAME) {
        return Err(broken(format!(
            "the layer `{name}` has a blob whose name has {length} bytes; at most {LONGEST_NAME} are read"
        )));
    }
    let pairs =
        rest.map(|word| pair(word).ok_or_else(|| broken(format!("the layer `{name}` has the setting `{word}`"))));
    let settings = Settings { layer: name, pairs: pairs.collect::<Result<_, _>>()? };
    Ok(Layer { kind, inputs: taken.to_vec(), outputs: made.to_vec(), settings })
}

fn pair(word: &str) -> Option<(i32, &str)> {
    let (key, value) = word.split_once('=')?;
    Some((key.parse().ok()?, value))
}

impl Settings<'_> {
    fn find(&self, key: i32) -> Option<&str> {
        self.pairs.iter().find(|(number, _)| *number == key).map(|(_, value)| *value)
    }

    /// Refuses settings whose meaning is not known.
    pub fn only(&self, known: &[i32]) -> Result<(), ConvertError> {
        let number = |key: i32| if key <= LISTS { LISTS.saturating_sub(key) } else { key };
        let other = self.pairs.iter().map(|(key, _)| number(*key)).find(|key| *key != SHAPES && !known.contains(key));
        other.map_or(Ok(()), |key| Err(self.unsupported(key)))
    }

    /// Returns a whole number.
    pub fn int(&self, key: i32, default: i32) -> Result<i32, ConvertError> {
        self.find(key).map_or(Ok(default), |value| value.parse().map_err(|_| self.broken(key, value)))
    }

    /// Returns a number of pixels, channels or steps.
    pub fn count(&self, key: i32, default: usize) -> Result<usize, ConvertError> {
        let read = |value: &str| value.parse().ok().filter(|count| *count <= LARGEST);
        self.find(key).map_or(Ok(default), |value| read(value).ok_or_else(|| self.broken(key, value)))
    }

    pub fn float(&self, key: i32, default: f32) -> Result<f32, ConvertError> {
        self.find(key).map_or(Ok(default), |value| float(value).ok_or_else(|| self.broken(key, value)))
    }

    /// Returns a list of numbers, which begins with how many they are; empty if it is left out.
    pub fn floats(&self, key: i32) -> Result<Vec<f32>, ConvertError> {
        let Some(list) = self.find(LISTS - key) else { return Ok(Vec::new()) };
        let mut words = list.split(',');
        let count = words.next().and_then(|word| word.parse::<usize>().ok());
        let floats = words.map(float).collect::<Option<Vec<_>>>();
        let floats = floats.filter(|floats| Some(floats.len()) == count);
        floats.ok_or_else(|| self.broken(key, list))
    }

    /// The setting has a value that is not one.
    pub fn broken(&self, key: i32, value: &str) -> ConvertError {
        broken(format!("the setting {key} of the layer `{}` is `{value}`", self.layer))
    }

    /// The setting has a value that is not converted.
    pub fn unsupported(&self, key: i32) -> ConvertError {
        unsupported(format!("the layer `{}` has the setting {key} with a value that is not converted", self.layer))
    }

    /// The layer does not fit what it is given.
    pub fn misfit(&self, problem: &str) -> ConvertError {
        broken(format!("the layer `{}` {problem}", self.layer))
    }
}

fn float(word: &str) -> Option<f32> {
    word.parse().ok().filter(|float: &f32| float.is_finite())
}
