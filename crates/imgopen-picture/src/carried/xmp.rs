//! Edits XMP, which is XML: what is no longer true of a picture is corrected, and its place removed.

use md5::{Digest, Md5};
use quick_xml::events::{BytesStart, BytesText, Event};
use quick_xml::name::QName;
use quick_xml::{Reader, Writer};

/// What is changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edits<'a> {
    /// Whether the position of the camera stays.
    pub(super) keeps_location: bool,
    /// The width and height of the picture.
    pub(super) size: (u32, u32),
    /// The name of the extended packet that comes along; without one, mentions of it are removed.
    pub(super) extended: Option<&'a str>,
}

/// What becomes of an element or attribute.
enum Change {
    None,
    Removed,
    Value(String),
}

/// Returns a packet with the changes. `None` if it is not well-formed.
pub(super) fn edited(packet: &str, edits: Edits<'_>) -> Option<String> {
    let (mut reader, mut writer) = (Reader::from_str(packet), Writer::new(Vec::new()));
    loop {
        let event = match reader.read_event().ok()? {
            Event::Eof => break,
            Event::Start(tag) => match edits.change(tag.name()) {
                Change::None => Event::Start(edits.tag(tag)?),
                Change::Removed => {
                    reader.read_to_end(tag.to_end().name()).ok()?;
                    continue;
                }
                Change::Value(value) => {
                    reader.read_to_end(tag.to_end().name()).ok()?;
                    writer.write_event(Event::Start(tag.borrow())).ok()?;
                    writer.write_event(Event::Text(BytesText::new(&value))).ok()?;
                    Event::End(tag.to_end().into_owned())
                }
            },
            Event::Empty(tag) => match edits.change(tag.name()) {
                Change::Removed => continue,
                _ => Event::Empty(edits.tag(tag)?),
            },
            event => event,
        };
        writer.write_event(event).ok()?;
    }
    String::from_utf8(writer.into_inner()).ok()
}

/// Returns the name of the extended packet that a packet mentions.
pub(super) fn extension(packet: &str) -> Option<&str> {
    let after = packet.split_once(":HasExtendedXMP")?.1;
    let name = after.trim_start_matches(['=', '"', '\'', '>', ' ']).get(..32)?;
    name.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(name)
}

impl Edits<'_> {
    fn change(&self, name: QName<'_>) -> Change {
        let prefix = name.prefix().map_or("", |prefix| prefix.into_inner());
        let local = name.local_name().into_inner();
        let is_place = local.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("gps")) && prefix != "xmlns";
        match (prefix, local) {
            _ if is_place && !self.keeps_location => Change::Removed,
            ("xmp" | "xap", "Thumbnails") => Change::Removed,
            ("tiff", "Orientation") => Change::Value("1".to_owned()),
            ("tiff", "ImageWidth") | ("exif", "PixelXDimension") => Change::Value(self.size.0.to_string()),
            ("tiff", "ImageLength") | ("exif", "PixelYDimension") => Change::Value(self.size.1.to_string()),
            (_, "HasExtendedXMP") => self.extended.map_or(Change::Removed, |name| Change::Value(name.to_owned())),
            _ => Change::None,
        }
    }

    /// Changes the attributes of an element.
    fn tag<'t>(&self, tag: BytesStart<'t>) -> Option<BytesStart<'t>> {
        let (mut content, mut is_changed) = (tag.name().into_inner().to_owned(), false);
        let length = content.len();
        for attribute in tag.attributes() {
            let attribute = attribute.ok()?;
            let change = self.change(attribute.key);
            is_changed |= !matches!(change, Change::None);
            let value = match change {
                Change::None => attribute.value.replace('"', "&quot;"),
                Change::Value(value) => value,
                Change::Removed => continue,
            };
            content.push_str(&format!("\n {}=\"{value}\"", attribute.key.into_inner()));
        }
        Some(if is_changed { BytesStart::from_content(content, length) } else { tag })
    }
}

/// Returns the name of an extended packet: its digest.
pub(super) fn digest(packet: &str) -> String {
    Md5::digest(packet.as_bytes()).iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDITS: Edits<'_> = Edits { keeps_location: false, size: (640, 480), extended: None };

    /// As exiftool and cameras write it: as attributes, and as elements.
    const PACKET: &str = "<?xpacket begin='\u{feff}' id='W5M0MpCehiHzreSzNTczkc9d'?>\n<x:xmpmeta xmlns:x='adobe:ns:meta/'>\
        <rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>\
        <rdf:Description rdf:about='' xmlns:exif='http://ns.adobe.com/exif/1.0/' exif:GPSLatitude='47,22.5N' \
        tiff:Orientation='6' dc:note='&quot;a\"'/>\
        <rdf:Description rdf:about=''><exif:GPSLongitude>8,32.5E</exif:GPSLongitude><drone-dji:GpsLatitude>1</drone-dji:GpsLatitude>\
        <tiff:Orientation>8</tiff:Orientation><exif:PixelXDimension>4000</exif:PixelXDimension>\
        <dc:rights>© A &amp; B</dc:rights><!-- GPS --></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>";

    #[test]
    fn places_go_and_facts_are_corrected() {
        let edited = edited(PACKET, EDITS).unwrap();
        assert!(!edited.contains("47,22") && !edited.contains("8,32") && !edited.contains("dji"), "{edited}");
        for part in [
            "tiff:Orientation=\"1\"",
            "dc:note=\"&quot;a&quot;\"",
            "<tiff:Orientation>1</tiff:Orientation><exif:PixelXDimension>640</exif:PixelXDimension>",
            "<dc:rights>© A &amp; B</dc:rights><!-- GPS -->",
            "<?xpacket begin='\u{feff}' id='W5M0MpCehiHzreSzNTczkc9d'?>\n<x:xmpmeta xmlns:x='adobe:ns:meta/'>",
            "<?xpacket end='w'?>",
        ] {
            assert!(edited.contains(part), "{part} is missing in {edited}");
        }
        let kept = super::edited(PACKET, Edits { keeps_location: true, ..EDITS }).unwrap();
        assert!(kept.contains("exif:GPSLatitude=\"47,22.5N\"") && kept.contains("<drone-dji:GpsLatitude>"), "{kept}");
    }

    #[test]
    fn what_is_not_well_formed_is_dropped() {
        for packet in ["<a><b></a>", "<a b='1' b='2'/>", "<a exif:GPSLatitude='1", "<exif:GPSLatitude>1"] {
            assert_eq!(edited(packet, EDITS), None, "{packet}");
        }
    }

    #[test]
    fn the_extended_packet_is_named() {
        let name = "0123456789ABCDEF0123456789abcdef";
        for packet in [format!("<a xmpNote:HasExtendedXMP=\"{name}\"/>"), format!("<xmpNote:HasExtendedXMP>{name}<")] {
            assert_eq!(extension(&packet), Some(name));
        }
        assert_eq!(extension("<a xmpNote:HasExtendedXMP='short'/>"), None);
        let packet = format!("<a xmpNote:HasExtendedXMP='{name}'/>");
        assert_eq!(edited(&packet, EDITS).unwrap(), "<a/>");
        let other = Edits { extended: Some("other"), ..EDITS };
        assert_eq!(edited(&packet, other).unwrap(), "<a\n xmpNote:HasExtendedXMP=\"other\"/>");
    }
}
