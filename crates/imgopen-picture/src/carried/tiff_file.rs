//! What TIFF files carry, as EXIF data: the fields about the picture, without those about its pixels.

use super::contents::Carried;
use super::limits::MOST;
use super::tiff::{Tiff, Value};
use crate::tiff_file::{self, Directory};

/// The fields of a page that are about the picture: texts, dates, the density, and what Windows adds.
const ABOUT: [u16; 18] = [
    0x010d, 0x010e, 0x010f, 0x0110, 0x011a, 0x011b, 0x0128, 0x0131, 0x0132, 0x013b, 0x013c, 0x4746, 0x8298, 0x9c9b,
    0x9c9c, 0x9c9d, 0x9c9e, 0x9c9f,
];
/// The fields that point to how and to where the picture was taken.
const EXIF_POINTER: u16 = 0x8769;
const GPS_POINTER: u16 = 0x8825;
/// Fields that depend on places in the file: notes of camera makers, and a pointer.
const BOUND: [u16; 2] = [0x927c, 0xa005];
const XMP: u16 = 0x02bc;
/// More fields than a directory has.
const MOST_FIELDS: usize = 500;

/// Reads what a file carries.
pub(super) fn read(bytes: &[u8]) -> Carried {
    let packet = tiff_file::outline(bytes).ok().and_then(|outline| outline.directory.bytes(XMP));
    let xmp = packet.filter(|packet| packet.len() <= MOST).and_then(|packet| String::from_utf8(packet.to_vec()).ok());
    Carried { xmp, ..Carried::default() }
}

/// Returns how the pixels are to be turned.
pub(super) fn orientation(bytes: &[u8]) -> Option<u32> {
    tiff_file::outline(bytes).ok()?.orientation
}

/// Returns the EXIF data of a file.
pub(super) fn exif(bytes: &[u8]) -> Option<Vec<u8>> {
    let outline = tiff_file::outline(bytes).ok()?;
    let page = outline.directory;
    let sub = |tag: u16| {
        let directory = page.number(tag).ok().flatten().and_then(|at| outline.file.directory(at));
        directory.map(|directory| values(&directory, |tag| !BOUND.contains(&tag))).unwrap_or_default()
    };
    let fields = [values(&page, |tag| ABOUT.contains(&tag)), sub(EXIF_POINTER), sub(GPS_POINTER)];
    // Fields may share the bytes of their values, which are copied for each.
    let length: usize = fields.iter().flatten().map(|value| value.bytes.len()).sum();
    if length > MOST {
        return None;
    }
    let [main, exif, gps] = &fields;
    let data = Tiff::of(outline.file.is_little, main, exif, gps);
    data.filter(|tiff| tiff.data().len() <= MOST).map(Tiff::into_data)
}

/// Returns the fields of a directory that are wanted.
fn values<'a>(directory: &Directory<'a>, is_wanted: impl Fn(u16) -> bool) -> Vec<Value<'a>> {
    let wanted = directory.entries().filter(|entry| is_wanted(entry.tag)).take(MOST_FIELDS);
    wanted.filter_map(|entry| Some(Value { tag: entry.tag, kind: entry.kind, bytes: entry.value? })).collect()
}
