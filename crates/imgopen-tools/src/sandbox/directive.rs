//! Parses directives: what a request asks the sandbox to simulate.

use std::time::Duration;

use imgopen_engine::EngineError;

/// The longest time in a directive.
const LONGEST: Duration = Duration::from_secs(3600);
const OPENING: &str = "[sandbox:";

/// The directives of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// The time before the first step.
    pub delay: Option<Duration>,
    /// The time of each step.
    pub slow: Option<Duration>,
    /// The fault to simulate.
    pub trouble: Option<Trouble>,
}

/// A fault halfway through the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    Fail(String),
    Hang,
    Panic,
}

/// A directive for the sandbox that is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the sandbox directive \"{directive}\" in {place} {problem}; write directives as \
     `delay=2s, slow=500ms, fail=some text, hang, panic`, in a prompt within `[sandbox: ...]`"
)]
pub struct DirectiveError {
    /// The directive as written.
    pub directive: String,
    /// Where it was written, such as "the prompt".
    pub place: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// A rejection without a field, because directives may be in a header.
impl From<DirectiveError> for EngineError {
    fn from(error: DirectiveError) -> Self {
        Self::Rejected { field: None, problem: error.to_string() }
    }
}

const HEADER: &str = "the header `x-sandbox`";
const PROMPT: &str = "the prompt";

impl Directives {
    /// Parses the header's value and the prompt. Directives in the header take precedence.
    pub(super) fn read(header: Option<&str>, prompt: Option<&str>) -> Result<Self, DirectiveError> {
        let mut from_prompt = Self::default();
        for text in bracketed(prompt.unwrap_or_default())? {
            from_prompt.add(text, PROMPT)?;
        }
        let mut directives = Self::default();
        directives.add(header.unwrap_or_default(), HEADER)?;
        Ok(Self {
            delay: directives.delay.or(from_prompt.delay),
            slow: directives.slow.or(from_prompt.slow),
            trouble: directives.trouble.or(from_prompt.trouble),
        })
    }

    fn add(&mut self, text: &str, place: &'static str) -> Result<(), DirectiveError> {
        let directives = text.split(',').map(str::trim).filter(|directive| !directive.is_empty());
        for directive in directives {
            let error = |problem| DirectiveError { directive: directive.to_owned(), place, problem };
            self.set(directive).map_err(error)?;
        }
        Ok(())
    }

    fn set(&mut self, directive: &str) -> Result<(), &'static str> {
        const TWICE: &str = "stands beside another that says the same thing";
        let (name, value) = match directive.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (directive, None),
        };
        match (name, value) {
            ("delay", Some(value)) => fill(&mut self.delay, duration(value)?).ok_or(TWICE),
            ("slow", Some(value)) => fill(&mut self.slow, duration(value)?).ok_or(TWICE),
            ("fail", text) => {
                let text = text.filter(|text| !text.is_empty()).unwrap_or("a failure was asked for");
                fill(&mut self.trouble, Trouble::Fail(text.to_owned())).ok_or(TWICE)
            }
            ("hang", None) => fill(&mut self.trouble, Trouble::Hang).ok_or(TWICE),
            ("panic", None) => fill(&mut self.trouble, Trouble::Panic).ok_or(TWICE),
            ("delay" | "slow", None) => Err("needs a time, such as 2s or 500ms"),
            ("hang" | "panic", Some(_)) => Err("takes no value"),
            _ => Err("is not known"),
        }
    }
}

/// Fills an empty slot. Returns `None` if it was full.
fn fill<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    match slot {
        Some(_) => None,
        None => {
            *slot = Some(value);
            Some(())
        }
    }
}

/// Returns the texts within `[sandbox: ...]`, in any case.
fn bracketed(prompt: &str) -> Result<Vec<&str>, DirectiveError> {
    // ASCII lower case keeps all byte positions.
    let lower = prompt.to_ascii_lowercase();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = lower[at..].find(OPENING).map(|offset| at + offset) {
        let body = start + OPENING.len();
        let unclosed = || DirectiveError {
            directive: prompt[start..].chars().take(40).collect(),
            place: PROMPT,
            problem: "has no closing bracket",
        };
        let end = body + lower[body..].find(']').ok_or_else(unclosed)?;
        found.push(&prompt[body..end]);
        at = end;
    }
    Ok(found)
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    const UNREADABLE: &str = "has no readable time; write it as 2s, 1.5s or 500ms";
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').ok_or(UNREADABLE)?, 1.0),
    };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = number.trim().parse().ok().filter(|_| digits).ok_or(UNREADABLE)?;
    let duration = Duration::try_from_secs_f64(number * unit).map_err(|_| UNREADABLE)?;
    if duration > LONGEST { Err("asks for more than an hour (3600s)") } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Directives {
        Directives::read(Some(header), None).unwrap()
    }

    #[test]
    fn every_directive_is_parsed() {
        let directives = read(" delay=2s ,slow = 1.5s, fail=out of memory,");
        assert_eq!(directives.delay, Some(Duration::from_secs(2)));
        assert_eq!(directives.slow, Some(Duration::from_millis(1500)));
        assert_eq!(directives.trouble, Some(Trouble::Fail("out of memory".to_owned())));
        assert_eq!(read("delay=500ms").delay, Some(Duration::from_millis(500)));
        assert_eq!(read("hang").trouble, Some(Trouble::Hang));
        assert_eq!(read("panic").trouble, Some(Trouble::Panic));
        assert_eq!(read("fail").trouble, Some(Trouble::Fail("a failure was asked for".to_owned())));
        assert_eq!(read(""), Directives::default());
    }

    #[test]
    fn directives_in_the_header_override_those_in_the_prompt() {
        let prompt = "é [Sandbox: delay=1s] and [sandbox:slow=1ms, fail=x] [sandbox] [other: hang]";
        let directives = Directives::read(Some("delay=3s"), Some(prompt)).unwrap();
        assert_eq!(directives.delay, Some(Duration::from_secs(3)));
        assert_eq!(directives.slow, Some(Duration::from_millis(1)));
        assert_eq!(directives.trouble, Some(Trouble::Fail("x".to_owned())));
    }

    #[test]
    fn an_invalid_directive_is_rejected_with_the_syntax() {
        for (header, problem) in [
            ("explode", "is not known"),
            ("delay", "needs a time"),
            ("delay=", "no readable time"),
            ("delay=2", "no readable time"),
            ("delay=-2s", "no readable time"),
            ("delay=infs", "no readable time"),
            ("delay=1e3s", "no readable time"),
            ("delay=3601s", "more than an hour"),
            ("hang=1", "takes no value"),
            ("hang, panic", "says the same thing"),
            ("delay=1s, delay=2s", "says the same thing"),
        ] {
            let error = Directives::read(Some(header), None).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("`delay=2s, slow=500ms"), "{header}: {error}");
        }
        let error = Directives::read(None, Some("a [sandbox: fail")).unwrap_err();
        assert_eq!((error.problem, error.place), ("has no closing bracket", "the prompt"));
    }
}
