//! Walks two documents side by side and has each difference judged by the rule of its key.

use std::collections::BTreeSet;

use super::effect::{Effect, Flow};
use super::pair::{Edit, Matched, Pair};
use super::usage::Usage;
use crate::document::cursor::Cursor;
use crate::document::outline::Place;
use crate::document::source::Source;

/// A difference and what it does.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub effect: Effect,
    /// The file, seen from the root of the checkout.
    pub path: String,
    /// The line in the new document; nothing for what is gone.
    pub line: Option<usize>,
    /// The place, in the new document if it is there, in the old one if it is gone.
    pub pointer: String,
    /// What has changed.
    pub what: String,
}

/// Judges a key whose value differs.
pub type Judge = fn(&mut Comparison, &Edit<'_, '_>);

/// Returns the judge of a key of an object that stands at such a place.
pub type FindRule = fn(Place, &str) -> Option<Judge>;

/// Compares two versions of a document by the rules. The changes stand in the order of the new one, removals first.
pub fn compare(old: &Source, new: &Source, rule: FindRule) -> Vec<Change> {
    let mut comparison =
        Comparison { rule, usage: Usage::of([old, new]), visited: BTreeSet::new(), changes: Vec::new(), noted: 0 };
    comparison.object(Place::Document, Cursor::root(old), Cursor::root(new), Flow::REQUEST);
    let mut changes = comparison.changes;
    changes.sort_by_key(|change| change.line);
    changes
}

/// A comparison under way.
pub struct Comparison {
    rule: FindRule,
    usage: Usage,
    /// What has been compared: behind a changed reference, a schema that holds itself would never come to an end.
    visited: BTreeSet<(String, String, bool, bool)>,
    changes: Vec<Change>,
    /// How many differences have been accounted for.
    noted: usize,
}

impl Comparison {
    /// Compares two objects of the same kind key by key.
    pub fn object(&mut self, place: Place, old: Cursor<'_>, new: Cursor<'_>, flow: Flow) {
        let visit = (old.pointer.clone(), new.pointer.clone(), flow.request, flow.answer);
        if !self.visited.insert(visit) {
            return self.reported_elsewhere();
        }
        let pair = Pair::new(old, new);
        for key in pair.keys() {
            let edit = Edit { pair: &pair, old: pair.old.get(&key), new: pair.new.get(&key), key: &key, flow };
            if !edit.is_equal() {
                self.judge(place, &edit);
            }
        }
    }

    /// Has a difference judged, and makes sure that something is said of it.
    fn judge(&mut self, place: Place, edit: &Edit<'_, '_>) {
        let before = self.noted;
        if let Some(judge) = (self.rule)(place, edit.key) {
            judge(self, edit);
        }
        if self.noted == before && !edit.is_reordered() {
            let what = format!("`{}` {} in a way that no rule knows", edit.key, edit.verb());
            self.report(edit, Effect::UNCLASSIFIED, what);
        }
    }

    /// Notes that a difference is reported at another place, so that it does not count as unclassified.
    pub fn reported_elsewhere(&mut self) {
        self.noted += 1;
    }

    /// Compares the values of a key that both sides have; otherwise reports the effect of its addition or removal.
    pub fn inner(&mut self, place: Place, edit: &Edit<'_, '_>, added: Effect, removed: Effect) {
        match (&edit.old, &edit.new) {
            (Some(old), Some(new)) => self.object(place, old.clone(), new.clone(), edit.flow),
            (None, _) => self.report(edit, added, format!("`{}` added", edit.key)),
            (_, None) => self.report(edit, removed, format!("`{}` removed", edit.key)),
        }
    }

    /// Compares the members of a map, or the items of a list by their `id`; reports those that were added, removed or moved.
    pub fn members(&mut self, place: Place, id: &str, edit: &Edit<'_, '_>, added: Effect, removed: Effect) {
        let matched = Matched::new(edit, id);
        for (name, place) in &matched.removed {
            self.report_gone(place, removed, format!("`{name}` removed"));
        }
        for (name, place) in &matched.added {
            self.report_at(place, added, format!("`{name}` added"));
        }
        if matched.is_reordered {
            self.report(edit, Effect::DOCUMENTATION, format!("`{}` stand in another order", edit.key));
        }
        for (_, old, new) in matched.both {
            self.object(place, old, new, edit.flow);
        }
    }

    /// The way that the component at the pointer travels.
    pub fn flow_of(&self, pointer: &str) -> Flow {
        self.usage.flow(pointer)
    }

    /// Adds a change at the key's place.
    pub fn report(&mut self, edit: &Edit<'_, '_>, effect: Effect, what: impl Into<String>) {
        match (&edit.new, &edit.old) {
            (Some(new), _) => self.report_at(new, effect, what),
            (None, Some(old)) => self.report_gone(old, effect, what),
            (None, None) => {}
        }
    }

    /// Adds a change at a place of the new document.
    pub fn report_at(&mut self, place: &Cursor<'_>, effect: Effect, what: impl Into<String>) {
        self.add(place, Some(place.line), effect, what.into());
    }

    /// Adds a change at a place that only the old document has.
    pub fn report_gone(&mut self, place: &Cursor<'_>, effect: Effect, what: impl Into<String>) {
        self.add(place, None, effect, what.into());
    }

    fn add(&mut self, place: &Cursor<'_>, line: Option<usize>, effect: Effect, what: String) {
        let (path, pointer) = (place.source.path.clone(), place.pointer.clone());
        self.noted += 1;
        self.changes.push(Change { effect, path, line, pointer, what });
    }
}
