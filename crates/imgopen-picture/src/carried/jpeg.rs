//! What JPEG files carry, in segments before the pixels.

use imgopen_engine::Format;

use super::contents::{self, Carried, Made};
use super::density::Density;
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

/// The resources of Photoshop that hold text about the picture: the fields of IPTC, whether it is protected, and its address.
const RESOURCES: [u16; 3] = [0x0404, 0x040a, 0x040b];

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
    carried.iptc = Some(texts_of(&resources)).filter(|resources| !resources.is_empty());
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

/// Returns those resources that are text about the picture. Others are its thumbnail, or how Photoshop showed it.
fn texts_of(resources: &[u8]) -> Vec<u8> {
    let (mut rest, mut texts) = (resources, Vec::new());
    while let Some((id, length)) = resource(rest) {
        let (found, after) = rest.split_at(length);
        if RESOURCES.contains(&id) {
            texts.extend(found);
        }
        rest = after;
    }
    texts
}

/// Returns the id and the length of the first resource: a mark, the id, a name and data, both of even length.
fn resource(bytes: &[u8]) -> Option<(u16, usize)> {
    let rest = bytes.strip_prefix(b"8BIM")?;
    let id = u16::from_be_bytes(*rest.first_chunk()?);
    let name = (usize::from(*rest.get(2)?) + 1).next_multiple_of(2);
    let length = u32::from_be_bytes(*rest.get(2 + name..)?.first_chunk()?) as usize;
    let end = length.saturating_add(4 + 2 + name + 4);
    // The last one may lack the byte that makes it even.
    (end <= bytes.len()).then(|| (id, end.next_multiple_of(2).min(bytes.len())))
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
        put(APP13, &[PHOTOSHOP, resources]);
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
