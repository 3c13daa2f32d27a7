//! A place in a document: the node that lies there and the pointer that leads to it.

use super::source::Source;
use super::yaml::{Node, step};

/// A node together with what a finding must say of it.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    /// The document that the node belongs to.
    pub source: &'a Source,
    /// The node itself.
    pub node: &'a Node,
    /// The line of the node's key, or of the node where it has none.
    pub line: usize,
    /// The pointer from the root, such as `#/components/schemas/Point`.
    pub pointer: String,
}

impl<'a> Cursor<'a> {
    /// The root of a document.
    pub fn root(source: &'a Source) -> Self {
        Self { source, node: &source.root, line: source.root.line, pointer: "#".to_owned() }
    }

    /// The member of a map.
    pub fn get(&self, key: &str) -> Option<Self> {
        let (key, node) = self.node.entries().iter().find(|(found, _)| found.text == key)?;
        Some(self.inside(&key.text, node, key.line))
    }

    /// The members of a map with their names, in the file's order.
    pub fn members(&self) -> Vec<(&'a str, Self)> {
        let entries = self.node.entries().iter();
        entries.map(|(key, node)| (key.text.as_str(), self.inside(&key.text, node, key.line))).collect()
    }

    /// The items of a list.
    pub fn items(&self) -> Vec<Self> {
        let items = self.node.items().iter().enumerate();
        items.map(|(index, node)| self.inside(&index.to_string(), node, node.line)).collect()
    }

    /// The members of the map that is the member `key`; none if there is no such map.
    pub fn members_of(&self, key: &str) -> Vec<(&'a str, Self)> {
        self.get(key).map(|inner| inner.members()).unwrap_or_default()
    }

    /// The items of the list that is the member `key`; none if there is no such list.
    pub fn items_of(&self, key: &str) -> Vec<Self> {
        self.get(key).map(|inner| inner.items()).unwrap_or_default()
    }

    /// The texts in the list that is the member `key`.
    pub fn texts_of(&self, key: &str) -> Vec<&'a str> {
        let items = self.node.get(key).map(Node::items).unwrap_or_default();
        items.iter().filter_map(Node::text).collect()
    }

    /// The text of the member `key`.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.node.get(key)?.text()
    }

    /// Whether the map has the member `key`.
    pub fn has(&self, key: &str) -> bool {
        self.node.get(key).is_some()
    }

    /// Whether the member `key` is `true`.
    pub fn is_true(&self, key: &str) -> bool {
        self.node.get(key).and_then(Node::boolean) == Some(true)
    }

    /// The member `key`, or this place if there is none: where to report what is wrong with that member.
    pub fn or_self(&self, key: &str) -> Self {
        self.get(key).unwrap_or_else(|| self.clone())
    }

    /// The last step of the pointer, which is the name of a component or a property.
    pub fn name(&self) -> &str {
        self.pointer.rsplit('/').next().unwrap_or_default()
    }

    /// The place in the same document that a `#/…` pointer leads to.
    pub fn follow(&self, pointer: &str) -> Option<Self> {
        let path = pointer.strip_prefix("#/")?;
        let tokens = path.split('/').map(|token| token.replace("~1", "/").replace("~0", "~"));
        tokens.into_iter().try_fold(Self::root(self.source), |place, token| {
            let item = || place.items().into_iter().nth(token.parse().ok()?);
            place.get(&token).or_else(item)
        })
    }

    /// The place that is meant: behind a `$ref`, or behind the one `$ref` in an `allOf`.
    pub fn resolved(&self) -> Self {
        let mut place = self.clone();
        for _ in 0..MOST_REFERENCES {
            let target = place.reference().and_then(|pointer| place.follow(pointer));
            let Some(target) = target else { break };
            place = target;
        }
        place
    }

    /// The pointer in this node's `$ref`, or in the one `$ref` of its `allOf`.
    pub fn reference(&self) -> Option<&'a str> {
        let holder = match self.node.get("allOf").map(Node::items) {
            Some([one]) => one,
            _ => self.node,
        };
        holder.get("$ref")?.text()
    }

    /// The place behind the member of an object schema.
    pub fn property(&self, name: &str) -> Option<Self> {
        self.resolved().get("properties")?.get(name)
    }

    /// The properties of an object schema.
    pub fn properties(&self) -> Vec<(&'a str, Self)> {
        self.resolved().members_of("properties")
    }

    /// The branches of the choice that an object schema has in its `allOf`, or beside its other keys.
    pub fn choices(&self) -> Vec<Self> {
        let parts = self.items_of("allOf").into_iter().chain([self.clone()]);
        parts.flat_map(|part| part.items_of("oneOf")).collect()
    }

    /// Whether an object schema requires the property.
    pub fn requires(&self, name: &str) -> bool {
        self.resolved().texts_of("required").contains(&name)
    }

    /// Whether the schema that is meant allows null.
    pub fn is_nullable(&self) -> bool {
        self.resolved().is_true("nullable")
    }

    /// The `type` of the schema that is meant.
    pub fn schema_type(&self) -> Option<&'a str> {
        self.resolved().text("type")
    }

    /// A place one step further in.
    fn inside(&self, token: &str, node: &'a Node, line: usize) -> Self {
        Self { source: self.source, node, line, pointer: step(&self.pointer, token) }
    }
}

/// A chain of references longer than this is a cycle.
const MOST_REFERENCES: usize = 8;
