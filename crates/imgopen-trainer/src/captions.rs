//! The caption of a training picture. The contract has no field for it, so it comes from the picture's file: its
//! description, or else the prompt that it was made with, as the Stable Diffusion web UI or ComfyUI writes it. Without
//! either there is no caption, and the trainer takes the name of the pictures' directory.

use imgopen_picture::{comfyui_prompt, description, parameters};

use crate::graph;

/// The most characters of a caption; the trainer counts 225 tokens at most.
const MAX_LENGTH: usize = 2000;

/// What cameras write into the description by themselves. A caption may begin with such words.
const CAMERA_DEFAULTS: [&str; 9] = [
    "OLYMPUS DIGITAL CAMERA",
    "SONY DSC",
    "SAMSUNG",
    "SAMSUNG CAMERA PICTURES",
    "KONICA MINOLTA DIGITAL CAMERA",
    "DCF 1.0",
    "DIGITAL CAMERA",
    "MINOLTA DIGITAL CAMERA",
    "Exif_JPEG_PICTURE",
];

/// The caption in one line, as the trainer reads it.
pub(crate) fn caption(file: &[u8]) -> Option<String> {
    let described = description(file).and_then(|text| described(&text));
    let prompted = |text: &str| one_line(&without_syntax(text));
    let by_web_ui = || prompted(prompt(&parameters(file)?));
    described.or_else(by_web_ui).or_else(|| prompted(&graph::prompt(&comfyui_prompt(file)?)?))
}

/// The description in one line, unless it is a camera's.
fn described(description: &str) -> Option<String> {
    one_line(description).filter(|text| !CAMERA_DEFAULTS.contains(&text.as_str()))
}

/// The prompt among the lines that the web UI writes: everything before the negative prompt and the settings.
fn prompt(parameters: &str) -> &str {
    let end = ["\nNegative prompt:", "\nSteps:"].iter().filter_map(|mark| parameters.find(mark)).min();
    let text = &parameters[..end.unwrap_or(parameters.len())];
    if ["Negative prompt:", "Steps:"].iter().any(|mark| text.starts_with(mark)) { "" } else { text }
}

/// A prompt without what only a generator reads: names of networks in `<>`, and weights in brackets.
fn without_syntax(prompt: &str) -> String {
    let (mut plain, mut rest) = (String::new(), prompt);
    while let Some(at) = rest.find(['<', '(', ')', '[', ']', '{', '}', '\\', ':']) {
        plain.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = match rest.as_bytes()[at] {
            b'<' => after.find('>').map_or(after, |end| &after[end + 1..]),
            // An escaped bracket is literal.
            b'\\' => match after.chars().next() {
                Some(next) => {
                    plain.push(next);
                    &after[next.len_utf8()..]
                }
                None => after,
            },
            b':' => match after.find(')').filter(|end| after[..*end].trim().parse::<f32>().is_ok()) {
                Some(end) => &after[end..],
                None => {
                    plain.push(':');
                    after
                }
            },
            _ => after,
        };
    }
    plain + rest
}

/// The text as one line without empty tags, or `None` if nothing is left.
fn one_line(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    let tags = line.split(',').map(str::trim).filter(|tag| !tag.is_empty());
    let line: String = tags.collect::<Vec<_>>().join(", ").chars().take(MAX_LENGTH).collect();
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_ends_before_the_settings() {
        assert_eq!(prompt("a cat\non a mat\nNegative prompt: dog\nSteps: 20"), "a cat\non a mat");
        assert_eq!(prompt("a cat\nSteps: 20, Sampler: Euler"), "a cat");
        assert_eq!(prompt("Negative prompt: dog\nSteps: 20"), "");
        assert_eq!(prompt("a cat"), "a cat");
    }

    #[test]
    fn generator_syntax_is_left_out() {
        for (prompt, expected) in [
            ("masterpiece, (best quality:1.2), <lora:add_detail:0.5>, ((a cat))", "masterpiece, best quality, a cat"),
            ("[dog], {sleeping}, ratio 1:2, see: this", "dog, sleeping, ratio 1:2, see: this"),
            (r"saber \(fate\), (blue eyes: 1.1)", "saber (fate), blue eyes"),
            ("a < b, (half", "a b, half"),
            ("猫, (可爱:1.3)", "猫, 可爱"),
        ] {
            assert_eq!(one_line(&without_syntax(prompt)).as_deref(), Some(expected), "{prompt}");
        }
    }

    #[test]
    fn what_cameras_write_is_no_caption() {
        for default in ["SAMSUNG", " OLYMPUS DIGITAL CAMERA ", "Exif_JPEG_PICTURE\0"] {
            assert_eq!(described(default), None, "{default}");
        }
        for caption in ["SAMSUNG phone", "DIGITAL CAMERA on a table"] {
            assert_eq!(described(caption).as_deref(), Some(caption));
        }
    }

    #[test]
    fn a_caption_is_one_line_or_none() {
        assert_eq!(one_line(" a cat\r\n on\ta mat ,, \0").as_deref(), Some("a cat on a mat"));
        assert_eq!(one_line(" \n, ,"), None);
        assert_eq!(one_line(&"é".repeat(5000)).unwrap().chars().count(), MAX_LENGTH);
    }
}
