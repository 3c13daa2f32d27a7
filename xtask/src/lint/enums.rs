//! Rules about sets of values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::contract::Contract;
use super::report::Report;
use crate::document::cursor::Cursor;
use crate::document::outline::Place;
use crate::names::variant_name;

/// What a job can be in.
const STATES: [&str; 5] = ["queued", "running", "succeeded", "failed", "cancelled"];

/// Every value has the type of its schema and stands there once.
pub(super) fn enum_values(contract: &Contract<'_>, report: &mut Report) {
    for schema in contract.schemas_with_limits() {
        for (list, values) in value_lists(schema) {
            if values.is_empty() {
                report.add(&list, "the set of values is empty", "name the values or remove it");
            }
            let mut seen = BTreeSet::new();
            for value in values {
                let json = value.node.to_json();
                let fits = match schema.text("type") {
                    Some("string") => json.is_string(),
                    Some("integer") => json.as_i64().is_some(),
                    _ => false,
                };
                if !fits {
                    report.add(&value, format!("{json} is not of the schema's type"), "correct the value or the type");
                } else if !seen.insert(json.to_string()) {
                    report.add(&value, format!("{json} stands here twice"), "remove one");
                }
            }
        }
    }
}

/// The places of the values in `enum` and `x-known-values`.
fn value_lists<'a>(schema: &Cursor<'a>) -> Vec<(Cursor<'a>, Vec<Cursor<'a>>)> {
    let closed = schema.get("enum").map(|list| (list.clone(), list.items()));
    let open = schema.get("x-known-values").map(|list| {
        let values = list.items().iter().map(|entry| entry.or_self("value")).collect();
        (list, values)
    });
    closed.into_iter().chain(open).collect()
}

/// Two values must not become one variant, in any spelling; an open set keeps `Other` for what it does not know.
pub(super) fn variant_names(contract: &Contract<'_>, report: &mut Report) {
    for component in contract.all(Place::Component) {
        let rest = component.get("x-known-values").map(|list| ("other".to_owned(), list));
        let mut known: BTreeMap<_, _> = rest.into_iter().collect();
        for (place, name) in variants(component) {
            if let Some(first) = known.insert(name.to_lowercase(), place.clone()) {
                let problem = format!("the variant `{name}` is taken on line {}", first.line);
                report.add(&place, problem, "give the value another `name`, which an open set allows");
            }
        }
    }
}

/// The text values of a set and the names of their variants; numbers have only the names that they are given.
fn variants<'a>(component: &Cursor<'a>) -> Vec<(Cursor<'a>, String)> {
    let closed = component.items_of("enum").into_iter().map(|value| (value.clone(), value));
    let open = component.items_of("x-known-values").into_iter().map(|entry| (entry.clone(), entry.or_self("value")));
    let all = closed.chain(open).filter_map(|(entry, value)| {
        let name = match entry.text("name") {
            Some(name) => name.to_owned(),
            None => variant_name(value.node.text()?).to_string(),
        };
        Some((entry, name))
    });
    all.collect()
}

/// A number says nothing by itself, and a name becomes a variant as it stands.
pub(super) fn known_value_names(contract: &Contract<'_>, report: &mut Report) {
    for entry in contract.all(Place::KnownValue) {
        let is_number = entry.node.get("value").is_some_and(|value| value.number().is_some());
        match entry.text("name") {
            None if is_number => report.add(entry, "a number needs a name", "add `name`, in UpperCamelCase"),
            Some(name) if !is_variant_name(name) => {
                report.add(
                    &entry.or_self("name"),
                    format!("`{name}` is not in UpperCamelCase"),
                    "write a name such as `EulerA`",
                );
            }
            _ => {}
        }
    }
}

/// Whether a name can be a variant as it stands.
fn is_variant_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A status without a state would leave a job undecided.
pub(super) fn states(contract: &Contract<'_>, report: &mut Report) {
    for component in contract.all(Place::Component) {
        let entries = component.items_of("x-known-values");
        let has_states = entries.iter().any(|entry| entry.has("state"));
        for entry in entries.iter().filter(|_| has_states) {
            let state = entry.node.get("state").map(|state| state.to_json());
            if !matches!(&state, Some(Value::String(word)) if STATES.contains(&word.as_str())) {
                let fix = format!("write one of {}", STATES.join(", "));
                report.add(
                    &entry.or_self("state"),
                    "the value does not say a known state, as others of its schema do",
                    fix,
                );
            }
        }
    }
}
