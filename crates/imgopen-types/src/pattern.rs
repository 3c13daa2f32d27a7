//! Patterns of texts: regular expressions, compiled when they are first needed.

use std::fmt;
use std::sync::OnceLock;

use regex_lite::Regex;

use crate::address::{self, ADDRESS};

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
        if self.is_address() {
            return address::matches(value);
        }
        let regex = self.regex.get_or_init(|| Regex::new(self.text).ok());
        regex.as_ref().is_some_and(|regex| regex.is_match(value))
    }

    /// Whether it is the pattern of URLs.
    pub(crate) fn is_address(&self) -> bool {
        self.text == ADDRESS
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_anywhere_and_a_broken_one_nowhere() {
        assert!(Pattern::new(ADDRESS).matches("https://example.com/a b.png"));
        assert!(!Pattern::new(ADDRESS).matches("ftp://example.com"));
        assert!(!Pattern::new("(").matches("("));
    }
}
