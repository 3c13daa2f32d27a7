//! Reads and writes EXIF's UserComment.
//!
//! The Stable Diffusion web UI writes how a picture was made into the comment of JPEG and WebP files, in big-endian UTF-16.

use std::io::Cursor;

use exif::experimental::Writer;
use exif::{Exif, Field, In, Tag, Value};

use crate::header;

/// The prefix of a comment in UTF-16.
const UNICODE: &[u8] = b"UNICODE\0";
const ASCII: &[u8] = b"ASCII\0\0\0";

/// Returns the EXIF data of a file, without decoding it.
pub(crate) fn exif(bytes: &[u8]) -> Option<Exif> {
    header::read(bytes).ok()?;
    exif::Reader::new().read_from_container(&mut Cursor::new(bytes)).ok()
}

/// Returns the comment of a file.
pub(crate) fn comment(bytes: &[u8]) -> Option<String> {
    let data = exif(bytes)?;
    let Value::Undefined(comment, _) = &data.get_field(Tag::UserComment, In::PRIMARY)?.value else { return None };
    match comment.strip_prefix(UNICODE) {
        Some(text) => Some(utf_16(text)),
        None => String::from_utf8(comment.strip_prefix(ASCII)?.to_vec()).ok(),
    }
}

/// Returns EXIF data with a comment and nothing else.
pub(crate) fn with_comment(text: &str) -> Option<Vec<u8>> {
    let comment = UNICODE.iter().copied().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect();
    let field = Field { tag: Tag::UserComment, ifd_num: In::PRIMARY, value: Value::Undefined(comment, 0) };
    let mut data = Cursor::new(Vec::new());
    let mut writer = Writer::new();
    writer.push_field(&field);
    writer.write(&mut data, false).ok()?;
    Some(data.into_inner())
}

/// Decodes UTF-16 in the byte order that makes more of the text ASCII, because some programs write little-endian.
fn utf_16(bytes: &[u8]) -> String {
    let pairs = bytes.as_chunks::<2>().0;
    let [high, low] = [0, 1].map(|at| pairs.iter().filter(|pair| pair[at] == 0).count());
    let unit = if high >= low { u16::from_be_bytes } else { u16::from_le_bytes };
    String::from_utf16_lossy(&pairs.iter().map(|pair| unit(*pair)).collect::<Vec<_>>())
}
