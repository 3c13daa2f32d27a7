//! The emitters: each takes the model and makes one crate's generated file.

pub mod client;
pub mod docs;
pub mod mock;
pub mod server;
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
    let wrapped = text.trim_end().lines().flat_map(|line| wrap(&doc_line(line)));
    wrapped.map(|line| format!(" {line}").trim_end().to_owned()).collect()
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
    if let Some(note) = provenance_note(operation.provenance) {
        text += &format!("\n\nProvenance: {note}.");
    }
    if let Some(page) = &operation.page {
        text += &format!("\n\nPublic page: {page}");
    }
    text + &format!("\n\n`POST {}`", operation.path)
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
