//! A net that is loaded, and its runs.

use std::fmt;
use std::path::Path;

use crate::error::NetError;
use crate::guard::guarded;
use crate::model::{self, Limits, ModelFile};
use crate::runtime::{Program, ProgramError, Runtime};
use crate::tensor::{ElementType, Port, Tensor, Values, shown};

/// The most elements of an input that a trial makes up.
const MADE_UP: usize = 64 * 1024 * 1024;

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
    /// [`NetError::File`] if it cannot be read, exceeds the limits, or the runtime does not support it; [`NetError::Runtime`] if the
    /// runtime does not work; [`NetError::Killed`] if the process that loads it was ended from outside.
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
        let refused = |problem: String| NetError::File { file: name.to_owned(), problem };
        let program = guarded(|| runtime.load(bytes, limits.side))
            .map_err(|error| named(error, name, runtime.name(), refused))?;
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
    /// memory than the limits allow; [`NetError::Run`] if the runtime fails, or the net returns numbers that are not finite;
    /// [`NetError::Killed`] and [`NetError::Runtime`] if the process that runs it was ended from outside, in this run or before it.
    pub fn run<const N: usize>(&self, inputs: &[(&str, &Tensor)], outputs: [&str; N]) -> Result<[Tensor; N], NetError> {
        let unfit = |problem: String| NetError::Use { file: self.file.name().to_owned(), problem };
        let failed = |problem: String| NetError::Run { file: self.file.name().to_owned(), problem };
        let given = self.given(inputs).map_err(unfit)?;
        let wanted = outputs.iter().map(|name| self.index(name)).collect::<Result<Vec<_>, _>>().map_err(unfit)?;
        let shapes: Vec<_> = inputs.iter().map(|(name, tensor)| (*name, tensor.shape())).collect();
        self.file.working(&shapes)?;
        let results = guarded(|| self.program.run(&given, &wanted));
        let results = results.map_err(|error| named(error, self.file.name(), self.runtime, failed))?;
        if let Some((name, _)) = outputs.iter().zip(&results).find(|(_, tensor)| !tensor.is_finite()) {
            return Err(failed(format!("its output `{name}` has numbers that are not finite")));
        }
        results.try_into().map_err(|results: Vec<_>| failed(format!("{} results in place of {N}", results.len())))
    }

    /// Runs the net once on made-up numbers, and returns its first output, so that what cannot be carried out is known before a
    /// job needs it. Pictures of which the file does not say how large they are get sides of that length.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); [`NetError::Use`] also if an input cannot be made up.
    pub fn trial(&self, side: usize) -> Result<Tensor, NetError> {
        let unfit = |problem: String| NetError::Use { file: self.file.name().to_owned(), problem };
        let mut made = Vec::new();
        for port in self.file.inputs() {
            made.push((port.name.as_str(), made_up(port, side).map_err(unfit)?));
        }
        let inputs: Vec<(&str, &Tensor)> = made.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let output = self.file.outputs().first().ok_or_else(|| unfit("it has no output".to_owned()))?;
        let [made] = self.run(&inputs, [output.name.as_str()])?;
        Ok(made)
    }

    /// Returns whether it cannot run any more, for reasons of its runtime, and has to be loaded again.
    pub(crate) fn has_ended(&self) -> bool {
        self.program.has_ended()
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

/// Names the net in an error of its runtime. `of_model` makes that of a model that is at fault.
fn named(
    error: ProgramError,
    file: &str,
    runtime: &'static str,
    of_model: impl FnOnce(String) -> NetError,
) -> NetError {
    match error {
        ProgramError::Model(problem) => of_model(problem),
        ProgramError::Runtime(problem) => NetError::Runtime { runtime, problem },
        ProgramError::Killed(problem) => NetError::Killed { file: file.to_owned(), problem },
    }
}

fn listed(ports: &[Port]) -> String {
    ports.iter().map(|port| format!("`{}`", port.name)).collect::<Vec<_>>().join(", ")
}

/// Makes up an input: sides of pictures that the file leaves open have that length, and other dimensions are 1. Numbers are from 0 to
/// 1, and differ, because some nets divide by what they differ by.
fn made_up(port: &Port, side: usize) -> Result<Tensor, String> {
    const LEVELS: usize = 256;
    let shape = port.with_sides(side).unwrap_or_default();
    let count = shape.iter().try_fold(1_usize, |count, length| count.checked_mul(*length));
    let count = count.filter(|count| *count <= MADE_UP);
    let count = count.ok_or_else(|| format!("its input `{}` of {} is too large", port.name, shown(&shape)))?;
    // A prime number of steps from one to the next.
    let level = |index: usize| index.wrapping_mul(7919) % LEVELS;
    let values: Values = match port.element {
        ElementType::F32 | ElementType::F64 => {
            (0..count).map(|index| level(index) as f32 / (LEVELS - 1) as f32).collect::<Vec<f32>>().into()
        }
        ElementType::U8 => (0..count).map(|index| level(index) as u8).collect::<Vec<u8>>().into(),
        ElementType::I32 | ElementType::I64 => vec![1_i64; count].into(),
        ElementType::Bool | ElementType::Other(_) => {
            return Err(format!("its input `{}` has elements of {}", port.name, port.element));
        }
    };
    Tensor::new(shape, values).map_err(|error| error.to_string())
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("file", &self.file.name()).field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
