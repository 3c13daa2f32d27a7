//! Reads pickles without running any code: the opcodes that a dictionary of tensors needs, and nothing else.
//!
//! A pickle is a program for a machine with a stack. Python's own machine imports what a pickle names and calls it; this one knows
//! four names, and what calling them means. Values that hold others are numbers of entries in an [`Arena`], so that nothing is
//! copied or nested however a pickle refers to itself, and each opcode adds one entry at most.

use std::collections::HashMap;

use super::cursor::Cursor;
use super::opcode;
use super::problems::{broken, unsupported};
use crate::convert::ConvertError;

/// The most opcodes of a pickle. One with the 294 tensors of EfficientNet-Lite0 has some ten thousand.
const MOST: usize = 200_000;

/// The most dimensions of a tensor. A tuple of them takes few bytes to refer to, and each tensor has its own copy.
const MOST_DIMENSIONS: usize = 8;

/// The only protocol that is read.
const PROTOCOL: u8 = 2;

/// A value on the stack. The numbers are those of entries in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Name(Name),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

/// A name that a pickle may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    OrderedDict,
    RebuildTensor,
    Storage(Kind),
}

/// What the elements of a storage are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F32,
    I64,
}

/// A storage that a pickle names; its data come after the pickles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Storage {
    pub kind: Kind,
    /// The number of its elements.
    pub count: usize,
}

/// A tensor: which elements of a storage it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub storage: usize,
    pub offset: usize,
    pub shape: Vec<usize>,
    /// By how many elements each dimension advances.
    pub strides: Vec<usize>,
}

/// What a pickle has made.
#[derive(Debug, Default)]
pub(super) struct Arena<'a> {
    /// Tuples and lists.
    sequences: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub storages: Vec<Storage>,
    /// The storages by their keys.
    pub keys: HashMap<&'a str, usize>,
    tensors: Vec<View>,
}

/// Reads a pickle, and returns its value.
pub(super) fn load<'a>(cursor: &mut Cursor<'a>) -> Result<(Value<'a>, Arena<'a>), ConvertError> {
    let (stack, marks, memo) = (Vec::new(), Vec::new(), HashMap::new());
    Machine { cursor, stack, marks, memo, arena: Arena::default() }.run()
}

impl Kind {
    /// Returns how many bytes an element takes.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::I64 => 8,
        }
    }
}

impl<'a> Arena<'a> {
    /// Returns the entries of a tuple or a list.
    pub fn sequence(&self, value: Value<'_>) -> Option<&[Value<'a>]> {
        match value {
            Value::Tuple(index) | Value::List(index) => self.sequences.get(index).map(Vec::as_slice),
            _ => None,
        }
    }

    /// Returns the entries of a dictionary.
    pub fn dict(&self, value: Value<'_>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match value {
            Value::Dict(index) => self.dicts.get(index).map(Vec::as_slice),
            _ => None,
        }
    }

    pub fn tensor(&self, value: Value<'_>) -> Option<&View> {
        match value {
            Value::Tensor(index) => self.tensors.get(index),
            _ => None,
        }
    }

    /// Reads a tuple of whole numbers from 0, one for each dimension of a tensor.
    fn counts(&self, value: Value<'_>) -> Option<Vec<usize>> {
        let values = self.sequence(value).filter(|values| values.len() <= MOST_DIMENSIONS)?;
        values.iter().map(|value| count(*value)).collect()
    }
}

struct Machine<'a, 'c> {
    cursor: &'c mut Cursor<'a>,
    stack: Vec<Value<'a>>,
    /// The heights of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    arena: Arena<'a>,
}

