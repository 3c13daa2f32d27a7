//! What an operator should know of a back end.

use std::fmt;

use imgopen_types::Operation;
use serde::Serialize;

use crate::kind::Kind;
use crate::settings::BackendSettings;

/// The state of a back end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The name of the engine.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// The program, such as `Forge`.
    pub program: &'static str,
    /// The version of the program, once it has said so.
    pub version: Option<String>,
    /// Why it is away; `None` while it answers.
    pub away: Option<String>,
    /// The names of its checkpoints.
    pub models: Vec<String>,
    /// The operations that such a program can serve.
    pub operations: Vec<OperationReport>,
}

/// Whether a back end serves an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperationReport {
    /// The id of the operation.
    pub operation: &'static str,
    /// What is missing for it, in words that say what to install; `None` if it is served.
    pub missing: Option<String>,
}

/// What is said of an operation that the settings withhold, in place of what it needs.
pub(crate) const WITHHELD: &str = "withheld by the settings";
/// The same while it is not known what the server has.
pub(crate) const UNANSWERED: &str = "the server has not answered yet";

/// How an operation is offered that the operator wants to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Why it is away.
    pub away: Option<String>,
    /// Whether the server is known to have all that it needs.
    pub is_known: bool,
}

impl Standing {
    /// Finds out how an operation is offered. What the server lacks withdraws it unless the operator named it: then it is away, so
    /// that no lesser engine takes its place.
    pub(crate) fn of(
        operation: &Operation,
        settings: &BackendSettings,
        missing: Option<String>,
        away: Option<String>,
    ) -> Option<Self> {
        match missing.as_deref() {
            None => Some(Self { away, is_known: true }),
            // What the server has is not known yet.
            Some(UNANSWERED) => Some(Self { away, is_known: false }),
            Some(missing) if settings.names_operation(operation.id) => {
                Some(Self { away: away.or_else(|| Some(format!("it needs {missing}"))), is_known: false })
            }
            Some(_) => None,
        }
    }
}

impl OperationReport {
    /// Says whether the operation is served, and else what it needs.
    pub fn summary(&self) -> String {
        match self.missing.as_deref() {
            None => "served".to_owned(),
            Some(reason @ (WITHHELD | UNANSWERED)) => reason.to_owned(),
            Some(missing) => format!("needs {missing}"),
        }
    }
}

/// Several lines for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        match &self.away {
            Some(reason) => writeln!(f, "{}: away: {reason}", self.name)?,
            None => writeln!(f, "{}: {}{version}, {}", self.name, self.program, count(self.models.len()))?,
        }
        self.operations.iter().try_for_each(|of| writeln!(f, "  {}: {}", of.operation, of.summary()))
    }
}

fn count(models: usize) -> String {
    if models == 1 { "1 model".to_owned() } else { format!("{models} models") }
}

#[cfg(test)]
mod tests {
    use imgopen_types::operations::TEXT_TO_IMAGE;

    use super::*;

    #[test]
    fn what_the_operator_named_is_away_while_something_is_missing() {
        let plain = BackendSettings::new("http://a.example".parse().unwrap());
        let named = BackendSettings { operations: Some(vec!["text_to_image".to_owned()]), ..plain.clone() };
        let by_workflow =
            BackendSettings { workflows: [("text_to_image".to_owned(), "x.json".into())].into(), ..plain.clone() };
        let standing = |settings: &BackendSettings, missing: Option<&str>, away: Option<&str>| {
            let standing = Standing::of(&TEXT_TO_IMAGE, settings, missing.map(str::to_owned), away.map(str::to_owned))?;
            Some((standing.away, standing.is_known))
        };
        for settings in [&plain, &named, &by_workflow] {
            assert_eq!(standing(settings, None, None), Some((None, true)));
            assert_eq!(standing(settings, None, Some("it hangs")), Some((Some("it hangs".to_owned()), true)));
            let unanswered = standing(settings, Some(UNANSWERED), Some("it hangs"));
            assert_eq!(unanswered, Some((Some("it hangs".to_owned()), false)));
        }
        assert_eq!(standing(&plain, Some("a model"), None), None);
        for settings in [&named, &by_workflow] {
            let lacking = standing(settings, Some("a model"), None);
            assert_eq!(lacking, Some((Some("it needs a model".to_owned()), false)));
            let away = standing(settings, Some("a model"), Some("it hangs"));
            assert_eq!(away, Some((Some("it hangs".to_owned()), false)));
        }
    }
}
