//! What ONNX Runtime runs nets on.

use std::fmt;
use std::fs::Metadata;
use std::path::Path;
use std::str::FromStr;
use std::time::UNIX_EPOCH;

/// What runs nets for ONNX Runtime. All but the processor need a library that was built for them, and leave operators that they
/// do not have to the processor.
///
/// As text it is `cpu`, `cuda`, `tensorrt`, `migraphx`, `directml` or `coreml`; that of a GPU may have its number, as `cuda:1`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Provider {
    /// The processor.
    #[default]
    Cpu,
    /// CUDA, on the NVIDIA GPU with that number, from 0.
    Cuda(u16),
    /// TensorRT, on the NVIDIA GPU with that number, from 0.
    TensorRt(u16),
    /// MIGraphX, on the AMD GPU with that number, from 0.
    MiGraphX(u16),
    /// DirectML on Windows, on the GPU with that number, from 0.
    DirectMl(u16),
    /// Core ML on macOS.
    CoreMl,
}

/// A text that is not a [`Provider`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" given; give `cpu`, `cuda`, `tensorrt`, `migraphx`, `directml` or `coreml`, those of a GPU with its number if it is \
     not the first, such as `cuda:1`"
)]
pub struct UnknownProvider(String);

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(text: &str) -> Result<Self, UnknownProvider> {
        let unknown = || UnknownProvider(text.to_owned());
        let (name, device) = match text.split_once(':') {
            Some((name, device)) => (name, Some(device.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        let first = device.unwrap_or(0);
        match (name, device) {
            ("cpu", None) => Ok(Provider::Cpu),
            ("cuda", _) => Ok(Provider::Cuda(first)),
            ("tensorrt", _) => Ok(Provider::TensorRt(first)),
            ("migraphx", _) => Ok(Provider::MiGraphX(first)),
            ("directml", _) => Ok(Provider::DirectMl(first)),
            ("coreml", None) => Ok(Provider::CoreMl),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Provider::Cpu => f.write_str("cpu"),
            Provider::Cuda(device) => write!(f, "cuda:{device}"),
            Provider::TensorRt(device) => write!(f, "tensorrt:{device}"),
            Provider::MiGraphX(device) => write!(f, "migraphx:{device}"),
            Provider::DirectMl(device) => write!(f, "directml:{device}"),
            Provider::CoreMl => f.write_str("coreml"),
        }
    }
}

/// Returns the variant of ONNX Runtime from a library. Another version of it has another size or another time.
pub(super) fn of_library(library: &Path, providers: &[Provider]) -> String {
    let file = library.metadata().ok();
    let size = file.as_ref().map_or(0, Metadata::len);
    let since = file.and_then(|file| file.modified().ok()).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let seconds = since.map_or(0, |since| since.as_secs());
    let providers: Vec<_> = match providers {
        [] => vec![Provider::Cpu.to_string()],
        providers => providers.iter().map(Provider::to_string).collect(),
    };
    format!("ONNX Runtime ({}, {size} bytes, of {seconds}) on {}", library.display(), providers.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_providers() {
        let all = [
            ("cpu", Provider::Cpu),
            ("cuda:1", Provider::Cuda(1)),
            ("tensorrt:0", Provider::TensorRt(0)),
            ("migraphx:2", Provider::MiGraphX(2)),
            ("directml:65535", Provider::DirectMl(u16::MAX)),
            ("coreml", Provider::CoreMl),
        ];
        for (text, provider) in all {
            assert_eq!(text.parse::<Provider>(), Ok(provider), "{text}");
            assert_eq!(provider.to_string(), text);
        }
        assert_eq!("cuda".parse::<Provider>(), Ok(Provider::Cuda(0)));
        for wrong in ["", "CUDA", "gpu", "cuda:", "cuda:-1", "cuda:65536", "cpu:0", "coreml:1", "cuda:0:1"] {
            let error = wrong.parse::<Provider>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("\"{wrong}\" given; give `cpu`, ")), "{error}");
        }
    }
}
