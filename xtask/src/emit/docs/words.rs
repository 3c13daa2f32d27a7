//! The words for types, bounds and leniency.

use std::fmt::Display;

use maud::{Markup, html};
use serde_json::{Number, Value};

use super::place;
use crate::model::{JsonType, Numeric, Property, Shape, State, Unknown};

/// The type of a value, with a link where it is a schema.
pub fn type_of(shape: &Shape) -> Markup {
    match shape {
        Shape::Boolean => html! { "boolean" },
        Shape::Integer { .. } => html! { "integer" },
        Shape::Number { .. } => html! { "number" },
        Shape::Text { numeric: Some(Numeric { integer: true, .. }), .. } => html! { "string holding an integer" },
        Shape::Text { numeric: Some(_), .. } => html! { "string holding a number" },
        Shape::Text { .. } => html! { "string" },
        Shape::List { item, .. } => html! { "array of " (type_of(item)) },
        Shape::Named(name) => html! { a href={ "#" (place::schema(name)) } { (name) } },
    }
}

/// The bounds of a property's value, one phrase each.
pub fn bounds(property: &Property) -> Vec<Markup> {
    let mut phrases = shape_bounds(&property.shape);
    if property.nullable {
        phrases.push(html! { "may be " code { "null" } });
    }
    phrases
}

fn shape_bounds(shape: &Shape) -> Vec<Markup> {
    match shape {
        Shape::Boolean | Shape::Named(_) => Vec::new(),
        Shape::Integer { minimum, maximum, one_of } => {
            let values: Vec<_> = one_of.iter().map(i64::to_string).collect();
            let values = (!values.is_empty()).then(|| html! { "one of " (values.join(", ")) });
            range(minimum.as_ref(), maximum.as_ref(), "").into_iter().chain(values).collect()
        }
        Shape::Number { minimum, maximum, above_minimum: false } => numbers(minimum.as_ref(), maximum.as_ref()),
        Shape::Number { minimum, maximum, above_minimum: true } => {
            let above = minimum.as_ref().map(|minimum| html! { "above " (number(minimum)) });
            above.into_iter().chain(numbers(None, maximum.as_ref())).collect()
        }
        Shape::Text { min_length, max_length, pattern, numeric } => {
            let mut phrases = range(min_length.as_ref(), max_length.as_ref(), " characters");
            phrases.extend(pattern.iter().map(|pattern| html! { "matches " code { (pattern) } }));
            phrases.extend(numeric.iter().flat_map(|rule| numbers(rule.minimum.as_ref(), rule.maximum.as_ref())));
            phrases
        }
        Shape::List { item, min_items, max_items, unique } => {
            let mut phrases = range(min_items.as_ref(), max_items.as_ref(), " items");
            phrases.extend(unique.then(|| html! { "no item twice" }));
            phrases.extend(shape_bounds(item).into_iter().map(|phrase| html! { "each item: " (phrase) }));
            phrases
        }
    }
}

fn numbers(minimum: Option<&Number>, maximum: Option<&Number>) -> Vec<Markup> {
    range(minimum.map(number).as_ref(), maximum.map(number).as_ref(), "")
}

fn range<T: Display + PartialEq>(minimum: Option<&T>, maximum: Option<&T>, unit: &str) -> Vec<Markup> {
    let singular =
        |bound: &T| if bound.to_string() == "1" { unit.trim_end_matches('s').to_owned() } else { unit.to_owned() };
    let phrase = match (minimum, maximum) {
        (None, None) => return Vec::new(),
        (Some(low), Some(high)) if low == high => format!("exactly {low}{}", singular(low)),
        (Some(low), Some(high)) => format!("{low} to {high}{unit}"),
        (Some(low), None) => format!("at least {low}{}", singular(low)),
        (None, Some(high)) => format!("at most {high}{}", singular(high)),
    };
    vec![html! { (phrase) }]
}

/// A number in digits, without an exponent.
fn number(number: &Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => value.to_string(),
        _ => number.to_string(),
    }
}

/// A default as it would stand on the wire.
pub fn json(value: &Value) -> String {
    match value {
        Value::Number(value) => number(value),
        other => other.to_string(),
    }
}

/// The other JSON types that are read, in one phrase.
pub fn accepts(types: &[JsonType]) -> Option<String> {
    let words: Vec<_> = types
        .iter()
        .map(|kind| match kind {
            JsonType::Integer => "integer",
            JsonType::Number => "number",
            JsonType::String => "string",
            JsonType::Boolean => "boolean",
            JsonType::Array => "array",
            JsonType::Null => "null (as left out)",
        })
        .collect();
    (!words.is_empty()).then(|| format!("also reads {}", words.join(", ")))
}

/// What happens to members that are not declared.
pub fn unknown(unknown: Unknown) -> &'static str {
    match unknown {
        Unknown::Ignored => "Other members are ignored.",
        Unknown::Kept => "Other members are allowed and kept.",
        Unknown::Refused => "Other members are refused.",
    }
}

/// What a status says of a job.
pub fn state(state: State) -> &'static str {
    match state {
        State::Queued => "queued",
        State::Running => "running",
        State::Succeeded => "succeeded",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_well() {
        for (low, high, unit, expected) in [
            (Some(1), None, " characters", "at least 1 character"),
            (None, Some(20), " items", "at most 20 items"),
            (Some(10), Some(100), " items", "10 to 100 items"),
            (Some(4), Some(4), "", "exactly 4"),
        ] {
            assert_eq!(range(low.as_ref(), high.as_ref(), unit)[0].0, expected);
        }
        assert!(range::<u64>(None, None, "").is_empty());
    }

    #[test]
    fn small_numbers_have_no_exponent() {
        let tiny: Value = serde_json::from_str("1e-7").unwrap();
        assert_eq!(json(&tiny), "0.0000001");
    }
}
