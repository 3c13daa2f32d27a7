//! Patterns of texts: regular expressions, compiled when they are first needed.

use std::fmt;
use std::sync::OnceLock;

use regex_lite::Regex;

/// A regular expression, compiled when it is first needed.
pub struct Pattern {
    text: &'static str,
    regex: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// Makes a pattern from the text of a regular expression.
    pub const fn new(text: &'static str) -> Self {
        Self { text, regex: OnceLock::new() }
    }

    /// The regular expression's text.
    pub const fn as_str(&self) -> &'static str {
        self.text
    }

    /// Returns whether it matches anywhere in `value`. A pattern that does not compile matches nothing; the linter
    /// rejects it in the document.
    pub fn matches(&self, value: &str) -> bool {
        if self.text == ADDRESS {
            return is_address(value);
        }
        let regex = self.regex.get_or_init(|| Regex::new(self.text).ok());
        regex.as_ref().is_some_and(|regex| regex.is_match(value))
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

/// The pattern of addresses. It is matched without a regular expression, which would take longer for a list of pictures
/// than everything else that a reader does.
const ADDRESS: &str = "^https?://.+";

fn is_address(value: &str) -> bool {
    let rest = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_match_as_the_regular_expression_says() {
        let regex = Regex::new(ADDRESS).unwrap();
        for text in
            ["http://x", "https://x", "https://", "http:///", "https:/x", " http://x", "HTTP://x", "", "http://\n"]
        {
            for text in [text.to_owned(), format!("{text}\n"), format!("\n{text}"), format!("{text}\r\nä")] {
                assert_eq!(Pattern::new(ADDRESS).matches(&text), regex.is_match(&text), "{text:?}");
            }
        }
    }

    #[test]
    fn a_pattern_matches_anywhere_and_a_broken_one_nowhere() {
        assert!(Pattern::new("^https?://.+").matches("https://example.com/a b.png"));
        assert!(!Pattern::new("^https?://.+").matches("ftp://example.com"));
        assert!(!Pattern::new("(").matches("("));
    }
}
