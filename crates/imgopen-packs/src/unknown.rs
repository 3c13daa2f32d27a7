//! Names that are not known, with a suggestion.

use std::fmt;

/// A name that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName {
    what: &'static str,
    name: String,
    known: Vec<String>,
}

impl UnknownName {
    pub(crate) fn new(what: &'static str, name: &str, known: Vec<String>) -> Self {
        Self { what, name: name.to_owned(), known }
    }

    /// Returns the known name that was probably meant.
    pub fn nearest(&self) -> Option<&str> {
        let name: String = self.name.chars().take(100).collect::<String>().to_lowercase();
        let begins = |known: &&String| !name.is_empty() && known.to_lowercase().starts_with(&name);
        if let Some(longer) = self.known.iter().find(begins) {
            return Some(longer);
        }
        let distance = |known: &String| strsim::damerau_levenshtein(&known.to_lowercase(), &name);
        let (best, nearest) = self.known.iter().map(|known| (distance(known), known)).min()?;
        (best <= 1 + name.chars().count() / 4).then_some(nearest)
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name, known } = self;
        write!(f, "there is no {what} \"{name}\"")?;
        match self.nearest() {
            Some(nearest) => write!(f, "; did you mean \"{nearest}\"?"),
            None if known.is_empty() => Ok(()),
            None => write!(f, "; give one of: {}", known.join(", ")),
        }
    }
}

impl std::error::Error for UnknownName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested() {
        let known = || ["background", "safety"].map(str::to_owned).to_vec();
        for (name, message) in [
            ("back-ground", "there is no pack \"back-ground\"; did you mean \"background\"?"),
            ("Safety", "there is no pack \"Safety\"; did you mean \"safety\"?"),
            ("back", "there is no pack \"back\"; did you mean \"background\"?"),
            ("clip", "there is no pack \"clip\"; give one of: background, safety"),
            ("", "there is no pack \"\"; give one of: background, safety"),
        ] {
            assert_eq!(UnknownName::new("pack", name, known()).to_string(), message);
        }
        assert_eq!(UnknownName::new("pack", "a", Vec::new()).to_string(), "there is no pack \"a\"");
    }
}
