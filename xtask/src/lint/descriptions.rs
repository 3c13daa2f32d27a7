//! Rules about descriptions.

use super::contract::Contract;
use super::report::Report;
use crate::document::cursor::Cursor;
use crate::document::outline::Place;

/// What ends a sentence, and what may close around that.
const SENTENCE_ENDS: [char; 3] = ['.', '!', '?'];
/// What may stand between the end of the last sentence and the end of the text.
const CLOSING: [char; 5] = ['"', '\'', ')', '`', '|'];

/// The documentation, rustdoc and the help of the command line are made of these.
pub(super) fn descriptions(contract: &Contract<'_>, report: &mut Report) {
    for (place, object) in contract.documents.iter().flat_map(|document| &document.outline) {
        let description = object.get("description");
        let needed = is_described(*place) && !object.has("$ref");
        let problem = match &description {
            None if needed => Some("there is no description"),
            None => None,
            // The name of a link is not a sentence.
            Some(_) if *place == Place::Page => None,
            Some(text) => poor_description(&name_of(*place, object), text.node.text().unwrap_or_default()),
        };
        if let Some(problem) = problem {
            let fix = "say what it means, in plain sentences that end in a full stop";
            report.add(&description.unwrap_or_else(|| object.clone()), problem, fix);
        }
    }
}

/// Whether such objects need a description.
fn is_described(place: Place) -> bool {
    matches!(
        place,
        Place::Info
            | Place::Tag
            | Place::SecurityScheme
            | Place::Operation
            | Place::Push
            | Place::Parameter
            | Place::Body
            | Place::Response
            | Place::Component
            | Place::Property
            | Place::KnownValue
    )
}

/// What only sentences about sources hold.
const SOURCE_WORDS: [&str; 14] = [
    "Quirk:",
    "Quirks:",
    "published",
    "Published",
    "public client",
    "Public client",
    "Chinese page",
    "English page",
    "inferred",
    "Inferred",
    "not available",
    "The page ",
    "the page of",
    "by analogy",
];

/// Help, forms and generated types show descriptions to people who call the API and need no history of its pages.
pub(super) fn sources(contract: &Contract<'_>, report: &mut Report) {
    for (place, object) in contract.documents.iter().flat_map(|document| &document.outline) {
        // The introduction is about the sources as a whole, and the name of a link about where it leads.
        if matches!(place, Place::Info | Place::Page) {
            continue;
        }
        let Some(description) = object.get("description") else { continue };
        let text = description.node.text().unwrap_or_default();
        if let Some(word) = SOURCE_WORDS.iter().find(|word| text.contains(*word)) {
            report.add(
                &description,
                format!("the description says where a fact comes from (\"{}\")", word.trim()),
                "move the sentence to `x-source`",
            );
        }
    }
}

/// What the object is called.
fn name_of(place: Place, object: &Cursor<'_>) -> String {
    let name = match place {
        Place::Tag | Place::Parameter | Place::KnownValue => object.text("name"),
        Place::Operation | Place::Push => object.text("operationId"),
        _ => None,
    };
    name.unwrap_or(object.name()).to_owned()
}

/// What is wrong with a description, if anything.
fn poor_description(name: &str, description: &str) -> Option<&'static str> {
    let text = description.trim_end();
    if !text.trim_end_matches(CLOSING).trim_end().ends_with(SENTENCE_ENDS) {
        return Some("the description does not end like a sentence");
    }
    let words: Vec<_> = text.split_whitespace().collect();
    let said: Vec<_> = words
        .iter()
        .map(|word| word.to_lowercase())
        .filter(|word| !["the", "a", "an"].contains(&word.as_str()))
        .collect();
    if words.len() < 3 {
        return Some("the description has fewer than three words");
    }
    if letters(&said.concat()) == letters(name) {
        return Some("the description says no more than the name");
    }
    None
}

/// A text without everything that may differ between a name and words.
fn letters(text: &str) -> String {
    text.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
