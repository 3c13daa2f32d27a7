//! Rules for the keys of schemas.

use serde_json::Value;

use super::limits::{lower, narrowing, upper, widening};
use super::members::{leniency, properties, required};
use super::shared::{Rules, reference, words};
use super::values;
use crate::breaking::compare::Comparison;
use crate::breaking::effect::Effect;
use crate::breaking::pair::{Edit, View};
use crate::document::outline::Place;

/// The keys of a schema, wherever it stands.
pub const SCHEMA: Rules = &[
    ("$ref", reference),
    ("allOf", composed),
    ("description", words),
    ("x-provenance", words),
    ("x-source", words),
    ("x-caller-id", caller_id),
    ("x-picture", words),
    ("x-model", words),
    ("type", kind),
    ("format", format),
    ("pattern", pattern),
    ("minLength", lower),
    ("maxLength", upper),
    ("nullable", widening),
    ("items", items),
    ("minItems", lower),
    ("maxItems", upper),
    ("uniqueItems", narrowing),
    ("minimum", lower),
    ("exclusiveMinimum", narrowing),
    ("maximum", upper),
    ("enum", values::closed),
    ("x-known-values", values::open),
    ("default", default),
    ("required", required),
    ("properties", properties),
    ("additionalProperties", unknown_members),
    ("oneOf", alternatives),
    ("x-aliases", leniency),
    ("x-accepts", leniency),
    ("x-numeric", numeric),
];

/// The key of a choice between members, which is judged as a whole.
pub const CHOICE: Rules = &[("oneOf", alternatives)];

/// The keys of a branch of `oneOf`, which is judged with the others.
pub const BRANCH: Rules = &[("required", alternatives), ("properties", alternatives)];

/// The type of the value.
fn kind(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let (old, new) = edit.values();
    let text = |value: &Option<Value>| value.as_ref().map_or("any".to_owned(), |value| value.to_string());
    let effect = match (text(&old).as_str(), text(&new).as_str()) {
        ("any", _) | ("\"number\"", "\"integer\"") => edit.flow.narrower(),
        (_, "any") | ("\"integer\"", "\"number\"") => edit.flow.wider(),
        _ => Effect::BREAKING,
    };
    comparison.report(edit, effect, format!("the type changed from {} to {}", text(&old), text(&new)));
}

/// Whether the caller's id may be used again. The mark itself changes nothing on the wire.
fn caller_id(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let (old, new) = edit.values();
    let is = |value: &Option<Value>, word: &str| value.as_ref().is_some_and(|value| value == word);
    match (&old, &new) {
        (old, new) if is(old, "repeatable") && is(new, "unique") => {
            comparison.report(edit, Effect::BREAKS_CALLERS, "the caller's id must be unique now");
        }
        (old, new) if is(old, "unique") && is(new, "repeatable") => {
            comparison.report(edit, Effect::BREAKS_SERVERS, "the caller's id may be used again now");
        }
        _ => words(comparison, edit),
    }
}

/// The width of a whole number, the only format in use.
fn format(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let (old, new) = edit.values();
    let is_wide = |value: &Option<Value>| value.as_ref().map(|value| value == "int64");
    let (effect, what) = match (is_wide(&old), is_wide(&new)) {
        (None, Some(true)) => (edit.flow.wider(), "the number may need 64 bits now".to_owned()),
        (Some(true), None) => (edit.flow.narrower(), "the number no longer needs 64 bits".to_owned()),
        _ => (Effect::UNCLASSIFIED, format!("`format` {}; only `int64` is known here", edit.verb())),
    };
    comparison.report(edit, effect, what);
}

/// Which of two patterns accepts more cannot be decided here.
fn pattern(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let (old, new) = edit.values();
    let (effect, what) = match (old, new) {
        (None, Some(new)) => (edit.flow.narrower(), format!("pattern {new} added")),
        (Some(old), None) => (edit.flow.wider(), format!("pattern {old} removed")),
        (Some(old), Some(new)) => (
            Effect::UNCLASSIFIED,
            format!("pattern changed from {old} to {new}; which of them accepts more cannot be decided"),
        ),
        (None, None) => return,
    };
    comparison.report(edit, effect, what);
}

fn items(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.inner(Place::Inner, edit, edit.flow.narrower(), edit.flow.wider());
}

