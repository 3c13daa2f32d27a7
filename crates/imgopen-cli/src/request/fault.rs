//! Faults of a request, reported by the flags that set its fields.

use imgopen_types::schema::{Field, Shape};
use imgopen_types::{Operation, Rule, Violation};
use serde_json::{Value, json};

use super::flags::Flag;
use crate::failure::Failure;

/// A fault of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The flag that sets the field, and the path inside its JSON or list: `--controlnet.args[0].weight`.
    pub flag: String,
    /// The field's path on the wire.
    pub field: String,
    /// The problem and how to fix it.
    pub message: String,
}

/// Returns the failure that reports all faults of a request.
pub fn report(operation: &Operation, command: &str, faults: &[Fault]) -> Failure {
    let lines: String = faults.iter().map(|fault| format!("\n  {}: {}", fault.flag, fault.message)).collect();
    let faults_json =
        faults.iter().map(|fault| json!({"flag": fault.flag, "field": fault.field, "message": fault.message}));
    let detail = json!({ "operation": operation.id, "faults": faults_json.collect::<Value>() });
    let help = format!("`imgopen {command} --help` describes each flag");
    Failure::usage(format!("the request was not sent:{lines}\n{help}")).detail(detail)
}

/// Describes a violation of the contract in terms of flags.
pub fn of_violation(operation: &Operation, flags: &[Flag], violation: &Violation) -> Fault {
    if violation.rule == Rule::ExactlyOne {
        return one_of(operation, flags, violation);
    }
    let message = in_words(flags, violation);
    Fault { flag: flag_of(flags, &violation.field), field: violation.field.clone(), message }
}

/// Returns the flag that sets a path on the wire, and the rest of the path inside its value; or the path itself, if no flag
/// sets it.
pub fn flag_of(flags: &[Flag], place: &str) -> String {
    let begins = |flag: &&Flag| match place.strip_prefix(&flag.id()) {
        Some(rest) => rest.is_empty() || rest.starts_with('[') || is_json(flag.field) && rest.starts_with('.'),
        None => false,
    };
    match flags.iter().filter(begins).max_by_key(|flag| flag.id().len()) {
        Some(flag) if place == flag.id() => format!("--{}", flag.long),
        // An undeclared member of an open object.
        Some(flag) if matches!(flag.field.shape, Shape::Object(_)) => format!("`{place}`"),
        Some(flag) => format!("--{}{}", flag.long, &place[flag.id().len()..]),
        None => format!("`{place}`"),
    }
}

fn is_json(field: &Field) -> bool {
    match &field.shape {
        Shape::Object(_) => true,
        Shape::List(list) => matches!(list.item, Shape::Object(_)),
        _ => false,
    }
}

fn one_of(operation: &Operation, flags: &[Flag], violation: &Violation) -> Fault {
    let names: Vec<_> = operation.request.exactly_one.iter().map(|path| flag_of(flags, &path.join("."))).collect();
    let problem = violation.message.split(';').next().unwrap_or_default();
    let message = format!("{problem}; give exactly one of {}", names.join(" and "));
    Fault { flag: names.join(", "), field: violation.field.clone(), message }
}

/// Returns the message with what a flag takes in place of what a field takes.
fn in_words(flags: &[Flag], violation: &Violation) -> String {
    let bare = violation.field.split('[').next().unwrap_or_default();
    let is_picture = flags.iter().any(|flag| flag.id() == bare && flag.field.picture);
    match is_picture {
        true => {
            violation.message.replace("a URL that begins with http:// or https://", "a URL or the path of a picture")
        }
        false => violation.message.clone(),
    }
}
