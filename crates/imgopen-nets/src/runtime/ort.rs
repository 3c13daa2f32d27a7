//! ONNX Runtime, from a library that is loaded from a path, on the processor or on a GPU.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::{self, ExecutionProviderDispatch};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, TensorElementType, TensorRef};

use super::provider::of_library;
use super::{Program, ProgramError, Provider, Runtime};
use crate::error::NetError;
use crate::onnx::Builder;
use crate::tensor::{Dimension, Tensor, Values};

/// The name of the runtime.
const NAME: &str = "ONNX Runtime";

/// The library that this process has loaded, with what it has set up. There can be one, which stays until the process ends.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The runtime ONNX Runtime. Runs of the same net wait for each other, because its library has had faults where they did not.
#[derive(Debug, Clone)]
pub struct Ort {
    environment: Environment,
    settings: OrtSettings,
}

/// The settings of ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrtSettings {
    /// The library, such as `libonnxruntime.so.1.32.0` out of the Python package `onnxruntime`, of version 1.17 or newer. A
    /// library for a GPU needs those of the GPU's maker where the system finds them.
    pub library: PathBuf,
    /// What runs the nets, the preferred first: each takes the operators that it has, and leaves the others to those after it, in
    /// the end to the processor. Without any, the processor runs them all.
    pub providers: Vec<Provider>,
    /// The threads of each net on the processor.
    pub threads: NonZeroUsize,
}

/// A model that ONNX Runtime has loaded.
struct Loaded {
    session: Mutex<Session>,
}

impl Ort {
    /// Loads the library, if this process has not loaded it yet.
    ///
    /// # Errors
    ///
    /// [`NetError::Runtime`] if there is no such library, it is too old, the process has loaded another one, or one of the
    /// providers is not there.
    pub fn open(settings: OrtSettings) -> Result<Self, NetError> {
        let problem = |problem: String| NetError::Runtime { runtime: NAME, problem };
        let environment = environment(&settings.library).map_err(problem)?;
        let runtime = Self { environment, settings };
        if !runtime.settings.providers.is_empty() {
            let cannot = |error: ProgramError| problem(format!("a provider of the settings cannot be used: {error}"));
            runtime.load(smallest(), None).map_err(cannot)?;
        }
        Ok(runtime)
    }
}

/// Returns a net that copies a number, to see whether nets can be loaded at all.
fn smallest() -> Vec<u8> {
    let mut builder = Builder::new(0, ["x".to_owned(), "y".to_owned()]);
    builder.input("x", &[Dimension::Fixed(1)]);
    builder.output("y", &[Dimension::Fixed(1)]);
    builder.node_as("Identity", &["x"], "y", &[]);
    builder.finish()
}

fn environment(library: &Path) -> Result<Environment, String> {
    // Otherwise the system would look for a name without directories elsewhere.
    let library = &std::path::absolute(library).map_err(|error| error.to_string())?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*loaded {
        Some((path, environment)) if path == library => return Ok(environment.clone()),
        Some(_) => return Err("another library of it is loaded; restart the program to use this one".to_owned()),
        None => {}
    }
    if !library.is_file() {
        let name = library.file_name().unwrap_or_default().to_string_lossy();
        return Err(format!("there is no library \"{name}\" at the path that the settings give"));
    }
    let builder = ort::init_from(library).map_err(|error| format!("its library cannot be loaded: {error}"))?;
    let environment = builder.with_name("imgopen").with_telemetry(false).build().map_err(|error| error.to_string())?;
    *loaded = Some((library.to_owned(), environment.clone()));
    Ok(environment)
}

/// Returns what registers a provider; `None` for the processor, which is always there.
fn dispatch(provider: Provider) -> Option<ExecutionProviderDispatch> {
    let provider = match provider {
        Provider::Cpu => return None,
        Provider::Cuda(device) => ep::CUDA::default().with_device_id(device.into()).build(),
        Provider::TensorRt(device) => ep::TensorRT::default().with_device_id(device.into()).build(),
        Provider::MiGraphX(device) => ep::MIGraphX::default().with_device_id(device.into()).build(),
        Provider::DirectMl(device) => ep::DirectML::default().with_device_id(device.into()).build(),
        Provider::CoreMl => ep::CoreML::default().build(),
    };
    // Otherwise nets would silently run on the processor.
    Some(provider.error_on_failure())
}

impl Runtime for Ort {
    fn name(&self) -> &'static str {
        NAME
    }

    fn variant(&self) -> String {
        of_library(&self.settings.library, &self.settings.providers)
    }

    fn load(&self, model: Vec<u8>, _: Option<usize>) -> Result<Box<dyn Program>, ProgramError> {
        let builder = Session::builder(&self.environment).map_err(|error| error.to_string())?;
        let builder = builder.with_intra_threads(self.settings.threads.get()).map_err(|error| error.to_string())?;
        let providers: Vec<_> = self.settings.providers.iter().copied().filter_map(dispatch).collect();
        let mut builder = match providers.is_empty() {
            true => builder,
            false => builder.with_execution_providers(providers).map_err(|error| error.to_string())?,
        };
        let session = builder.commit_from_memory(&model).map_err(|error| error.to_string())?;
        Ok(Box::new(Loaded { session: Mutex::new(session) }))
    }
}

