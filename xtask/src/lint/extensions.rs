//! Rules about the keys of objects, OpenAPI's and our own.

use super::contract::Contract;
use super::report::Report;
use crate::document::cursor::Cursor;
use crate::document::outline::Place;
use crate::document::yaml::{Data, Node};

/// A key that no generator reads promises something that does not happen.
pub(super) fn known_keys(contract: &Contract<'_>, report: &mut Report) {
    for_unknown_keys(contract, |key, place| {
        if !key.starts_with("x-") {
            report.add(
                place,
                format!("`{key}` is not read here"),
                "remove it; xtask/src/document/outline.rs lists the keys of each object",
            );
        }
    });
}

/// A misspelt or misplaced extension is silently without effect.
pub(super) fn extensions(contract: &Contract<'_>, report: &mut Report) {
    for_unknown_keys(contract, |key, place| {
        if key.starts_with("x-") {
            report.add(
                place,
                format!("`{key}` is not an extension that may stand here"),
                "see the table of extensions in spec/README.md",
            );
        }
    });
}

/// Reports every key that may not stand where it stands.
fn for_unknown_keys<'a>(contract: &Contract<'a>, mut report: impl FnMut(&str, &Cursor<'a>)) {
    for (kind, object) in contract.documents.iter().flat_map(|document| &document.outline) {
        // Rules of their own know more about these.
        if matches!(kind, Place::PathItem | Place::PushItem | Place::Carried) {
            continue;
        }
        for (key, place) in object.members() {
            if !kind.keys().contains(&key) {
                report(key, &place);
            }
        }
    }
}

/// An extension whose value has another form than the one described is read as something else, or not at all.
pub(super) fn extension_values(contract: &Contract<'_>, report: &mut Report) {
    for (_, object) in contract.documents.iter().flat_map(|document| &document.outline) {
        for (key, place) in object.members() {
            if let Some(wanted) = wrong_form(key, place.node) {
                report.add(&place, format!("the value of `{key}` has the wrong form"), format!("write {wanted}"));
            }
        }
    }
}

/// What the value of an extension should be, if it is not.
fn wrong_form(key: &str, value: &Node) -> Option<&'static str> {
    let is_texts = || !value.items().is_empty() && value.items().iter().all(|item| item.text().is_some());
    let (fits, wanted) = match key {
        "x-idempotent" | "x-multi-segment" | "x-picture" | "x-model" => {
            (value.boolean() == Some(true), "`true`, or leave it out")
        }
        "x-aliases" | "x-accepts" => (is_texts(), "a list of texts"),
        "x-known-values" => (!value.items().is_empty(), "a list of values"),
        "x-caller-id" => (matches!(value.text(), Some("repeatable" | "unique")), "`repeatable` or `unique`"),
        "x-source" => {
            (value.text().is_some_and(|text| !text.is_empty()), "sentences that say where the facts come from")
        }
        "x-quirk" => (value.text().is_some_and(|text| !text.is_empty()), "a text that says what is wrong"),
        "x-job" => {
            (matches!(value.data, Data::Map(_)), "`query`, `id`, `field` and, where there are any, `parameters`")
        }
        "x-numeric" => (is_numeric(value), "`minimum`, `maximum` and `integer: true`, each only if it holds, or `{}`"),
        _ => return None,
    };
    (!fits).then_some(wanted)
}

/// Whether a value has the form of `x-numeric`.
fn is_numeric(value: &Node) -> bool {
    let is_fitting = |key: &str, value: &Node| match key {
        "integer" => value.boolean() == Some(true),
        _ => value.number().is_some(),
    };
    matches!(value.data, Data::Map(_)) && value.entries().iter().all(|(key, value)| is_fitting(&key.text, value))
}
