//! Edits XMP, which is XML: what is no longer true of a picture is corrected, and its place removed.

mod schema;

use md5::{Digest, Md5};
use quick_xml::Writer;
use quick_xml::events::{BytesStart, BytesText, Event};
use quick_xml::name::NamespaceResolver;
use quick_xml::reader::NsReader;

use self::schema::{Name, Schema, plain, property};
use super::place::is_place;

/// What is changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edits<'a> {
    /// Whether the position of the camera stays.
    pub(super) keeps_location: bool,
    /// The width and height of the picture.
    pub(super) size: (u32, u32),
    /// The media type of the file.
    pub(super) media_type: &'a str,
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
    let packet = packet.trim_start_matches('\u{feff}');
    let (mut reader, mut writer) = (NsReader::from_str(packet), Writer::new(Vec::new()));
    loop {
        let event = match reader.read_event().ok()? {
            Event::Eof => break,
            Event::Start(tag) => {
                let value = leaf(packet, reader.buffer_position());
                let change = edits.change(&Name::of_element(reader.resolver(), tag.name()), value);
                match change {
                    Change::None => Event::Start(edits.tag(reader.resolver(), tag)?),
                    Change::Removed => {
                        reader.read_to_end(tag.name()).ok()?;
                        continue;
                    }
                    Change::Value(value) => {
                        reader.read_to_end(tag.name()).ok()?;
                        writer.write_event(Event::Start(tag.borrow())).ok()?;
                        writer.write_event(Event::Text(BytesText::new(&value))).ok()?;
                        Event::End(tag.to_end().into_owned())
                    }
                }
            }
            Event::Empty(tag) => {
                let change = edits.change(&Name::of_element(reader.resolver(), tag.name()), "");
                if matches!(change, Change::Removed) {
                    continue;
                }
                Event::Empty(edits.tag(reader.resolver(), tag)?)
            }
            event => event,
        };
        writer.write_event(event).ok()?;
    }
    String::from_utf8(writer.into_inner()).ok()
}

/// Returns the text of an element whose first tag ends there, if it has nothing but text.
fn leaf(packet: &str, at: u64) -> &str {
    let rest = usize::try_from(at).ok().and_then(|at| packet.get(at..)).unwrap_or_default();
    rest.split_once('<').filter(|(_, after)| after.starts_with('/')).map_or("", |(text, _)| text)
}

/// Returns whether a text is a packet.
pub(super) fn is_packet(text: &str) -> bool {
    ["<x:xmpmeta", "<rdf:RDF", "<?xpacket"].iter().any(|start| text.contains(start))
}

/// Returns how the pixels are to be turned, as a number of EXIF data.
pub(super) fn orientation(packet: &str) -> Option<u32> {
    property(packet, Schema::Tiff, "Orientation")?.trim().parse().ok()
}

/// Returns the comment that EXIF data has as UserComment.
pub(super) fn comment(packet: &str) -> Option<String> {
    property(packet, Schema::Exif, "UserComment")
}

/// Returns the name of the extended packet that a packet mentions.
pub(super) fn extension(packet: &str) -> Option<&str> {
    let after = packet.split_once(":HasExtendedXMP")?.1;
    let name = after.trim_start_matches(['=', '"', '\'', '>', ' ']).get(..32)?;
    name.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(name)
}

