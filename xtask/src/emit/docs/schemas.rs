//! Schemas: a table of the members of an object, a table of the values of a set.

use maud::{Markup, html};
use serde_json::Value;

use super::badges::badge_unless_published;
use super::place::{self, Places};
use super::{markdown, words};
use crate::model::{Enum, EnumValue, Object, Property, Schema, SchemaKind};

/// The schemas that several operations use, and where all others stand.
pub fn shared(places: &Places<'_>) -> Markup {
    html! {
        section #schemas {
            h2 { "Schemas" }
            p { "What several operations use stands here; what one operation uses alone stands with it." }
            ul .index {
                @for schema in &places.api.schemas {
                    li { a href={ "#" (place::schema(&schema.name)) } { (schema.name) } }
                }
            }
            @for schema in places.shared() {
                section .shared { (self::schema(places, None, schema, html! { h3 { (title(schema)) } })) }
            }
        }
    }
}

/// Name and provenance, for a heading.
pub fn title(schema: &Schema) -> Markup {
    html! { code { (schema.name) } " " (badge_unless_published(schema.provenance)) }
}

/// A schema under a heading.
pub fn schema(places: &Places<'_>, here: Option<&str>, schema: &Schema, heading: Markup) -> Markup {
    html! {
        div .schema id=(place::schema(&schema.name)) {
            (heading)
            (markdown::text(places, here, &schema.description))
            (markdown::source(places, schema.source.as_deref()))
            @match &schema.kind {
                SchemaKind::Object(object) => (members(places, here, &schema.name, object)),
                SchemaKind::TextEnum(set) => (values(places, set, |text| Value::from(text.as_str()).to_string())),
                SchemaKind::IntegerEnum(set) => (values(places, set, i64::to_string)),
            }
        }
    }
}

/// The columns that have something to say in a table.
#[derive(Clone, Copy)]
struct Columns {
    bounds: bool,
    default: bool,
}

fn members(places: &Places<'_>, here: Option<&str>, name: &str, object: &Object) -> Markup {
    let columns = Columns {
        bounds: object.properties.iter().any(|property| !words::bounds(property).is_empty()),
        default: object.properties.iter().any(|property| property.default.is_some()),
    };
    html! {
        @if !object.properties.is_empty() {
            table .members {
                caption { "Members of " code { (name) } }
                thead { tr {
                    th scope="col" { "Member" } th scope="col" { "Type" }
                    @if columns.bounds { th scope="col" { "Bounds" } }
                    @if columns.default { th scope="col" { "Default" } }
                    th scope="col" { "Description" }
                } }
                tbody { @for property in &object.properties { (member(places, here, name, property, columns)) } }
            }
        }
        p .rest { (words::unknown(object.unknown)) @if !object.exactly_one.is_empty() { " " (choice(object)) } }
    }
}

/// Which members exclude one another.
fn choice(object: &Object) -> Markup {
    html! {
        "Exactly one of "
        @for (index, path) in object.exactly_one.iter().enumerate() {
            @if index > 0 { " and " }
            code { (path.join(".")) }
        }
        " must be given."
    }
}

fn member(places: &Places<'_>, here: Option<&str>, schema: &str, property: &Property, columns: Columns) -> Markup {
    let default: Vec<_> = property.default.iter().map(|value| html! { code { (words::json(value)) } }).collect();
    html! {
        tr id=(place::property(schema, &property.name)) {
            th scope="row" {
                code { (property.name) }
                div .flags {
                    @if property.required { span .required { "required" } } @else { span .optional { "optional" } }
                    " " (badge_unless_published(property.provenance))
                }
                @for alias in &property.aliases { div .note { "also " code { (alias) } } }
            }
            td data-label="Type" {
                (words::type_of(&property.shape))
                @if let Some(accepts) = words::accepts(&property.accepts) { div .note { (accepts) } }
            }
            @if columns.bounds { (cell("Bounds", &words::bounds(property))) }
            @if columns.default { (cell("Default", &default)) }
            td .description {
                (markdown::text(places, here, &property.description))
                (markdown::source(places, property.source.as_deref()))
            }
        }
    }
}

/// A cell of phrases; an empty one is left out where the table is shown as cards.
fn cell(label: &str, phrases: &[Markup]) -> Markup {
    html! {
        td .empty[phrases.is_empty()] data-label=(label) {
            @for (index, phrase) in phrases.iter().enumerate() {
                @if index > 0 { "; " }
                (phrase)
            }
        }
    }
}

/// The values of a set, with the column of states only where there are any.
fn values<T>(places: &Places<'_>, set: &Enum<T>, text: impl Fn(&T) -> String) -> Markup {
    let states = set.values.iter().any(|value| value.state.is_some());
    html! {
        p .rest {
            @if set.open { "These values are known; others may come." } @else { "These values and no others." }
        }
        @if set.values.iter().any(is_explained) {
            table .values {
                caption { "Values" }
                thead { tr { th scope="col" { "Value" } @if states { th scope="col" { "State" } } th scope="col" { "Meaning" } } }
                tbody {
                    @for value in &set.values { (explained(places, value, text(&value.value), states)) }
                }
            }
        } @else {
            ul .values {
                @for value in &set.values {
                    li { code .value { (text(&value.value)) } " " (badge_unless_published(value.provenance)) }
                }
            }
        }
    }
}

fn is_explained<T>(value: &EnumValue<T>) -> bool {
    value.description.is_some() || value.name.is_some() || value.state.is_some()
}

fn explained<T>(places: &Places<'_>, value: &EnumValue<T>, text: String, states: bool) -> Markup {
    let state: Vec<_> = value.state.iter().map(|state| html! { (words::state(*state)) }).collect();
    html! {
        tr {
            th scope="row" { code .value { (text) } " " (badge_unless_published(value.provenance)) }
            @if states { (cell("State", &state)) }
            td .description {
                @if let Some(name) = &value.name { span .note { (name) ". " } }
                @if let Some(description) = &value.description { (markdown::text(places, None, description)) }
                (markdown::source(places, value.source.as_deref()))
            }
        }
    }
}
