//! The choice of a runtime.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Provider, Rten, Runtime};
use crate::error::NetError;

/// Which runtime runs nets, and on what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// The threads: of all nets together in rten, of each net in ONNX Runtime.
    pub threads: NonZeroUsize,
    /// The library of ONNX Runtime, such as `libonnxruntime.so.1.32.0` out of the Python package `onnxruntime`. Without it, nets
    /// run in rten.
    pub library: Option<PathBuf>,
    /// What runs nets for ONNX Runtime, the preferred first; without any, the processor.
    pub providers: Vec<Provider>,
}

impl RuntimeSettings {
    /// Returns the name of the runtime.
    pub fn name(&self) -> &'static str {
        match self.library {
            None => super::rten::NAME,
            Some(_) => "ONNX Runtime",
        }
    }

    /// Opens the runtime.
    ///
    /// # Errors
    ///
    /// [`NetError::Runtime`] if the library cannot be loaded, a provider is not there, or this crate was built without the feature
    /// `ort`.
    pub fn open(&self) -> Result<Arc<dyn Runtime>, NetError> {
        match &self.library {
            None => Ok(Arc::new(Rten::new(self.threads))),
            Some(library) => self.open_library(library),
        }
    }

    #[cfg(feature = "ort")]
    fn open_library(&self, library: &Path) -> Result<Arc<dyn Runtime>, NetError> {
        let (library, providers) = (library.to_owned(), self.providers.clone());
        let settings = super::OrtSettings { library, providers, threads: self.threads };
        Ok(Arc::new(super::Ort::open(settings)?))
    }

    #[cfg(not(feature = "ort"))]
    fn open_library(&self, _: &Path) -> Result<Arc<dyn Runtime>, NetError> {
        let problem = "the program was built without it; build it with the feature `ort`".to_owned();
        Err(NetError::Runtime { runtime: "ONNX Runtime", problem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nets_run_in_rten_without_a_library() {
        let settings = RuntimeSettings { threads: NonZeroUsize::MIN, library: None, providers: Vec::new() };
        assert_eq!((settings.open().unwrap().name(), settings.name()), ("rten", "rten"));
        let library = Some(PathBuf::from("/nowhere/libonnxruntime.so"));
        let error = RuntimeSettings { library, ..settings }.open().unwrap_err().to_string();
        let problem = match cfg!(feature = "ort") {
            // Unless another test has loaded one.
            true => "",
            false => "the program was built without it; build it with the feature `ort`",
        };
        assert!(error.starts_with(&format!("ONNX Runtime cannot be used: {problem}")), "{error}");
    }
}
