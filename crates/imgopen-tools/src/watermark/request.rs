//! Checks a request and fills in its defaults.

use imgopen_engine::EngineError;
use imgopen_types::{WatermarkImageRequest, WatermarkPosition};

/// The most characters in a text.
const MAX_CHARACTERS: usize = 500;
/// The most lines in a text.
const MAX_LINES: usize = 50;

/// What to print, where, and how.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Print {
    pub(super) content: Content,
    pub(super) position: WatermarkPosition,
    /// From 0 for invisible to 1 for opaque.
    pub(super) opacity: f64,
    /// The width of the mark relative to the picture's, above 0 and at most 1.
    pub(super) scale: Option<f64>,
    /// In pixels; `None` for the default.
    pub(super) margin: Option<u32>,
}

/// What to print.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// A text with visible characters, and no control characters except line feeds.
    Text(String),
    /// The picture of `watermarkImage`.
    Picture,
}

impl Print {
    /// Checks a request.
    pub(super) fn of(request: &WatermarkImageRequest) -> Result<Self, EngineError> {
        let opacity = number("opacity", request.opacity, "from 0 to 1", |opacity| (0.0..=1.0).contains(&opacity))?;
        Ok(Self {
            content: content(request)?,
            position: request.position.unwrap_or(WatermarkPosition::BottomRight),
            opacity: opacity.unwrap_or(1.0),
            scale: number("scale", request.scale, "above 0, at most 1", |scale| scale > 0.0 && scale <= 1.0)?,
            margin: margin(request.margin)?,
        })
    }
}

fn content(request: &WatermarkImageRequest) -> Result<Content, EngineError> {
    match (&request.watermark_text, &request.watermark_image) {
        (Some(text), None) => clean(text).map(Content::Text),
        (None, Some(_)) => Ok(Content::Picture),
        (Some(_), Some(_)) => {
            Err(EngineError::rejected("watermarkText", "given beside `watermarkImage`; give exactly one of the two"))
        }
        (None, None) => {
            Err(EngineError::rejected("watermarkText", "missing, like `watermarkImage`; give exactly one of the two"))
        }
    }
}

/// Normalises line ends and tabs, and trims lines and text.
fn clean(text: &str) -> Result<String, EngineError> {
    let rejected = |problem: String| Err(EngineError::rejected("watermarkText", problem));
    let characters = text.chars().count();
    if characters > MAX_CHARACTERS {
        return rejected(format!("{characters} characters given; at most {MAX_CHARACTERS} are printed"));
    }
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{85}', '\u{2028}', '\u{2029}'], "\n").replace('\t', " ");
    if let Some(control) = text.chars().find(|c| c.is_control() && *c != '\n') {
        return rejected(format!("the control character U+{:04X} cannot be printed; leave it out", u32::from(control)));
    }
    if text.chars().all(|c| c.is_whitespace() || is_invisible(c)) {
        return rejected("nothing to see in it; give a text of visible characters".to_owned());
    }
    let lines: Vec<&str> = text.trim().split('\n').map(str::trim).collect();
    if lines.len() > MAX_LINES {
        return rejected(format!("{} lines given; at most {MAX_LINES} are printed", lines.len()));
    }
    Ok(lines.join("\n"))
}

/// Returns whether a character is invisible and only affects how others look.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

fn number(
    field: &str,
    given: Option<f64>,
    range: &str,
    fits: impl Fn(f64) -> bool,
) -> Result<Option<f64>, EngineError> {
    match given {
        Some(number) if !fits(number) => {
            Err(EngineError::rejected(field, format!("{number} given; give a number {range}")))
        }
        given => Ok(given),
    }
}

fn margin(given: Option<i64>) -> Result<Option<u32>, EngineError> {
    let margin = |given: i64| match u64::try_from(given) {
        // No side is that long, so a larger margin is rejected with the size of the picture.
        Ok(margin) => Ok(u32::try_from(margin).unwrap_or(u32::MAX)),
        Err(_) => {
            Err(EngineError::rejected("margin", format!("{given} given; give a whole number of pixels, 0 or more")))
        }
    };
    given.map(margin).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: Option<&str>, image: Option<&str>) -> WatermarkImageRequest {
        WatermarkImageRequest {
            business_task_id: "1".to_owned(),
            source_image: "https://example.com/source.png".to_owned(),
            watermark_text: text.map(str::to_owned),
            watermark_image: image.map(str::to_owned),
            position: None,
            opacity: None,
            scale: None,
            margin: None,
            callback_url: None,
        }
    }

    fn text(text: &str) -> Result<String, String> {
        match Print::of(&request(Some(text), None)) {
            Ok(Print { content: Content::Text(text), .. }) => Ok(text),
            Ok(print) => panic!("{print:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn line_ends_and_tabs_are_normalised() {
        assert_eq!(text("\r\n a\tb \r c\u{2028}\n\nd\n "), Ok("a b\nc\n\n\nd".to_owned()));
        // A variation selector at the end stays.
        assert_eq!(text("\u{2764}\u{fe0f}"), Ok("\u{2764}\u{fe0f}".to_owned()));
    }

    #[test]
    fn texts_that_cannot_be_printed_are_rejected() {
        for blank in ["", " ", "\n\t\n", "\u{200b}\u{feff}", "\u{3000}\u{fe0f}"] {
            assert!(text(blank).unwrap_err().contains("nothing to see"), "{blank:?}");
        }
        assert!(text("a\u{7}b").unwrap_err().contains("U+0007"));
        assert!(text(&"x".repeat(501)).unwrap_err().contains("501 characters given; at most 500"));
        assert!(text(&"x".repeat(500)).is_ok());
        assert!(text(&vec!["x"; 51].join("\n")).unwrap_err().contains("51 lines given; at most 50"));
    }

    #[test]
    fn exactly_one_mark_is_given() {
        let error = |text, image| Print::of(&request(text, image)).unwrap_err().to_string();
        assert!(error(None, None).starts_with("`watermarkText`: missing, like `watermarkImage`"));
        let both = error(Some("a"), Some("https://example.com/a.png"));
        assert!(both.starts_with("`watermarkText`: given beside `watermarkImage`"));
    }

    #[test]
    fn numbers_out_of_range_are_rejected_with_the_range() {
        let with = |change: &dyn Fn(&mut WatermarkImageRequest)| {
            let mut request = request(Some("a"), None);
            change(&mut request);
            Print::of(&request)
        };
        for value in [-0.1, 1.1, f64::NAN] {
            let error = with(&|request| request.opacity = Some(value)).unwrap_err().to_string();
            assert_eq!(error, format!("`opacity`: {value} given; give a number from 0 to 1"));
        }
        for value in [0.0, 1.01, -1.0] {
            let error = with(&|request| request.scale = Some(value)).unwrap_err().to_string();
            assert_eq!(error, format!("`scale`: {value} given; give a number above 0, at most 1"));
        }
        let error = with(&|request| request.margin = Some(-1)).unwrap_err().to_string();
        assert_eq!(error, "`margin`: -1 given; give a whole number of pixels, 0 or more");
        let print = with(&|request| {
            request.position = Some(WatermarkPosition::TopLeft);
            request.margin = Some(i64::MAX);
        });
        let print = print.unwrap();
        assert_eq!((print.position, print.margin), (WatermarkPosition::TopLeft, Some(u32::MAX)));
    }
}
