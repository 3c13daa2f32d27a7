//! Reads the directories of TIFF files. Nothing is copied, and nothing is taken for granted.

use crate::file_format::FileFormat;
use crate::problem::Problem;

/// The bytes of an entry of a directory, and those of a value that lies in it.
const ENTRY: usize = 12;
const INLINE: usize = 4;
/// Kinds of values.
const BYTE: u16 = 1;
const SHORT: u16 = 3;
const LONG: u16 = 4;
/// The place of a directory, which most programs write as a number.
const PLACE: u16 = 13;

/// A file: its bytes, and whether the lower one of a number comes first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) is_little: bool,
}

/// A directory: the fields of a page, or of a part of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Directory<'a> {
    file: File<'a>,
    /// Where the entries begin.
    at: usize,
    count: usize,
}

/// The whole numbers of a field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers<'a> {
    file: File<'a>,
    kind: u16,
    value: &'a [u8],
}

/// A field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) tag: u16,
    pub(crate) kind: u16,
    /// The value; nothing if it is of an unknown kind, or not wholly in the file.
    pub(crate) value: Option<&'a [u8]>,
}

impl<'a> File<'a> {
    /// Returns nothing for other files.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        match bytes.get(..4)? {
            b"II*\0" => Some(Self { bytes, is_little: true }),
            b"MM\0*" => Some(Self { bytes, is_little: false }),
            _ => None,
        }
    }

    fn u16(self, at: usize) -> Option<u16> {
        self.bytes.get(at..)?.first_chunk().map(|two| self.short(*two))
    }

    fn u32(self, at: usize) -> Option<u32> {
        self.bytes.get(at..)?.first_chunk().map(|four| self.long(*four))
    }

    pub(crate) fn short(self, bytes: [u8; 2]) -> u16 {
        if self.is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
    }

    fn long(self, bytes: [u8; 4]) -> u32 {
        if self.is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
    }

    /// Returns where the first directory is.
    pub(crate) fn first(self) -> Option<u32> {
        self.u32(4)
    }

    /// Returns the directory at a place, if it is wholly in the file.
    pub(crate) fn directory(self, at: u32) -> Option<Directory<'a>> {
        let at = at as usize;
        let (count, at) = (usize::from(self.u16(at)?), at + 2);
        self.bytes.get(at..at + ENTRY * count).map(|_| Directory { file: self, at, count })
    }
}

impl<'a> Directory<'a> {
    /// Returns where the next directory is; 0 if there is none.
    pub(crate) fn next(&self) -> u32 {
        self.file.u32(self.at + ENTRY * self.count).unwrap_or_default()
    }

    /// Returns how many fields it has.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let Self { file, at, count } = *self;
        (0..count).filter_map(move |index| Entry::read(file, at + ENTRY * index))
    }

    fn entry(&self, tag: u16) -> Option<Entry<'a>> {
        self.entries().find(|entry| entry.tag == tag)
    }

    pub(crate) fn has(&self, tag: u16) -> bool {
        self.entry(tag).is_some()
    }

    /// Returns the bytes of a value.
    pub(crate) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.entry(tag)?.value
    }

    /// Returns a whole number.
    pub(crate) fn number(&self, tag: u16) -> Result<Option<u32>, Problem> {
        Ok(self.numbers(tag)?.and_then(|numbers| numbers.get(0)))
    }

    /// Returns whole numbers.
    pub(crate) fn numbers(&self, tag: u16) -> Result<Option<Numbers<'a>>, Problem> {
        let Some(Entry { kind, value, .. }) = self.entry(tag) else { return Ok(None) };
        if !matches!(kind, BYTE | SHORT | LONG | PLACE) {
            let problem = format!("its field {tag} is not a whole number");
            return Err(Problem::Damaged(FileFormat::Tiff, problem));
        }
        let value = value.ok_or(Problem::Truncated(FileFormat::Tiff))?;
        Ok(Some(Numbers { file: self.file, kind, value }))
    }
}

impl Numbers<'_> {
    pub(crate) fn len(&self) -> usize {
        self.value.len() / unit(self.kind).unwrap_or(1)
    }

    pub(crate) fn get(&self, index: usize) -> Option<u32> {
        let (file, value) = (self.file, self.value);
        match self.kind {
            BYTE => value.get(index).map(|byte| u32::from(*byte)),
            SHORT => value.as_chunks::<2>().0.get(index).map(|two| u32::from(file.short(*two))),
            _ => value.as_chunks::<4>().0.get(index).map(|four| file.long(*four)),
        }
    }

    /// Returns the first ones, at most so many.
    pub(crate) fn first(&self, most: usize) -> Vec<u32> {
        (0..most).map_while(|index| self.get(index)).collect()
    }
}

impl<'a> Entry<'a> {
    fn read(file: File<'a>, at: usize) -> Option<Self> {
        let (tag, kind, count) = (file.u16(at)?, file.u16(at + 2)?, file.u32(at + 4)?);
        let value = || {
            let length = (count as usize).checked_mul(unit(kind)?)?;
            let start = if length <= INLINE { at + 8 } else { file.u32(at + 8)? as usize };
            file.bytes.get(start..start.checked_add(length)?)
        };
        Some(Self { tag, kind, value: value() })
    }
}

/// Returns the bytes of a unit of a kind of values.
fn unit(kind: u16) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 | 129 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 => Some(8),
        _ => None,
    }
}
