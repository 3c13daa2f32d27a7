//! What JPEG files carry, in segments before the pixels.

use imgopen_engine::Format;

use super::contents::{self, Carried, Made};
use super::density::Density;
use super::iptc;
use super::limits::{EACH, MOST};
use super::tiff::Tiff;
use super::xmp;
use crate::jpeg_markers as markers;

/// The markers of segments.
const JFIF: u8 = 0xe0;
const APP1: u8 = 0xe1;
const APP13: u8 = 0xed;
const COMMENT: u8 = 0xfe;
const SCAN: u8 = 0xda;

/// The names at the beginnings of segments.
const EXIF: &[u8] = b"Exif\0\0";
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const EXTENDED: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";
const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";

/// The most bytes of a segment behind its length.
const BODY: usize = 65_535 - 2;
/// The bytes before a part of an extended packet: its name, and two numbers.
const PART: usize = 32 + 4 + 4;

/// Returns the segments before the pixels: markers and bodies.
fn walk(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (marker, after) = markers::next(rest)?;
        if marker == SCAN {
            return None;
        }
        let (body, after) = markers::body_of(marker, after)?;
        rest = after;
        Some((marker, body))
    })
}

/// Reads what a file carries.
pub(super) fn read(bytes: &[u8]) -> Carried {
    let mut carried = Carried::default();
    let (mut resources, mut room) = (Vec::new(), MOST);
    for (marker, body) in walk(bytes) {
        match marker {
            JFIF => {
                let jfif = body.strip_prefix(b"JFIF\0").and_then(Density::from_jfif);
                carried.density = carried.density.or(jfif);
            }
            APP1 => {
                if let Some(packet) = body.strip_prefix(XMP) {
                    carried.xmp = carried.xmp.or_else(|| String::from_utf8(packet.to_vec()).ok());
                }
            }
            APP13 if resources.len() < MOST => resources.extend(body.strip_prefix(PHOTOSHOP).unwrap_or_default()),
            COMMENT if body.len() + EACH <= room => {
                room -= body.len() + EACH;
                carried.comments.push(body.to_vec());
            }
            _ => {}
        }
    }
    carried.extended_xmp = carried.xmp.as_deref().and_then(xmp::extension).and_then(|name| extended(bytes, name));
    carried.iptc = Some(iptc::texts_of(&resources)).filter(|resources| !resources.is_empty());
    carried
}

/// Returns the EXIF data of a file.
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    walk(bytes).filter(|(marker, _)| *marker == APP1).find_map(|(_, body)| body.strip_prefix(EXIF))
}

/// Puts the parts of the extended packet of that name together. `None` unless all of it is there.
fn extended(bytes: &[u8], name: &str) -> Option<String> {
    let (mut packet, mut count) = (Vec::new(), 0);
    for (_, body) in walk(bytes).filter(|(marker, _)| *marker == APP1) {
        let Some(part) = body.strip_prefix(EXTENDED).and_then(|part| part.strip_prefix(name.as_bytes())) else {
            continue;
        };
        let (numbers, data) = part.split_first_chunk::<8>()?;
        let [length, at] = [0, 4].map(|at| {
            let four = [numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]];
            u32::from_be_bytes(four) as usize
        });
        if length > MOST {
            return None;
        }
        packet.resize(length.max(packet.len()), 0);
        packet.get_mut(at..at.checked_add(data.len())?)?.copy_from_slice(data);
        count += data.len();
    }
    (count > 0 && count == packet.len()).then(|| String::from_utf8(packet).ok())?
}

/// Returns the segments that hold what a picture carries.
pub(super) fn segments(carried: &Carried, size: (u32, u32), made: Made<'_>) -> Vec<u8> {
    let mut segments = Vec::new();
    let mut put = |marker: u8, parts: &[&[u8]]| {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length <= BODY {
            segments.extend([0xff, marker]);
            segments.extend((length as u16 + 2).to_be_bytes());
            segments.extend(parts.concat());
        }
    };
    let exif = carried.exif(Format::Jpeg, size, made, BODY - EXIF.len());
    if let Some(data) = &exif {
        put(APP1, &[EXIF, data]);
    }
    let (packet, extended) = carried.xmp(Format::Jpeg, size);
    if let Some(packet) = packet.filter(|packet| packet.len() <= BODY - XMP.len()) {
        put(APP1, &[XMP, packet.as_bytes()]);
        if let Some((name, packet)) = &extended {
            let length = (packet.len() as u32).to_be_bytes();
            let most = BODY - EXTENDED.len() - PART;
            for (index, part) in packet.as_bytes().chunks(most).enumerate() {
                let at = ((index * most) as u32).to_be_bytes();
                put(APP1, &[EXTENDED, name.as_bytes(), &length, &at, part]);
            }
        }
    }
    if let Some(resources) = &carried.iptc {
        let resources = if carried.keeps_location { resources.clone() } else { iptc::without_places(resources) };
        put(APP13, &[PHOTOSHOP, &resources]);
    }
    let text = carried.text(contents::COMMENT);
    let comments = carried.comments().zip(&carried.comments).map(|(text, bytes)| (text, bytes.as_slice()));
    let repeated = repeated(made, exif.as_deref());
    for (text, bytes) in comments.chain(text.map(|text| (text.to_owned(), text.as_bytes()))) {
        if repeated != Some(text.as_str()) {
            put(COMMENT, &[bytes]);
        }
    }
    segments
}

/// Returns the text about how the picture was made, if the EXIF data had room for it.
fn repeated<'a>(made: Made<'a>, exif: Option<&[u8]>) -> Option<&'a str> {
    let comment = contents::comment_of(&Tiff::read(exif?)?)?;
    made.parameters.filter(|text| comment.starts_with(text))
}

/// Puts segments behind the first one of a file.
pub(crate) fn insert(file: &mut Vec<u8>, segments: &[u8]) {
    let first = file.get(2..).and_then(markers::next).filter(|(marker, _)| *marker == JFIF);
    let at = first
        .and_then(|(marker, after)| markers::body_of(marker, after))
        .map_or(2, |(_, after)| file.len() - after.len());
    if !segments.is_empty() && at <= file.len() {
        file.splice(at..at, segments.iter().copied());
    }
}
