//! The packs of the models directory that `IMGOPEN_TEST_MODELS` names.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use imgopen_neural::{Nets, RuntimeSettings, SessionSettings};

/// Returns them; `None` if the variable is not set. With the feature `ort`, they run in the library of ONNX Runtime that
/// `IMGOPEN_TEST_ONNXRUNTIME` names, if it does.
pub fn nets() -> Option<Nets> {
    let Some(models) = std::env::var_os("IMGOPEN_TEST_MODELS").map(PathBuf::from) else {
        eprintln!("IMGOPEN_TEST_MODELS is not set: nothing is tested");
        return None;
    };
    let library = std::env::var_os("IMGOPEN_TEST_ONNXRUNTIME").map(PathBuf::from).filter(|_| cfg!(feature = "ort"));
    let runtime = RuntimeSettings { threads: NonZeroUsize::new(2).unwrap(), library, providers: Vec::new() };
    Some(Nets::run_by(runtime.open().unwrap(), &models, SessionSettings::default()))
}
