//! Reads weights out of a model file without the rest of it, which may have hundreds of megabytes.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::Path;

use half::f16;

use super::fields::{element, graph, model, tensor};
use super::wire::Fields;
use crate::error::NetError;
use crate::tensor::Tensor;

/// A file in the encoding of protocol buffers, and the place up to which it has been read.
struct Walk {
    file: BufReader<File>,
    at: u64,
}

const TRUNCATED: &str = "it ends too early";

/// Returns the last initializer of a model file, of at most that many bytes. Some nets have there what only their callers need:
/// inswapper has the matrix that embeddings are multiplied by.
///
/// # Errors
///
/// [`NetError::File`] if the file cannot be read, has no initializer, or its last one is larger or does not consist of numbers
/// with a fraction.
pub fn last_initializer(path: &Path, most: u64) -> Result<Tensor, NetError> {
    let name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    find(path, most).and_then(|message| numbers(&message)).map_err(|problem| NetError::File { file: name(), problem })
}

fn find(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(described)?;
    let size = file.metadata().map_err(described)?.len();
    let mut walk = Walk { file: BufReader::new(file), at: 0 };
    let graph = walk.last(0..size, model::GRAPH)?.ok_or("it is not an ONNX model")?;
    let place = walk.last(graph, graph::INITIALIZER)?.ok_or("it has no initializer")?;
    let length = place.end - place.start;
    if length > most {
        return Err(format!("its last initializer has {length} bytes; at most {most} are expected"));
    }
    walk.go(place.start)?;
    let mut message = Vec::new();
    (&mut walk.file).take(length).read_to_end(&mut message).map_err(described)?;
    Ok(message)
}

fn described(error: io::Error) -> String {
    error.to_string()
}

impl Walk {
    /// Returns where the content of the last field with that number lies in a message.
    fn last(&mut self, message: Range<u64>, number: u64) -> Result<Option<Range<u64>>, String> {
        self.go(message.start)?;
        let mut found = None;
        while self.at < message.end {
            let key = self.varint()?;
            let length = match key & 7 {
                0 => {
                    self.varint()?;
                    0
                }
                1 => 8,
                2 => self.varint()?,
                5 => 4,
                _ => return Err("it has a field of an unknown kind".to_owned()),
            };
            let end = self.at.checked_add(length).filter(|end| *end <= message.end).ok_or(TRUNCATED)?;
            if key >> 3 == number && key & 7 == 2 {
                found = Some(self.at..end);
            }
            self.go(end)?;
        }
        Ok(found)
    }

    fn go(&mut self, to: u64) -> Result<(), String> {
        self.file.seek_relative(to.cast_signed() - self.at.cast_signed()).map_err(described)?;
        self.at = to;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.file.read_exact(&mut byte).map_err(|_| TRUNCATED)?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("it has a number of more than 64 bits".to_owned())
    }
}

/// Reads a `TensorProto`.
fn numbers(message: &[u8]) -> Result<Tensor, String> {
    let (mut shape, mut kind, mut raw, mut loose) = (Vec::new(), 0, None, Vec::new());
    for field in Fields::new(message) {
        match field? {
            (tensor::DIMS, value) => value.ints(|side| shape.push(usize::try_from(side).unwrap_or(usize::MAX)))?,
            (tensor::DATA_TYPE, value) => kind = value.int()?,
            (tensor::FLOAT_DATA, value) => value.floats(|number| loose.push(number))?,
            (tensor::RAW_DATA, value) => raw = Some(value.bytes()?),
            _ => {}
        }
    }
    let values: Vec<f32> = match (kind, raw) {
        (element::FLOAT, None) => loose,
        (element::FLOAT, Some(raw)) => raw.as_chunks().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect(),
        (element::FLOAT16, Some(raw)) => {
            raw.as_chunks().0.iter().map(|chunk| f16::from_le_bytes(*chunk).to_f32()).collect()
        }
        _ => return Err("its last initializer does not consist of numbers with a fraction".to_owned()),
    };
    Tensor::new(shape, values).map_err(|error| format!("its last initializer is broken: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Builder, Weights};
    use crate::tensor::Dimension;

    fn read(bytes: &[u8], most: u64) -> Result<Tensor, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        last_initializer(file.path(), most).map_err(|error| error.to_string())
    }

    fn model(kind: Option<Weights>) -> Vec<u8> {
        let mut builder = Builder::new(1024, ["x".to_owned(), "y".to_owned()]);
        builder.input("x", &[Dimension::Fixed(2)]);
        builder.output("y", &[Dimension::Fixed(2)]);
        builder.node_as("Neg", &["x"], "y", &[]);
        if let Some(kind) = kind {
            builder.floats(&[9.0; 300]);
            let halves = |numbers: &[f32]| numbers.iter().flat_map(|n| f16::from_f32(*n).to_le_bytes()).collect();
            let floats = |numbers: &[f32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
            let numbers = [1.0, -2.5, 0.0, 4.0, 0.125, 6.0];
            let data: Vec<u8> = if kind == Weights::F16 { halves(&numbers) } else { floats(&numbers) };
            builder.weights(kind, &[2, 3], &data);
        }
        builder.finish()
    }

    #[test]
    fn the_last_weights_are_read_in_single_and_half_precision() {
        for kind in [Weights::F32, Weights::F16] {
            let tensor = read(&model(Some(kind)), 1000).unwrap();
            assert_eq!(tensor.shape(), [2, 3], "{kind:?}");
            assert_eq!(tensor.as_f32(), Some(&[1.0, -2.5, 0.0, 4.0, 0.125, 6.0][..]), "{kind:?}");
        }
    }

    #[test]
    fn what_is_not_there_or_too_large_is_an_error() {
        let file = model(Some(Weights::F32));
        for (bytes, most, expected) in [
            (model(None), 1000, "it has no initializer"),
            (file.clone(), 10, "at most 10 are expected"),
            (file[..file.len() / 2].to_vec(), 1000, "it ends too early"),
            (b"<html>".to_vec(), 1000, "unknown kind"),
            (Vec::new(), 1000, "it is not an ONNX model"),
            (model(Some(Weights::I64)), 1000, "does not consist of numbers with a fraction"),
        ] {
            let error = read(&bytes, most).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        assert!(last_initializer(Path::new("/nowhere/x.onnx"), 1).unwrap_err().to_string().contains("\"x.onnx\""));
    }
}
