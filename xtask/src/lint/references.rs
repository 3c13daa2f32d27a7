//! Rules about references: they lead somewhere, and everything is led to.

use std::collections::BTreeSet;

use super::Report;
use super::contract::{Contract, Document, references};
use super::cursor::Cursor;
use super::outline::Place;

/// A reference that leads out of the file, nowhere, or to another kind of thing.
pub(super) fn resolving_references(contract: &Contract<'_>, report: &mut Report) {
    for document in &contract.documents {
        for (place, object) in &document.outline {
            let Some(reference) = object.get("$ref") else { continue };
            let pointer = reference.node.text().unwrap_or_default();
            if object.follow(pointer).is_none() {
                let fix = "write `#/components/…` with the name of a component of this file";
                report.add(&reference, format!("`{pointer}` leads nowhere in this file"), fix);
            } else if component_kind(pointer) != Some(target_kind(*place)) {
                report.add(
                    &reference,
                    format!("`{pointer}` is another kind of thing"),
                    "refer to a component of the right section",
                );
            } else if object.members().len() > 1 {
                report.add(
                    &reference,
                    "what stands beside a `$ref` is not read",
                    "put the `$ref` alone into an `allOf`",
                );
            }
        }
    }
}

/// What the component at the pointer is; nothing if it is not a component or lies inside one.
fn component_kind(pointer: &str) -> Option<Place> {
    let (section, name) = pointer.strip_prefix("#/components/")?.split_once('/')?;
    Place::of_section(section).filter(|_| !name.contains('/'))
}

/// What a reference at this place must lead to.
fn target_kind(place: Place) -> Place {
    match place {
        Place::Property | Place::Inner | Place::Carried => Place::Component,
        other => other,
    }
}

/// A schema inside itself has no end where it is written inline, and a type inside itself, without a box, no size.
pub(super) fn recursion(contract: &Contract<'_>, report: &mut Report) {
    for document in &contract.documents {
        let mut told = BTreeSet::new();
        for component in document.all(Place::Component) {
            let Some(reference) = way_back(document, component) else { continue };
            if !told.contains(component.pointer.as_str()) {
                let problem = format!("`{}` contains itself through this reference", component.name());
                report.add(&reference, problem, "name the inner one by an id, or give it a schema of its own");
            }
            // The others of this circle are told with it.
            let inside = document.reachable(reference.node.text()).into_iter();
            told.extend(inside.filter(|inner| document.reachable([*inner]).contains(component.pointer.as_str())));
        }
    }
}

/// The first reference in a component that leads back to it.
fn way_back<'a>(document: &Document<'a>, component: &Cursor<'a>) -> Option<Cursor<'a>> {
    let mut found = references(Place::Component, component).into_iter();
    found.find(|reference| document.reachable(reference.node.text()).contains(component.pointer.as_str()))
}

/// A component that nobody uses is a type that nobody needs, often the rest of a rename.
pub(super) fn used_components(contract: &Contract<'_>, report: &mut Report) {
    for document in &contract.documents {
        let used = document.reachable(used_by_operations(document));
        let sections = document.root.members_of("components").into_iter();
        for (section, components) in sections.filter(|(section, _)| *section != "securitySchemes") {
            for (name, component) in components.members() {
                if !used.contains(component.pointer.as_str()) {
                    report.add(
                        &component,
                        format!("no operation uses `{name}`"),
                        format!("remove it from `{section}` or use it"),
                    );
                }
            }
        }
    }
}

/// Readers meet a schema where it is first used; the two that all share come first.
pub(super) fn component_order(contract: &Contract<'_>, report: &mut Report) {
    for document in &contract.documents {
        let expected = order_of_use(document);
        let components =
            document.all(Place::Component).filter(|component| expected.contains(&component.pointer.as_str()));
        let misplaced = components.zip(&expected).find(|(component, expected)| component.pointer != **expected);
        if let Some((component, expected)) = misplaced {
            let problem = format!("`{expected}` belongs here, by the order of first use");
            report.add(
                component,
                problem,
                "sort the schemas by first use, depth first, after `Envelope` and `CallbackReceipt`",
            );
        }
    }
}

/// The schemas in the order in which a reader of the operations meets them.
fn order_of_use<'a>(document: &Document<'a>) -> Vec<&'a str> {
    let shared = ["#/components/schemas/Envelope", "#/components/schemas/CallbackReceipt"];
    let mut waiting = used_by_operations(document);
    waiting.reverse();
    waiting.extend(shared.into_iter().rev().filter(|pointer| document.root.follow(pointer).is_some()));
    let mut found = Vec::new();
    while let Some(pointer) = waiting.pop() {
        if !found.contains(&pointer) {
            found.push(pointer);
            waiting.extend(document.references_in(pointer).into_iter().rev());
        }
    }
    found.retain(|pointer| component_kind(pointer) == Some(Place::Component));
    found
}

/// What the operations refer to; what is pushed is first met where it is asked for, so callbacks come last.
fn used_by_operations<'a>(document: &Document<'a>) -> Vec<&'a str> {
    let used = document.operations.iter().flat_map(|operation| references(Place::Operation, &operation.place));
    let (pushed, called): (Vec<_>, Vec<_>) = used.partition(|reference| reference.pointer.contains("/callbacks/"));
    called.iter().chain(&pushed).filter_map(|reference| reference.node.text()).collect()
}
