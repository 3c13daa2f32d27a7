//! PyTorch: the weights in `.pth` files, by a reader of pickles that runs no code.
//!
//! The form is the one that `torch.save` wrote before PyTorch 1.6: a mark, three pickles (of the machine that wrote the file, of the
//! tensors, of the keys of storages), and then the elements of each storage. Files of later versions are zip archives, which are
//! refused by name.

mod cursor;
mod opcode;
mod pickle;
mod problems;

use std::collections::HashMap;

use self::cursor::Cursor;
use self::pickle::{Arena, Kind, Value, View};
pub(super) use self::problems::FORMAT;
use self::problems::{broken, unsupported};
use crate::convert::ConvertError;

/// The pickles of the number by which such files are recognised, and of the number of their form, 1001.
const HEAD: [u8; 21] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";

/// What is said of files of later versions, and what to do.
const ZIP: &str = "it is a zip archive, as PyTorch 1.6 and later write; have PyTorch write it in the earlier form: \
                   `torch.save(torch.load(path, weights_only=True), path, _use_new_zipfile_serialization=False)`";

/// The end of the names of numbers that only training needs.
const COUNTER: &str = ".num_batches_tracked";

/// The tensors of a file, by their names.
#[derive(Debug)]
pub(super) struct State<'a> {
    tensors: HashMap<&'a str, Tensor<'a>>,
}

#[derive(Debug)]
struct Tensor<'a> {
    kind: Kind,
    view: View,
    /// The storage.
    data: &'a [u8],
}

/// Reads the tensors of a file.
pub(super) fn read(file: &[u8]) -> Result<State<'_>, ConvertError> {
    let Some(rest) = file.strip_prefix(&HEAD) else {
        return Err(match file.starts_with(b"PK") {
            true => unsupported(ZIP),
            false => broken("it does not begin as one"),
        });
    };
    let mut cursor = Cursor::new(rest);
    check_machine(&mut cursor)?;
    let (value, arena) = pickle::load(&mut cursor)?;
    let entries = arena.dict(value).ok_or_else(|| broken("its tensors have no names"))?;
    let storages = storages(&mut cursor, &arena)?;
    let mut tensors = HashMap::new();
    for (name, value) in entries {
        let (Value::Text(name), Some(view)) = (name, arena.tensor(*value)) else {
            return Err(unsupported("it has an entry that is not a tensor with a name"));
        };
        let storage = arena.storages.get(view.storage).zip(storages.get(view.storage).copied());
        let (storage, data) = storage.ok_or_else(|| broken(format!("the tensor `{name}` has no data")))?;
        let tensor = Tensor { kind: storage.kind, view: view.clone(), data };
        if tensors.insert(*name, tensor).is_some() {
            return Err(broken(format!("it has two tensors with the name `{name}`")));
        }
    }
    Ok(State { tensors })
}

/// Checks that the numbers of a file are little-endian.
fn check_machine(cursor: &mut Cursor<'_>) -> Result<(), ConvertError> {
    let (value, arena) = pickle::load(cursor)?;
    let entries = arena.dict(value).unwrap_or_default();
    match entries.contains(&(Value::Text("little_endian"), Value::Bool(true))) {
        true => Ok(()),
        false => Err(unsupported("its numbers are not said to be little-endian")),
    }
}

/// Reads the elements of all storages, in the order of the arena. Nothing may follow them.
fn storages<'a>(cursor: &mut Cursor<'a>, arena: &Arena<'_>) -> Result<Vec<&'a [u8]>, ConvertError> {
    let (value, list) = pickle::load(cursor)?;
    let keys = list.sequence(value).ok_or_else(|| broken("it does not list its storages"))?;
    let mut data = vec![None; arena.storages.len()];
    for key in keys {
        let Value::Text(key) = key else { return Err(broken("the key of a storage is not a text")) };
        let index = arena.keys.get(*key).copied().unwrap_or(usize::MAX);
        let (Some(slot), Some(storage)) = (data.get_mut(index), arena.storages.get(index)) else {
            return Err(broken(format!("no tensor has the storage `{key}`")));
        };
        let count = usize::try_from(u64::from_le_bytes(cursor.array()?)).ok();
        if count != Some(storage.count) {
            return Err(broken(format!("the storage `{key}` has another number of elements than its tensors say")));
        }
        let bytes = storage.count.checked_mul(storage.kind.size());
        let bytes = bytes.ok_or_else(|| broken(format!("the storage `{key}` is too large")))?;
        if slot.replace(cursor.take(bytes)?).is_some() {
            return Err(broken(format!("the storage `{key}` is there twice")));
        }
    }
    if cursor.left() > 0 {
        return Err(broken(format!("{} bytes follow its last storage", cursor.left())));
    }
    data.into_iter().collect::<Option<_>>().ok_or_else(|| broken("it lacks the data of a storage"))
}

impl State<'_> {
    /// Takes a tensor of numbers of single precision out, and returns them in row-major order, bit for bit.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<u8>, ConvertError> {
        let tensor = self.tensors.remove(name).ok_or_else(|| broken(format!("it has no tensor `{name}`")))?;
        if tensor.view.shape != shape {
            let found = &tensor.view.shape;
            return Err(broken(format!("the tensor `{name}` has the dimensions {found:?} in place of {shape:?}")));
        }
        match tensor.kind {
            Kind::F32 => tensor.elements().ok_or_else(|| broken(format!("the tensor `{name}` has no data"))),
            Kind::I64 => Err(broken(format!("the tensor `{name}` has whole numbers"))),
        }
    }

    /// Checks that nothing is left but what only training needs.
    pub fn finish(self) -> Result<(), ConvertError> {
        match self.tensors.keys().filter(|name| !name.ends_with(COUNTER)).min() {
            Some(name) => Err(unsupported(format!("it has the tensor `{name}`, which its architecture does not"))),
            None => Ok(()),
        }
    }
}

impl Tensor<'_> {
    /// Returns the elements, of four bytes each, in row-major order.
    fn elements(&self) -> Option<Vec<u8>> {
        let View { offset, shape, strides, .. } = &self.view;
        let data = self.data.as_chunks::<4>().0;
        // That the product is at most the number of elements in the storage was checked.
        let count = shape.iter().product::<usize>();
        let mut elements = Vec::with_capacity(count * 4);
        for index in 0..count {
            let (mut rest, mut at) = (index, *offset);
            for (side, stride) in shape.iter().zip(strides).rev() {
                at += rest % side * stride;
                rest /= side;
            }
            elements.extend(data.get(at)?);
        }
        Some(elements)
    }
}

#[cfg(test)]
pub(super) mod tests;
