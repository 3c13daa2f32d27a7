//! The namespaces of XMP whose fields are understood. Prefixes only stand for them.

use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, NamespaceResolver, QName, ResolveResult};
use quick_xml::reader::NsReader;

/// A namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schema {
    Tiff,
    Exif,
    Basic,
    DublinCore,
    Rdf,
    /// Declarations of other namespaces.
    Declaration,
    Other,
}

/// Namespaces, and the prefixes that stand for them where a packet does not declare any.
const KNOWN: [(&str, &[&str], Schema); 5] = [
    ("http://ns.adobe.com/tiff/1.0/", &["tiff"], Schema::Tiff),
    ("http://ns.adobe.com/exif/1.0/", &["exif"], Schema::Exif),
    ("http://ns.adobe.com/xap/1.0/", &["xmp", "xap"], Schema::Basic),
    ("http://purl.org/dc/elements/1.1/", &["dc"], Schema::DublinCore),
    ("http://www.w3.org/1999/02/22-rdf-syntax-ns#", &["rdf"], Schema::Rdf),
];

/// A name of an element or attribute.
pub(super) struct Name<'a> {
    pub(super) schema: Schema,
    /// The namespace, or the prefix if that is not declared.
    pub(super) space: String,
    pub(super) local: &'a str,
}

impl<'a> Name<'a> {
    pub(super) fn of_element(resolver: &NamespaceResolver, name: QName<'a>) -> Self {
        Self::new(resolver.resolve_element(name).0, name)
    }

    pub(super) fn of_attribute(resolver: &NamespaceResolver, name: QName<'a>) -> Self {
        Self::new(resolver.resolve_attribute(name).0, name)
    }

    fn new(space: ResolveResult<'_>, name: QName<'a>) -> Self {
        let prefix = name.prefix().map_or("", |prefix| prefix.into_inner());
        let local = name.local_name().into_inner();
        if prefix == "xmlns" || name.into_inner() == "xmlns" {
            return Self { schema: Schema::Declaration, space: String::new(), local };
        }
        match space {
            ResolveResult::Bound(Namespace(uri)) => {
                let schema = KNOWN.iter().find(|(known, ..)| *known == uri.trim());
                Self { schema: schema.map_or(Schema::Other, |(.., schema)| *schema), space: uri.to_owned(), local }
            }
            _ => {
                let schema = KNOWN.iter().find(|(_, prefixes, _)| prefixes.contains(&prefix));
                Self { schema: schema.map_or(Schema::Other, |(.., schema)| *schema), space: prefix.to_owned(), local }
            }
        }
    }
}

/// Returns the value of the first field of that name: an attribute, or the first text in an element.
pub(super) fn property(packet: &str, schema: Schema, local: &str) -> Option<String> {
    let packet = packet.trim_start_matches('\u{feff}');
    let mut reader = NsReader::from_str(packet);
    let is_wanted = |name: &Name<'_>| name.schema == schema && name.local == local;
    loop {
        match reader.read_event().ok()? {
            Event::Eof => return None,
            Event::Start(tag) => {
                if let Some(value) = attribute(reader.resolver(), &tag, is_wanted) {
                    return Some(value);
                }
                if is_wanted(&Name::of_element(reader.resolver(), tag.name())) {
                    let span = reader.read_to_end(tag.name()).ok()?;
                    let [start, end] = [span.start, span.end].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
                    return first_text(packet.get(start..end)?);
                }
            }
            Event::Empty(tag) => {
                if let Some(value) = attribute(reader.resolver(), &tag, is_wanted) {
                    return Some(value);
                }
            }
            _ => {}
        }
    }
}

fn attribute(
    resolver: &NamespaceResolver,
    tag: &BytesStart<'_>,
    is_wanted: impl Fn(&Name<'_>) -> bool,
) -> Option<String> {
    let mut attributes = tag.attributes().filter_map(Result::ok);
    let found = attributes.find(|attribute| is_wanted(&Name::of_attribute(resolver, attribute.key)))?;
    Some(plain(&found.value))
}

/// Returns the first text between the tags of an element.
fn first_text(content: &str) -> Option<String> {
    let (before, tags) = content.split_at(content.find('<').unwrap_or(content.len()));
    let behind = tags.split('<').filter_map(|tag| tag.split_once('>')).map(|(_, text)| text);
    let text = std::iter::once(before).chain(behind).find(|text| !text.trim().is_empty())?;
    Some(plain(text))
}

/// Resolves the references to characters in a value.
pub(super) fn plain(value: &str) -> String {
    unescape(value).map_or_else(|_| value.to_owned(), |value| value.into_owned())
}
