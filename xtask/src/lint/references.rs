//! Rules about references: they lead somewhere, and never in a cycle.

use std::collections::BTreeSet;

use super::contract::Contract;
use super::report::Report;
use crate::document::contents::{Document, references};
use crate::document::cursor::Cursor;
use crate::document::outline::Place;

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
        let mut reported = BTreeSet::new();
        for component in document.all(Place::Component) {
            let Some(reference) = way_back(document, component) else { continue };
            if !reported.contains(component.pointer.as_str()) {
                let problem = format!("`{}` contains itself through this reference", component.name());
                report.add(&reference, problem, "name the inner one by an id, or give it a schema of its own");
            }
            // The other schemas of this cycle are reported with it.
            let inside = document.reachable(reference.node.text()).into_iter();
            reported.extend(inside.filter(|inner| document.reachable([*inner]).contains(component.pointer.as_str())));
        }
    }
}

/// The first reference in a component that leads back to it.
fn way_back<'a>(document: &Document<'a>, component: &Cursor<'a>) -> Option<Cursor<'a>> {
    let mut found = references(Place::Component, component).into_iter();
    found.find(|reference| document.reachable(reference.node.text()).contains(component.pointer.as_str()))
}
