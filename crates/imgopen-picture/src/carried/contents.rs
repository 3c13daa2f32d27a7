//! What a picture file carries, and what of it is true of a file that is made of it.

use imgopen_engine::Format;

use super::comment;
use super::density::Density;
use super::text::Text;
use super::tiff::{self, ASCII, Directory, ORIENTATION, SHORT, Tiff, UNDEFINED};
use super::xmp::{self, Edits};

/// Fields of EXIF data.
pub(super) const USER_COMMENT: u16 = 0x9286;
pub(super) const MAKE: u16 = 0x010f;
pub(super) const MODEL: u16 = 0x0110;
/// The fields that repeat the width, and those that repeat the height.
pub(super) const WIDTHS: [(Directory, u16); 2] = [(Directory::Main, 0x0100), (Directory::Exif, 0xa002)];
pub(super) const HEIGHTS: [(Directory, u16); 2] = [(Directory::Main, 0x0101), (Directory::Exif, 0xa003)];

/// The texts of PNG files that other formats have as fields of EXIF data.
pub(super) const FIELDS: [(&str, u16); 4] =
    [("Description", 0x010e), ("Software", 0x0131), ("Author", 0x013b), ("Copyright", 0x8298)];
/// The texts that ComfyUI writes into PNG files, and the fields in which it writes them into others, behind their names.
pub(super) const COMFYUI: [(&str, u16); 2] = [("prompt", MODEL), ("workflow", MAKE)];
/// The text that other formats have as comments.
pub(super) const COMMENT: &str = "Comment";
/// What only the text of the Stable Diffusion web UI about how a picture was made contains.
const STEPS: &str = "Steps: ";
/// The text that is written in its own place.
pub(super) const PARAMETERS: &str = "parameters";
pub(super) const POSTPROCESSING: &str = "postprocessing";
/// How texts about what was done to a picture begin.
pub(super) const DONE: &str = "Postprocess ";

/// What a picture file carries beside its pixels and colour profile: how its colours are meant, its density, what the camera
/// and people said about it, and what made it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Carried {
    /// The chunks of a PNG file about colours, by kind.
    pub(crate) colors: Vec<([u8; 4], Vec<u8>)>,
    pub(super) density: Option<Density>,
    /// How the pixels are to be turned, as a number of EXIF data, if the file says so.
    pub(super) orientation: Option<u32>,
    pub(super) exif: Option<Vec<u8>>,
    pub(super) xmp: Option<String>,
    /// What did not fit into the XMP of a JPEG file.
    pub(super) extended_xmp: Option<String>,
    /// The text fields of agencies (IPTC) in a JPEG file, as resources of Photoshop.
    pub(super) iptc: Option<Vec<u8>>,
    pub(super) texts: Vec<Text>,
    /// The comments of a JPEG or GIF file.
    pub(super) comments: Vec<Vec<u8>>,
    /// Whether where the picture was taken is written too.
    pub(super) keeps_location: bool,
}

/// What is written about a picture in the way of the Stable Diffusion web UI.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Made<'a> {
    /// How it was made.
    pub(crate) parameters: Option<&'a str>,
    /// What was done to it.
    pub(crate) postprocessing: Option<&'a str>,
}

impl Carried {
    /// Returns the EXIF data for a file of that format and size, of at most that many bytes.
    pub(super) fn exif(&self, format: Format, size: (u32, u32), made: Made<'_>, most: usize) -> Option<Vec<u8>> {
        let mut tiff = self.exif.as_deref().and_then(Tiff::read).unwrap_or_else(Tiff::new);
        // This comes first, because the directory of the thumbnail may point to a position, too.
        if !self.keeps_location {
            tiff.remove_location();
        }
        tiff.remove_thumbnail();
        // In damaged data, what was removed may have been something else, too.
        tiff = Tiff::read(tiff.data()).unwrap_or_else(Tiff::new);
        tiff.repair();
        correct(&mut tiff, size);
        if tiff.data().len() > most {
            tiff = Tiff::new();
        }
        if format == Format::WebP
            && let Some(density) = self.density
        {
            density.put(&mut tiff);
        }
        if format != Format::Png {
            self.put_texts(&mut tiff, made, most);
        }
        (!tiff.is_empty() && tiff.data().len() <= most).then(|| tiff.into_data())
    }

