//! What an operator should know of a back end.

use std::fmt;

use serde::Serialize;

use crate::kind::Kind;

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

/// Several lines for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        match &self.away {
            Some(reason) => writeln!(f, "{}: away: {reason}", self.name)?,
            None => writeln!(f, "{}: {}{version}, {}", self.name, self.program, count(self.models.len()))?,
        }
        self.operations.iter().try_for_each(|OperationReport { operation, missing }| match missing {
            Some(missing) => writeln!(f, "  {operation}: needs {missing}"),
            None => writeln!(f, "  {operation}: served"),
        })
    }
}

fn count(models: usize) -> String {
    if models == 1 { "1 model".to_owned() } else { format!("{models} models") }
}
