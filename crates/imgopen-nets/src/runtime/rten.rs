//! rten, in Rust: nothing to install, on the processor.

use std::num::NonZeroUsize;
use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView, ValueView};
use rten_tensor::prelude::*;

use super::{Program, ProgramError, Runtime};
use crate::convolutions;
use crate::onnx::outline;
use crate::tensor::{Tensor, Values};

/// The name of the runtime.
pub(super) const NAME: &str = "rten";

/// The runtime `rten`. All its nets share its threads. What rten computes while it loads a model, it does on threads of its own,
/// one for each core, which sleep otherwise.
#[derive(Debug, Clone)]
pub struct Rten {
    threads: Arc<ThreadPool>,
}

/// A model that rten has loaded.
struct Loaded {
    model: Model,
    threads: Arc<ThreadPool>,
}

impl Rten {
    /// Creates the runtime with that many threads for all runs together.
    pub fn new(threads: NonZeroUsize) -> Self {
        Self { threads: Arc::new(ThreadPool::with_num_threads(threads.get())) }
    }
}

impl Runtime for Rten {
    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, model: Vec<u8>, side: Option<usize>) -> Result<Box<dyn Program>, ProgramError> {
        let outline = outline::read(&model, u64::MAX)?;
        if let Some(operator) = differs(&outline) {
            return Err(format!("rten carries out {operator}").into());
        }
        let model = convolutions::rewritten(model, &outline, side);
        let model = ModelOptions::with_all_ops().load(model).map_err(|error| error.to_string())?;
        if (model.input_ids().len(), model.output_ids().len()) != (outline.inputs.len(), outline.outputs.len()) {
            return Err("an input or output is also a constant".to_owned().into());
        }
        Ok(Box::new(Loaded { model, threads: self.threads.clone() }))
    }
}

/// Names what rten would carry out in another way than the model means, without saying so.
fn differs(outline: &outline::Outline) -> Option<&'static str> {
    let is_cubic = |node: &outline::Node| node.is("Resize") && node.text("mode") == Some("cubic");
    outline
        .nodes
        .iter()
        .chain(&outline.nested)
        .any(is_cubic)
        .then_some("`Resize` with the mode `cubic` by linear interpolation")
}

impl Program for Loaded {
    fn run(&self, inputs: &[(&str, &Tensor)], outputs: &[usize]) -> Result<Vec<Tensor>, ProgramError> {
        let ids = self.model.input_ids().iter().zip(inputs);
        let given = ids.map(|(id, (name, tensor))| given(*id, name, tensor)).collect::<Result<Vec<_>, _>>()?;
        let outputs: Vec<NodeId> =
            outputs.iter().filter_map(|index| self.model.output_ids().get(*index)).copied().collect();
        let options = RunOptions::default().with_thread_pool(Some(self.threads.clone()));
        let values = self.model.run(given, &outputs, Some(options)).map_err(|error| error.to_string())?;
        Ok(values.into_iter().map(tensor).collect::<Result<Vec<_>, String>>()?)
    }
}

fn given<'a>(id: NodeId, name: &str, tensor: &'a Tensor) -> Result<(NodeId, ValueOrView<'a>), String> {
    let shape = tensor.shape();
    let value = match tensor.values() {
        Values::F32(values) => ValueView::from_shape(shape, values).map_err(|error| error.to_string())?.into(),
        Values::U8(values) => ValueView::from_shape(shape, values).map_err(|error| error.to_string())?.into(),
        // It has no wider ones.
        Values::I64(values) => {
            let narrow = values.iter().map(|value| i32::try_from(*value)).collect::<Result<Vec<_>, _>>();
            let narrow = narrow.map_err(|_| format!("`{name}` has a number of more than 32 bits"))?;
            Value::from_shape(shape, narrow).map_err(|error| error.to_string())?.into()
        }
    };
    Ok((id, value))
}

fn tensor(value: Value) -> Result<Tensor, String> {
    let (shape, values) = match value {
        Value::FloatTensor(tensor) => (tensor.shape().to_vec(), Values::F32(tensor.into_data())),
        Value::UInt8Tensor(tensor) => (tensor.shape().to_vec(), Values::U8(tensor.into_data())),
        Value::Int32Tensor(tensor) => {
            let shape = tensor.shape().to_vec();
            (shape, Values::I64(tensor.into_data().into_iter().map(i64::from).collect()))
        }
        other => return Err(format!("it returns a value of type {}", other.dtype())),
    };
    Tensor::new(shape, values).map_err(|error| error.to_string())
}