impl Program for Loaded {
    fn run(&self, inputs: &[(&str, &Tensor)], outputs: &[usize]) -> Result<Vec<Tensor>, ProgramError> {
        // A run that panicked has left nothing behind in it.
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let fitted = fitted(&session, inputs)?;
        let mut given: Vec<(&str, SessionInputValue<'_>)> = Vec::new();
        for ((name, tensor), fitted) in inputs.iter().zip(&fitted) {
            given.push((*name, value(tensor, fitted.as_ref()).map_err(|error| error.to_string())?));
        }
        let names: Vec<String> = session.outputs().iter().map(|output| output.name().to_owned()).collect();
        let values = session.run(given).map_err(|error| error.to_string())?;
        let wanted = outputs.iter().filter_map(|index| values.get(names.get(*index)?));
        Ok(wanted.map(tensor).collect::<Result<Vec<_>, String>>()?)
    }
}

/// Elements as an input takes them, of a type that tensors do not have.
enum Fitted {
    Narrow(Vec<i32>),
    Double(Vec<f64>),
}

/// Returns the elements of the inputs that are whole numbers of 32 bits, or numbers with a fraction of 64.
fn fitted(session: &Session, inputs: &[(&str, &Tensor)]) -> Result<Vec<Option<Fitted>>, String> {
    let fitted = |(name, tensor): &(&str, &Tensor)| {
        let declared = session.inputs().iter().find(|input| input.name() == *name);
        let kind = declared.and_then(|input| input.dtype().tensor_type());
        match tensor.values() {
            Values::I64(values) if kind == Some(TensorElementType::Int32) => {
                let narrow = values.iter().map(|value| i32::try_from(*value)).collect::<Result<Vec<_>, _>>();
                let narrow = narrow.map_err(|_| format!("`{name}` has a number of more than 32 bits"))?;
                Ok(Some(Fitted::Narrow(narrow)))
            }
            Values::F32(values) if kind == Some(TensorElementType::Float64) => {
                Ok(Some(Fitted::Double(values.iter().copied().map(f64::from).collect())))
            }
            _ => Ok(None),
        }
    };
    inputs.iter().map(fitted).collect()
}

fn value<'a>(tensor: &'a Tensor, fitted: Option<&'a Fitted>) -> ort::Result<SessionInputValue<'a>> {
    let shape = tensor.shape().to_vec();
    Ok(match (fitted, tensor.values()) {
        (Some(Fitted::Narrow(values)), _) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),
        (Some(Fitted::Double(values)), _) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),
        (None, Values::F32(values)) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),
        (None, Values::U8(values)) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),
        (None, Values::I64(values)) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),
    })
}

fn tensor(value: &DynValue) -> Result<Tensor, String> {
    let kind = value.dtype().tensor_type();
    let (shape, values) = match kind {
        Some(TensorElementType::Float32) => {
            let (shape, values) = value.try_extract_tensor::<f32>().map_err(|error| error.to_string())?;
            (shape, Values::F32(values.to_vec()))
        }
        Some(TensorElementType::Float64) => {
            let (shape, values) = value.try_extract_tensor::<f64>().map_err(|error| error.to_string())?;
            (shape, Values::F32(values.iter().map(|value| *value as f32).collect()))
        }
        Some(TensorElementType::Uint8) => {
            let (shape, values) = value.try_extract_tensor::<u8>().map_err(|error| error.to_string())?;
            (shape, Values::U8(values.to_vec()))
        }
        Some(TensorElementType::Int64) => {
            let (shape, values) = value.try_extract_tensor::<i64>().map_err(|error| error.to_string())?;
            (shape, Values::I64(values.to_vec()))
        }
        Some(TensorElementType::Int32) => {
            let (shape, values) = value.try_extract_tensor::<i32>().map_err(|error| error.to_string())?;
            (shape, Values::I64(values.iter().copied().map(i64::from).collect()))
        }
        Some(TensorElementType::Bool) => {
            let (shape, values) = value.try_extract_tensor::<bool>().map_err(|error| error.to_string())?;
            (shape, Values::I64(values.iter().copied().map(i64::from).collect()))
        }
        Some(other) => return Err(format!("it returns a tensor of type {other}")),
        None => return Err("it returns a value that is not a tensor".to_owned()),
    };
    let shape = shape.iter().map(|side| usize::try_from(*side)).collect::<Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| "it returns a tensor with a negative dimension".to_owned())?;
    Tensor::new(shape, values).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
