//! What a request asks for.

use imgopen_engine::EngineError;
use imgopen_types::ChangeHairstyleRequest;

use crate::lab;

/// The values of `hairStyle` that keep the hairstyle, so that only its colour changes.
pub const KEPT: [&str; 7] = ["keep", "same", "current", "original", "unchanged", "no change", "none"];

/// The names of colours, in lower case, and the colours of such hair.
const COLOURS: [(&str, [u8; 3]); 27] = [
    ("black", [28, 24, 23]),
    ("dark brown", [59, 42, 32]),
    ("brown", [90, 60, 40]),
    ("brunette", [90, 60, 40]),
    ("light brown", [139, 101, 70]),
    ("chestnut", [107, 60, 38]),
    ("auburn", [122, 55, 35]),
    ("red", [150, 50, 28]),
    ("ginger", [178, 96, 48]),
    ("copper", [174, 88, 46]),
    ("orange", [200, 105, 40]),
    ("dark blonde", [160, 128, 84]),
    ("dark blond", [160, 128, 84]),
    ("blonde", [209, 173, 118]),
    ("blond", [209, 173, 118]),
    ("light blonde", [226, 200, 152]),
    ("platinum", [226, 214, 190]),
    ("gray", [142, 142, 142]),
    ("grey", [142, 142, 142]),
    ("silver", [186, 187, 190]),
    ("white", [226, 224, 220]),
    ("pink", [226, 142, 178]),
    ("purple", [108, 60, 136]),
    ("blue", [48, 80, 158]),
    ("green", [64, 126, 78]),
    ("teal", [46, 132, 132]),
    ("burgundy", [94, 28, 40]),
];

/// The most characters of a colour that a message repeats.
const SHOWN: usize = 40;

/// What to do with hair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Asked {
    /// Another style, whatever else.
    Restyle,
    /// The same style in a colour, in L*a*b*.
    Recolour([f32; 3]),
}

impl Asked {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] names the field, and what to give.
    pub fn read(request: &ChangeHairstyleRequest) -> Result<Self, EngineError> {
        let style = request.hair_style.trim().to_lowercase();
        if style.is_empty() {
            let problem = "is empty; name a hairstyle, such as \"bob\", or give \"keep\" to change the colour only";
            return Err(EngineError::rejected("hairStyle", problem));
        }
        if !KEPT.contains(&style.as_str()) {
            return Ok(Asked::Restyle);
        }
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        if given(&request.prompt).is_some() {
            let problem = "not used where the hairstyle is kept; leave it out, or name a hairstyle";
            return Err(EngineError::rejected("prompt", problem));
        }
        let Some(colour) = given(&request.hair_color) else {
            let problem = "needed where the hairstyle is kept; give a colour, such as \"brown\" or \"#5a3c28\"";
            return Err(EngineError::rejected("hairColor", problem));
        };
        colour_of(&colour).map(|colour| Asked::Recolour(lab::of(colour.map(|level| f32::from(level) / 255.0))))
    }
}

/// Reads a colour of hair: a name, or `#rrggbb`.
fn colour_of(text: &str) -> Result<[u8; 3], EngineError> {
    let name = text.trim().to_lowercase().replace(['-', '_'], " ");
    let name = name.strip_suffix("hair").unwrap_or(&name).trim();
    if let Some((_, colour)) = COLOURS.iter().find(|(known, _)| *known == name) {
        return Ok(*colour);
    }
    let digits = name.strip_prefix('#').filter(|digits| digits.len() == 6);
    let number = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    match number.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
        Some(number) => {
            let [_, red, green, blue] = number.to_be_bytes();
            Ok([red, green, blue])
        }
        None => {
            let shown: String = text.chars().take(SHOWN).collect();
            let names = COLOURS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            Err(EngineError::rejected("hairColor", format!("\"{shown}\" given; give #rrggbb or one of {names}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(style: &str, colour: Option<&str>, prompt: Option<&str>) -> Result<Asked, EngineError> {
        Asked::read(&ChangeHairstyleRequest {
            business_task_id: "1".to_owned(),
            source_image: "https://example.com/a.png".to_owned(),
            hair_style: style.to_owned(),
            hair_color: colour.map(str::to_owned),
            prompt: prompt.map(str::to_owned),
            callback_url: None,
        })
    }

    #[test]
    fn a_style_is_another_one_unless_it_is_kept() {
        assert_eq!(read("bob", Some("rainbow"), Some("with a fringe")), Ok(Asked::Restyle));
        for style in KEPT {
            let asked = read(&format!(" {} ", style.to_uppercase()), Some("brown"), Some(" ")).unwrap();
            assert!(
                matches!(asked, Asked::Recolour([lightness, ..]) if (20.0..40.0).contains(&lightness)),
                "{asked:?}"
            );
        }
    }

    #[test]
    fn colours_are_names_or_numbers() {
        for (text, expected) in [
            ("Brown", [90, 60, 40]),
            ("dark-brown hair", [59, 42, 32]),
            (" LIGHT_BLONDE ", [226, 200, 152]),
            ("#0aF310", [10, 243, 16]),
        ] {
            assert_eq!(colour_of(text), Ok(expected), "{text}");
        }
        for text in ["mauve-ish", "#12345", "#12345g", "#+12345", "", "123456"] {
            let error = colour_of(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`hairColor`: \"{text}\" given; give #rrggbb or one of black, ")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_missing_or_too_much_is_rejected_by_field() {
        for (asked, start) in [
            (read(" ", None, None), "`hairStyle`: is empty; name a hairstyle"),
            (read("keep", None, None), "`hairColor`: needed where the hairstyle is kept"),
            (read("keep", Some(""), None), "`hairColor`: needed where the hairstyle is kept"),
            (read("keep", Some("red"), Some("with a fringe")), "`prompt`: not used where the hairstyle is kept"),
        ] {
            let error = asked.unwrap_err().to_string();
            assert!(error.starts_with(start), "{error}");
        }
    }
}
