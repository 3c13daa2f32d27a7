//! Rules about how well facts are known.

use super::contract::Contract;
use super::report::Report;
use crate::document::outline::Place;

/// Each operation says how well it is known; other things say so where they are not published.
pub(super) fn provenance(contract: &Contract<'_>, report: &mut Report) {
    for (place, object) in contract.documents.iter().flat_map(|document| &document.outline) {
        let words: &[&str] = match place {
            Place::Operation => &["published", "partial", "inferred"],
            _ => &["published", "partial", "observed", "inferred"],
        };
        let word = object.get("x-provenance").map(|mark| mark.node.text().unwrap_or_default());
        let fits = match word {
            Some(word) => words.contains(&word),
            None => *place != Place::Operation,
        };
        if !fits {
            report.add(
                &object.or_self("x-provenance"),
                "it does not say how well it is known",
                format!("write one of {}", words.join(", ")),
            );
        }
    }
}

/// What only an inferred operation has cannot be published.
pub(super) fn inferred_properties(contract: &Contract<'_>, report: &mut Report) {
    let inferred = contract.operations().filter(|operation| operation.place.text("x-provenance") == Some("inferred"));
    for operation in inferred {
        let schemas = operation.request_schema().into_iter().chain(operation.response_schema());
        for component in schemas.map(|schema| schema.resolved()).filter(|component| !component.has("x-provenance")) {
            for (name, property) in component.properties() {
                if !property.has("x-provenance") {
                    let problem =
                        format!("`{name}` counts as published, but its operation `{}` is inferred", operation.id);
                    report.add(
                        &property,
                        problem,
                        "mark the property, or the whole component, with `x-provenance: inferred`",
                    );
                }
            }
        }
    }
}
