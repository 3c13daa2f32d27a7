//! Reads FlatBuffers, the encoding of TFLite files. Every position is checked before it is used, and nothing is copied.

use super::problems::broken;
use crate::convert::ConvertError;

/// A table: fields at positions that its vtable lists.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    file: &'a [u8],
    at: usize,
    /// The positions of the fields from `at`, two bytes each; 0 for those that are left out.
    fields: &'a [u8],
}

/// A list of whole numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ints<'a> {
    bytes: &'a [[u8; 4]],
}

impl<'a> Table<'a> {
    /// Returns the table that a file begins with.
    pub fn root(file: &'a [u8]) -> Result<Self, ConvertError> {
        Self::read(file, follow(file, 0)?)
    }

    fn read(file: &'a [u8], at: usize) -> Result<Self, ConvertError> {
        let back = i64::from(i32::from_le_bytes(array(file, at)?));
        let vtable = i64::try_from(at).ok().and_then(|at| usize::try_from(at - back).ok());
        let vtable = vtable.ok_or_else(|| broken("a table has no list of fields"))?;
        let size = usize::from(u16::from_le_bytes(array(file, vtable)?));
        let fields = size.checked_sub(4).and_then(|size| part(file, vtable + 4, size));
        Ok(Self { file, at, fields: fields.ok_or_else(ends)? })
    }

    /// Returns the position of a field, if it is there.
    fn field(&self, index: usize) -> Option<usize> {
        let offset = u16::from_le_bytes(*self.fields.as_chunks().0.get(index)?);
        (offset != 0).then(|| self.at + usize::from(offset))
    }

    pub fn u8(&self, index: usize) -> Result<u8, ConvertError> {
        self.field(index).map_or(Ok(0), |at| array::<1>(self.file, at).map(|[byte]| byte))
    }

    pub fn i32(&self, index: usize, default: i32) -> Result<i32, ConvertError> {
        self.field(index).map_or(Ok(default), |at| array(self.file, at).map(i32::from_le_bytes))
    }

    pub fn u32(&self, index: usize) -> Result<u32, ConvertError> {
        self.field(index).map_or(Ok(0), |at| array(self.file, at).map(u32::from_le_bytes))
    }

    /// Returns a list of bytes; empty if it is left out.
    pub fn bytes(&self, index: usize) -> Result<&'a [u8], ConvertError> {
        self.list(index, 1)
    }

    pub fn text(&self, index: usize) -> Result<&'a str, ConvertError> {
        str::from_utf8(self.bytes(index)?).map_err(|_| broken("a name is not UTF-8"))
    }

    pub fn ints(&self, index: usize) -> Result<Ints<'a>, ConvertError> {
        Ok(Ints { bytes: self.list(index, 4)?.as_chunks().0 })
    }

    pub fn table(&self, index: usize) -> Result<Option<Table<'a>>, ConvertError> {
        let read = |at| Table::read(self.file, follow(self.file, at)?);
        self.field(index).map(read).transpose()
    }

    /// Returns a list of at most `most` tables; empty if it is left out.
    pub fn tables(&self, index: usize, most: usize) -> Result<Vec<Table<'a>>, ConvertError> {
        let Some(start) = self.field(index).map(|at| follow(self.file, at)).transpose()? else { return Ok(Vec::new()) };
        let count = self.list(index, 4)?.len() / 4;
        if count > most {
            return Err(broken(format!("a list has {count} tables; at most {most} are read")));
        }
        let table = |index: usize| {
            let at = start + 4 + 4 * index;
            Table::read(self.file, follow(self.file, at)?)
        };
        (0..count).map(table).collect()
    }

    /// Returns the content of a list whose elements have `size` bytes.
    fn list(&self, index: usize, size: usize) -> Result<&'a [u8], ConvertError> {
        let Some(at) = self.field(index) else { return Ok(&[]) };
        let start = follow(self.file, at)?;
        let count = usize::try_from(u32::from_le_bytes(array(self.file, start)?)).unwrap_or(usize::MAX);
        let content = count.checked_mul(size).and_then(|bytes| part(self.file, start + 4, bytes));
        content.ok_or_else(ends)
    }
}

impl Ints<'_> {
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn get(&self, index: usize) -> Option<i32> {
        self.bytes.get(index).copied().map(i32::from_le_bytes)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = i32> {
        self.bytes.iter().copied().map(i32::from_le_bytes)
    }
}

/// Returns the position that an offset leads to, which is counted from where it stands.
fn follow(file: &[u8], at: usize) -> Result<usize, ConvertError> {
    let offset = u32::from_le_bytes(array(file, at)?);
    usize::try_from(offset).ok().and_then(|offset| at.checked_add(offset)).ok_or_else(ends)
}

fn array<const N: usize>(file: &[u8], at: usize) -> Result<[u8; N], ConvertError> {
    file.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or_else(ends)
}

fn part(file: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    file.get(at..)?.get(..length)
}

fn ends() -> ConvertError {
    broken("it ends too early")
}