fn numeric(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.inner(Place::Numeric, edit, edit.flow.narrower(), edit.flow.wider());
}

/// What is meant when nothing is said: a promise that a new one adds, and that both sides may have relied on.
fn default(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let (effect, what) = match edit.values() {
        (None, Some(new)) => (Effect::BREAKS_SERVERS, format!("the default {new} added, which services must apply")),
        (Some(old), None) => (Effect::BREAKS_CALLERS, format!("the default {old} no longer holds")),
        (Some(old), Some(new)) => (Effect::BREAKING, format!("the default changed from {old} to {new}")),
        (None, None) => return,
    };
    comparison.report(edit, effect, what);
}

/// What becomes of members that the schema does not name.
#[derive(Clone, Copy, PartialEq)]
enum Unknown {
    Ignored,
    Kept,
    Refused,
}

impl Unknown {
    fn of(schema: &View<'_>) -> Self {
        match (schema.is_closed(), schema.keeps_unknown()) {
            (true, _) => Self::Refused,
            (_, true) => Self::Kept,
            _ => Self::Ignored,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ignored => "ignored",
            Self::Kept => "kept",
            Self::Refused => "refused",
        }
    }
}

/// A side that writes unknown members may be rejected; a side that reads them may miss them. A service that does not look at
/// what is new stays right.
fn unknown_members(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let (old, new) = (Unknown::of(&edit.pair.old), Unknown::of(&edit.pair.new));
    let is_plain = |value: &Option<Value>| match value {
        Some(Value::Object(members)) => members.is_empty(),
        _ => true,
    };
    let (before, after) = edit.values();
    if !is_plain(&before) || !is_plain(&after) {
        return comparison.report(
            edit,
            Effect::UNCLASSIFIED,
            "`additionalProperties` is a schema, which is not known here",
        );
    }
    let (in_requests, in_answers) = match (old, new) {
        (old, new) if old == new => (Effect::DOCUMENTATION, Effect::DOCUMENTATION),
        (Unknown::Kept, Unknown::Refused) => (Effect::BREAKING, Effect::BREAKING),
        (_, Unknown::Refused) => (Effect::BREAKS_CALLERS, Effect::BREAKS_SERVERS),
        (Unknown::Refused, _) => (Effect::ADDITIVE, Effect::BREAKS_CALLERS),
        (Unknown::Kept, _) => (Effect::BREAKING, Effect::BREAKS_CALLERS),
        _ => (Effect::ADDITIVE, Effect::ADDITIVE),
    };
    let what = format!("unknown members are {} instead of {}", new.word(), old.word());
    comparison.report(edit, edit.flow.effect(in_requests, in_answers), what);
}

/// A reference beside which other keys stand, or the choice of an object.
fn composed(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    match choice(&edit.pair.old).is_some() || choice(&edit.pair.new).is_some() {
        true => alternatives(comparison, edit),
        false => reference(comparison, edit),
    }
}

/// The branches between which an object chooses, inside an `allOf` or, in older documents, beside its other keys.
fn choice(schema: &View<'_>) -> Option<Value> {
    let wrapped = schema.get("allOf").and_then(|all| all.items().iter().find_map(|part| part.get("oneOf")));
    schema.get("oneOf").or(wrapped).map(|branches| branches.node.to_json())
}

/// Which one of several members must be there. With another choice, some values are refused that were taken, and some
/// taken that were refused.
fn alternatives(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let (old, new) = (choice(&edit.pair.old), choice(&edit.pair.new));
    if edit.new.is_none() && new.is_some() {
        // The choice has moved to the other key, where it is judged.
        return comparison.reported_elsewhere();
    }
    let sorted = |value: Value| {
        let mut branches: Vec<_> = value.as_array().into_iter().flatten().map(Value::to_string).collect();
        branches.sort();
        branches
    };
    let (effect, what) = match (old, new) {
        (None, _) => (edit.flow.narrower(), "exactly one of several members must be there now"),
        (_, None) => (edit.flow.wider(), "no longer must exactly one of several members be there"),
        (Some(old), Some(new)) if sorted(old.clone()) == sorted(new.clone()) => {
            (Effect::DOCUMENTATION, "the choices are listed in another order or form")
        }
        _ => (Effect::BREAKING, "exactly one of other members must be there now"),
    };
    comparison.report(edit, effect, what);
}
