//! Reads and edits EXIF data, which has the structure of a TIFF file.
//!
//! Values stay where they are, because the notes of camera makers point to places in the data. Nothing is taken for granted:
//! a directory or value that is not wholly there counts as absent, without harm to the others.

mod removal;

use std::ops::Range;

/// Text.
pub(super) const ASCII: u16 = 2;
pub(super) const SHORT: u16 = 3;
pub(super) const LONG: u16 = 4;
pub(super) const RATIONAL: u16 = 5;
/// Bytes of any meaning.
pub(super) const UNDEFINED: u16 = 7;
const SIGNED_BYTE: u16 = 6;
const SIGNED_SHORT: u16 = 8;
const SIGNED_LONG: u16 = 9;
/// Text, since EXIF 3.
const UTF8: u16 = 129;

/// The field that says how the pixels are to be turned.
pub(super) const ORIENTATION: u16 = 0x0112;
/// The fields that point to other directories.
const EXIF_POINTER: u16 = 0x8769;
const GPS_POINTER: u16 = 0x8825;
const INTEROPERABILITY_POINTER: u16 = 0xa005;
/// The bytes of the header, of an entry of a directory, and of the pointer behind the entries.
const HEADER: usize = 8;
const ENTRY: usize = 12;
const NEXT: usize = 4;

/// A directory of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directory {
    /// The first one, about the picture.
    Main,
    /// The one about how it was taken.
    Exif,
    /// The one about where it was taken.
    Gps,
    /// The one that says by which rules it is.
    Interoperability,
}

impl Directory {
    /// Returns the directory with the field that points to this one, and that field.
    fn pointer(self) -> Option<(Self, u16)> {
        match self {
            Self::Main => None,
            Self::Exif => Some((Self::Main, EXIF_POINTER)),
            Self::Gps => Some((Self::Main, GPS_POINTER)),
            Self::Interoperability => Some((Self::Exif, INTEROPERABILITY_POINTER)),
        }
    }
}

/// EXIF data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tiff {
    data: Vec<u8>,
    /// Whether the lower byte comes first.
    is_little: bool,
}

/// A field with its value, as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) tag: u16,
    pub(super) kind: u16,
    /// Of as many units as it has, in the order of bytes of the data.
    pub(super) bytes: &'a [u8],
}

/// An entry of a directory.
#[derive(Debug, Clone, Copy)]
struct Field {
    at: usize,
    tag: u16,
    kind: u16,
    count: u32,
}

