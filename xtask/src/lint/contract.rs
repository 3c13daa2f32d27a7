//! All documents as the rules look at them.

use std::path::Path;

use super::strict::Strict;
use crate::document::contents::{Document, Operation};
use crate::document::cursor::Cursor;
use crate::document::outline::Place;
use crate::document::source::Source;

/// What the rules are given.
pub(super) struct Contract<'a> {
    /// The root of the checkout.
    pub(super) root: &'a Path,
    /// The documents in the order of `source::load`.
    pub(super) documents: Vec<Document<'a>>,
    /// The schemas of each document, ready to check values; or why they cannot be.
    strict: Vec<Result<Strict, String>>,
}

impl<'a> Contract<'a> {
    /// Looks at all documents.
    pub(super) fn new(root: &'a Path, sources: &'a [Source]) -> Self {
        let documents: Vec<_> = sources.iter().map(Document::new).collect();
        let strict = documents.iter().map(|document| Strict::new(&document.root)).collect();
        Self { root, documents, strict }
    }

    /// Every object of that kind in every document.
    pub(super) fn all(&self, wanted: Place) -> impl Iterator<Item = &Cursor<'a>> {
        self.documents.iter().flat_map(move |document| document.all(wanted))
    }

    /// Every operation of every document.
    pub(super) fn operations(&self) -> impl Iterator<Item = &Operation<'a>> {
        self.documents.iter().flat_map(|document| &document.operations)
    }

    /// The operation of that id.
    pub(super) fn operation(&self, id: &str) -> Option<&Operation<'a>> {
        self.operations().find(|operation| operation.id == id)
    }

    /// The documents, each with its schemas, ready to check values; or why they cannot be.
    pub(super) fn checked(&self) -> impl Iterator<Item = (&Document<'a>, &Result<Strict, String>)> {
        self.documents.iter().zip(&self.strict)
    }

    /// Every schema that can have limits or a set of values.
    pub(super) fn schemas_with_limits(&self) -> impl Iterator<Item = &Cursor<'a>> {
        self.all(Place::Component).chain(self.all(Place::Property)).chain(self.all(Place::Inner))
    }
}
