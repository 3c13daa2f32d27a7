//! Examples: folded away, each with its origin, its quirk and coloured JSON.

use maud::{Markup, html};
use serde_json::Value;

use super::badges::badge;
use super::markdown;
use super::place::Places;
use crate::model::{Example, Notes, Provenance};

/// All examples of a body.
pub fn examples(places: &Places<'_>, notes: &Notes) -> Markup {
    html! {
        @if !notes.examples.is_empty() {
            div .examples { @for example in &notes.examples { (self::example(places, example)) } }
        }
    }
}

fn example(places: &Places<'_>, example: &Example) -> Markup {
    html! {
        details .example {
            summary {
                (label(&example.key)) " " (example.summary)
                @if example.quirk.is_some() { " " span .badge .quirk { "quirk" } }
            }
            @if let Some(quirk) = &example.quirk {
                div .quirk-text {
                    strong { "Quirk: breaks its schema as published." }
                    (markdown::text(places, None, quirk))
                }
            }
            (block(&json(&example.value, 0)))
        }
    }
}

/// A block of code, which scrolls by the keyboard too.
pub fn block(code: &Markup) -> Markup {
    html! { pre tabindex="0" { code { (code) } } }
}

/// Where an example comes from, or how much it shows.
fn label(key: &str) -> Markup {
    match key {
        "published" => badge(Provenance::Published),
        "observed" => badge(Provenance::Observed),
        "inferred" => badge(Provenance::Inferred),
        other => html! { span .badge .extent { (other) } },
    }
}

/// A value in lines, its keys and texts marked for the colours.
pub fn json(value: &Value, depth: usize) -> Markup {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let lines = members.iter().map(|(key, value)| {
                html! { span .key { (Value::from(key.as_str()).to_string()) } ": " (json(value, depth + 1)) }
            });
            lined("{", lines, "}", depth)
        }
        Value::Array(items) if !items.is_empty() => {
            lined("[", items.iter().map(|item| json(item, depth + 1)), "]", depth)
        }
        Value::String(_) => html! { span .text { (value.to_string()) } },
        other => html! { span .literal { (other.to_string()) } },
    }
}

fn lined(open: &str, lines: impl Iterator<Item = Markup>, close: &str, depth: usize) -> Markup {
    html! {
        (open)
        @for (index, line) in lines.enumerate() {
            @if index > 0 { "," }
            "\n" ("  ".repeat(depth + 1)) (line)
        }
        "\n" ("  ".repeat(depth)) (close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coloured_json_is_the_same_json() {
        let value: Value = serde_json::from_str(r#"{"b": [1, {"a": "<b>&\"x"}], "e": {}, "n": null}"#).unwrap();
        let html = json(&value, 0).into_string();
        assert!(!html.contains("<b>"));
        let mut text = html;
        for class in ["key", "text", "literal"] {
            text = text.replace(&format!("<span class=\"{class}\">"), "");
        }
        let text = text.replace("</span>", "").replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
        assert_eq!(text.replace("&amp;", "&"), serde_json::to_string_pretty(&value).unwrap());
    }
}
