//! What a TFLite file contains, by its schema.

use super::flatbuffer::{Ints, Table};
use super::names;
use super::problems::{broken, unsupported};
use crate::convert::ConvertError;

/// The most tensors, buffers, operators and kinds of operator.
const MOST: usize = 65_536;

/// The most inputs, and the most outputs, of the graph.
const MOST_PORTS: usize = 64;

/// The most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 8;

/// The element types, as `TensorType` numbers them.
const FLOAT32: u8 = 0;
const FLOAT16: u8 = 1;
const INT32: u8 = 2;

/// The one graph of a file.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub tensors: Vec<Tensor<'a>>,
    /// Indexes of tensors.
    pub inputs: Vec<usize>,
    /// Indexes of tensors.
    pub outputs: Vec<usize>,
    /// In an order in which they can run.
    pub operators: Vec<Operator<'a>>,
}

#[derive(Debug, Clone)]
pub(super) struct Tensor<'a> {
    pub name: &'a str,
    /// The dimensions, each at least 1.
    pub shape: Vec<usize>,
    kind: u8,
    /// Its elements, if it is a constant.
    data: &'a [u8],
    is_sparse: bool,
}

/// The elements of a constant, as little-endian bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Data<'a> {
    F32(&'a [u8]),
    F16(&'a [u8]),
    I32(&'a [u8]),
}

#[derive(Debug, Clone)]
pub(super) struct Operator<'a> {
    /// The name, such as `CONV_2D`, or that of a custom operator.
    pub name: &'a str,
    inputs: Ints<'a>,
    /// The index of its first output. None of the operators that are converted has another one.
    pub output: usize,
    options: Option<Table<'a>>,
    /// The options of a custom operator.
    pub custom: &'a [u8],
    /// How many tensors there are.
    tensors: usize,
}

impl<'a> Model<'a> {
    pub fn read(file: &'a [u8]) -> Result<Self, ConvertError> {
        if file.get(4..8) != Some(b"TFL3") {
            return Err(broken("it does not have the mark `TFL3`"));
        }
        let model = Table::root(file)?;
        let codes = model.tables(1, MOST)?.iter().map(code).collect::<Result<Vec<_>, _>>()?;
        let graphs = model.tables(2, MOST)?;
        let [graph] = graphs[..] else {
            return Err(unsupported(format!("it has {} graphs; one is converted", graphs.len())));
        };
        let buffers = model.tables(4, MOST)?.iter().map(buffer).collect::<Result<Vec<_>, _>>()?;
        let tensors = graph.tables(0, MOST)?;
        let tensors = tensors.iter().map(|table| tensor(table, &buffers)).collect::<Result<Vec<_>, _>>()?;
        let operators = graph.tables(3, MOST)?;
        let operators = operators.iter().map(|table| operator(table, &codes, tensors.len()));
        let operators = operators.collect::<Result<Vec<_>, _>>()?;
        let [inputs, outputs] = [graph.ints(1)?, graph.ints(2)?].map(|list| indexes(list, tensors.len()));
        Ok(Self { inputs: inputs?, outputs: outputs?, operators, tensors })
    }
}

/// Returns the name of a kind of operator.
fn code<'a>(table: &Table<'a>) -> Result<&'a str, ConvertError> {
    // The field of one byte is from a time with fewer kinds, and ends at 127.
    let number = i32::from(table.u8(0)?).max(table.i32(3, 0)?);
    match names::builtin(number) {
        Some(names::CUSTOM) => match table.text(1)? {
            name if names::is_builtin(name) => Err(broken(format!("it has an operator of its own named `{name}`"))),
            name => Ok(name),
        },
        Some(name) => Ok(name),
        None => {
            Err(unsupported(format!("it has an operator with the number {number}, which is newer than this program")))
        }
    }
}

fn buffer<'a>(table: &Table<'a>) -> Result<&'a [u8], ConvertError> {
    if table.u32(1)? > 1 {
        return Err(unsupported(
            "it has weights behind the end of the FlatBuffer, as only files of more than 2 GB need",
        ));
    }
    table.bytes(0)
}

