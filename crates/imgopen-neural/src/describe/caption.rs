//! Writes what is known of a picture as a caption: phrases in English, separated by commas, the most important first.

use imgopen_types::StyleLabel;

use super::classes::Things;

/// The share of a picture's height from which a face makes it a close up, or a portrait.
const CLOSE: f32 = 0.35;
const PORTRAIT: f32 = 0.12;

/// The confidence from which a style is named without a reservation.
const SURE: f64 = 0.5;

/// By how much the sides of a square may differ.
const SQUARE: f64 = 1.05;

/// How small numbers are written.
const NUMBERS: [&str; 9] = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

/// What is known of a picture.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Facts {
    pub things: Things,
    /// The height of each face, as a share of that of the picture.
    pub faces: Vec<f32>,
    /// The names of colours, the largest share first.
    pub colours: Vec<&'static str>,
    /// As [`imgopen_tools::style`] has them.
    pub styles: Vec<StyleLabel>,
    /// Width and height in pixels.
    pub size: (u32, u32),
}

impl Facts {
    /// Writes the caption, which has at least the format of the picture.
    pub fn caption(&self) -> String {
        let phrases = [self.scene(), self.things.other.clone(), self.tones(), self.light(), self.vividness()];
        let phrases = phrases.into_iter().chain([Some(self.format().to_owned()), self.technique()]);
        phrases.flatten().collect::<Vec<_>>().join(", ")
    }

    fn scene(&self) -> Option<String> {
        match (self.people(), self.things.main.clone()) {
            (Some(people), Some(thing)) => Some(format!("{people} and {thing}")),
            (people, thing) => people.or(thing),
        }
    }

    fn people(&self) -> Option<String> {
        let highest = self.faces.iter().copied().fold(0.0, f32::max);
        match self.faces.len() {
            0 => None,
            1 if highest >= CLOSE => Some("a close up of a person".to_owned()),
            1 if highest >= PORTRAIT => Some("a portrait of a person".to_owned()),
            1 => Some("a person".to_owned()),
            count => {
                let number = NUMBERS.get(count - 2).map_or_else(|| count.to_string(), |number| (*number).to_owned());
                Some(if count > 3 { format!("a group of {number} people") } else { format!("{number} people") })
            }
        }
    }

    fn tones(&self) -> Option<String> {
        if self.is("black and white") {
            return Some("black and white".to_owned());
        }
        (!self.colours.is_empty()).then(|| format!("mostly {}", self.colours.join(" and ")))
    }

    fn light(&self) -> Option<String> {
        let found = [("low key", "dark"), ("high key", "bright")].into_iter().find(|(label, _)| self.is(label));
        found.map(|(_, word)| word.to_owned())
    }

    fn vividness(&self) -> Option<String> {
        let known = [("vivid", "vivid colours"), ("pastel", "pastel colours"), ("monochrome", "monochrome")];
        known.into_iter().find(|(label, _)| self.is(label)).map(|(_, word)| word.to_owned())
    }

    fn format(&self) -> &'static str {
        let (width, height) = (f64::from(self.size.0), f64::from(self.size.1));
        if width > height * SQUARE {
            "landscape format"
        } else if height > width * SQUARE {
            "portrait format"
        } else {
            "square format"
        }
    }

    /// Returns the technique that fits best.
    fn technique(&self) -> Option<String> {
        self.styles.iter().find_map(|style| {
            let name = match style.label.as_str() {
                "photograph" => "a photograph",
                "illustration" => "an illustration",
                "line art" => "line art",
                "sketch" => "a sketch",
                "pixel art" => "pixel art",
                "abstract" => "an abstract picture",
                _ => return None,
            };
            let is_sure = style.confidence.is_some_and(|confidence| confidence >= SURE);
            Some(if is_sure { name.to_owned() } else { format!("possibly {name}") })
        })
    }

    fn is(&self, label: &str) -> bool {
        self.styles.iter().any(|style| style.label == label && style.confidence.is_some_and(|found| found >= SURE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(styles: &[(&str, f64)]) -> Facts {
        let label = |(label, confidence): &(&str, f64)| StyleLabel {
            label: (*label).to_owned(),
            confidence: Some(*confidence),
        };
        Facts { styles: styles.iter().map(label).collect(), size: (300, 200), ..Facts::default() }
    }

    fn thing(name: &str) -> Things {
        Things { main: Some(name.to_owned()), other: None }
    }

    #[test]
    fn all_that_is_known_is_written() {
        let facts = Facts {
            things: Things { other: Some("possibly a tennis ball".to_owned()), ..thing("a dog") },
            faces: vec![0.2],
            colours: vec!["brown", "light gray"],
            ..facts(&[("photograph", 0.9), ("vivid", 0.6), ("low key", 0.5)])
        };
        assert_eq!(
            facts.caption(),
            "a portrait of a person and a dog, possibly a tennis ball, mostly brown and light gray, dark, vivid colours, \
             landscape format, a photograph"
        );
    }

    #[test]
    fn nothing_is_made_up() {
        assert_eq!(facts(&[]).caption(), "landscape format");
        let gray = Facts { colours: vec!["gray"], ..facts(&[("black and white", 0.9), ("photograph", 0.4)]) };
        assert_eq!(gray.caption(), "black and white, landscape format, possibly a photograph");
        // Too weak to be said.
        assert_eq!(facts(&[("vivid", 0.3), ("high key", 0.2)]).caption(), "landscape format");
    }

    #[test]
    fn people_are_counted() {
        for (faces, expected) in [
            (&[0.5][..], "a close up of a person"),
            (&[0.3], "a portrait of a person"),
            (&[0.05], "a person"),
            (&[0.5, 0.1], "two people"),
            (&[0.1; 3], "three people"),
            (&[0.1; 4], "a group of four people"),
            (&[0.1; 10], "a group of ten people"),
            (&[0.1; 11], "a group of 11 people"),
        ] {
            let facts = Facts { faces: faces.to_vec(), ..facts(&[]) };
            assert_eq!(facts.caption(), format!("{expected}, landscape format"));
        }
        assert_eq!(Facts { things: thing("a cat"), ..facts(&[]) }.caption(), "a cat, landscape format");
    }

    #[test]
    fn the_format_follows_the_sides() {
        for (size, expected) in [
            ((300, 200), "landscape format"),
            ((200, 300), "portrait format"),
            ((200, 200), "square format"),
            ((204, 200), "square format"),
            ((1, 60_000), "portrait format"),
        ] {
            assert_eq!(Facts { size, ..Facts::default() }.caption(), expected);
        }
    }

    #[test]
    fn the_technique_that_fits_best_is_named() {
        for (label, expected) in [
            ("photograph", "a photograph"),
            ("illustration", "an illustration"),
            ("line art", "line art"),
            ("sketch", "a sketch"),
            ("pixel art", "pixel art"),
            ("abstract", "an abstract picture"),
        ] {
            let caption = facts(&[("pastel", 0.2), (label, 0.8), ("photograph", 0.6)]).caption();
            assert_eq!(caption, format!("landscape format, {expected}"));
        }
    }
}
