//! The emitters: each takes the model and makes one crate's generated file.

pub mod client;
pub mod docs;
pub mod mock;
pub mod server;
pub mod suite;
pub mod types;

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{Operation, Provenance};

/// Doc comments of that text.
///
/// What rustdoc would take for a link or a tag is escaped; an address becomes a link.
pub fn docs(text: &str) -> TokenStream {
    let lines = doc_lines(text);
    quote! { #(#[doc = #lines])* }
}

/// The same as lines, each of which goes into a doc attribute of its own.
pub fn doc_lines(text: &str) -> Vec<String> {
    let text = unwrap(text);
    let wrapped = text.lines().flat_map(|line| wrap(&doc_line(line)));
    wrapped.map(|line| format!(" {line}").trim_end().to_owned()).collect()
}

/// Joins the lines of each paragraph and list item. The document wraps for its own width; what shows the text wraps
/// it for its own.
pub fn unwrap(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.trim_end().lines() {
        let stands_alone = |line: &str| line.is_empty() || line.starts_with(['#', '|']);
        let begins = stands_alone(line) || line.starts_with("* ");
        match lines.last_mut().filter(|last| !begins && !stands_alone(last)) {
            Some(last) => *last += &format!(" {}", line.trim_start()),
            None => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

/// Breaks a line that is too long for the generated file between words. What belongs to a list item stays under it.
fn wrap(line: &str) -> Vec<String> {
    const WIDTH: usize = 110;
    let indent = line.len() - line.trim_start().len() + if line.trim_start().starts_with("* ") { 2 } else { 0 };
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.last_mut().filter(|last| last.chars().count() + word.chars().count() < WIDTH);
        match last {
            Some(last) => *last += &format!("{word} "),
            None => lines.push(format!("{}{word} ", " ".repeat(indent))),
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// What the document says of an operation, how well it is known, where it comes from, and its path.
pub fn operation_docs(operation: &Operation) -> String {
    let mut text = format!("{}.\n\n{}", operation.summary, operation.description);
    text += &source_docs(operation.provenance, operation.source.as_deref());
    if let Some(page) = &operation.page {
        text += &format!("\n\nPublic page: {page}");
    }
    text + &format!("\n\n`POST {}`", operation.path)
}

/// The paragraphs about how well a thing is known and where the facts come from, as far as there is something to say.
pub fn source_docs(provenance: Provenance, source: Option<&str>) -> String {
    let note = provenance_note(provenance).map(|note| format!("\n\nProvenance: {note}.")).unwrap_or_default();
    // A list stands under its heading, a sentence behind it.
    let source = source.map(|source| {
        let separator = if source.starts_with("* ") { "\n\n" } else { " " };
        format!("\n\nSource:{separator}{source}")
    });
    note + &source.unwrap_or_default()
}

fn doc_line(line: &str) -> String {
    let mut escaped = String::new();
    for (index, piece) in line.split('`').enumerate() {
        if index > 0 {
            escaped.push('`');
        }
        let is_code = index % 2 == 1;
        if is_code {
            escaped += piece;
        } else {
            let words: Vec<_> = piece.split(' ').map(doc_word).collect();
            escaped += &words.join(" ");
        }
    }
    escaped
}

fn doc_word(word: &str) -> String {
    if word.starts_with("http://") || word.starts_with("https://") {
        let address = word.trim_end_matches(['.', ',', ';', ':', ')']);
        return format!("<{address}>{}", &word[address.len()..]);
    }
    word.replace('<', "\\<").replace('[', "\\[")
}

/// The word for how well a fact is known, where it is not simply published.
pub fn provenance_note(provenance: Provenance) -> Option<&'static str> {
    match provenance {
        Provenance::Published => None,
        Provenance::Partial => Some("published in part"),
        Provenance::Observed => Some("seen in a public client, not published"),
        Provenance::Inferred => Some("inferred, not published"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped_and_list_items_kept_together() {
        let text = format!("* {}", "word ".repeat(40).trim_end());
        let lines = wrap(&text);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("* word") && lines[1].starts_with("  word"));
        assert_eq!(lines.iter().map(|line| line.matches("word").count()).sum::<usize>(), 40);
        assert_eq!(wrap("* short"), ["* short"]);
        assert_eq!(wrap(""), [""]);
    }

    #[test]
    fn paragraphs_are_wrapped_for_the_width_of_the_generated_file() {
        let text = "One two\nthree.\n\n* four\n  five\n* six\n\n| a |\n| b |";
        assert_eq!(unwrap(text), "One two three.\n\n* four five\n* six\n\n| a |\n| b |");
        let words = "word ".repeat(22);
        let lines = doc_lines(&format!("{words}\n{words}\n{words}"));
        assert!(lines[..lines.len() - 1].iter().all(|line| line.len() > 100), "{lines:#?}");
    }

    #[test]
    fn docs_escape_what_rustdoc_would_read() {
        for (text, expected) in [
            ("Use `<lora:x:1>` or <b>.", "Use `<lora:x:1>` or \\<b>."),
            ("From [0, 1].", "From \\[0, 1]."),
            ("See https://example.com/a.", "See <https://example.com/a>."),
        ] {
            assert_eq!(doc_line(text), expected);
        }
    }
}
