//! Rules about the form of schemas: only what the generators can turn into a type.

use std::collections::BTreeSet;

use super::contract::Contract;
use super::report::Report;
use crate::document::cursor::Cursor;
use crate::document::outline::Place;
use crate::document::yaml::{Data, Node};

/// The types of values without parts.
const SCALARS: [&str; 4] = ["boolean", "integer", "number", "string"];

/// A type without a name in the document would get one by chance.
pub(super) fn named_schemas(contract: &Contract<'_>, report: &mut Report) {
    for schema in contract.all(Place::Property).chain(contract.all(Place::Inner)) {
        let is_object = schema.text("type") == Some("object") || schema.has("properties");
        let is_enum = schema.has("enum") && schema.text("type") == Some("string");
        if is_object || is_enum || schema.has("x-known-values") {
            report.add(
                schema,
                "an object or a set of values without a name",
                "make it a component and write `$ref` to it",
            );
        }
    }
}

/// Every schema is of one type, which its place allows.
pub(super) fn schema_types(contract: &Contract<'_>, report: &mut Report) {
    for component in contract.all(Place::Component) {
        let kind = component.text("type");
        let has_values = component.has("enum") || component.has("x-known-values");
        let fits = match kind {
            Some("object") => !has_values,
            Some("string") => has_values,
            Some("integer") => component.has("x-known-values"),
            _ => false,
        };
        if !fits {
            let fix = "write an object, a text with `enum` or `x-known-values`, or an integer with `x-known-values`";
            report.add(&component.or_self("type"), "a component of this type gets no type of its own", fix);
        }
    }
    for schema in contract.all(Place::Property).chain(contract.all(Place::Inner)) {
        check_type(schema, report);
    }
}

/// Reports a property or an inner schema that is not of one type with what belongs to it.
fn check_type(schema: &Cursor<'_>, report: &mut Report) {
    let forms = ["type", "$ref", "allOf"].into_iter().filter(|key| schema.has(key)).count();
    let kind = schema.text("type");
    let is_known = kind.is_none_or(|kind| SCALARS.contains(&kind) || ["array", "object"].contains(&kind));
    if forms != 1 || !is_known {
        report.add(
            &schema.or_self("type"),
            "it is not of exactly one known type",
            "write one of `type`, `$ref` and `allOf` with one `$ref`",
        );
    } else if kind == Some("array") && !schema.has("items") {
        report.add(schema, "the list does not say what it holds", "add `items`");
    }
    if let Some(format) = schema.get("format")
        && (format.node.text() != Some("int64") || kind != Some("integer"))
    {
        report.add(
            &format,
            "no generator reads this format",
            "remove it, or use `pattern`; `int64` may stand on an integer",
        );
    }
}

/// Beside a reference `nullable` would say nothing: the component behind it refuses null all the same.
pub(super) fn nullable(contract: &Contract<'_>, report: &mut Report) {
    for property in contract.all(Place::Property).filter(|property| !property.has("type")) {
        if let Some(place) = property.get("nullable") {
            report.add(&place, "beside a reference it says nothing", "move it to the component that is referred to");
        }
    }
    let items = contract.all(Place::Property).chain(contract.all(Place::Inner)).filter_map(|list| list.get("items"));
    for place in items.chain(contract.all(Place::Carried).cloned()).filter(Cursor::is_nullable) {
        report.add(&place, "null is allowed here, which no type can hold", "refer to a component that is not nullable");
    }
}

/// In a property `allOf` only adds a description to a reference; in an object it holds a `oneOf`, which only says that one
/// of several members must be there.
pub(super) fn composition(contract: &Contract<'_>, report: &mut Report) {
    for all in contract.all(Place::Property).filter_map(|property| property.get("allOf")) {
        let is_reference = |node: &Node| matches!(node.entries(), [(key, _)] if key.text == "$ref");
        if !matches!(all.node.items(), [one] if is_reference(one)) {
            report.add(&all, "`allOf` is not one reference", "write `allOf` with a single `$ref`, nothing else");
        }
    }
    for component in contract.all(Place::Component) {
        if let Some(one_of) = component.get("oneOf") {
            let problem = "many generators drop the members beside it";
            report.add(&one_of, problem, "put it alone into the one item of an `allOf`");
        }
        let Some(all) = component.get("allOf") else { continue };
        let Some(one_of) = all.items().first().filter(|_| all.items().len() == 1).and_then(|part| part.get("oneOf"))
        else {
            report.add(
                &all,
                "`allOf` of an object is not one choice",
                "write `allOf` with a single `oneOf`, nothing else",
            );
            continue;
        };
        if one_of.items().len() < 2 {
            report.add(&one_of, "there is no choice", "name at least two members, or use `required`");
        }
        for branch in one_of.items().iter().filter(|branch| !is_choice(component, branch)) {
            report.add(
                branch,
                "it does not require one member of this object",
                "write `required` with one name, or `properties` with one member that requires one",
            );
        }
    }
}

/// Whether a branch of `oneOf` requires one existing member, possibly inside another.
fn is_choice(object: &Cursor<'_>, branch: &Cursor<'_>) -> bool {
    match (&branch.members()[..], &branch.texts_of("required")[..], &branch.members_of("properties")[..]) {
        ([_], [name], []) => object.property(name).is_some(),
        ([_], [], [(outer, inner)]) => object.property(outer).is_some_and(|member| is_choice(&member, inner)),
        _ => false,
    }
}

/// Unknown members are ignored, kept or refused; a schema for them would be read by nobody.
pub(super) fn additional_properties(contract: &Contract<'_>, report: &mut Report) {
    for place in contract.all(Place::Component).filter_map(|component| component.get("additionalProperties")) {
        let allowed = match &place.node.data {
            Data::Boolean(allowed) => !allowed,
            Data::Map(entries) => entries.is_empty(),
            _ => false,
        };
        if !allowed {
            report.add(
                &place,
                "unknown members can be ignored, kept or refused only",
                "leave `additionalProperties` out, or write `{}` or `false`",
            );
        }
    }
}

/// A required name that does not exist would make every value wrong.
pub(super) fn required_names(contract: &Contract<'_>, report: &mut Report) {
    for component in contract.all(Place::Component) {
        let mut seen = BTreeSet::new();
        for item in component.items_of("required") {
            let name = item.node.text().unwrap_or_default();
            if component.property(name).is_none() {
                report.add(&item, format!("there is no property `{name}`"), "correct the name or remove it");
            } else if !seen.insert(name) {
                report.add(&item, format!("`{name}` stands here twice"), "remove one");
            }
        }
    }
}
