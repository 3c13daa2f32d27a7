//! Prompts as ComfyUI reads them: with embeddings named as such, and without the syntax that only the web UI has.

use std::sync::LazyLock;

use imgopen_engine::EngineError;
use regex_lite::{Captures, Regex};

use super::lists::find;
use crate::names::choice;

/// A prompt for `CLIPTextEncode`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text {
    /// The text.
    pub text: String,
    /// Whether it has weights in parentheses.
    pub has_weights: bool,
}

impl Text {
    /// Translates a prompt of a field. `embeddings` are those of the server, `name` is that of the back end.
    pub(super) fn translate(prompt: &str, field: &str, embeddings: &[String], name: &str) -> Result<Self, EngineError> {
        static BRACKETS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\\.|\[[^\[\]]*\]"));
        static WEIGHTS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\\.|\([^()]+\)"));
        static WORDS: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?:embedding:)?[\w./\\-]+"));
        let is_plain = |found: &str| !found.starts_with('\\');
        if let Some(found) = BRACKETS.find_iter(prompt).map(|found| found.as_str()).find(|found| is_plain(found)) {
            let inner = found.trim_matches(['[', ']']);
            let problem = format!(
                "the back end `{name}` (ComfyUI) takes `{found}` as words; write `({inner}:0.9)` for less weight"
            );
            return Err(EngineError::rejected(field, problem));
        }
        let mut unknown = None;
        let text = WORDS.replace_all(prompt, |word: &Captures<'_>| {
            let word = &word[0];
            let (given, is_named) = match word.strip_prefix("embedding:") {
                Some(given) => (given, true),
                None => (word, false),
            };
            // A full stop ends the sentence.
            let asked = given.trim_end_matches(['.', '-']);
            let rest = &given[asked.len()..];
            match find(embeddings, asked).or_else(|| unnamed(embeddings, asked)) {
                // What follows directly would count as a part of the name.
                Some(found) if rest.is_empty() => format!("embedding:{found}"),
                Some(found) => format!("embedding:{found} {rest}"),
                None => {
                    if is_named {
                        unknown.get_or_insert_with(|| asked.to_owned());
                    }
                    word.to_owned()
                }
            }
        });
        if let Some(unknown) = unknown {
            let problem = format!(
                "the back end `{name}` (ComfyUI) does not offer the embedding \"{unknown}\"; {}",
                choice(embeddings)
            );
            return Err(EngineError::rejected(field, problem));
        }
        let has_weights = WEIGHTS.find_iter(prompt).any(|found| is_plain(found.as_str()));
        // Only parentheses are escaped in ComfyUI.
        let text = text.replace(r"\[", "[").replace(r"\]", "]");
        Ok(Self { text, has_weights })
    }
}

/// Finds an embedding whatever the case of its letters, as the web UI does.
fn unnamed<'a>(embeddings: &'a [String], word: &str) -> Option<&'a String> {
    embeddings.iter().find(|known| known.eq_ignore_ascii_case(word))
}

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translate(prompt: &str) -> Result<Text, EngineError> {
        Text::translate(prompt, "prompt", &["randemb".to_owned(), "sub/bad-hands".to_owned()], "mine")
    }

    #[test]
    fn embeddings_are_named_as_such() {
        for (prompt, text) in [
            ("a randemb, b", "a embedding:randemb, b"),
            ("a Randemb.", "a embedding:randemb ."),
            ("(bad-hands:1.2)", "(embedding:sub/bad-hands:1.2)"),
            ("embedding:randemb at night", "embedding:randemb at night"),
            ("randembs and arandemb", "randembs and arandemb"),
            (r"a \[b\] \(c\)", r"a [b] \(c\)"),
        ] {
            assert_eq!(translate(prompt).unwrap().text, text);
        }
        let error = translate("embedding:nope, x").unwrap_err().to_string();
        assert!(error.contains("`prompt`") && error.contains("\"nope\"; give one of \"randemb\""), "{error}");
    }

    #[test]
    fn weights_are_noticed_and_brackets_refused() {
        assert!(translate("a (b:1.2)").unwrap().has_weights && translate("((b))").unwrap().has_weights);
        assert!(!translate(r"a \(b\) c").unwrap().has_weights);
        let error = translate("a [b] c").unwrap_err().to_string();
        assert!(error.contains("write `(b:0.9)` for less weight"), "{error}");
    }
}
