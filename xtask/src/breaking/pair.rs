//! The same thing in two documents: an object with what it refers to, a key of it, the members that belong together.

use serde_json::Value;

use super::effect::Flow;
use crate::document::cursor::Cursor;

/// An object as each of the documents has it.
pub struct Pair<'a> {
    pub old: View<'a>,
    pub new: View<'a>,
}

impl<'a> Pair<'a> {
    /// Components are compared where they stand; only behind references that differ are both targets looked at here. An
    /// `allOf` that is not one reference has no target.
    pub fn new(old: Cursor<'a>, new: Cursor<'a>) -> Self {
        let has_target = |place: &Cursor<'_>| place.reference().is_some() || !place.has("allOf");
        let differ = old.reference() != new.reference() && has_target(&old) && has_target(&new);
        Self { old: View::new(old, differ), new: View::new(new, differ) }
    }

    /// Every key of one of them, in the order of the old one and then of the new one.
    pub fn keys(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for layer in self.old.layers.iter().chain(&self.new.layers) {
            for (key, _) in layer.members() {
                if !found.iter().any(|known| known == key) {
                    found.push(key.to_owned());
                }
            }
        }
        found
    }
}

/// An object, and behind it what it refers to.
pub struct View<'a> {
    layers: Vec<Cursor<'a>>,
}

impl<'a> View<'a> {
    fn new(place: Cursor<'a>, with_target: bool) -> Self {
        let target = place.resolved();
        let is_other = target.pointer != place.pointer;
        let behind = (with_target && is_other).then_some(target);
        Self { layers: std::iter::once(place).chain(behind).collect() }
    }

    /// The member, its own or that of the target.
    pub fn get(&self, key: &str) -> Option<Cursor<'a>> {
        self.layers.iter().find_map(|layer| layer.get(key))
    }

    /// The pointer that the object refers to.
    pub fn reference(&self) -> Option<&'a str> {
        self.layers.first()?.reference()
    }

    /// Whether the object requires the member.
    pub fn requires(&self, name: &str) -> bool {
        self.layers.iter().any(|layer| layer.texts_of("required").contains(&name))
    }

    /// The member of that name of an object schema.
    pub fn property(&self, name: &str) -> Option<Cursor<'a>> {
        self.get("properties")?.get(name)
    }

    /// Whether unknown members are refused.
    pub fn is_closed(&self) -> bool {
        self.get("additionalProperties").is_some_and(|value| value.node.boolean() == Some(false))
    }

    /// Whether unknown members are kept.
    pub fn keeps_unknown(&self) -> bool {
        self.get("additionalProperties").is_some_and(|value| value.node.boolean() != Some(false))
    }
}

/// A key of an object whose value differs.
pub struct Edit<'e, 'a> {
    /// The objects that hold it.
    pub pair: &'e Pair<'a>,
    pub key: &'e str,
    pub old: Option<Cursor<'a>>,
    pub new: Option<Cursor<'a>>,
    /// Which way the object travels.
    pub flow: Flow,
}

impl Edit<'_, '_> {
    /// Whether nothing but the form has changed. The order of a map's members counts, because some are sent in it.
    pub fn is_equal(&self) -> bool {
        let (old, new) = self.values();
        let text = |value: Value| value.to_string();
        old.map(text) == new.map(text)
    }

    /// Whether the values are the same but for the order of members.
    pub fn is_reordered(&self) -> bool {
        let (old, new) = self.values();
        old == new
    }

    /// What has happened to the key.
    pub fn verb(&self) -> &'static str {
        match (&self.old, &self.new) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        }
    }

    /// The values on both sides.
    pub fn values(&self) -> (Option<Value>, Option<Value>) {
        let json = |place: &Option<Cursor<'_>>| place.as_ref().map(|place| place.node.to_json());
        (json(&self.old), json(&self.new))
    }
}

/// The members of two maps, or the items of two lists, brought together by their names.
pub struct Matched<'a> {
    pub removed: Vec<(String, Cursor<'a>)>,
    pub added: Vec<(String, Cursor<'a>)>,
    pub both: Vec<(String, Cursor<'a>, Cursor<'a>)>,
    /// Whether those on both sides stand in another order.
    pub is_reordered: bool,
}

impl<'a> Matched<'a> {
    /// Matches what stands under a key; items are known by their member `id`, or are themselves the name.
    pub fn new(edit: &Edit<'_, 'a>, id: &str) -> Self {
        Self::of(named(edit.old.as_ref(), id), named(edit.new.as_ref(), id))
    }

    /// Matches two lists of named places.
    pub fn of(old: Vec<(String, Cursor<'a>)>, new: Vec<(String, Cursor<'a>)>) -> Self {
        let find = |list: &[(String, Cursor<'a>)], name: &str| list.iter().position(|(found, _)| found == name);
        let places: Vec<_> = old.iter().filter_map(|(name, _)| find(&new, name)).collect();
        let both = old.iter().filter_map(|(name, place)| {
            let index = find(&new, name)?;
            Some((name.clone(), place.clone(), new[index].1.clone()))
        });
        Self {
            both: both.collect(),
            is_reordered: !places.is_sorted(),
            removed: old.iter().filter(|(name, _)| find(&new, name).is_none()).cloned().collect(),
            added: new.iter().filter(|(name, _)| find(&old, name).is_none()).cloned().collect(),
        }
    }
}

/// The members of a map by name, or the items of a list by the text of their member `id`.
pub fn named<'a>(holder: Option<&Cursor<'a>>, id: &str) -> Vec<(String, Cursor<'a>)> {
    let Some(holder) = holder else { return Vec::new() };
    let members = holder.members().into_iter().map(|(name, place)| (name.to_owned(), place));
    let items = holder.items().into_iter().map(|item| (label(&item, id), item));
    members.chain(items).collect()
}

/// What an item is known by.
fn label(item: &Cursor<'_>, id: &str) -> String {
    let target = item.resolved();
    let node = target.get(id).map_or(item.node, |member| member.node);
    node.text().map_or_else(|| node.to_json().to_string(), str::to_owned)
}
