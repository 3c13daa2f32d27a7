//! What a process must have to run a task, of several that share a database: what it was accepted for, and what only some of them
//! may have.
//!
//! As text each term begins with `+`: the lowest grade of the result, whether a training must be carried out and not only prepared,
//! and the models that the request names beside its checkpoint. Characters that separate parts of the text are escaped as in URLs.

use std::fmt::{self, Write};

use imgopen_engine::{Choice, Grade, NamedKind, NamedModel, Registry};
use imgopen_types::operations;

/// The term of trainings that are to be carried out.
const FINISHES: &str = "finishes";

/// The term of the grade.
const GRADE: &str = "grade";

/// What separates the parts of the text.
const SEPARATORS: [char; 4] = ['%', '+', ':', '/'];

/// What a process must have to run a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// The lowest grade that its engine may have; `None` for any.
    pub grade: Option<Grade>,
    /// Whether the engine must not only prepare the work.
    pub finishes: bool,
    /// Models that the process must have, in order.
    pub named: Vec<NamedModel>,
    /// Whether there are terms of a newer version, which nobody here can meet.
    pub is_newer: bool,
}

impl Terms {
    /// Returns the terms of a task that is accepted for an engine, and whose request names these models. What the engine does not
    /// list is left to its run.
    pub fn of(engines: &Registry, choice: &Choice, named: impl IntoIterator<Item = NamedModel>) -> Self {
        let mut named: Vec<_> = named.into_iter().filter(|named| engines.has(choice, named)).collect();
        named.sort();
        named.dedup();
        let is_training = *choice.offer.operation == operations::SUBMIT_TRAINING;
        Self {
            grade: Some(choice.offer.grade).filter(|grade| *grade > Grade::Sandbox),
            finishes: is_training && !choice.offer.prepares_only,
            named,
            is_newer: false,
        }
    }

    /// Whether an engine, with its process, has all.
    pub fn are_met(&self, engines: &Registry, choice: &Choice) -> bool {
        !self.is_newer
            && self.grade.is_none_or(|least| choice.offer.grade >= least)
            && !(self.finishes && choice.offer.prepares_only)
            && self.named.iter().all(|named| engines.has(choice, named))
    }

    /// Reads terms, without the first `+`.
    pub fn parse(text: &str) -> Self {
        let mut terms = Self::default();
        for term in text.split('+').filter(|term| !term.is_empty()) {
            terms.is_newer |= terms.add(term).is_none();
        }
        terms
    }

    /// Adds a term. `None` if it is not known.
    fn add(&mut self, term: &str) -> Option<()> {
        if term == FINISHES {
            self.finishes = true;
            return Some(());
        }
        let (name, value) = term.split_once('=')?;
        if name == GRADE {
            self.grade = Some(value.parse().ok()?);
            return Some(());
        }
        let kind = NamedKind::ALL.into_iter().find(|kind| kind.as_str() == name)?;
        self.named.push(NamedModel { kind, name: unescaped(value) });
        Some(())
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.finishes {
            write!(f, "+{FINISHES}")?;
        }
        if let Some(grade) = self.grade {
            write!(f, "+{GRADE}={grade}")?;
        }
        self.named.iter().try_for_each(|named| write!(f, "+{}={}", named.kind.as_str(), escaped(&named.name)))
    }
}

fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for character in name.chars() {
        if SEPARATORS.contains(&character) {
            // Writing to a text does not fail.
            let _ = write!(escaped, "%{:02X}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped
}

fn unescaped(value: &str) -> String {
    let mut parts = value.split('%');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let escape = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escape {
            Some(byte) => {
                name.push(char::from(byte));
                name.push_str(part.get(2..).unwrap_or_default());
            }
            None => {
                name.push('%');
                name.push_str(part);
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn terms_are_read_back(
            names in prop::collection::vec((0..4usize, "\\PC*"), 0..4),
            grade in prop::option::of(0..4usize),
            finishes in any::<bool>(),
        ) {
            let named = names.into_iter().map(|(kind, name)| NamedModel { kind: NamedKind::ALL[kind], name }).collect();
            let terms = Terms { grade: grade.map(|index| Grade::ALL[index]), finishes, named, is_newer: false };
            let text = terms.to_string();
            prop_assert!(!text.contains([':', '/']), "{}", text);
            prop_assert_eq!(Terms::parse(text.strip_prefix('+').unwrap_or_default()), terms);
        }
    }

    #[test]
    fn terms_of_a_newer_version_are_noticed() {
        for (text, is_newer) in [("", false), ("finishes+lora=a", false), ("grade=divine", true), ("swift", true)] {
            assert_eq!(Terms::parse(text).is_newer, is_newer, "{text}");
        }
    }
}
