//! Operations: what each does, takes and answers, and how its job ends.

use anyhow::Result;
use maud::{Markup, html};

use super::badges::badge;
use super::place::{self, Places};
use super::{examples, markdown, schemas};
use crate::model::{Callback, IdSource, Job, Notes, Operation, PathParameter};

/// The section of an operation.
pub fn operation(places: &Places<'_>, operation: &Operation) -> Result<Markup> {
    let id = operation.id.as_str();
    let bodies = [
        ("Request", &operation.request, &operation.request_notes),
        ("Answer", &operation.response, &operation.response_notes),
    ];
    Ok(html! {
        section .operation id=(place::operation(id)) aria-labelledby={ "title-" (id) } {
            h3 id={ "title-" (id) } {
                (operation.summary) " " a .anchor href={ "#" (place::operation(id)) } { code { (id) } }
            }
            p .path { span .method { "POST" } " " code { (broken(&operation.path)) } }
            p .marks {
                (badge(operation.provenance))
                @if operation.idempotent { " " span .badge .extent { "may be repeated" } }
                @if operation.job.is_some() { " " span .badge .extent { "job" } }
                @if let Some(page) = &operation.page { " " a href=(page) rel="noreferrer" { "published page" } }
            }
            (markdown::text(places, Some(id), &operation.description))
            (markdown::source(places, operation.source.as_deref()))
            @if !operation.parameters.is_empty() { (parameters(places, operation)) }
            @for (title, schema, notes) in bodies { (body(places, id, title, schema, notes)?) }
            @for schema in places.of(operation) {
                (schemas::schema(places, Some(id), schema, html! { h4 { (schemas::title(schema)) } }))
            }
            @if let Some(job) = &operation.job { (self::job(job)) }
            @if operation.idempotent { (asked_by(places, id)) }
            @if let Some(callback) = &operation.callback { (self::callback(places, id, callback)) }
        }
    })
}

/// A path that can be broken after its slashes on a narrow screen.
fn broken(path: &str) -> Markup {
    html! { @for piece in path.split_inclusive('/') { (piece) wbr; } }
}

fn body(places: &Places<'_>, id: &str, title: &str, name: &str, notes: &Notes) -> Result<Markup> {
    let schema = places.api.schema(name)?;
    let heading = html! {
        h4 { (title) " " (schemas::title(schema)) }
        (markdown::text(places, Some(id), &notes.description))
        (markdown::source(places, notes.source.as_deref()))
    };
    Ok(html! {
        // A body that several operations share has its table with the first of them.
        @if places.owner(name) == Some(id) {
            (schemas::schema(places, Some(id), schema, heading))
        } @else {
            (heading)
            p { (link(name)) }
        }
        (examples::examples(places, notes))
    })
}

fn parameters(places: &Places<'_>, operation: &Operation) -> Markup {
    let row = |parameter: &PathParameter| {
        html! {
            tr {
                th scope="row" { code { (parameter.name) } div .flags { span .required { "required" } } }
                td data-label="Type" { (link(&parameter.schema)) }
                td .description {
                    (markdown::text(places, Some(&operation.id), &parameter.description))
                    (markdown::source(places, parameter.source.as_deref()))
                    @if parameter.multi_segment {
                        p { "A slash in the value separates segments of the path and is not escaped." }
                    }
                }
            }
        }
    };
    html! {
        h4 { "Path" }
        table .members {
            caption { "Variable parts of the path" }
            thead { tr { th scope="col" { "Name" } th scope="col" { "Type" } th scope="col" { "Description" } } }
            tbody { @for parameter in &operation.parameters { (row(parameter)) } }
        }
    }
}

fn job(job: &Job) -> Markup {
    let (place, pointer) = match &job.id {
        IdSource::Request(pointer) => ("this request", pointer),
        IdSource::Response(pointer) => ("this answer", pointer),
    };
    html! {
        h4 { "Job" }
        p {
            "The call starts a job. Its state is returned by "
            a href={ "#" (place::operation(&job.query)) } { code { (job.query) } }
            ", whose member " code { (job.field) } " takes " code { (pointer.join(".")) } " of " (place)
            @for (name, value) in &job.parameters { ", with " code { (name) } " " code { (value) } " in the path" }
            "."
        }
    }
}

/// The jobs whose state a query returns.
fn asked_by(places: &Places<'_>, id: &str) -> Markup {
    let asks = |operation: &&Operation| operation.job.as_ref().is_some_and(|job| job.query == id);
    let jobs: Vec<_> = places.api.operations().filter(asks).collect();
    html! {
        @if !jobs.is_empty() {
            h4 { "Jobs" }
            p { "Returns the state of the jobs that these operations start:" }
            ul .index { @for job in jobs { li { a href={ "#" (place::operation(&job.id)) } { code { (job.id) } } } } }
        }
    }
}

fn callback(places: &Places<'_>, id: &str, callback: &Callback) -> Markup {
    let bodies = [
        ("Pushed", &callback.body, &callback.body_notes),
        ("To answer", &callback.receipt.schema, &callback.receipt.notes),
    ];
    html! {
        h4 { "Callback" }
        p { span .method { "POST" } " to the address in " code { (callback.field) } " of the request, without keys" }
        (markdown::text(places, Some(id), &callback.description))
        (markdown::source(places, callback.source.as_deref()))
        dl .callback {
            @for (title, schema, notes) in bodies {
                div { dt { (title) } dd { (link(schema)) (markdown::text(places, Some(id), &notes.description)) } }
            }
        }
        @for (_, _, notes) in bodies { (examples::examples(places, notes)) }
    }
}

fn link(schema: &str) -> Markup {
    html! { a href={ "#" (place::schema(schema)) } { code { (schema) } } }
}
