//! Rules for the limits of a value.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::shared::Rules;
use crate::breaking::compare::Comparison;
use crate::breaking::effect::Effect;
use crate::breaking::pair::Edit;

/// The keys of the rule for a number that travels as text.
pub const NUMERIC: Rules = &[("minimum", lower), ("maximum", upper), ("integer", narrowing)];

/// A minimum of a value, length or count: raising it allows fewer values.
pub fn lower(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    limit(comparison, edit, Ordering::Greater);
}

/// A maximum of a value, length or count: lowering it allows fewer values.
pub fn upper(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    limit(comparison, edit, Ordering::Less);
}

/// Reports a changed limit; `tighter` is the direction in which it allows fewer values.
fn limit(comparison: &mut Comparison, edit: &Edit<'_, '_>, tighter: Ordering) {
    let key = edit.key;
    let (effect, what) = match edit.values() {
        (None, Some(Value::Number(new))) => (edit.flow.narrower(), format!("{key} {new} added")),
        (Some(Value::Number(old)), None) => (edit.flow.wider(), format!("{key} {old} removed")),
        (Some(Value::Number(old)), Some(Value::Number(new))) => {
            let way = order(&new, &old);
            let effect = match way {
                Ordering::Equal => Effect::DOCUMENTATION,
                way if way == tighter => edit.flow.narrower(),
                _ => edit.flow.wider(),
            };
            let verb = match way {
                Ordering::Less => "lowered",
                Ordering::Equal => "written otherwise,",
                Ordering::Greater => "raised",
            };
            (effect, format!("{key} {verb} from {old} to {new}"))
        }
        _ => (Effect::UNCLASSIFIED, format!("`{key}` {}, and it is not a number", edit.verb())),
    };
    comparison.report(edit, effect, what);
}

/// Compares whole numbers exactly.
fn order(one: &Number, other: &Number) -> Ordering {
    match (one.as_i128(), other.as_i128()) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => one.as_f64().unwrap_or_default().total_cmp(&other.as_f64().unwrap_or_default()),
    }
}

/// A mark that allows fewer values while it is `true`.
pub fn narrowing(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    mark(comparison, edit, edit.flow.narrower(), edit.flow.wider());
}

/// A mark that allows more values while it is `true`.
pub fn widening(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    mark(comparison, edit, edit.flow.wider(), edit.flow.narrower());
}

fn mark(comparison: &mut Comparison, edit: &Edit<'_, '_>, set: Effect, cleared: Effect) {
    let is_set = |value: Option<Value>| value.map_or(Some(false), |value| value.as_bool());
    let (old, new) = edit.values();
    let (effect, verb) = match (is_set(old), is_set(new)) {
        (Some(false), Some(true)) => (set, "is true now"),
        (Some(true), Some(false)) => (cleared, "is no longer true"),
        (Some(_), Some(_)) => (Effect::DOCUMENTATION, "is said otherwise"),
        _ => (Effect::UNCLASSIFIED, "changed, and it is neither true nor false"),
    };
    comparison.report(edit, effect, format!("`{}` {verb}", edit.key));
}
