//! The texts of `--help` about operations and their fields.

use imgopen_types::Operation;
use imgopen_types::operation::PathParameter;
use imgopen_types::schema::{Field, Shape, TextEnum};
use serde_json::Value;

use super::flags::Flag;

/// Describes a field: its meaning, then bounds, default and known values in brackets.
pub fn field(flag: &Flag, operation: &Operation, all: &[Flag]) -> String {
    let mut text = with_flags(&about(flag.field), all);
    let notes = notes(flag.field, &text);
    text += &notes;
    if let Shape::List(_) = &flag.field.shape {
        text += " Repeatable.";
    }
    if flag.is_caller_id(operation) {
        text += " Generated unless given.";
    }
    text
}

/// Describes an operation, and what its command does with the answer.
pub fn operation(operation: &Operation, all: &[Flag]) -> String {
    // The list after the text is about the API's queries and ids, which the command takes care of.
    let about = operation.about.split("\n\n* Kind:").next().unwrap_or_default();
    let rest = match &operation.job {
        Some(_) => "Waits for the task and saves its results. Pictures may be local files.",
        None => "Prints the answer as JSON.",
    };
    format!("{}\n\n{rest}", with_flags(about.trim_end(), all))
}

/// Describes a variable part of an operation's path. clap lists the values of a closed set itself.
pub fn parameter(parameter: &PathParameter) -> String {
    format!("{}{}", parameter.about, known_values(parameter.values))
}

/// Returns the known values of an open set in brackets; nothing for a closed one.
fn known_values(set: &TextEnum) -> String {
    let known = set.values.iter().map(|choice| choice.value).collect::<Vec<_>>().join(", ");
    if set.open { format!(" [known values: {known}]") } else { String::new() }
}

/// Returns a field's description in terms of its flag: pictures may be files, and the default has a note of its own.
fn about(field: &Field) -> String {
    let mut about = field.about.to_owned();
    if field.default.is_some() {
        about = about.split(" Default ").next().unwrap_or_default().to_owned();
    }
    if field.picture {
        about = about.replacen("URL of the ", "The ", 1).replacen("URLs of the ", "The ", 1);
    }
    about
}

/// Writes flags in place of field names. A name followed by "of a row" belongs to an answer, not to the request.
fn with_flags(text: &str, all: &[Flag]) -> String {
    let outer = all.iter().filter(|flag| flag.path.len() == 1);
    outer.fold(text.to_owned(), |text, flag| {
        let (name, flag) = (format!("`{}`", flag.path[0]), format!("--{}", flag.long));
        let pieces: Vec<_> = text.split(&name).collect();
        let join = |after: &str| if after.starts_with(" of a row") { name.clone() } else { flag.clone() };
        let rest = pieces.iter().skip(1).map(|after| join(after) + after);
        pieces.first().map_or(String::new(), |first| (*first).to_owned()) + &rest.collect::<String>()
    })
}

/// Returns what follows a description in brackets, unless the description says it: bounds, default, known values.
fn notes(field: &Field, described: &str) -> String {
    let mut notes = String::new();
    if let Some(bounds) = bounds(&field.shape).filter(|bounds| !is_said(&field.shape, bounds, described)) {
        notes += &format!(" [{bounds}]");
    }
    match field.default.and_then(|default| serde_json::from_str::<Value>(default).ok()) {
        Some(Value::String(default)) => notes += &format!(" [default: {default}]"),
        Some(default) => notes += &format!(" [default: {default}]"),
        None => {}
    }
    if let Shape::TextEnum(set) = &field.shape {
        notes += &known_values(set);
    }
    notes
}

/// Whether a description already contains the bounds; it may list values with "or".
fn is_said(shape: &Shape, bounds: &str, described: &str) -> bool {
    match shape {
        Shape::Integer(rules) if !rules.one_of.is_empty() => {
            let words: Vec<_> = described.split(|c: char| !c.is_ascii_digit()).collect();
            rules.one_of.iter().all(|value| words.contains(&value.to_string().as_str()))
        }
        _ => described.contains(bounds),
    }
}

/// Returns the bounds of a value, such as "from 1 to 8".
fn bounds(shape: &Shape) -> Option<String> {
    let expectation = match shape {
        Shape::Integer(rules) if !rules.one_of.is_empty() => return Some(shape.expectation()),
        Shape::Integer(_) | Shape::Number(_) => shape.expectation(),
        Shape::Text(text) if text.numeric.is_some() => shape.expectation().replace(" as text", ""),
        Shape::Text(text) if text.min_length.is_some_and(|least| least > 1) || text.max_length.is_some() => {
            shape.expectation()
        }
        Shape::List(_) => shape.expectation(),
        _ => return None,
    };
    let kinds = ["a whole number", "a number", "a text", "a list"];
    let bounds = kinds.iter().find_map(|kind| expectation.strip_prefix(kind))?.trim();
    let bounds = bounds.strip_prefix("of ").unwrap_or(bounds);
    (!bounds.is_empty()).then(|| bounds.to_owned())
}

#[cfg(test)]
mod tests {
    use imgopen_types::schema::{Integer, Number};

    use super::*;
    use crate::request::flags::flags;

    #[test]
    fn every_field_is_described() {
        for operation in imgopen_types::operations::ALL.iter().copied() {
            let flags = flags(operation);
            for flag in &flags {
                let text = field(flag, operation, &flags);
                let is_described = about(flag.field).ends_with('.') && about(flag.field).len() > 8;
                assert!(is_described, "{} --{}: {text:?}", operation.id, flag.long);
                assert!(!text.contains("URL of the ") || !flag.field.picture, "{text:?}");
            }
        }
    }

    #[test]
    fn bounds_are_short() {
        let bounds = |shape: Shape| bounds(&shape).unwrap_or_default();
        assert_eq!(bounds(Shape::Integer(Integer::ANY.minimum(1))), "at least 1");
        assert_eq!(bounds(Shape::Integer(Integer::ANY.one_of(&[2, 4]))), "one of 2, 4");
        assert_eq!(bounds(Shape::Number(Number::ANY.minimum(1.0).maximum(8.0))), "from 1 to 8");
        assert_eq!(bounds(Shape::Number(Number::ANY)), "");
        assert_eq!(bounds(Shape::Boolean), "");
    }
}
