//! What becomes of each field of a request, for each kind of back end.
//!
//! The rule is: what a caller asks for is honoured, done by us, approximated with a note in the result, or refused when the
//! task is submitted; it is never silently dropped. The table says which, and nothing else does: [`check`] refuses by
//! it, and the page of documentation is made from it.

mod document;
mod path;
mod row;
mod table;

use imgopen_engine::EngineError;
use imgopen_types::Operation;
use serde_json::Value;

use crate::kind::Kind;
pub use document::document;
use path::{generic, join};
pub use row::{Cell, Row, Treatment};

/// Returns the row of a field, or the one that stands for all unknown members beside it.
///
/// ```
/// use imgopen_backends::{Kind, honesty};
///
/// let row = honesty::row("controlnet", "controlnet.args[0].control_mode").unwrap();
/// assert_eq!(row.cell(Kind::SdServer).treatment, honesty::Treatment::Refused);
/// assert_eq!(honesty::row("text_to_image", "nonsense").unwrap().field, "*");
/// ```
pub fn row(operation: &str, field: &str) -> Option<&'static Row> {
    let field = generic(field);
    let find = |field: &str| table::ROWS.iter().find(|row| row.operations.contains(&operation) && row.field == field);
    find(&field).or_else(|| match field.rsplit_once('.') {
        Some((parent, _)) => find(&format!("{parent}.*")),
        None => find("*"),
    })
}

/// Refuses a request whose fields a kind of back end cannot honour, and returns the notes on those that it approximates.
/// `name` is that of the back end.
///
/// # Errors
///
/// [`EngineError::Rejected`] names the first field that is refused.
///
/// ```
/// use imgopen_backends::{Kind, honesty};
/// use imgopen_types::operations::TEXT_TO_IMAGE;
///
/// let body = serde_json::json!({"prompt": "a cat", "tiling": true});
/// let error = honesty::check(Kind::ComfyUi, "comfy", &TEXT_TO_IMAGE, &body).unwrap_err();
/// assert!(error.to_string().starts_with("`tiling`: the back end `comfy` (ComfyUI)"), "{error}");
/// ```
pub fn check(kind: Kind, name: &str, operation: &Operation, body: &Value) -> Result<Vec<String>, EngineError> {
    let mut check = Check { kind, name, operation: operation.id, notes: Vec::new() };
    check.object("", body)?;
    Ok(check.notes)
}

struct Check<'a> {
    kind: Kind,
    name: &'a str,
    operation: &'a str,
    notes: Vec<String>,
}

impl Check<'_> {
    fn object(&mut self, path: &str, value: &Value) -> Result<(), EngineError> {
        let Some(members) = value.as_object() else { return Ok(()) };
        members.iter().try_for_each(|(name, value)| self.field(&join(path, name), value))
    }

    fn field(&mut self, path: &str, value: &Value) -> Result<(), EngineError> {
        if value.is_null() {
            return Ok(());
        }
        if is_container(self.operation, path) {
            return match value.as_array() {
                Some(items) => {
                    let mut items = items.iter().enumerate();
                    items.try_for_each(|(index, item)| self.object(&format!("{path}[{index}]"), item))
                }
                None => self.object(path, value),
            };
        }
        let Some(row) = row(self.operation, path) else {
            return Err(self.refused(path, "does not take it"));
        };
        let cell = row.cell(self.kind);
        match cell.treatment {
            Treatment::Refused if !row.is_neutral(value) => Err(self.refused(path, cell.text)),
            Treatment::Approximated if !row.is_neutral(value) => {
                self.notes.push(format!("`{path}`: {}", cell.text));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn refused(&self, path: &str, reason: &str) -> EngineError {
        let (name, program) = (self.name, self.kind.program());
        EngineError::rejected(path, format!("the back end `{name}` ({program}) {reason}"))
    }
}

/// Returns whether rows are about the members of a field, and not about the field itself.
fn is_container(operation: &str, path: &str) -> bool {
    let path = generic(path);
    let rows = || table::ROWS.iter().filter(|row| row.operations.contains(&operation));
    let begins = |row: &Row| {
        let rest = row.field.strip_prefix(path.as_str());
        rest.is_some_and(|rest| rest.starts_with('.') || rest.starts_with("[]."))
    };
    !rows().any(|row| row.field == path) && rows().any(begins)
}

#[cfg(test)]
mod tests;