    /// Puts texts into EXIF data as far as there is room, the most important first.
    fn put_texts(&self, tiff: &mut Tiff, made: Made<'_>, most: usize) {
        let mut put = |directory, tag, kind, value: &[u8]| {
            let mut larger = tiff.clone();
            larger.set(directory, tag, kind, value);
            if larger.data().len() <= most {
                *tiff = larger;
            }
        };
        let known = self.exif.as_deref().and_then(Tiff::read);
        let has = |tag| known.as_ref().is_some_and(|known| known.text(tag).is_some_and(|text| !text.is_empty()));
        let comment = known.as_ref().and_then(comment_of);
        let made = Made { postprocessing: made.postprocessing.or(self.text(POSTPROCESSING)), ..made };
        let text = match (made.comment(), comment) {
            // Of an earlier task.
            (Some(text), Some(before)) if made.parameters.is_none() && before.starts_with(DONE) => {
                Some(format!("{before}, {text}"))
            }
            // What somebody else wrote there stays.
            (_, Some(_)) if made.parameters.is_none() => None,
            (text, _) => text,
        };
        if let Some(text) = text {
            put(Directory::Exif, USER_COMMENT, UNDEFINED, &comment::encode(&text));
        }
        for (keyword, tag) in COMFYUI {
            if let Some(text) = self.text(keyword).filter(|_| !has(tag)) {
                put(Directory::Main, tag, ASCII, format!("{keyword}:{text}\0").as_bytes());
            }
        }
        for (keyword, tag) in FIELDS {
            if let Some(text) = self.text(keyword).filter(|_| !has(tag)) {
                put(Directory::Main, tag, ASCII, format!("{text}\0").as_bytes());
            }
        }
    }

    /// Returns the comments of a JPEG or GIF file as texts.
    pub(super) fn comments(&self) -> impl Iterator<Item = String> {
        self.comments.iter().map(|comment| comment::narrow(comment).trim_matches('\0').to_owned())
    }

    /// Returns how the picture was made, if it says so elsewhere than in the text of that name: in EXIF's UserComment, in a
    /// comment, or in XMP. Cameras and people write there, too.
    pub(crate) fn parameters(&self) -> Option<String> {
        let of_exif = || comment_of(&Tiff::read(self.exif.as_deref()?)?);
        let is_comment = |text: &&Text| text.keyword.eq_ignore_ascii_case(COMMENT);
        let texts = self.texts.iter().filter(is_comment).map(|text| text.text.clone());
        let of_xmp = || xmp::comment(self.xmp.as_deref()?);
        let is_made = |text: &String| text.contains(STEPS);
        let of_exif = of_exif().filter(is_made);
        of_exif.or_else(|| self.comments().chain(texts).find(is_made)).or_else(|| of_xmp().filter(is_made))
    }

    pub(super) fn text(&self, keyword: &str) -> Option<&str> {
        let mut texts = self.texts.iter().filter(|text| text.keyword == keyword && !text.text.contains('\0'));
        texts.next().map(|text| text.text.as_str())
    }

    /// Returns what is changed in XMP for a file of that format and size.
    pub(super) fn edits(&self, format: Format, size: (u32, u32)) -> Edits<'static> {
        Edits { keeps_location: self.keeps_location, size, media_type: format.media_type(), extended: None }
    }

    /// Returns the XMP for a file of that format and size, and the extended packet with its name if the format has such.
    pub(super) fn xmp(&self, format: Format, size: (u32, u32)) -> (Option<String>, Option<(String, String)>) {
        let edits = self.edits(format, size);
        let edit = |packet: &Option<String>, edits| packet.as_deref().and_then(|packet| xmp::edited(packet, edits));
        let extended = edit(&self.extended_xmp, edits).filter(|_| format == Format::Jpeg);
        let extended = extended.map(|packet| (xmp::digest(&packet), packet));
        let named = Edits { extended: extended.as_ref().map(|(name, _)| name.as_str()), ..edits };
        (edit(&self.xmp, named), extended)
    }
}

impl Made<'_> {
    /// Returns both texts as one.
    fn comment(&self) -> Option<String> {
        Some(match (self.parameters, self.postprocessing) {
            // This becomes one of the settings in the last line, in quotes as the web UI writes such values.
            (Some(made), Some(done)) => format!("{made}, Postprocessing: {}", serde_json::Value::from(done)),
            (made, done) => made.or(done)?.to_owned(),
        })
    }
}

/// Corrects what is not true of upright pixels of another number.
fn correct(tiff: &mut Tiff, (width, height): (u32, u32)) {
    if tiff.orientation().is_some() {
        let upright = tiff.short(1);
        tiff.set(Directory::Main, ORIENTATION, SHORT, &upright);
    }
    for (fields, side) in [(WIDTHS, width), (HEIGHTS, height)] {
        for (directory, tag) in fields {
            if tiff.number(directory, tag).is_some() {
                let side = tiff.long(side);
                tiff.set(directory, tag, tiff::LONG, &side);
            }
        }
    }
}

/// Returns the comment in EXIF data.
pub(super) fn comment_of(tiff: &Tiff) -> Option<String> {
    let of = |directory| comment::decode(tiff.value(directory, USER_COMMENT)?.1, tiff.is_little());
    of(Directory::Exif).or_else(|| of(Directory::Main))
}

/// Returns the description in EXIF data, unless it is something else by its name, as ComfyUI writes it there.
pub(crate) fn description_of(tiff: &Tiff) -> Option<String> {
    let text = tiff.text(FIELDS[0].1)?;
    let is_named = text
        .split_once(":{")
        .is_some_and(|(name, _)| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    (!is_named).then_some(text)
}

/// Returns a text of ComfyUI in EXIF data by its name.
pub(crate) fn comfyui_text(tiff: &Tiff, keyword: &str) -> Option<String> {
    let text = tiff.named(keyword)?;
    let text = text.trim_start();
    text.starts_with('{').then(|| text.to_owned())
}
