//! What PNG files carry.

use imgopen_engine::Format;

use super::contents::{COMFYUI, COMMENT, Carried, Made, PARAMETERS, POSTPROCESSING, comfyui_text};
use super::density::Density;
use super::iptc;
use super::limits::{EACH, MOST};
use super::place::is_place_text;
use super::text::{self, MOST_INFLATED, Text};
use super::tiff::Tiff;
use super::xmp;
use crate::header;

/// The chunks about colours, with their lengths. Two had other names before the third edition of the standard, which FFmpeg 6.1
/// to 7.0 write. The profile has a place of its own.
const COLORS: [(&[u8; 4], usize); 8] =
    [(b"cICP", 4), (b"mDCV", 24), (b"mDCv", 24), (b"cLLI", 8), (b"cLLi", 8), (b"sRGB", 1), (b"gAMA", 4), (b"cHRM", 32)];
/// The keyword of XMP.
const XMP: &str = "XML:com.adobe.xmp";
/// How ImageMagick begins the keywords of profiles in texts.
const RAW: &str = "Raw profile type ";

/// Reads what a file carries.
pub(super) fn read(bytes: &[u8]) -> Carried {
    let mut carried = Carried::default();
    let (mut room, mut budget, mut has_pixels) = (MOST, MOST_INFLATED, false);
    for (kind, body) in header::sound_png_chunks(bytes) {
        match kind {
            b"IDAT" => has_pixels = true,
            b"pHYs" if !has_pixels => carried.density = carried.density.or_else(|| Density::from_png(body)),
            b"tEXt" | b"zTXt" | b"iTXt" | text::COMFYUI if room > EACH => {
                if let Some(text) = Text::read(kind, body, room - EACH, &mut budget) {
                    room -= text.text.len() + EACH;
                    carried.add(text);
                }
            }
            _ if !has_pixels && is_color(kind, body) && !carried.colors.iter().any(|(known, _)| known == kind) => {
                carried.colors.push((kind.try_into().unwrap_or_default(), body.to_vec()));
            }
            _ => {}
        }
    }
    for text in std::mem::take(&mut carried.texts) {
        if is_profile(&text, &["xmp"]) {
            let packet = || text::raw_profile(&text.text).and_then(|packet| String::from_utf8(packet).ok());
            carried.xmp = carried.xmp.or_else(packet);
        } else if !is_profile(&text, &["exif", "app1", "icc", "icm"]) {
            carried.texts.push(text);
        }
    }
    carried
}

impl Carried {
    fn add(&mut self, text: Text) {
        match text.keyword == XMP {
            true => self.xmp = self.xmp.take().or(Some(text.text)),
            false => self.texts.push(text),
        }
    }
}

fn is_color(kind: &[u8], body: &[u8]) -> bool {
    COLORS.iter().any(|(name, length)| kind == *name && body.len() == *length)
}

/// Returns the EXIF data of a file, before or behind its pixels.
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    header::sound_png_chunks(bytes).find(|(kind, _)| *kind == b"eXIf").map(|(_, body)| body)
}

/// Returns the EXIF data that ImageMagick writes into texts.
pub(super) fn raw_exif(bytes: &[u8]) -> Option<Vec<u8>> {
    let raw = |name: &str| text::raw_profile(&text::first_in_any_case(bytes, &format!("{RAW}{name}"))?);
    raw("exif").or_else(|| raw("APP1"))
}

/// Returns the chunks that hold what a picture carries.
pub(super) fn chunks(
    carried: &Carried,
    size: (u32, u32),
    made: Made<'_>,
    has_profile: bool,
) -> Vec<([u8; 4], Vec<u8>)> {
    // The standard asks for one of both.
    let fits = |kind: &[u8; 4]| kind != b"sRGB" || !has_profile;
    let mut chunks: Vec<_> = carried.colors.iter().filter(|(kind, _)| fits(kind)).cloned().collect();
    let density = carried.density.and_then(Density::png);
    chunks.extend(density.map(|body| (*b"pHYs", body)));
    let exif = carried.exif(Format::Png, size, made, usize::MAX);
    chunks.extend(exif.map(|data| (*b"eXIf", data)));
    let xmp = carried.xmp(Format::Png, size).0.map(|packet| Text { is_international: true, ..Text::new(XMP, &packet) });
    let texts = texts(carried, made).into_iter().filter_map(|text| allowed(carried, size, text));
    chunks.extend(xmp.into_iter().chain(texts).map(|text| text.chunk()));
    chunks
}

/// Returns whether a text holds a profile of such a name, as ImageMagick writes it.
fn is_profile(text: &Text, names: &[&str]) -> bool {
    text.keyword.strip_prefix(RAW).is_some_and(|name| names.contains(&name.to_ascii_lowercase().as_str()))
}

/// Returns a text, unless it says where the picture was taken. XMP under a keyword of its own is corrected as elsewhere.
fn allowed(carried: &Carried, size: (u32, u32), text: Text) -> Option<Text> {
    if !carried.keeps_location && is_place_text(&text.keyword, &text.text) {
        return None;
    }
    if !carried.keeps_location && is_profile(&text, &["8bim", "iptc"]) {
        return without_places(text);
    }
    match xmp::is_packet(&text.text) {
        true => Some(Text { text: xmp::edited(&text.text, carried.edits(Format::Png, size))?, ..text }),
        false => Some(text),
    }
}

/// Returns the fields of agencies without positions. Among other resources of Photoshop may be another copy of the EXIF data.
fn without_places(text: Text) -> Option<Text> {
    let data = text::raw_profile(&text.text).filter(|data| iptc::is_text(data))?;
    let kept = iptc::without_places(&data);
    if kept == data {
        return Some(text);
    }
    let name = text.keyword.strip_prefix(RAW).unwrap_or_default();
    Some(Text { text: text::raw_text(name, &kept), ..text })
}

/// Returns the texts, among them those that other formats have elsewhere.
fn texts(carried: &Carried, made: Made<'_>) -> Vec<Text> {
    let is_repeated = |text: &str| made.parameters == Some(text);
    let is_placed = |text: &Text| match text.keyword.as_str() {
        PARAMETERS => made.parameters.is_none(),
        POSTPROCESSING => made.postprocessing.is_none(),
        keyword => !(keyword.eq_ignore_ascii_case(COMMENT) && is_repeated(&text.text)),
    };
    let mut texts: Vec<_> = carried.texts.iter().filter(|text| is_placed(text)).cloned().collect();
    let comments = carried.comments().filter(|comment| !is_repeated(comment));
    texts.extend(comments.map(|comment| Text::new(COMMENT, &comment)));
    if let Some(tiff) = carried.exif.as_deref().and_then(Tiff::read) {
        for (keyword, _) in COMFYUI.iter().filter(|(keyword, _)| carried.text(keyword).is_none()) {
            texts.extend(comfyui_text(&tiff, keyword).map(|text| Text::new(keyword, &text)));
        }
    }
    texts.extend(made.parameters.map(|text| Text::new(PARAMETERS, text)));
    if let Some(done) = made.postprocessing {
        let before = carried.text(POSTPROCESSING);
        let done = before.map_or_else(|| done.to_owned(), |before| format!("{before}, {done}"));
        texts.push(Text::new(POSTPROCESSING, &done));
    }
    texts
}