impl<'a> Machine<'a, '_> {
    fn run(mut self) -> Result<(Value<'a>, Arena<'a>), ConvertError> {
        for _ in 0..MOST {
            let code = self.cursor.byte()?;
            if code == opcode::STOP {
                return Ok((self.pop()?, self.arena));
            }
            self.step(code)?;
        }
        Err(broken(format!("a pickle in it has more than {MOST} opcodes")))
    }

    fn step(&mut self, code: u8) -> Result<(), ConvertError> {
        match code {
            opcode::PROTO => return self.protocol(),
            opcode::MARK => self.marks.push(self.stack.len()),
            opcode::NONE => self.stack.push(Value::None),
            opcode::NEWTRUE | opcode::NEWFALSE => self.stack.push(Value::Bool(code == opcode::NEWTRUE)),
            opcode::BININT1 | opcode::BININT2 | opcode::BININT => return self.int(code),
            opcode::BINUNICODE => {
                let count = self.length()?;
                let text = self.cursor.text(count)?;
                self.stack.push(Value::Text(text));
            }
            opcode::EMPTY_TUPLE => self.tuple(Vec::new()),
            opcode::TUPLE => {
                let values = self.marked()?;
                self.tuple(values);
            }
            opcode::TUPLE1..=opcode::TUPLE3 => {
                let values = self.last(usize::from(code - opcode::TUPLE1) + 1)?;
                self.tuple(values);
            }
            opcode::EMPTY_LIST => {
                self.stack.push(Value::List(self.arena.sequences.len()));
                self.arena.sequences.push(Vec::new());
            }
            opcode::APPEND => return self.last(1).and_then(|values| self.append(values)),
            opcode::APPENDS => return self.marked().and_then(|values| self.append(values)),
            opcode::EMPTY_DICT => self.dict(),
            opcode::SETITEM => return self.last(2).and_then(|values| self.set(&values)),
            opcode::SETITEMS => return self.marked().and_then(|values| self.set(&values)),
            opcode::BINPUT | opcode::LONG_BINPUT => return self.put(code),
            opcode::BINGET | opcode::LONG_BINGET => return self.get(code),
            opcode::GLOBAL => return self.name(),
            opcode::BINPERSID => return self.storage(),
            opcode::REDUCE => return self.call(),
            opcode::BUILD => return self.build(),
            other => return Err(unsupported(format!("a pickle in it has the opcode {other:#04x}, which is not read"))),
        }
        Ok(())
    }

    fn protocol(&mut self) -> Result<(), ConvertError> {
        match self.cursor.byte()? {
            PROTOCOL => Ok(()),
            other => Err(unsupported(format!("it has a pickle of the protocol {other}; only {PROTOCOL} is read"))),
        }
    }

    fn int(&mut self, code: u8) -> Result<(), ConvertError> {
        let int = match code {
            opcode::BININT1 => i64::from(self.cursor.byte()?),
            opcode::BININT2 => i64::from(u16::from_le_bytes(self.cursor.array()?)),
            _ => i64::from(i32::from_le_bytes(self.cursor.array()?)),
        };
        self.stack.push(Value::Int(int));
        Ok(())
    }

    /// Reads the length of a text.
    fn length(&mut self) -> Result<usize, ConvertError> {
        let length = u32::from_le_bytes(self.cursor.array()?);
        usize::try_from(length).map_err(|_| broken("a text in it is too long"))
    }

    /// Takes the last value off the stack, down to the last mark.
    fn pop(&mut self) -> Result<Value<'a>, ConvertError> {
        let least = self.marks.last().copied().unwrap_or(0);
        let value = if self.stack.len() > least { self.stack.pop() } else { None };
        value.ok_or_else(|| broken("a pickle in it takes a value that is not there"))
    }

    /// Takes the last values off the stack, down to the last mark.
    fn last(&mut self, count: usize) -> Result<Vec<Value<'a>>, ConvertError> {
        let mut values = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        values.reverse();
        Ok(values)
    }

    /// Takes all values above the last mark off the stack, and the mark.
    fn marked(&mut self) -> Result<Vec<Value<'a>>, ConvertError> {
        let mark = self.marks.pop().ok_or_else(|| broken("a pickle in it takes a mark that is not there"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn tuple(&mut self, values: Vec<Value<'a>>) {
        self.stack.push(Value::Tuple(self.arena.sequences.len()));
        self.arena.sequences.push(values);
    }

    fn dict(&mut self) {
        self.stack.push(Value::Dict(self.arena.dicts.len()));
        self.arena.dicts.push(Vec::new());
    }

    /// Adds values to the list that is the last on the stack, and leaves it there.
    fn append(&mut self, values: Vec<Value<'a>>) -> Result<(), ConvertError> {
        let list = self.pop()?;
        self.stack.push(list);
        let Value::List(index) = list else { return Err(broken("a pickle in it appends to what is not a list")) };
        if let Some(list) = self.arena.sequences.get_mut(index) {
            list.extend(values);
        }
        Ok(())
    }

    /// Adds pairs to the dictionary that is the last on the stack, and leaves it there.
    fn set(&mut self, values: &[Value<'a>]) -> Result<(), ConvertError> {
        let dict = self.pop()?;
        self.stack.push(dict);
        let (pairs, []) = values.as_chunks::<2>() else {
            return Err(broken("a pickle in it sets a key without a value"));
        };
        let Value::Dict(index) = dict else { return Err(broken("a pickle in it sets entries of what has none")) };
        if let Some(dict) = self.arena.dicts.get_mut(index) {
            dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
        }
        Ok(())
    }

    fn place(&mut self, is_long: bool) -> Result<u32, ConvertError> {
        match is_long {
            true => self.cursor.array().map(u32::from_le_bytes),
            false => self.cursor.byte().map(u32::from),
        }
    }

    fn put(&mut self, code: u8) -> Result<(), ConvertError> {
        let place = self.place(code == opcode::LONG_BINPUT)?;
        let value = self.pop()?;
        self.stack.push(value);
        self.memo.insert(place, value);
        Ok(())
    }

    fn get(&mut self, code: u8) -> Result<(), ConvertError> {
        let place = self.place(code == opcode::LONG_BINGET)?;
        let value = self.memo.get(&place).copied();
        self.stack.push(value.ok_or_else(|| broken("a pickle in it refers to what it has not noted"))?);
        Ok(())
    }

    fn name(&mut self) -> Result<(), ConvertError> {
        let (module, name) = (self.cursor.line()?, self.cursor.line()?);
        let known = match (module, name) {
            ("collections", "OrderedDict") => Name::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Name::RebuildTensor,
            ("torch", "FloatStorage") => Name::Storage(Kind::F32),
            ("torch", "LongStorage") => Name::Storage(Kind::I64),
            _ => return Err(unsupported(format!("it refers to `{module}.{name}`, which is not read"))),
        };
        self.stack.push(Value::Name(known));
        Ok(())
    }

    /// Names a storage: the word `storage`, the kind, the key, the device, the number of elements, and which part of another.
    fn storage(&mut self) -> Result<(), ConvertError> {
        let named = self.pop()?;
        let (kind, key, elements) = match self.arena.sequence(named) {
            Some(
                &[Value::Text("storage"), Value::Name(Name::Storage(kind)), Value::Text(key), _, elements, Value::None],
            ) => (kind, key, elements),
            _ => return Err(unsupported("it refers to what is not a whole storage")),
        };
        let elements = count(elements).ok_or_else(|| broken("a storage has no number of elements"))?;
        let storage = Storage { kind, count: elements };
        let next = self.arena.storages.len();
        let index = *self.arena.keys.entry(key).or_insert(next);
        if index == next {
            self.arena.storages.push(storage);
        } else if self.arena.storages.get(index) != Some(&storage) {
            return Err(broken(format!("it has two storages with the key `{key}`")));
        }
        self.stack.push(Value::Storage(index));
        Ok(())
    }

    /// Does what calling a name means.
    fn call(&mut self) -> Result<(), ConvertError> {
        let (arguments, called) = (self.pop()?, self.pop()?);
        let arguments = match arguments {
            Value::Tuple(_) => self.arena.sequence(arguments),
            _ => None,
        };
        match (called, arguments) {
            (Value::Name(Name::OrderedDict), Some([])) => self.dict(),
            (Value::Name(Name::RebuildTensor), Some(values)) => {
                let view = view(values, &self.arena)?;
                self.stack.push(Value::Tensor(self.arena.tensors.len()));
                self.arena.tensors.push(view);
            }
            _ => return Err(unsupported("it calls what is not read, or with other arguments")),
        }
        Ok(())
    }

    /// Sets attributes of a dictionary, such as the versions of PyTorch's modules, which have no meaning here.
    fn build(&mut self) -> Result<(), ConvertError> {
        let (attributes, object) = (self.pop()?, self.pop()?);
        match (attributes, object) {
            (Value::Dict(_), Value::Dict(_)) => self.stack.push(object),
            _ => return Err(unsupported("it sets attributes of what is not a dictionary")),
        }
        Ok(())
    }
}

/// Reads the arguments that make a tensor: storage, offset, dimensions, strides, and two that only training needs.
fn view(arguments: &[Value<'_>], arena: &Arena<'_>) -> Result<View, ConvertError> {
    let [Value::Storage(storage), offset, shape, strides, Value::Bool(_), Value::Dict(_)] = arguments else {
        return Err(unsupported("it has a tensor that is made in another way"));
    };
    let read = || Some((count(*offset)?, arena.counts(*shape)?, arena.counts(*strides)?));
    let (offset, shape, strides) =
        read().ok_or_else(|| broken(format!("a tensor has no dimensions, or more than {MOST_DIMENSIONS}")))?;
    let view = View { storage: *storage, offset, shape, strides };
    let room = arena.storages.get(*storage).map_or(0, |storage| storage.count);
    match view.shape.len() == view.strides.len() && view.fits(room) {
        true => Ok(view),
        false => Err(broken("a tensor has more elements than its storage")),
    }
}

impl View {
    /// Returns whether a storage of that many elements has all of it, and no element is repeated without end.
    fn fits(&self, room: usize) -> bool {
        let elements = self.shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
        let last = self.shape.iter().zip(&self.strides).try_fold(self.offset, |at, (side, stride)| {
            side.saturating_sub(1).checked_mul(*stride).and_then(|steps| at.checked_add(steps))
        });
        match (elements, last) {
            (Some(0), _) => true,
            (Some(elements), Some(last)) => elements <= room && last < room,
            _ => false,
        }
    }
}

fn count(value: Value<'_>) -> Option<usize> {
    match value {
        Value::Int(int) => usize::try_from(int).ok(),
        _ => None,
    }
}
