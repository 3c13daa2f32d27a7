//! Rules for sets of values, closed and open.

use super::shared::{Rules, agreed, code_name, words};
use crate::breaking::compare::Comparison;
use crate::breaking::effect::Effect;
use crate::breaking::pair::{Edit, Matched, View, named};
use crate::document::cursor::Cursor;
use crate::document::outline::Place;

/// The keys of a value of an open set; the value itself is what it is known by.
pub const KNOWN_VALUE: Rules = &[
    ("value", agreed),
    ("name", code_name),
    ("description", words),
    ("state", agreed),
    ("x-provenance", words),
    ("x-source", words),
];

/// The states in which a job has ended.
const ENDS: [&str; 3] = ["succeeded", "failed", "cancelled"];

/// A closed set: only its values are allowed.
pub fn closed(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    match (&edit.old, &edit.new) {
        (None, _) => return comparison.report(edit, edit.flow.narrower(), "only the listed values are allowed now"),
        (_, None) => return comparison.report(edit, edit.flow.wider(), "other values than the listed are allowed now"),
        _ => {}
    }
    let values = Matched::new(edit, "");
    for (value, place) in &values.removed {
        comparison.report_gone(place, edit.flow.narrower(), format!("the value `{value}` removed"));
    }
    for (value, place) in &values.added {
        comparison.report_at(place, edit.flow.wider(), format!("the value `{value}` added"));
    }
    if values.is_reordered {
        comparison.report(edit, Effect::DOCUMENTATION, "the values are listed in another order");
    }
}

/// An open set: other values are allowed, but code names the known ones and waits for those that end a job.
pub fn open(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let values = Matched::new(edit, "value");
    if edit.pair.old.get("enum").is_some() != edit.pair.new.get("enum").is_some() {
        comparison.reported_elsewhere();
    }
    let is_gone = |value: &str| edit.new.is_some() && !is_listed(&edit.pair.new, value);
    if edit.new.is_none() && edit.pair.new.get("enum").is_none() {
        comparison.report(
            edit,
            Effect::BREAKING,
            "the known values removed, and with them their names in generated code",
        );
    }
    for (value, place) in values.removed.iter().filter(|(value, _)| is_gone(value)) {
        let what = format!("the known value `{value}` removed, and with it the name that generated code has for it");
        comparison.report_gone(place, Effect::BREAKING, what);
    }
    for (value, place) in values.added.iter().filter(|(value, _)| !is_listed(&edit.pair.old, value)) {
        let (effect, what) = new_value(place);
        comparison.report_at(place, effect, format!("the known value `{value}` added{what}"));
    }
    if values.is_reordered {
        comparison.report(edit, Effect::DOCUMENTATION, "the known values are listed in another order");
    }
    for (_, old, new) in values.both {
        comparison.object(Place::KnownValue, old, new, edit.flow);
    }
}

/// Whether the closed set of a schema has the value; that the set was opened or closed is reported by its own rule.
fn is_listed(schema: &View<'_>, value: &str) -> bool {
    named(schema.get("enum").as_ref(), "").iter().any(|(listed, _)| listed == value)
}

/// An unknown state never counts as an end, so an older client waits on.
fn new_value(place: &Cursor<'_>) -> (Effect, &'static str) {
    match place.text("state").is_some_and(|state| ENDS.contains(&state)) {
        true => (Effect::BREAKS_CALLERS, ", an end that older clients do not see"),
        false => (Effect::ADDITIVE, ""),
    }
}
