//! The faults of a value, each with the field, the value and what is expected.

use std::fmt;

/// One fault of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, such as `alwayson_scripts.controlnet.args[0].weight`; empty for the body as a whole.
    pub field: String,
    /// The rule that it breaks.
    pub rule: Rule,
    /// The value's problem and the fix.
    pub message: String,
}

/// The rule that a fault breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A required field is missing.
    Missing,
    /// `null` where it is not a value.
    Null,
    /// A value of another JSON type.
    Type,
    /// A number outside its range or list, or a text that holds such a number.
    Range,
    /// A text that is too short or too long.
    Length,
    /// A text that does not match its pattern, or does not hold a number where it should.
    Pattern,
    /// A text that is not one of a closed set.
    Choice,
    /// A list with too few or too many items, or one item twice.
    Items,
    /// A field that is given twice, possibly in two spellings.
    Twice,
    /// A field that the object does not have.
    Unknown,
    /// None or several of fields of which exactly one is needed.
    ExactlyOne,
}

/// Every fault of a value, in the order in which they were found.
///
/// ```
/// use imgopen_types::SubmitTrainingRequest;
///
/// let error = SubmitTrainingRequest::builder().file_url_list(["https://example.com/1.png"]).max_epochs(51).build().unwrap_err();
/// let fields: Vec<_> = error.iter().map(|violation| violation.field.as_str()).collect();
/// assert_eq!(fields, ["taskId", "fileUrlList", "maxEpochs"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Violations {
    list: Vec<Violation>,
    more: usize,
}

impl Violations {
    /// The most faults that are kept; further ones are counted.
    pub const MOST: usize = 100;

    pub(crate) const fn none() -> Self {
        Self { list: Vec::new(), more: 0 }
    }

    /// One fault.
    pub(crate) fn of(field: &str, rule: Rule, message: impl Into<String>) -> Self {
        let mut violations = Self::none();
        violations.push(|| Violation { field: field.to_owned(), rule, message: message.into() });
        violations
    }

    /// Keeps one more fault, or only counts it: then no message is made, because a hostile body may hold very
    /// many.
    pub(crate) fn push(&mut self, violation: impl FnOnce() -> Violation) {
        if self.list.len() < Self::MOST {
            self.list.push(violation());
        } else {
            self.more += 1;
        }
    }

    /// Whether there is no fault.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The number of faults, with those beyond [`Self::MOST`].
    pub fn len(&self) -> usize {
        self.list.len() + self.more
    }

    /// The faults that were kept.
    pub fn iter(&self) -> std::slice::Iter<'_, Violation> {
        self.list.iter()
    }
}

impl<'a> IntoIterator for &'a Violations {
    type Item = &'a Violation;
    type IntoIter = std::slice::Iter<'a, Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => write!(f, "the body: {}", self.message),
            field => write!(f, "`{field}`: {}", self.message),
        }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.list.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_bounded_number() {
        let mut violations = Violations::none();
        for index in 0..1_000_000 {
            violations.push(|| Violation {
                field: format!("list[{index}]"),
                rule: Rule::Type,
                message: "3 given, a text expected".into(),
            });
        }
        assert_eq!(violations.len(), 1_000_000);
        assert_eq!(violations.iter().count(), Violations::MOST);
        assert!(violations.to_string().ends_with("`list[99]`: 3 given, a text expected; and 999900 more"));
    }
}