fn tensor<'a>(table: &Table<'a>, buffers: &[&'a [u8]]) -> Result<Tensor<'a>, ConvertError> {
    let name = table.text(3)?;
    let sides = table.ints(0)?;
    if sides.len() > MOST_DIMENSIONS {
        return Err(broken(format!("the tensor `{name}` has {} dimensions", sides.len())));
    }
    let side = |side: i32| usize::try_from(side).ok().filter(|side| *side > 0);
    let shape = sides.iter().map(side).collect::<Option<Vec<_>>>();
    let shape = shape.ok_or_else(|| broken(format!("the tensor `{name}` has a dimension that is not positive")))?;
    if shape.iter().try_fold(8_usize, |bytes, side| bytes.checked_mul(*side)).is_none() {
        return Err(broken(format!("the tensor `{name}` is larger than any memory")));
    }
    let buffer = usize::try_from(table.u32(2)?).ok().and_then(|index| buffers.get(index));
    let data = *buffer.ok_or_else(|| broken(format!("the tensor `{name}` has a buffer that is not there")))?;
    Ok(Tensor { name, shape, kind: table.u8(1)?, data, is_sparse: table.table(6)?.is_some() })
}

fn operator<'a>(table: &Table<'a>, codes: &[&'a str], tensors: usize) -> Result<Operator<'a>, ConvertError> {
    let code = usize::try_from(table.u32(0)?).ok().and_then(|index| codes.get(index));
    let name = *code.ok_or_else(|| broken("an operator has a kind that is not there"))?;
    let outputs = table.ints(2)?;
    let output = outputs.get(0).and_then(|index| position(index, tensors));
    let output = output.ok_or_else(|| broken(format!("`{name}` has no output")))?;
    Ok(Operator { name, inputs: table.ints(1)?, output, options: table.table(4)?, custom: table.bytes(5)?, tensors })
}

fn indexes(list: Ints<'_>, tensors: usize) -> Result<Vec<usize>, ConvertError> {
    if !(1..=MOST_PORTS).contains(&list.len()) {
        return Err(broken(format!("its graph has {} inputs or outputs", list.len())));
    }
    let indexes = list.iter().map(|index| position(index, tensors)).collect::<Option<_>>();
    indexes.ok_or_else(|| broken("an input or output of the graph is a tensor that is not there"))
}

fn position(index: i32, tensors: usize) -> Option<usize> {
    usize::try_from(index).ok().filter(|index| *index < tensors)
}

impl<'a> Tensor<'a> {
    pub fn is_f32(&self) -> bool {
        self.kind == FLOAT32
    }

    /// Returns the elements if it is a constant.
    pub fn constant(&self) -> Result<Option<Data<'a>>, ConvertError> {
        if self.data.is_empty() {
            return Ok(None);
        }
        let (name, data) = (self.name, self.data);
        if self.is_sparse {
            return Err(unsupported(format!("the tensor `{name}` is sparse")));
        }
        let (constant, size) = match self.kind {
            FLOAT32 => (Data::F32(data), 4),
            FLOAT16 => (Data::F16(data), 2),
            INT32 => (Data::I32(data), 4),
            other => return Err(unsupported(format!("the tensor `{name}` has elements of the type {other}"))),
        };
        match self.shape.iter().product::<usize>() * size == data.len() {
            true => Ok(Some(constant)),
            false => Err(broken(format!("the tensor `{name}` has {} bytes, which do not fit its shape", data.len()))),
        }
    }
}

impl<'a> Operator<'a> {
    /// Returns how many inputs are listed.
    pub fn inputs(&self) -> usize {
        self.inputs.len()
    }

    /// Returns the index of an input, if it is given.
    pub fn optional(&self, index: usize) -> Result<Option<usize>, ConvertError> {
        let missing = || broken(format!("`{}` has an input that is not there", self.name));
        match self.inputs.get(index) {
            None | Some(-1) => Ok(None),
            Some(tensor) => position(tensor, self.tensors).map(Some).ok_or_else(missing),
        }
    }

    /// Returns the index of an input.
    pub fn input(&self, index: usize) -> Result<usize, ConvertError> {
        let missing = || broken(format!("`{}` has no input {index}", self.name));
        self.optional(index)?.ok_or_else(missing)
    }

    /// Returns an option of one byte; 0 if it is left out.
    pub fn byte(&self, index: usize) -> Result<u8, ConvertError> {
        self.options.map_or(Ok(0), |options| options.u8(index))
    }

    pub fn int(&self, index: usize, default: i32) -> Result<i32, ConvertError> {
        self.options.map_or(Ok(default), |options| options.i32(index, default))
    }

    /// Returns an option that counts pixels or steps.
    pub fn count(&self, index: usize, default: i32) -> Result<usize, ConvertError> {
        let given = self.int(index, default)?;
        count(given).ok_or_else(|| broken(format!("`{}` has a step or a size of {given}", self.name)))
    }
}

/// Returns a number of pixels or steps, if it is one.
pub(super) fn count(given: i32) -> Option<usize> {
    usize::try_from(given).ok().filter(|count| (1..=65_536).contains(count))
}
