//! Checks plain values against the rules of their shape, for the reader and the writer.

use crate::numbers::decimal;
use crate::schema::{Integer, Number, Numeric, Text};
use crate::violation::Rule;

impl Integer {
    /// Returns whether the value is in the range and in the list.
    pub(crate) fn allows(&self, value: i64) -> bool {
        let listed = self.one_of.is_empty() || self.one_of.contains(&value);
        listed && self.minimum.is_none_or(|least| value >= least) && self.maximum.is_none_or(|most| value <= most)
    }
}

impl Number {
    /// Returns whether the value is in the range.
    pub(crate) fn allows(&self, value: f64) -> bool {
        let above = self.minimum.is_none_or(|least| if self.above_minimum { value > least } else { value >= least });
        above && self.maximum.is_none_or(|most| value <= most)
    }
}

impl Text {
    /// Returns the rule that the text breaks, if it breaks one.
    pub(crate) fn broken(&self, text: &str) -> Option<Rule> {
        // A character has one to four bytes, so that most texts need not be counted.
        let bytes = text.len();
        let short = self
            .min_length
            .is_some_and(|least| bytes < least.saturating_mul(4) && text.chars().take(least).count() < least);
        let long = self.max_length.is_some_and(|most| bytes > most && text.chars().nth(most).is_some());
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
    /// Returns the rule that a text breaks which should hold a number.
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
