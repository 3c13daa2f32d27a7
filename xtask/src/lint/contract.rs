//! All documents as the rules look at them: their outlines, their operations, and who uses which schema.

use std::collections::BTreeSet;
use std::path::Path;

use heck::ToUpperCamelCase;

use super::cursor::Cursor;
use super::outline::{Place, outline};
use super::strict::Strict;
use crate::spec::{self, Source};

/// What the rules are given.
pub(super) struct Contract<'a> {
    /// The root of the checkout.
    pub(super) root: &'a Path,
    /// The documents in the order of `spec::load`.
    pub(super) documents: Vec<Document<'a>>,
}

/// One document.
pub(crate) struct Document<'a> {
    /// Its root.
    pub(super) root: Cursor<'a>,
    /// Every object and what it is.
    pub(super) outline: Vec<(Place, Cursor<'a>)>,
    /// The operations in the order of `paths`.
    pub(crate) operations: Vec<Operation<'a>>,
    /// The schemas, ready to check values; or why they cannot be.
    pub(super) strict: Result<Strict, String>,
}

/// Which way a schema travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Answer,
}

/// One call of the API.
#[derive(Clone)]
pub(crate) struct Operation<'a> {
    /// The operation id; empty where it is missing, which a rule of its own reports.
    pub(super) id: &'a str,
    /// The path with its `{…}` parts.
    pub(super) path: &'a str,
    /// The operation object.
    pub(crate) place: Cursor<'a>,
}

impl<'a> Contract<'a> {
    /// Looks at all documents.
    pub(super) fn new(root: &'a Path, sources: &'a [Source]) -> Self {
        Self { root, documents: sources.iter().map(Document::new).collect() }
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
}

impl<'a> Document<'a> {
    /// Looks at one document.
    pub(crate) fn new(source: &'a Source) -> Self {
        let root = Cursor::root(source);
        Self {
            outline: outline(Place::Document, &root),
            operations: operations(&root),
            strict: Strict::new(&root),
            root,
        }
    }

    /// Whether this is the vendor's own document.
    pub(super) fn is_vendor(&self) -> bool {
        self.root.source.name == spec::VENDOR
    }

    /// Every object of that kind.
    pub(super) fn all(&self, wanted: Place) -> impl Iterator<Item = &Cursor<'a>> {
        self.outline.iter().filter(move |(place, _)| *place == wanted).map(|(_, object)| object)
    }

    /// The components that the starting pointers lead to, directly or through others.
    pub(crate) fn reachable(&self, start: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut waiting: Vec<&str> = start.into_iter().collect();
        while let Some(pointer) = waiting.pop() {
            if found.insert(pointer) {
                waiting.extend(self.references_in(pointer));
            }
        }
        found
    }

    /// The components that travel that way; what a callback pushes is an answer.
    pub(super) fn schemas_of(&self, direction: Direction) -> Vec<Cursor<'a>> {
        let bodies = self.operations.iter().flat_map(|operation| match direction {
            Direction::Request => operation.request_schema().into_iter().collect(),
            Direction::Answer => {
                let pushes = operation.pushes();
                let pushed = pushes.iter().filter_map(|push| body_schema(&push.get("requestBody")?.resolved()));
                operation.response_schema().into_iter().chain(pushed).collect::<Vec<_>>()
            }
        });
        let used = self.reachable(bodies.filter_map(|schema| schema.reference()));
        self.all(Place::Component).filter(|component| used.contains(component.pointer.as_str())).cloned().collect()
    }

    /// Every `$ref` in the component at the pointer.
    pub(super) fn references_in(&self, pointer: &str) -> Vec<&'a str> {
        let section = pointer.strip_prefix("#/components/").and_then(|rest| rest.split('/').next());
        match (section.and_then(Place::of_section), self.root.follow(pointer)) {
            (Some(place), Some(component)) => {
                references(place, &component).iter().filter_map(|reference| reference.node.text()).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Every `$ref` in an object, in the order in which they stand there.
pub(crate) fn references<'a>(place: Place, object: &Cursor<'a>) -> Vec<Cursor<'a>> {
    let mut found: Vec<_> = outline(place, object).iter().filter_map(|(_, inner)| inner.get("$ref")).collect();
    found.sort_by_key(|reference| reference.line);
    found
}

/// The operations under `paths`, in the order of the file.
fn operations<'a>(root: &Cursor<'a>) -> Vec<Operation<'a>> {
    let items = root.members_of("paths").into_iter();
    items
        .filter_map(|(path, item)| {
            let place = item.get("post")?;
            Some(Operation { id: place.text("operationId").unwrap_or_default(), path, place })
        })
        .collect()
}

impl<'a> Operation<'a> {
    /// The request body, behind its reference if it has one.
    pub(super) fn request(&self) -> Option<Cursor<'a>> {
        Some(self.place.get("requestBody")?.resolved())
    }

    /// The answer to a status, behind its reference if it has one.
    pub(super) fn response(&self, status: &str) -> Option<Cursor<'a>> {
        Some(self.place.get("responses")?.get(status)?.resolved())
    }

    /// The schema of the request.
    pub(super) fn request_schema(&self) -> Option<Cursor<'a>> {
        body_schema(&self.request()?)
    }

    /// The member of the request that holds the address to push to.
    pub(super) fn callback_field(&self) -> Option<&'a str> {
        let (_, callback) = self.place.members_of("callbacks").into_iter().next()?;
        let (expression, _) = callback.members().into_iter().next()?;
        expression.strip_prefix("{$request.body#/")?.strip_suffix('}')
    }

    /// The schema of the answer to a success.
    pub(super) fn response_schema(&self) -> Option<Cursor<'a>> {
        body_schema(&self.response("200")?)
    }

    /// The parameters, behind their references.
    pub(super) fn parameters(&self) -> Vec<Cursor<'a>> {
        self.place.items_of("parameters").iter().map(Cursor::resolved).collect()
    }

    /// The calls that the operation's callbacks make.
    pub(crate) fn pushes(&self) -> Vec<Cursor<'a>> {
        let objects = outline(Place::Operation, &self.place).into_iter();
        objects.filter(|(place, _)| *place == Place::Push).map(|(_, push)| push).collect()
    }

    /// The name that the operation's schemas begin with.
    pub(super) fn type_name(&self) -> String {
        self.id.to_upper_camel_case()
    }
}

/// The one media type of a body.
pub(super) fn media<'a>(body: &Cursor<'a>) -> Option<Cursor<'a>> {
    body.get("content")?.get("application/json")
}

/// The schema in a body, before its reference is followed.
pub(super) fn body_schema<'a>(body: &Cursor<'a>) -> Option<Cursor<'a>> {
    media(body)?.get("schema")
}
