//! Whether a plain value keeps the rules of its shape: asked by the reader and by the probe.

use crate::schema::{Integer, Number, Numeric, Text};
use crate::violation::Rule;

impl Integer {
    /// Whether the value is in the range and in the list.
    pub(crate) fn allows(&self, value: i64) -> bool {
        let listed = self.one_of.is_empty() || self.one_of.contains(&value);
        listed && self.minimum.is_none_or(|least| value >= least) && self.maximum.is_none_or(|most| value <= most)
    }
}

impl Number {
    /// Whether the value is in the range.
    pub(crate) fn allows(&self, value: f64) -> bool {
        let above = self.minimum.is_none_or(|least| if self.above_minimum { value > least } else { value >= least });
        above && self.maximum.is_none_or(|most| value <= most)
    }
}

impl Text {
    /// The rule that the text breaks.
    pub(crate) fn broken(&self, text: &str) -> Option<Rule> {
        let short = self.min_length.is_some_and(|least| text.chars().take(least).count() < least);
        let long = self.max_length.is_some_and(|most| text.chars().nth(most).is_some());
        if short || long {
            Some(Rule::Length)
        } else if self.pattern.is_some_and(|pattern| !pattern.matches(text)) {
            Some(Rule::Pattern)
        } else {
            self.numeric.and_then(|numeric| numeric.broken(text))
        }
    }
}

impl Numeric {
    /// The rule that a text breaks which should hold a number.
    fn broken(&self, text: &str) -> Option<Rule> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if self.integer && (digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit())) {
            return Some(Rule::Pattern);
        }
        let Some(value) = decimal(text) else { return Some(Rule::Pattern) };
        let inside = self.minimum.is_none_or(|least| value >= least) && self.maximum.is_none_or(|most| value <= most);
        (!inside).then_some(Rule::Range)
    }
}

/// The number that a text holds in decimal or exponent notation; not the words (`inf`, `NaN`) that Rust reads as well.
pub(crate) fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    text.parse().ok().filter(|value: &f64| plain && value.is_finite())
}

/// The pattern of addresses. It is matched without a regular expression, which would take longer for a list of pictures
/// than everything else that a reader does.
pub(crate) const ADDRESS: &str = "^https?://.+";

pub(crate) fn is_address(value: &str) -> bool {
    let rest = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('\n'))
}

#[cfg(test)]
mod tests {
    use regex_lite::Regex;

    use super::*;
    use crate::schema::Pattern;

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
}
