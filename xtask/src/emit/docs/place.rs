//! Where things stand on the page: each schema once, with the one operation that uses it or among the shared ones.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use heck::ToKebabCase;

use crate::model::{Api, Document, Operation, Schema, SchemaKind, Shape};

/// The API, and which operation shows which schema.
pub struct Places<'a> {
    pub api: &'a Api,
    /// Ids of the operations that use a schema, by its name.
    users: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// The schema of failures, which is shown before all operations.
    failure: Option<&'a str>,
}

impl<'a> Places<'a> {
    pub fn new(api: &'a Api) -> Result<Self> {
        let failure = api.documents.iter().find_map(|document| document.failure.as_ref());
        let failure = failure.map(|body| body.schema.as_str());
        let mut places = Places { api, users: BTreeMap::new(), failure };
        for operation in api.operations() {
            for name in reached(api, operation)? {
                places.users.entry(name).or_default().insert(&operation.id);
            }
        }
        Ok(places)
    }

    /// Request and answer of an operation.
    pub fn bodies(&self, operation: &Operation) -> impl Iterator<Item = &'a Schema> {
        let is_body = |schema: &&Schema| schema.name == operation.request || schema.name == operation.response;
        self.api.schemas.iter().filter(is_body)
    }

    /// The schemas shown with an operation below its bodies, in the document's order.
    pub fn of(&self, operation: &Operation) -> Vec<&'a Schema> {
        let own = |schema: &&Schema| {
            let is_body = schema.name == operation.request || schema.name == operation.response;
            !is_body && self.owner(&schema.name) == Some(&operation.id)
        };
        self.api.schemas.iter().filter(own).collect()
    }

    /// The schemas shown in a section of their own.
    pub fn shared(&self) -> impl Iterator<Item = &'a Schema> {
        let shared =
            |schema: &&Schema| Some(schema.name.as_str()) != self.failure && self.owner(&schema.name).is_none();
        self.api.schemas.iter().filter(shared)
    }

    /// The operation that a schema is shown with.
    pub fn owner(&self, schema: &str) -> Option<&'a str> {
        let body = self.api.operations().find(|operation| operation.request == schema || operation.response == schema);
        if let Some(operation) = body {
            return Some(&operation.id);
        }
        let users = self.users.get(schema)?;
        users.first().copied().filter(|_| users.len() == 1)
    }
}

/// Every schema that an operation's bodies and paths are made of.
fn reached<'a>(api: &'a Api, operation: &'a Operation) -> Result<BTreeSet<&'a str>> {
    let mut found = BTreeSet::new();
    let mut open = vec![operation.request.as_str(), operation.response.as_str()];
    open.extend(operation.parameters.iter().map(|parameter| parameter.schema.as_str()));
    while let Some(name) = open.pop() {
        if !found.insert(name) {
            continue;
        }
        if let SchemaKind::Object(object) = &api.schema(name)?.kind {
            open.extend(object.properties.iter().filter_map(|property| named(&property.shape)));
        }
    }
    Ok(found)
}

/// The operations of a document under one tag.
pub fn group<'a>(document: &'a Document, tag: &str) -> impl Iterator<Item = &'a Operation> {
    document.operations.iter().filter(move |operation| operation.tag == tag)
}

fn named(shape: &Shape) -> Option<&str> {
    match shape {
        Shape::Named(name) => Some(name),
        Shape::List { item, .. } => named(item),
        _ => None,
    }
}

// The ids of the elements, which links lead to.

pub fn operation(id: &str) -> String {
    format!("op-{id}")
}

pub fn schema(name: &str) -> String {
    format!("schema-{name}")
}

pub fn property(schema: &str, property: &str) -> String {
    format!("{schema}.{property}")
}

pub fn document(name: &str) -> String {
    format!("doc-{name}")
}

pub fn tag(document: &Document, tag: &str) -> String {
    format!("tag-{}-{}", document.name, tag.to_kebab_case())
}

pub fn heading(prefix: &str, text: &str) -> String {
    format!("{prefix}-{}", text.to_kebab_case())
}