impl Tiff {
    /// Reads EXIF data, with or without the name that begins it in JPEG files, which some programs write twice.
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let mut data = data;
        while let Some(rest) = data.strip_prefix(b"Exif\0\0") {
            data = rest;
        }
        let is_little = match data.get(..4)? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        let tiff = Self { data: data.to_vec(), is_little };
        let main = tiff.directory(Directory::Main)?;
        tiff.u16(main).map(|_| tiff)
    }

    /// Returns data without any field.
    pub(super) fn new() -> Self {
        Self { data: b"MM\0*\0\0\0\x08\0\0\0\0\0\0".to_vec(), is_little: false }
    }

    /// Returns data with these fields of the main directory, and of those about how and where the picture was taken. `None`
    /// if there are none.
    pub(super) fn of(is_little: bool, main: &[Value<'_>], exif: &[Value<'_>], gps: &[Value<'_>]) -> Option<Self> {
        let all = main.len() + exif.len() + gps.len();
        let header: &[u8; HEADER] = if is_little { b"II*\0\x08\0\0\0" } else { b"MM\0*\0\0\0\x08" };
        let mut tiff = Self { data: header.to_vec(), is_little };
        let at = tiff.append_directory(main);
        debug_assert_eq!(at, HEADER);
        for (pointer, values) in [(EXIF_POINTER, exif), (GPS_POINTER, gps)] {
            if !values.is_empty() {
                let at = tiff.append_directory(values);
                let place = tiff.long(at as u32);
                tiff.set(Directory::Main, pointer, LONG, &place);
            }
        }
        (all > 0).then_some(tiff)
    }

    /// Adds a directory and its values at the end. Returns where it begins.
    fn append_directory(&mut self, values: &[Value<'_>]) -> usize {
        let at = self.append(&self.short(values.len() as u16));
        self.data.resize(at + 2 + ENTRY * values.len() + NEXT, 0);
        for (index, Value { tag, kind, bytes }) in values.iter().enumerate() {
            let entry = self.entry(*tag, *kind, bytes, None);
            self.put(at + 2 + ENTRY * index, &entry);
        }
        at
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    pub(super) fn into_data(self) -> Vec<u8> {
        self.data
    }

    pub(super) fn is_little(&self) -> bool {
        self.is_little
    }

    /// Returns whether there is no field at all.
    pub(super) fn is_empty(&self) -> bool {
        self.directory(Directory::Main).is_none_or(|at| self.fields(at).is_empty())
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = *self.data.get(at..)?.first_chunk()?;
        Some(if self.is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = *self.data.get(at..)?.first_chunk()?;
        Some(if self.is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// Returns a number as two bytes of this data.
    pub(super) fn short(&self, value: u16) -> [u8; 2] {
        if self.is_little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    /// Returns a number as four bytes of this data.
    pub(super) fn long(&self, value: u32) -> [u8; 4] {
        if self.is_little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.data.get_mut(at..at.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }

    fn blank(&mut self, range: Range<usize>) {
        if let Some(place) = self.data.get_mut(range) {
            place.fill(0);
        }
    }

    /// Adds bytes at the end, at an even place, which is returned.
    fn append(&mut self, bytes: &[u8]) -> usize {
        self.data.resize(self.data.len().next_multiple_of(2), 0);
        let at = self.data.len();
        self.data.extend(bytes);
        at
    }

    /// Returns where a directory begins.
    fn directory(&self, directory: Directory) -> Option<usize> {
        match directory.pointer() {
            None => self.u32(4).map(|at| at as usize).filter(|at| *at >= HEADER),
            Some((parent, pointer)) => self.pointer(self.directory(parent)?, pointer),
        }
    }

    /// Returns where a field of a directory points to, if that is a place in the data.
    fn pointer(&self, directory: usize, tag: u16) -> Option<usize> {
        let field = self.field(directory, tag)?;
        self.u32(field.at + 8).map(|at| at as usize).filter(|at| (HEADER..self.data.len()).contains(at))
    }

    fn fields(&self, directory: usize) -> Vec<Field> {
        let Some(count) = self.u16(directory) else { return Vec::new() };
        let field = |index: usize| {
            let at = directory + 2 + ENTRY * index;
            self.data.get(at..at + ENTRY)?;
            Some(Field { at, tag: self.u16(at)?, kind: self.u16(at + 2)?, count: self.u32(at + 4)? })
        };
        (0..usize::from(count)).map_while(field).collect()
    }

    fn field(&self, directory: usize, tag: u16) -> Option<Field> {
        self.fields(directory).into_iter().find(|field| field.tag == tag)
    }

    /// Returns where the value of a field lies: in the entry, or elsewhere if it does not fit there.
    fn place(&self, field: &Field) -> Option<Range<usize>> {
        let length = usize::try_from(field.count).ok()?.checked_mul(unit(field.kind)?)?;
        let at = if length <= 4 { field.at + 8 } else { self.u32(field.at + 8)? as usize };
        let range = at..at.checked_add(length)?;
        self.data.get(range.clone()).map(|_| range)
    }

    fn find(&self, directory: Directory, tag: u16) -> Option<Field> {
        self.field(self.directory(directory)?, tag)
    }

    /// Returns the kind and the bytes of a value.
    pub(super) fn value(&self, directory: Directory, tag: u16) -> Option<(u16, &[u8])> {
        let field = self.find(directory, tag)?;
        Some((field.kind, self.data.get(self.place(&field)?)?))
    }

    /// Returns a text. Programs write UTF-8 where the standard asks for ASCII.
    pub(super) fn text(&self, tag: u16) -> Option<String> {
        match self.value(Directory::Main, tag)? {
            (ASCII | UTF8, text) => {
                let text = text.split(|byte| *byte == 0).next()?;
                String::from_utf8(text.to_vec()).ok()
            }
            _ => None,
        }
    }

    /// Returns the rest of the first text of the main directory that begins with a name and a colon, in any case.
    pub(super) fn named(&self, name: &str) -> Option<String> {
        let fields = self.fields(self.directory(Directory::Main)?);
        let texts = fields.iter().filter(|field| [ASCII, UTF8].contains(&field.kind));
        let mut named = texts.filter_map(|field| {
            let (start, rest) = self.data.get(self.place(field)?)?.split_at_checked(name.len())?;
            rest.strip_prefix(b":").filter(|_| start.eq_ignore_ascii_case(name.as_bytes()))
        });
        String::from_utf8(named.next()?.split(|byte| *byte == 0).next()?.to_vec()).ok()
    }

    /// Returns a whole number, of any kind but bytes of no sign, which readers take for data.
    pub(super) fn number(&self, directory: Directory, tag: u16) -> Option<u32> {
        let field = self.find(directory, tag)?;
        let place = self.place(&field).filter(|place| !place.is_empty())?;
        match field.kind {
            SIGNED_BYTE => self.data.get(place.start).copied().map(u32::from),
            SHORT | SIGNED_SHORT => self.u16(place.start).map(u32::from),
            LONG | SIGNED_LONG => self.u32(place.start),
            _ => None,
        }
    }

    /// Returns how the pixels are to be turned.
    pub(super) fn orientation(&self) -> Option<u32> {
        self.number(Directory::Main, ORIENTATION)
    }

    /// Returns a fraction.
    pub(super) fn rational(&self, tag: u16) -> Option<f64> {
        let field = self.find(Directory::Main, tag).filter(|field| field.kind == RATIONAL)?;
        let place = self.place(&field)?;
        let (above, below) = (self.u32(place.start)?, self.u32(place.start + 4)?);
        (above > 0 && below > 0).then(|| f64::from(above) / f64::from(below))
    }

    /// Sets a value, of as many units as its bytes have.
    pub(super) fn set(&mut self, directory: Directory, tag: u16, kind: u16, bytes: &[u8]) {
        if directory == Directory::Exif && self.directory(Directory::Exif).is_none() {
            let at = self.append(&[0; 2 + NEXT]);
            let pointer = self.long(at as u32);
            self.set(Directory::Main, EXIF_POINTER, LONG, &pointer);
        }
        let Some(field) = self.find(directory, tag) else { return self.add(directory, tag, kind, bytes) };
        let old = self.place(&field).filter(|place| place.len() > 4);
        let entry = self.entry(tag, kind, bytes, old);
        self.put(field.at, &entry);
    }

    fn add(&mut self, directory: Directory, tag: u16, kind: u16, bytes: &[u8]) {
        let entry = self.entry(tag, kind, bytes, None);
        let is_little = self.is_little;
        self.rewrite(directory, |entries| {
            let tag_of = |entry: &[u8; ENTRY]| {
                let [a, b, ..] = *entry;
                if is_little { u16::from_le_bytes([a, b]) } else { u16::from_be_bytes([a, b]) }
            };
            let at = entries.partition_point(|entry| tag_of(entry) < tag);
            entries.insert(at, entry);
        });
    }

    /// Returns an entry with a value, which is put where the old one was if it fits there.
    fn entry(&mut self, tag: u16, kind: u16, bytes: &[u8], old: Option<Range<usize>>) -> [u8; ENTRY] {
        let mut entry = [0; ENTRY];
        entry[..2].copy_from_slice(&self.short(tag));
        entry[2..4].copy_from_slice(&self.short(kind));
        entry[4..8].copy_from_slice(&self.long((bytes.len() / unit(kind).unwrap_or(1)) as u32));
        if let Some(old) = old.clone() {
            self.blank(old);
        }
        if bytes.len() <= 4 {
            entry[8..8 + bytes.len()].copy_from_slice(bytes);
            return entry;
        }
        let at = match old.filter(|old| old.len() >= bytes.len()) {
            Some(old) => {
                self.put(old.start, bytes);
                old.start
            }
            None => self.append(bytes),
        };
        entry[8..].copy_from_slice(&self.long(at as u32));
        entry
    }

    /// Changes the entries of a directory, behind which none follows afterwards. It moves to the end if it needs more room.
    fn rewrite(&mut self, directory: Directory, change: impl FnOnce(&mut Vec<[u8; ENTRY]>)) {
        let Some(at) = self.directory(directory) else { return };
        let fields = self.fields(at);
        let mut entries: Vec<[u8; ENTRY]> =
            fields.iter().filter_map(|field| self.data.get(field.at..)?.first_chunk().copied()).collect();
        let (before, end) = (entries.len(), at + 2 + ENTRY * entries.len());
        change(&mut entries);
        let mut table = self.short(entries.len() as u16).to_vec();
        table.extend(entries.concat());
        table.extend([0; NEXT]);
        self.blank(at..end);
        // Some programs write no pointer behind the entries, but values.
        let fits = entries.len() < before || entries.len() == before && self.u32(end) == Some(0);
        if fits {
            return self.put(at, &table);
        }
        let moved = self.append(&table);
        let pointer = self.long(moved as u32);
        let place = directory.pointer().map(|(parent, tag)| self.find(parent, tag).map(|field| field.at + 8));
        if let Some(place) = place.unwrap_or(Some(4)) {
            self.put(place, &pointer);
        }
    }
}

/// Returns the bytes of a unit of a kind of values.
fn unit(kind: u16) -> Option<usize> {
    match kind {
        1 | ASCII | SIGNED_BYTE | UNDEFINED | UTF8 => Some(1),
        SHORT | SIGNED_SHORT => Some(2),
        LONG | SIGNED_LONG | 11 | 13 => Some(4),
        RATIONAL | 10 | 12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
