//! A net that is loaded, and its runs.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::error::NetError;
use crate::model::{self, Limits, ModelFile};
use crate::runtime::{Program, Runtime};
use crate::tensor::{Port, Tensor, shown};

/// A net that a runtime has loaded.
///
/// Runtimes are written for models that are as they should be: they panic, or fail assertions, on some that are not. A panic is
/// caught where a runtime is called, and reported as an error that names the file. The net can be used afterwards, because runs
/// share nothing that changes but caches of memory.
///
/// ```no_run
/// use std::num::NonZeroUsize;
/// use std::path::Path;
///
/// use imgopen_nets::{Limits, Net, Tensor, runtime::Rten};
///
/// let runtime = Rten::new(NonZeroUsize::MIN);
/// let net = Net::open(Path::new("models/segmentation.onnx"), &runtime, &Limits::default())?;
/// let picture = Tensor::new([1, 256, 256, 3], vec![0.5_f32; 256 * 256 * 3])?;
/// let [mask] = net.run(&[("input", &picture)], ["mask"])?;
/// println!("{:?}, by {}", mask.shape(), net.file().hash());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Net {
    file: ModelFile,
    runtime: &'static str,
    program: Box<dyn Program>,
}

impl Net {
    /// Loads a model file.
    ///
    /// # Errors
    ///
    /// [`NetError::File`] if it cannot be read, exceeds the limits, or the runtime does not support it.
    pub fn open(path: &Path, runtime: &dyn Runtime, limits: &Limits) -> Result<Self, NetError> {
        let (name, bytes) = model::read(path, limits)?;
        Self::from_bytes(&name, bytes, runtime, limits)
    }

    /// Loads a model from the bytes of its file. Messages call it by `name`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn from_bytes(name: &str, bytes: Vec<u8>, runtime: &dyn Runtime, limits: &Limits) -> Result<Self, NetError> {
        let file = ModelFile::from_bytes(name, &bytes, limits)?;
        let program = guarded(|| runtime.load(bytes));
        let program = program.map_err(|problem| NetError::File { file: name.to_owned(), problem })?;
        Ok(Self { file, runtime: runtime.name(), program })
    }

    /// Returns what is known of the model file.
    pub fn file(&self) -> &ModelFile {
        &self.file
    }

    /// Returns the name of the runtime.
    pub fn runtime(&self) -> &'static str {
        self.runtime
    }

    /// Runs the net with all its inputs, in any order, and returns the outputs with those names. A run cannot be stopped.
    ///
    /// # Errors
    ///
    /// [`NetError::Use`] if there are other inputs or outputs, an input has another shape or type, or the run would take more
    /// memory than the limits allow; [`NetError::Run`] if the runtime fails, or the net returns numbers that are not finite.
    pub fn run<const N: usize>(&self, inputs: &[(&str, &Tensor)], outputs: [&str; N]) -> Result<[Tensor; N], NetError> {
        let unfit = |problem: String| NetError::Use { file: self.file.name().to_owned(), problem };
        let failed = |problem: String| NetError::Run { file: self.file.name().to_owned(), problem };
        let given = self.given(inputs).map_err(unfit)?;
        let wanted = outputs.iter().map(|name| self.index(name)).collect::<Result<Vec<_>, _>>().map_err(unfit)?;
        let shapes: Vec<_> = inputs.iter().map(|(name, tensor)| (*name, tensor.shape())).collect();
        self.file.working(&shapes)?;
        let results = guarded(|| self.program.run(&given, &wanted)).map_err(failed)?;
        if let Some((name, _)) = outputs.iter().zip(&results).find(|(_, tensor)| !tensor.is_finite()) {
            return Err(failed(format!("its output `{name}` has numbers that are not finite")));
        }
        results.try_into().map_err(|results: Vec<_>| failed(format!("{} results in place of {N}", results.len())))
    }

    /// Returns the inputs in the order of the file.
    fn given<'a>(&'a self, inputs: &[(&str, &'a Tensor)]) -> Result<Vec<(&'a str, &'a Tensor)>, String> {
        let ports = self.file.inputs();
        if let Some((name, _)) = inputs.iter().find(|(name, _)| ports.iter().all(|port| port.name != *name)) {
            return Err(format!("it has no input `{name}`; its inputs are {}", listed(ports)));
        }
        if inputs.len() > ports.len() {
            return Err(format!("{} inputs are given; it has {}", inputs.len(), ports.len()));
        }
        let given = |port: &'a Port| {
            let found = inputs.iter().find(|(name, _)| *name == port.name);
            let (_, tensor) = found.ok_or_else(|| format!("its input `{}` is not given", port.name))?;
            if !tensor.values().fits(port.element) {
                return Err(format!("its input `{}` has elements of {}; others are given", port.name, port.element));
            }
            if !port.takes(tensor.shape()) {
                let declared = port.shape.as_deref().map(shown).unwrap_or_default();
                let given = shown(tensor.shape());
                return Err(format!("its input `{}` has the shape {declared}; {given} is given", port.name));
            }
            Ok((port.name.as_str(), *tensor))
        };
        ports.iter().map(given).collect()
    }

    fn index(&self, output: &str) -> Result<usize, String> {
        let ports = self.file.outputs();
        let index = ports.iter().position(|port| port.name == output);
        index.ok_or_else(|| format!("it has no output `{output}`; its outputs are {}", listed(ports)))
    }
}

fn listed(ports: &[Port]) -> String {
    ports.iter().map(|port| format!("`{}`", port.name)).collect::<Vec<_>>().join(", ")
}

/// Calls a runtime, and turns a panic into an error.
fn guarded<T>(call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the runtime panicked: {}", text.unwrap_or("it does not say why"))
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("file", &self.file.name()).field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
