//! Rules about a document as a whole.

use std::collections::BTreeSet;

use super::contract::Contract;
use super::report::Report;
use crate::document::contents::Document;
use crate::document::cursor::Cursor;
use crate::document::outline::Place;
use crate::document::source;

/// How many operations the vendor publishes.
const VENDOR_OPERATIONS: usize = 30;

/// How a byte order mark is read.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// YAML reads these without a word, but they would reach the copy that servers hand out, and every line would differ.
pub(super) fn line_ends(contract: &Contract<'_>, report: &mut Report) {
    for document in &contract.documents {
        let (root, text) = (&document.root, &document.root.source.text);
        let name = &root.source.path;
        if text.starts_with(BYTE_ORDER_MARK) {
            let fix = format!("save it as UTF-8 without the mark: `sed -i '1s/^\\xEF\\xBB\\xBF//' {name}`");
            report.add(&Cursor { line: 1, ..root.clone() }, "the file begins with a byte order mark", fix);
        }
        let mut returns = text.split('\n').enumerate().filter(|(_, line)| line.contains('\r'));
        if let Some((index, _)) = returns.next() {
            let count = 1 + returns.count();
            let problem = format!("{count} lines hold a carriage return, this one first");
            let fix = format!("save it with line feeds alone: `sed -i 's/\\r$//' {name}`");
            report.add(&Cursor { line: index + 1, ..root.clone() }, problem, fix);
        }
    }
}

/// The generators read 3.0.3; 3.1 means other things by the same words.
pub(super) fn openapi_version(contract: &Contract<'_>, report: &mut Report) {
    for document in &contract.documents {
        if document.root.text("openapi") != Some("3.0.3") {
            report.add(
                &document.root.or_self("openapi"),
                "the version of OpenAPI is not 3.0.3",
                "write `openapi: \"3.0.3\"`",
            );
        }
    }
}

/// The server's trait, router and address of the document are named after it: equal words give equal names.
pub(super) fn document_names(contract: &Contract<'_>, report: &mut Report) {
    for document in contract.documents.iter().filter(|document| !document.is_vendor()) {
        let name = &document.root.source.name;
        let suffix = name.strip_prefix(source::VENDOR).and_then(|rest| rest.strip_prefix('-'));
        if !suffix.is_some_and(|suffix| suffix.split('-').all(is_word)) {
            let problem = format!("the document's name `{name}` does not make names of its own in the server crate");
            let fix = format!(
                "name the file `{}-WORD.yaml`: words of lower-case letters and digits that begin with a letter, hyphens between",
                source::VENDOR
            );
            report.add(&document.root, problem, fix);
        }
    }
}

/// Whether a word keeps its bounds when names in Rust are made of several: `a-1` and `a1` would both give `A1`.
fn is_word(word: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    word.starts_with(|first: char| first.is_ascii_lowercase()) && word.bytes().all(is_part)
}

/// The title and the version head the documentation.
pub(super) fn info(contract: &Contract<'_>, report: &mut Report) {
    for info in contract.documents.iter().map(|document| document.root.or_self("info")) {
        if info.text("title").unwrap_or_default().is_empty() {
            report.add(&info, "there is no title", "add `title`");
        }
        let version = info.text("version").unwrap_or_default();
        if version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_graphic()) {
            let fix = "write a version such as \"1.0.0\", in quotes";
            report.add(&info.or_self("version"), "the version is not a text of plain ASCII characters", fix);
        }
    }
}

/// One key alone opens nothing: a document that makes one of them optional would mislead every client.
pub(super) fn security(contract: &Contract<'_>, report: &mut Report) {
    for document in &contract.documents {
        let declared: BTreeSet<_> =
            document.all(Place::SecurityScheme).map(|scheme| scheme.name().to_owned()).collect();
        let required = document.root.items_of("security");
        let wanted: BTreeSet<_> =
            required.iter().flat_map(|item| item.members()).map(|(name, _)| name.to_owned()).collect();
        if required.len() != 1 || wanted.is_empty() || wanted != declared {
            let names = declared.into_iter().collect::<Vec<_>>().join("`, `");
            report.add(
                &document.root.or_self("security"),
                "it does not require all declared security schemes, and nothing else, together",
                format!("write one list item that names `{names}`"),
            );
        }
    }
    check_key_headers(contract, report);
    check_one_pair(contract, report);
}

/// Reports other keys than the one pair, id before secret, that the generated client sends to every operation.
fn check_one_pair(contract: &Contract<'_>, report: &mut Report) {
    let keys = |document: &Document<'_>| {
        let schemes = document.all(Place::SecurityScheme);
        schemes.map(|scheme| (scheme.name().to_owned(), scheme.text("name").map(str::to_owned))).collect::<Vec<_>>()
    };
    let Some(first) = contract.documents.first() else { return };
    for document in &contract.documents {
        let place = document.root.or_self("components").or_self("securitySchemes");
        if keys(document).len() != 2 {
            report.add(&place, "there are not two keys", "declare the id and then the secret, nothing else");
        } else if keys(document) != keys(first) {
            let problem =
                format!("the keys are not those of {}, of the same names and headers", first.root.source.path);
            report.add(&place, problem, "copy the security schemes from there, in their order");
        }
    }
}

/// Reports security schemes of other kinds, which the generators do not read.
fn check_key_headers(contract: &Contract<'_>, report: &mut Report) {
    for scheme in contract.all(Place::SecurityScheme) {
        if scheme.text("type") != Some("apiKey") || scheme.text("in") != Some("header") || !scheme.has("name") {
            report.add(
                scheme,
                "it is not a key in a header",
                "write `type: apiKey`, `in: header` and the header's `name`",
            );
        }
    }
}

/// The vendor's document is the vendor's whole API and nothing else.
pub(super) fn thirty_operations(contract: &Contract<'_>, report: &mut Report) {
    for document in contract.documents.iter().filter(|document| document.is_vendor()) {
        let count = document.operations.len();
        if count != VENDOR_OPERATIONS {
            report.add(
                &document.root.or_self("paths"),
                format!("it has {count} operations, the vendor publishes {VENDOR_OPERATIONS}"),
                "restore what is missing; move additions into a document of their own beside this one",
            );
        }
    }
}

/// Every published path begins so; another one is a slip of the pen.
pub(super) fn vendor_paths(contract: &Contract<'_>, report: &mut Report) {
    const PREFIX: &str = "/AIGCImgOpenServ/saas/";
    for document in contract.documents.iter().filter(|document| document.is_vendor()) {
        for (path, item) in document.root.members_of("paths") {
            if !path.starts_with(PREFIX) {
                report.add(&item, format!("the path does not begin with `{PREFIX}`"), "write the path in full");
            }
        }
    }
}

/// An operation without a tag, or with two, has no one place in the documentation.
pub(super) fn tags(contract: &Contract<'_>, report: &mut Report) {
    for document in &contract.documents {
        let declared: Vec<_> = document.all(Place::Tag).filter_map(|tag| tag.text("name")).collect();
        for operation in &document.operations {
            if !matches!(operation.place.texts_of("tags")[..], [tag] if declared.contains(&tag)) {
                let fix = format!("name one of these: {}", declared.join(", "));
                report.add(
                    &operation.place.or_self("tags"),
                    "the operation does not have exactly one declared tag",
                    fix,
                );
            }
        }
    }
}
