//! A document as a whole: its outline, its operations, and who uses which schema.

use std::collections::BTreeSet;

use heck::ToUpperCamelCase;

use super::cursor::Cursor;
use super::outline::{Place, outline};
use super::source::{Source, VENDOR};

/// One document.
pub struct Document<'a> {
    /// Its root.
    pub root: Cursor<'a>,
    /// Every object and what it is.
    pub outline: Vec<(Place, Cursor<'a>)>,
    /// The operations in the order of `paths`.
    pub operations: Vec<Operation<'a>>,
}

/// Which way a schema travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Request,
    Answer,
}

/// One call of the API.
#[derive(Clone)]
pub struct Operation<'a> {
    /// The operation id; empty where it is missing, which a rule of its own reports.
    pub id: &'a str,
    /// The path with its `{…}` parts.
    pub path: &'a str,
    /// The operation object.
    pub place: Cursor<'a>,
}

impl<'a> Document<'a> {
    /// Looks at one document.
    pub fn new(source: &'a Source) -> Self {
        let root = Cursor::root(source);
        Self { outline: outline(Place::Document, &root), operations: operations(&root), root }
    }

    /// Whether this is the vendor's own document.
    pub fn is_vendor(&self) -> bool {
        self.root.source.name == VENDOR
    }

    /// Every object of that kind.
    pub fn all(&self, wanted: Place) -> impl Iterator<Item = &Cursor<'a>> {
        self.outline.iter().filter(move |(place, _)| *place == wanted).map(|(_, object)| object)
    }

    /// The components that the starting pointers lead to, directly or through others.
    pub fn reachable(&self, start: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
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
    pub fn schemas_of(&self, direction: Direction) -> Vec<Cursor<'a>> {
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
    pub fn references_in(&self, pointer: &str) -> Vec<&'a str> {
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
pub fn references<'a>(place: Place, object: &Cursor<'a>) -> Vec<Cursor<'a>> {
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
    pub fn request(&self) -> Option<Cursor<'a>> {
        Some(self.place.get("requestBody")?.resolved())
    }

    /// The answer to a status, behind its reference if it has one.
    pub fn response(&self, status: &str) -> Option<Cursor<'a>> {
        Some(self.place.get("responses")?.get(status)?.resolved())
    }

    /// The schema of the request.
    pub fn request_schema(&self) -> Option<Cursor<'a>> {
        body_schema(&self.request()?)
    }

    /// The member of the request that holds the address to push to.
    pub fn callback_field(&self) -> Option<&'a str> {
        let (_, callback) = self.place.members_of("callbacks").into_iter().next()?;
        let (expression, _) = callback.members().into_iter().next()?;
        expression.strip_prefix("{$request.body#/")?.strip_suffix('}')
    }

    /// The schema of the answer to a success.
    pub fn response_schema(&self) -> Option<Cursor<'a>> {
        body_schema(&self.response("200")?)
    }

    /// The parameters, behind their references.
    pub fn parameters(&self) -> Vec<Cursor<'a>> {
        self.place.items_of("parameters").iter().map(Cursor::resolved).collect()
    }

    /// The calls that the operation's callbacks make.
    pub fn pushes(&self) -> Vec<Cursor<'a>> {
        let objects = outline(Place::Operation, &self.place).into_iter();
        objects.filter(|(place, _)| *place == Place::Push).map(|(_, push)| push).collect()
    }

    /// The name that the operation's schemas begin with.
    pub fn type_name(&self) -> String {
        self.id.to_upper_camel_case()
    }
}

/// The one media type of a body.
pub fn media<'a>(body: &Cursor<'a>) -> Option<Cursor<'a>> {
    body.get("content")?.get("application/json")
}

/// The schema in a body, before its reference is followed.
pub fn body_schema<'a>(body: &Cursor<'a>) -> Option<Cursor<'a>> {
    media(body)?.get("schema")
}
