//! The contents at the side, which can be filtered.

use maud::{Markup, html};

use super::markdown;
use super::place::{self, Places};
use crate::model::{Document, Operation, SchemaKind};

/// Links to everything. On a narrow screen it is folded away.
pub fn navigation(places: &Places<'_>) -> Markup {
    html! {
        nav .side aria-label="Contents" {
            details #contents open {
                summary { "Contents" }
                // Without the script it would do nothing, so the script shows it.
                div #filter hidden {
                    label for="filter-text" { "Filter" }
                    input #filter-text type="search" placeholder="operation, path, member" autocomplete="off"
                        spellcheck="false";
                    p #filter-count role="status" {}
                }
                ul {
                    (link("calling", "Calling the API"))
                    (link("provenance", "How well each thing is known"))
                }
                @for document in &places.api.documents { (self::document(places, document)) }
                ul { (link("schemas", "Schemas")) }
            }
        }
    }
}

fn document(places: &Places<'_>, document: &Document) -> Markup {
    let prefix = place::document(&document.name);
    html! {
        p .group { a href={ "#" (prefix) } { "About " (document.title) } }
        ul {
            @for heading in markdown::headings(&document.description) {
                (link(&place::heading(&prefix, &heading), &heading))
            }
        }
        @for tag in &document.tags {
            p .group { a href={ "#" (place::tag(document, &tag.name)) } { (tag.name) } }
            ul {
                @for operation in place::group(document, &tag.name) {
                    li data-terms=(terms(places, operation)) {
                        a href={ "#" (place::operation(&operation.id)) } { (operation.summary) }
                    }
                }
            }
        }
    }
}

fn link(target: &str, text: &str) -> Markup {
    html! { li { a href={ "#" (target) } { (text) } } }
}

/// What an operation is found by: its names, and those of the members of its bodies.
fn terms(places: &Places<'_>, operation: &Operation) -> String {
    let mut words = vec![operation.id.as_str(), &operation.path, &operation.summary];
    for schema in places.of(operation).into_iter().chain(places.bodies(operation)) {
        words.push(&schema.name);
        if let SchemaKind::Object(object) = &schema.kind {
            words.extend(object.properties.iter().map(|property| property.name.as_str()));
        }
    }
    words.join(" ").to_lowercase()
}
