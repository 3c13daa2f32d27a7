//! Emits the documentation: one HTML page of all documents that loads nothing but itself.

mod badges;
mod calling;
mod examples;
mod markdown;
mod navigation;
mod operations;
mod place;
mod schemas;
#[cfg(test)]
mod tests;
mod words;

use anyhow::{Context, Result};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::model::{Api, Document, Provenance};
use badges::badge;
use place::Places;

/// The page loads nothing, from any server: the browser would refuse it and the check would notice. The server also sends
/// the policy as a header.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'";

/// The whole page.
pub fn emit(api: &Api) -> Result<String> {
    let first = api.documents.first().context("there is no document to show")?;
    let places = Places::new(api)?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(first))
            body {
                a .skip href="#main" { "Skip to the content" }
                (navigation::navigation(&places))
                main #main tabindex="-1" {
                    header .top {
                        h1 { (first.title) " " span .version { (first.version) } }
                        p { (count(api)) }
                    }
                    (calling::calling(&places, first)?)
                    (legend())
                    @for document in &api.documents { (self::document(&places, document)?) }
                    (schemas::shared(&places))
                }
                script { (PreEscaped(include_str!("docs/page.js"))) }
            }
        }
    };
    Ok(page.into_string() + "\n")
}

fn head(document: &Document) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta http-equiv="Content-Security-Policy" content=(POLICY);
            meta name="color-scheme" content="light dark";
            // Without an icon of its own a browser asks the server for one.
            link rel="icon" href="data:,";
            title { (document.title) }
            style { (PreEscaped(include_str!("docs/page.css"))) }
        }
    }
}

fn count(api: &Api) -> String {
    let operations = api.operations().count();
    let tags: usize = api.documents.iter().map(|document| document.tags.len()).sum();
    format!("{operations} operations in {tags} groups, {} schemas and sets of values.", api.schemas.len())
}

/// One document: what it says of itself, then its operations, group by group.
fn document(places: &Places<'_>, document: &Document) -> Result<Markup> {
    let prefix = place::document(&document.name);
    Ok(html! {
        section .document id=(prefix) {
            h2 { "About " (document.title) }
            @if let Some(server) = &document.server { p { "Server: " code { (server) } } }
            (markdown::document(places, &prefix, &document.description))
        }
        @for tag in &document.tags {
            section .tag id=(place::tag(document, &tag.name)) {
                h2 { (tag.name) }
                (markdown::text(places, None, &tag.description))
                @for operation in place::group(document, &tag.name) { (operations::operation(places, operation)?) }
            }
        }
    })
}

/// What the marks of provenance mean.
fn legend() -> Markup {
    let words = [
        (Provenance::Published, "A public page says so. Fields and values without a mark are published too."),
        (
            Provenance::Partial,
            "A public page is available in part, or it gives the name but not the type, flag or range.",
        ),
        (Provenance::Observed, "Seen in a public client, not on a page."),
        (Provenance::Inferred, "Ours, by analogy; no page says so."),
    ];
    html! {
        section #provenance {
            h2 { "How well each thing is known" }
            p { "Every operation has one of these marks, and so has every field and value that is not simply published." }
            dl .legend {
                @for (word, meaning) in words { div { dt { (badge(word)) } dd { (meaning) } } }
            }
        }
    }
}
