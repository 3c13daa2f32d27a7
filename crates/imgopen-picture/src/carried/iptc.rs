//! The resources of Photoshop in which the fields of agencies (IPTC) are.

use super::comment::narrow;
use super::place::is_place;

/// The resources that hold text about the picture: the fields of IPTC, whether it is protected, and its address.
const TEXTS: [u16; 3] = [FIELDS, 0x040a, 0x040b];
const FIELDS: u16 = 0x0404;
/// The bytes of a field before its value: a mark, the record, the number, and the length.
const BEFORE: usize = 5;
const MARK: u8 = 0x1c;

/// A resource.
struct Resource<'a> {
    id: u16,
    /// All of it, and the part before the length of its data.
    whole: &'a [u8],
    head: &'a [u8],
    data: &'a [u8],
}

/// Returns those resources that are text about the picture. Others are its thumbnail, or how Photoshop showed it.
pub(super) fn texts_of(bytes: &[u8]) -> Vec<u8> {
    resources(bytes)
        .filter(|resource| TEXTS.contains(&resource.id))
        .flat_map(|resource| resource.whole)
        .copied()
        .collect()
}

/// Returns whether data is made of fields of IPTC or of resources that are text about the picture alone.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    bytes.first() == Some(&MARK) || texts_of(bytes) == bytes
}

/// Returns fields, or resources, without those fields that are positions, such as the keyword `geo:lat=47.375`.
pub(super) fn without_places(bytes: &[u8]) -> Vec<u8> {
    if bytes.first() == Some(&MARK) {
        return fields_without_places(bytes);
    }
    let mut kept = Vec::new();
    for resource in resources(bytes) {
        let fields = if resource.id == FIELDS { fields_without_places(resource.data) } else { resource.data.to_vec() };
        if fields == resource.data {
            kept.extend(resource.whole);
            continue;
        }
        kept.extend(resource.head);
        kept.extend((fields.len() as u32).to_be_bytes());
        kept.extend(&fields);
        kept.extend(vec![0_u8; fields.len() % 2]);
    }
    kept
}

/// What does not have the form of fields stays as it is.
fn fields_without_places(data: &[u8]) -> Vec<u8> {
    let (mut rest, mut kept) = (data, Vec::new());
    while let [MARK, _, _, high, low, ..] = *rest {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((field, after)) = rest.split_at_checked(BEFORE + length) else { break };
        if !is_place("", "", &narrow(&field[BEFORE..])) {
            kept.extend(field);
        }
        rest = after;
    }
    kept.extend(rest);
    kept
}

fn resources(bytes: &[u8]) -> impl Iterator<Item = Resource<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (resource, after) = resource(rest)?;
        rest = after;
        Some(resource)
    })
}

/// Returns the first resource and what follows it: a mark, the id, a name and data, both of even length.
fn resource(bytes: &[u8]) -> Option<(Resource<'_>, &[u8])> {
    let rest = bytes.strip_prefix(b"8BIM")?;
    let id = u16::from_be_bytes(*rest.first_chunk()?);
    let name = (usize::from(*rest.get(2)?) + 1).next_multiple_of(2);
    let head = bytes.get(..4 + 2 + name)?;
    let behind = bytes.get(head.len()..)?;
    let length = u32::from_be_bytes(*behind.first_chunk()?) as usize;
    let data = behind.get(4..length.checked_add(4)?)?;
    // The last one may lack the byte that makes it even.
    let end = (head.len() + 4 + length).next_multiple_of(2).min(bytes.len());
    let (whole, after) = bytes.split_at(end);
    Some((Resource { id, whole, head, data }, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of fields: 25 is a keyword, 90 the city, 116 the copyright, as in the IPTC-NAA standard.
    #[test]
    fn keywords_that_are_positions_go_and_names_stay() {
        let field = |number: u8, text: &str| [&[MARK, 2, number, 0, text.len() as u8], text.as_bytes()].concat();
        let resource = |data: &[u8]| {
            let padding = vec![0_u8; data.len() % 2];
            [b"8BIM\x04\x04\0\0", &(data.len() as u32).to_be_bytes()[..], data, &padding].concat()
        };
        let kept = [field(25, "lake"), field(90, "Z\u{fc}rich"), field(116, "Jane")].concat();
        let all = [field(25, "geo:lat=47.375"), kept.clone(), field(25, "geo:lon=8.5417")].concat();
        let mark = b"8BIM\x04\x0a\0\0\0\0\0\x01\x01\0";
        assert_eq!(without_places(&[&resource(&all)[..], mark].concat()), [&resource(&kept)[..], mark].concat());
        assert_eq!(without_places(&resource(&kept)), resource(&kept));
        assert_eq!(without_places(&all), kept);
        let damaged = resource(&[MARK, 2, 25, 0xff, 0xff, b'a']);
        assert_eq!(without_places(&damaged), damaged);
        // A second copy of EXIF data is data.
        let exif = b"8BIM\x04\x22\0\0\0\0\0\x04Exif";
        assert!(is_text(mark) && is_text(&kept) && !is_text(exif));
        assert_eq!(texts_of(&[&mark[..], exif].concat()), mark);
    }
}