impl Edits<'_> {
    /// Returns what becomes of a field with that value, if that is a text.
    fn change(&self, name: &Name<'_>, value: &str) -> Change {
        let (width, height) = self.size;
        match (name.schema, name.local) {
            (Schema::Declaration, _) => Change::None,
            _ if !self.keeps_location && self.is_place(name, value) => Change::Removed,
            (Schema::Basic, "Thumbnails") => Change::Removed,
            (Schema::Tiff, "Orientation") => Change::Value("1".to_owned()),
            (Schema::Tiff, "ImageWidth") | (Schema::Exif, "PixelXDimension") => Change::Value(width.to_string()),
            (Schema::Tiff, "ImageLength") | (Schema::Exif, "PixelYDimension") => Change::Value(height.to_string()),
            (Schema::DublinCore, "format") => Change::Value(self.media_type.to_owned()),
            (_, "HasExtendedXMP") => self.extended.map_or(Change::Removed, |name| Change::Value(name.to_owned())),
            _ => Change::None,
        }
    }

    /// Lists and structures are named by RDF; what is in them may be a position all the same.
    fn is_place(&self, name: &Name<'_>, value: &str) -> bool {
        let local = if name.schema == Schema::Rdf { "" } else { name.local };
        is_place(&name.space, local, &plain(value))
    }

    /// Changes the attributes of an element.
    fn tag<'t>(&self, resolver: &NamespaceResolver, tag: BytesStart<'t>) -> Option<BytesStart<'t>> {
        let (mut content, mut is_changed) = (tag.name().into_inner().to_owned(), false);
        let length = content.len();
        for attribute in tag.attributes() {
            let attribute = attribute.ok()?;
            let change = self.change(&Name::of_attribute(resolver, attribute.key), &attribute.value);
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

    const EDITS: Edits<'_> = Edits { keeps_location: false, size: (640, 480), media_type: "image/png", extended: None };

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

    /// The namespaces are those of the standard of XMP, under prefixes of no meaning; those of W3C and DJI as programs declare
    /// them.
    #[test]
    fn fields_are_known_by_their_namespaces() {
        const PACKET: &str = "<r:RDF xmlns:r='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><r:Description r:about='' \
            xmlns:a='http://ns.adobe.com/tiff/1.0/' xmlns:b='http://ns.adobe.com/exif/1.0/' \
            xmlns:d='http://purl.org/dc/elements/1.1/' \
            xmlns:w='http://www.w3.org/2003/01/geo/wgs84_pos#' xmlns:tiff='http://example.com/other/' \
            xmlns:dji='http://www.dji.com/drone-dji/1.0/' a:Orientation='6' tiff:Orientation='7' \
            w:lat='47.375' dji:Latitude='47.375' \
            d:format='image/jpeg'><b:PixelXDimension>4000</b:PixelXDimension><w:Point><w:alt>408</w:alt></w:Point>\
            <d:subject><r:Bag><r:li>a lake</r:li><r:li>geo:long=8.5417</r:li></r:Bag></d:subject><d:title><r:Alt>\
            <r:li xml:lang='x-default'>a walk</r:li></r:Alt></d:title><b:Flash r:parseType='Resource'/><a:Make>47,22.5N</a:Make>\
            <photoshop:City>Zürich</photoshop:City></r:Description></r:RDF>";
        let result = edited(PACKET, EDITS).unwrap();
        for gone in ["47.375", "408", "geo:long", "47,22.5N", "image/jpeg", "4000"] {
            assert!(!result.contains(gone), "{gone} is in {result}");
        }
        for part in [
            "a:Orientation=\"1\"",
            "tiff:Orientation=\"7\"",
            "d:format=\"image/png\"",
            "<b:PixelXDimension>640</b:PixelXDimension>",
            "<r:Bag><r:li>a lake</r:li></r:Bag>",
            "<r:Alt><r:li xml:lang='x-default'>a walk</r:li></r:Alt>",
            "<photoshop:City>Zürich</photoshop:City>",
            "xmlns:w=\"http://www.w3.org/2003/01/geo/wgs84_pos#\"",
        ] {
            assert!(result.contains(part), "{part} is missing in {result}");
        }
        assert_eq!(orientation(PACKET), Some(6));
        let kept = edited(PACKET, Edits { keeps_location: true, ..EDITS }).unwrap();
        assert!(kept.contains("w:lat=\"47.375\"") && kept.contains("<r:li>geo:long=8.5417</r:li>"), "{kept}");
    }

    /// As exiftool writes it, and in the short form.
    #[test]
    fn fields_are_read_from_elements_and_attributes() {
        let list = "<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description rdf:about='' \
            xmlns:exif='http://ns.adobe.com/exif/1.0/'>\n <exif:UserComment>\n  <rdf:Alt>\n   <rdf:li xml:lang='x-default'>\
            a &lt;cat&gt; > dog&#xA;Steps: 20</rdf:li>\n   <rdf:li xml:lang='de'>eine Katze</rdf:li>\n  </rdf:Alt>\n </exif:UserComment>\n\
            </rdf:Description></rdf:RDF>";
        assert_eq!(comment(list).as_deref(), Some("a <cat> > dog\nSteps: 20"));
        assert_eq!(comment("<a exif:UserComment='Steps: &quot;9&quot;'/>").as_deref(), Some("Steps: \"9\""));
        assert_eq!(comment("<a><exif:UserComment>Steps: 9</exif:UserComment></a>").as_deref(), Some("Steps: 9"));
        for without in
            ["<a/>", "<a><exif:UserComment/></a>", "<a><exif:UserComment> <b/></exif:UserComment></a>", "", "<a"]
        {
            assert_eq!(comment(without), None, "{without}");
        }
        assert_eq!(orientation("<a><tiff:Orientation> 8 </tiff:Orientation></a>"), Some(8));
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
