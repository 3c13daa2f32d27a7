//! Rules about what readers accept beyond the strict form.

use std::collections::BTreeMap;

use super::contract::Contract;
use super::report::Report;
use crate::document::contents::Direction;
use crate::document::cursor::Cursor;
use crate::document::outline::Place;

/// Another spelling that is a property already would make one text mean two members.
pub(super) fn aliases(contract: &Contract<'_>, report: &mut Report) {
    for component in contract.all(Place::Component) {
        let properties = component.properties();
        let mut owners: BTreeMap<_, _> = properties.iter().map(|(name, _)| (*name, *name)).collect();
        for (name, property) in &properties {
            for alias in property.items_of("x-aliases") {
                let Some(spelling) = alias.node.text() else { continue };
                if let Some(owner) = owners.insert(spelling, name) {
                    report.add(&alias, format!("`{spelling}` is taken by `{owner}`"), "remove the alias");
                }
            }
        }
    }
}

/// Only what the readers know how to take; anything else would be refused after all.
pub(super) fn accepts(contract: &Contract<'_>, report: &mut Report) {
    for property in contract.all(Place::Property) {
        let kind = property.schema_type().unwrap_or_default();
        let readable = readable_types(property, kind);
        for place in property.items_of("x-accepts") {
            let Some(word) = place.node.text() else { continue };
            if !readable.contains(&word) {
                report.add(
                    &place,
                    format!("a property of type `{kind}` cannot be read from `{word}`"),
                    format!("it can be read from {}", readable.join(", ")),
                );
            }
        }
    }
}

/// The JSON types that the readers can turn into this type.
fn readable_types<'a>(property: &Cursor<'a>, kind: &str) -> Vec<&'a str> {
    let mut types = match kind {
        "boolean" => vec!["integer"],
        "string" => vec!["integer", "number", "array"],
        "integer" => vec!["number", "string"],
        "number" => vec!["string"],
        "array" => property.get("items").and_then(|items| items.schema_type()).into_iter().collect(),
        _ => Vec::new(),
    };
    types.retain(|found| *found != "object");
    if !property.is_nullable() {
        types.push("null");
    }
    types
}

/// Servers of this kind send null for what they do not know; clients leave out what they do not set.
pub(super) fn absent_members(contract: &Contract<'_>, report: &mut Report) {
    for document in &contract.documents {
        for component in document.schemas_of(Direction::Answer) {
            for (name, property) in component.properties() {
                if !component.requires(name) && !property.is_nullable() && !accepts_null(&property) {
                    let fix = "add `x-accepts: [\"null\"]`, beside `allOf` if it is a reference";
                    report.add(&property, "an optional member of an answer may come as null", fix);
                } else if component.requires(name) && accepts_null(&property) {
                    report.add(
                        &property.or_self("x-accepts"),
                        "null means absent, and this member is required",
                        "remove \"null\"",
                    );
                }
            }
        }
        for component in document.schemas_of(Direction::Request) {
            for (_, property) in component.properties().into_iter().filter(|(_, property)| accepts_null(property)) {
                let fix = "remove \"null\"; if answers use this schema too, make one for each";
                report.add(&property.or_self("x-accepts"), "a request leaves out what it does not set", fix);
            }
        }
    }
}

/// Whether null is read as absent.
fn accepts_null(property: &Cursor<'_>) -> bool {
    property.texts_of("x-accepts").contains(&"null")
}
