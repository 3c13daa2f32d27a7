//! The rule about the fields of requests that a server must find: the caller's id, pictures, the model.

use super::contract::Contract;
use super::report::Report;
use crate::document::contents::{Direction, Document, Operation};
use crate::document::cursor::Cursor;

/// The marks of which a property has at most one.
const MARKS: [&str; 3] = ["x-caller-id", "x-picture", "x-model"];

/// A mark that is missing would make a server skip a picture or lose an id; one in the wrong place would mean nothing.
pub(super) fn roles(contract: &Contract<'_>, report: &mut Report) {
    for document in &contract.documents {
        let requests = document.schemas_of(Direction::Request);
        for (_, property) in requests.iter().flat_map(Cursor::properties) {
            check_marks(&property, report);
        }
        for component in document.schemas_of(Direction::Answer) {
            // What travels both ways has its marks from the request.
            if requests.iter().any(|request| request.pointer == component.pointer) {
                continue;
            }
            for (_, property) in component.properties() {
                for mark in MARKS.iter().filter_map(|mark| property.get(mark)) {
                    report.add(&mark, "only a request has marked fields", "remove the mark");
                }
            }
        }
        check_pictures(document, report);
        for operation in &document.operations {
            check_operation(document, operation, report);
        }
    }
}

/// Reports several marks on one property, and marks of properties that are not texts.
fn check_marks(property: &Cursor<'_>, report: &mut Report) {
    let marks: Vec<_> = MARKS.iter().filter(|mark| property.has(mark)).collect();
    if let [_, second, ..] = marks.as_slice() {
        report.add(&property.or_self(second), "the property has two marks", "keep one; they exclude each other");
    }
    for mark in marks {
        let holder = match property.get("items") {
            Some(items) if *mark == "x-picture" => items,
            _ => property.clone(),
        };
        if holder.schema_type() != Some("string") {
            let fix = "mark a text; `x-picture` may mark a list of texts";
            report.add(&property.or_self(mark), format!("`{mark}` marks something that is not a text"), fix);
        }
    }
}

/// Reports URLs in requests that are neither a picture nor the address of a callback, and pictures that are not URLs.
fn check_pictures(document: &Document<'_>, report: &mut Report) {
    let with_callback = || document.operations.iter().filter(|operation| operation.place.has("callbacks"));
    let addresses: Vec<_> = with_callback().filter_map(callback_address).collect();
    // The rule `callbacks` reports an address that is not found.
    let all_found = addresses.len() == with_callback().count();
    for (_, property) in document.schemas_of(Direction::Request).iter().flat_map(Cursor::properties) {
        let holder = property.get("items").unwrap_or_else(|| property.clone());
        let is_url = holder.text("pattern").is_some_and(|pattern| pattern.contains("://"));
        let is_address = addresses.contains(&property.pointer);
        match (is_url, property.has("x-picture")) {
            (true, false) if !is_address && all_found => {
                let fix = "add `x-picture: true`, or make it the address of a callback";
                report.add(&property, "the URL is neither of a picture nor of a callback", fix);
            }
            (_, true) if is_address => {
                report.add(
                    &property.or_self("x-picture"),
                    "the address of a callback names no picture",
                    "remove the mark",
                );
            }
            (false, true) => {
                let fix = r#"add `pattern: "^\\s*[Hh][Tt][Tt][Pp][Ss]?://.+"`"#;
                report.add(&property.or_self("x-picture"), "a picture is given by URL, and this is any text", fix);
            }
            _ => {}
        }
    }
}

/// Where the property lies that holds the address of an operation's callback.
fn callback_address(operation: &Operation<'_>) -> Option<String> {
    Some(operation.request_schema()?.property(operation.callback_field()?)?.pointer)
}

/// Reports jobs without the one id that the caller gives, and requests with two ids or two models.
fn check_operation(document: &Document<'_>, operation: &Operation<'_>, report: &mut Report) {
    let Some(request) = operation.request_schema() else { return };
    let used = document.reachable(request.reference());
    let inside = document.schemas_of(Direction::Request).into_iter();
    let inside = inside.filter(|component| used.contains(component.pointer.as_str()));
    let properties: Vec<_> =
        inside.flat_map(|component| component.properties()).map(|(_, property)| property).collect();
    let marked = |mark| properties.iter().filter(|property| property.has(mark)).collect::<Vec<_>>();
    if marked("x-caller-id").is_empty() && operation.place.has("x-job") {
        let fix = "mark the caller's own id of the task with `x-caller-id`";
        report.add(&operation.place.or_self("x-job"), "the request of this job marks no caller's id", fix);
    }
    for mark in ["x-caller-id", "x-model"] {
        if let [_, second, ..] = marked(mark)[..] {
            let problem = format!("the request of `{}` has two fields with `{mark}`", operation.id);
            report.add(&second.or_self(mark), problem, "keep one");
        }
    }
}
