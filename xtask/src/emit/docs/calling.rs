//! What applies to every call: the two keys, the form of answers, how bodies are read.

use anyhow::Result;
use maud::{Markup, html};

use super::place::Places;
use super::{examples, markdown, schemas};
use crate::model::{Body, Document, Operation};

/// How to call the API, by the first document.
pub fn calling(places: &Places<'_>, document: &Document) -> Result<Markup> {
    Ok(html! {
        section #calling {
            h2 { "Calling the API" }
            (keys(places))
            @if let Some(operation) = document.operations.first() { (curl(places, document, operation)) }
            h3 #answers { "Answers" }
            @if let Some(failure) = &document.failure { (envelope(places, failure)?) }
            h3 #reading { "How bodies are read" }
            p {
                "Write the declared names and types, and leave out what you do not set. Other spellings (“also …”) and other
                types (“also reads …”) are understood only where a table says so; a member given in both spellings is an
                error. The bounds hold for the value as it is read."
            }
        }
    })
}

fn keys(places: &Places<'_>) -> Markup {
    html! {
        h3 #authentication { "Authentication" }
        p { "Every call carries both parts of the access key, each in its header. There is no signature." }
        table .members {
            caption { "Headers of every call" }
            thead { tr { th scope="col" { "Header" } th scope="col" { "Value" } } }
            tbody {
                @for key in &places.api.keys {
                    tr {
                        th scope="row" { code { (key.header) } div .flags { span .required { "required" } } }
                        td .description {
                            (markdown::text(places, None, &key.description))
                            (markdown::source(places, key.source.as_deref()))
                        }
                    }
                }
            }
        }
    }
}

/// A call in the shell.
fn curl(places: &Places<'_>, document: &Document, operation: &Operation) -> Markup {
    let server = document.server.as_deref().unwrap_or("http://localhost:8080");
    let mut lines =
        vec![format!("curl -X POST {server}{}", operation.path), "  -H 'Content-Type: application/json'".into()];
    lines.extend(places.api.keys.iter().map(|key| format!("  -H '{}: …'", key.header)));
    let minimal = operation.request_notes.examples.iter().find(|example| example.key == "minimal");
    // A quote would end the shell's text.
    let body = minimal.map(|example| format!("{:#}", example.value).replace('\'', r"'\''"));
    lines.extend(body.map(|body| format!("  -d '{body}'")));
    examples::block(&html! { (lines.join(" \\\n")) })
}

fn envelope(places: &Places<'_>, failure: &Body) -> Result<Markup> {
    let schema = places.api.schema(&failure.schema)?;
    Ok(html! {
        (schemas::schema(places, None, schema, html! { h4 { (schemas::title(schema)) } }))
        h4 { "Failures" }
        p {
            "A call that fails answers an " code { (schema.name) } " with a status from 400 to 599, or with another "
            code { "code" } "."
        }
        (markdown::text(places, None, &failure.notes.description))
        (markdown::source(places, failure.notes.source.as_deref()))
        (examples::examples(places, &failure.notes))
    })
}
