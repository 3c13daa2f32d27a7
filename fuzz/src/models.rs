//! Every reader of model files on the same bytes: TFLite, ncnn, the pickles of PyTorch, and ONNX, to which they are converted.

use std::borrow::Cow;

use imgopen_nets::convert::{ConvertError, efficientnet, ncnn, tflite};
use imgopen_nets::{Limits, ModelFile};

use crate::memory::{MODELS, bounded};

/// Gives the bytes to every reader of model files. What one of them converts is read as ONNX.
///
/// # Panics
///
/// When one of them panics or takes too much memory.
pub fn models(bytes: &[u8]) {
    read(bytes);
    judge("TFLite", bytes.len(), || tflite::to_onnx(bytes));
    judge("PyTorch", bytes.len(), || efficientnet::to_onnx(bytes));
    let (param, bin) = ncnn_files(bytes);
    judge("ncnn", param.len() + bin.len(), || ncnn::to_onnx(&param, bin));
}

/// Splits the bytes into the two files of an ncnn model, at the first zero.
pub fn ncnn_files(bytes: &[u8]) -> (Cow<'_, str>, &[u8]) {
    let (param, bin) = match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[][..]),
    };
    (String::from_utf8_lossy(param), bin)
}

fn judge(format: &str, length: usize, convert: impl FnOnce() -> Result<Vec<u8>, ConvertError>) {
    // Broken files are refused, but a refusal has to be small, too.
    if let Ok(converted) = bounded(MODELS, length, format, convert) {
        read(&converted);
    }
}

fn read(bytes: &[u8]) {
    let model = || ModelFile::from_bytes("fuzzed.onnx", bytes, &Limits::default());
    if let Ok(model) = bounded(MODELS, bytes.len(), "ONNX", model) {
        // Inputs without a size have the smallest one.
        let shapes: Vec<_> = model.inputs().iter().map(|port| (port.name.as_str(), [1; 4])).collect();
        let given: Vec<(&str, &[usize])> = shapes.iter().map(|(name, shape)| (*name, &shape[..])).collect();
        let _ = bounded(MODELS, bytes.len(), "the memory of a run", || model.working(&given));
    }
}
