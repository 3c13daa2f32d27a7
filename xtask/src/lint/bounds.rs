//! Rules about the limits of values, and about defaults, which lie within them.

use serde_json::{Number, json};

use super::contract::Contract;
use super::report::Report;
use crate::document::contents::Direction;
use crate::document::cursor::Cursor;
use crate::document::outline::{Place, outline};

/// Which limits a type can have.
const LIMITS: [(&str, &[&str]); 4] = [
    ("integer", &["minimum", "maximum"]),
    ("number", &["minimum", "maximum", "exclusiveMinimum"]),
    ("string", &["minLength", "maxLength", "pattern", "x-numeric"]),
    ("array", &["minItems", "maxItems", "uniqueItems", "items"]),
];

/// A limit that does not fit the type is checked by nobody; a lower one above the upper one refuses everything.
pub(super) fn bounds(contract: &Contract<'_>, report: &mut Report) {
    for schema in contract.schemas_with_limits() {
        check_fit(schema, report);
        for (lower, upper) in [("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")] {
            check_pair(schema, lower, upper, report);
        }
    }
    for numeric in contract.all(Place::Numeric) {
        check_pair(numeric, "minimum", "maximum", report);
    }
}

/// Reports limits that the type cannot have.
fn check_fit(schema: &Cursor<'_>, report: &mut Report) {
    let kind = schema.text("type").unwrap_or_default();
    let fitting = LIMITS.iter().find(|(name, _)| *name == kind).map(|(_, keys)| *keys).unwrap_or_default();
    for (key, place) in schema.members() {
        let is_limit = LIMITS.iter().any(|(_, keys)| keys.contains(&key));
        if is_limit && !fitting.contains(&key) {
            report.add(
                &place,
                format!("`{key}` says nothing about a value of type `{kind}`"),
                "remove it or correct the type",
            );
        } else if is_limit && !has_limit_form(kind, key, &place) {
            report.add(
                &place,
                format!("`{key}` is not a limit that a value of type `{kind}` can have"),
                "write a number of the right kind",
            );
        }
    }
    if schema.has("exclusiveMinimum") && !schema.has("minimum") {
        report.add(&schema.or_self("exclusiveMinimum"), "there is no minimum to exclude", "add `minimum`");
    }
}

/// What a server sends beyond a limit of our own making would make its whole answer unreadable.
pub(super) fn answer_bounds(contract: &Contract<'_>, report: &mut Report) {
    for document in &contract.documents {
        let sent = document.schemas_of(Direction::Request);
        let answers = document.schemas_of(Direction::Answer);
        for component in answers.iter().filter(|answer| !sent.iter().any(|sent| sent.pointer == answer.pointer)) {
            for (_, property) in component.properties().iter().filter(|(_, property)| is_ours(component, property)) {
                outline(Place::Property, property).iter().for_each(|(_, schema)| check_free(schema, report));
            }
        }
    }
}

/// Whether a property, by its own mark or by that of its schema, is not wholly published.
fn is_ours(component: &Cursor<'_>, property: &Cursor<'_>) -> bool {
    let mark = property.text("x-provenance").or(component.text("x-provenance"));
    mark.is_some_and(|mark| mark != "published")
}

/// Reports the limits of a schema, or those of the number in a text.
fn check_free(schema: &Cursor<'_>, report: &mut Report) {
    let is_limit =
        |key: &str| LIMITS.iter().any(|(_, keys)| keys.contains(&key)) && key != "items" && key != "x-numeric";
    let limits: Vec<_> = schema.members().into_iter().filter(|(key, _)| is_limit(key)).collect();
    if let Some((_, first)) = limits.first() {
        let names = limits.iter().map(|(key, _)| *key).collect::<Vec<_>>().join("`, `");
        let fix = "remove them and give the range in the description; if they are published, correct `x-provenance`";
        report.add(first, format!("an answer has limits that are not published: `{names}`"), fix);
    }
}

/// Whether the value of a limit is of the right kind.
fn has_limit_form(kind: &str, key: &str, place: &Cursor<'_>) -> bool {
    let number = place.node.number();
    match key {
        "minimum" | "maximum" if kind == "integer" => number.and_then(Number::as_i64).is_some(),
        "minimum" | "maximum" => number.is_some(),
        "exclusiveMinimum" | "uniqueItems" => place.node.boolean().is_some(),
        "pattern" => place.node.text().is_some(),
        "items" | "x-numeric" => true,
        _ => number.and_then(Number::as_u64).is_some(),
    }
}

/// Reports a lower limit that leaves nothing below the upper one.
fn check_pair(schema: &Cursor<'_>, lower: &str, upper: &str, report: &mut Report) {
    let limit = |key: &str| schema.node.get(key)?.number()?.as_f64();
    let (Some(low), Some(high)) = (limit(lower), limit(upper)) else { return };
    if low > high || (low == high && schema.is_true("exclusiveMinimum")) {
        report.add(&schema.or_self(lower), format!("`{lower}` leaves nothing below `{upper}`"), "swap or correct them");
    }
}

/// The types crate matches patterns with a small engine that knows no look-around and no Unicode classes.
pub(super) fn patterns(contract: &Contract<'_>, report: &mut Report) {
    for place in contract.schemas_with_limits().filter_map(|schema| schema.get("pattern")) {
        let Some(pattern) = place.node.text() else { continue };
        let has_unicode_class = pattern.contains("\\p") || pattern.contains("\\P");
        let engine = jsonschema::PatternOptions::regex();
        let compiles = jsonschema::options().with_pattern_options(engine).build(&json!({ "pattern": pattern })).is_ok();
        if has_unicode_class || has_set_operation(pattern) || !compiles {
            let fix = "write it without look-around, back-references, Unicode classes and operations on sets";
            report.add(&place, format!("`{pattern}` is not a pattern that the types crate can match"), fix);
        }
    }
}

/// Whether a class in brackets combines others.
fn has_set_operation(pattern: &str) -> bool {
    let classes = pattern.split('[').skip(1).filter_map(|rest| rest.split(']').next());
    classes.into_iter().any(|class| ["&&", "--", "~~"].iter().any(|operation| class.contains(operation)))
}

/// A default is what leaving the member out means, so it stands on what can be left out and keeps its rules.
pub(super) fn defaults(contract: &Contract<'_>, report: &mut Report) {
    for (document, strict) in contract.checked() {
        for component in document.all(Place::Component) {
            for (name, property) in component.properties() {
                let Some(default) = property.get("default") else { continue };
                if component.requires(name) {
                    report.add(
                        &default,
                        "a required property is never left out",
                        "remove the default or the requirement",
                    );
                }
                let Ok(strict) = strict else { continue };
                for violation in strict.violations(&property.pointer, &default.node.to_json()) {
                    report.add(
                        &default,
                        format!("the default breaks its own rules: {}", violation.problem),
                        "correct the default",
                    );
                }
            }
        }
    }
}
