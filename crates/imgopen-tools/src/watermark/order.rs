//! What a request asks for, checked.

use imgopen_engine::EngineError;
use imgopen_types::WatermarkPosition;
use serde_json::Value;

/// The most characters of a text.
const MAX_CHARACTERS: usize = 500;
/// The most lines of a text.
const MAX_LINES: usize = 50;

/// What to print, where and how.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order {
    pub(super) what: What,
    pub(super) position: WatermarkPosition,
    /// From 0 to 1.
    pub(super) opacity: f64,
    /// Above 0, at most 1.
    pub(super) scale: Option<f64>,
    /// In pixels.
    pub(super) margin: Option<u32>,
}

/// What to print.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// A text without control characters but line feeds, with something to see.
    Text(String),
    /// The picture of `watermarkImage`.
    Picture,
}

impl Order {
    /// Reads and checks a request.
    pub(super) fn read(request: &Value) -> Result<Self, EngineError> {
        Ok(Self {
            what: what(request)?,
            position: position(request)?,
            opacity: number(request, "opacity", "from 0 to 1", |opacity| (0.0..=1.0).contains(&opacity))?
                .unwrap_or(1.0),
            scale: number(request, "scale", "above 0, at most 1", |scale| scale > 0.0 && scale <= 1.0)?,
            margin: margin(request)?,
        })
    }
}

fn what(request: &Value) -> Result<What, EngineError> {
    let given = |field: &str| request.get(field).filter(|value| !value.is_null());
    match (given("watermarkText"), given("watermarkImage")) {
        (Some(Value::String(text)), None) => clean(text).map(What::Text),
        (None, Some(Value::String(_))) => Ok(What::Picture),
        (Some(_), Some(_)) => {
            Err(EngineError::rejected("watermarkText", "given beside `watermarkImage`; give exactly one of the two"))
        }
        (None, None) => {
            Err(EngineError::rejected("watermarkText", "missing, like `watermarkImage`; give exactly one of the two"))
        }
        (Some(_), None) => Err(EngineError::rejected("watermarkText", "no text; give a string")),
        (None, Some(_)) => Err(EngineError::rejected("watermarkImage", "no address; give a string")),
    }
}

/// The text with one kind of line end, spaces for tabs, and no blank ends.
fn clean(text: &str) -> Result<String, EngineError> {
    let refused = |problem: String| Err(EngineError::rejected("watermarkText", problem));
    let characters = text.chars().count();
    if characters > MAX_CHARACTERS {
        return refused(format!("{characters} characters given; at most {MAX_CHARACTERS} are printed"));
    }
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{85}', '\u{2028}', '\u{2029}'], "\n").replace('\t', " ");
    if let Some(control) = text.chars().find(|c| c.is_control() && *c != '\n') {
        return refused(format!("the control character U+{:04X} cannot be printed; leave it out", u32::from(control)));
    }
    if text.chars().all(|c| c.is_whitespace() || is_invisible(c)) {
        return refused("nothing to see in it; give a text of visible characters".to_owned());
    }
    let lines: Vec<&str> = text.trim().split('\n').map(str::trim).collect();
    if lines.len() > MAX_LINES {
        return refused(format!("{} lines given; at most {MAX_LINES} are printed", lines.len()));
    }
    Ok(lines.join("\n"))
}

/// Whether a character only steers how others look.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

fn position(request: &Value) -> Result<WatermarkPosition, EngineError> {
    let wrong = |given: &Value| {
        let names = WatermarkPosition::ALL.iter().map(WatermarkPosition::as_str).collect::<Vec<_>>().join(", ");
        EngineError::rejected("position", format!("{given} given; give one of {names}"))
    };
    match request.get("position") {
        None | Some(Value::Null) => Ok(WatermarkPosition::BottomRight),
        Some(given) => given.as_str().and_then(|name| name.parse().ok()).ok_or_else(|| wrong(given)),
    }
}

fn number(request: &Value, field: &str, range: &str, fits: impl Fn(f64) -> bool) -> Result<Option<f64>, EngineError> {
    match request.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(given) => match given.as_f64().filter(|number| fits(*number)) {
            Some(number) => Ok(Some(number)),
            None => Err(EngineError::rejected(field, format!("{given} given; give a number {range}"))),
        },
    }
}

fn margin(request: &Value) -> Result<Option<u32>, EngineError> {
    match request.get("margin") {
        None | Some(Value::Null) => Ok(None),
        Some(given) => match given.as_u64() {
            // No picture has so long a side; what is larger is told as too large by its size.
            Some(margin) => Ok(Some(u32::try_from(margin).unwrap_or(u32::MAX))),
            None => {
                Err(EngineError::rejected("margin", format!("{given} given; give a whole number of pixels, 0 or more")))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> Result<String, String> {
        match Order::read(&json!({"watermarkText": text})) {
            Ok(Order { what: What::Text(text), .. }) => Ok(text),
            Ok(order) => panic!("{order:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn line_ends_and_tabs_are_made_plain() {
        assert_eq!(text("\r\n a\tb \r c\u{2028}\n\nd\n "), Ok("a b\nc\n\n\nd".to_owned()));
        // What steers an emoji at the end stays.
        assert_eq!(text("\u{2764}\u{fe0f}"), Ok("\u{2764}\u{fe0f}".to_owned()));
    }

    #[test]
    fn texts_that_cannot_be_printed_are_told() {
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
        let error = |request: Value| Order::read(&request).unwrap_err().to_string();
        assert!(error(json!({})).starts_with("`watermarkText`: missing, like `watermarkImage`"));
        let both = json!({"watermarkText": "a", "watermarkImage": "https://example.com/a.png"});
        assert!(error(both).starts_with("`watermarkText`: given beside `watermarkImage`"));
        assert!(error(json!({"watermarkText": 5})).starts_with("`watermarkText`: no text"));
        assert!(error(json!({"watermarkImage": []})).starts_with("`watermarkImage`: no address"));
    }

    #[test]
    fn what_is_out_of_range_is_named_with_the_range() {
        for (field, values) in [
            ("opacity", vec![json!(-0.1), json!(1.1), json!("a")]),
            ("scale", vec![json!(0), json!(1.01), json!(-1), json!([])]),
            ("margin", vec![json!(-1), json!(1.5), json!("1")]),
            ("position", vec![json!("left"), json!(1)]),
        ] {
            for value in values {
                let error = Order::read(&json!({"watermarkText": "a", field: value})).unwrap_err().to_string();
                assert!(error.starts_with(&format!("`{field}`: {value} given; give ")), "{error}");
            }
            assert!(Order::read(&json!({"watermarkText": "a", field: null})).is_ok());
        }
        let order = Order::read(&json!({"watermarkText": "a", "position": "top-left", "margin": u64::MAX})).unwrap();
        assert_eq!((order.position, order.margin), (WatermarkPosition::TopLeft, Some(u32::MAX)));
    }
}
