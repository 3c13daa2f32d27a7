//! The slots of delivery attempts, given away by turns: the rule that every store shares, however it searches.

use std::collections::{HashMap, HashSet};

use crate::{CallbackId, InProgress, KeyId, Turn, UnderWay};

/// The slots as they are given away in one [`Store::due_callbacks`](crate::Store::due_callbacks) or
/// [`Store::claim_callbacks`](crate::Store::claim_callbacks), by the rule of [`UnderWay`].
#[derive(Debug)]
pub struct Slots {
    at_once: usize,
    per_origin: usize,
    /// How many slots are taken.
    held: usize,
    taken: HashSet<CallbackId>,
    by_key: HashMap<KeyId, usize>,
    by_origin: HashMap<(KeyId, String), usize>,
    turn: Turn,
    chosen: Vec<CallbackId>,
}

impl Slots {
    /// Starts with the attempts in progress.
    pub fn new(under_way: UnderWay) -> Self {
        let UnderWay { attempts, at_once, per_origin, turn } = under_way;
        let (taken, chosen) = (HashSet::new(), Vec::new());
        let (by_key, by_origin) = (HashMap::new(), HashMap::new());
        let mut slots = Self { at_once, per_origin, held: 0, taken, by_key, by_origin, turn, chosen };
        attempts.into_iter().for_each(|attempt| slots.take(attempt));
        slots
    }

    /// Adds attempts of other processes: they take no slots of this one, but their callbacks are not due, and they count for their
    /// origins.
    #[must_use]
    pub fn beside(mut self, others: Vec<InProgress>) -> Self {
        others.into_iter().for_each(|attempt| self.note(attempt));
        self
    }

    fn take(&mut self, attempt: InProgress) {
        if !self.taken.contains(&attempt.callback) {
            self.held += 1;
        }
        *self.by_key.entry(attempt.key.clone()).or_default() += 1;
        self.note(attempt);
    }

    fn note(&mut self, attempt: InProgress) {
        let InProgress { callback, key, origin } = attempt;
        *self.by_origin.entry((key, origin)).or_default() += 1;
        self.taken.insert(callback);
    }

    /// Gives a slot to a callback, whose key and origin have then had their turn.
    pub fn choose(&mut self, key: &KeyId, origin: &str, callback: CallbackId) {
        self.turn.passed(key, origin);
        self.take(InProgress { callback: callback.clone(), key: key.clone(), origin: origin.to_owned() });
        self.chosen.push(callback);
    }

    /// How many slots are free.
    pub fn free(&self) -> usize {
        self.at_once.saturating_sub(self.held)
    }

    /// Whether a key may take another slot: while it holds fewer than are free.
    pub fn admits(&self, key: &KeyId) -> bool {
        self.by_key.get(key).copied().unwrap_or(0) < self.free()
    }

    /// Whether a key may make another attempt to an origin.
    pub fn admits_origin(&self, key: &KeyId, origin: &str) -> bool {
        self.by_origin.get(&(key.clone(), origin.to_owned())).copied().unwrap_or(0) < self.per_origin
    }

    /// The callbacks that are not due, because an attempt is in progress.
    pub fn taken(&self) -> &HashSet<CallbackId> {
        &self.taken
    }

    /// How many attempts of each key to each origin are in progress.
    pub fn by_origin(&self) -> &HashMap<(KeyId, String), usize> {
        &self.by_origin
    }

    /// Who was served last.
    pub fn turn(&self) -> &Turn {
        &self.turn
    }

    /// The callbacks that were given a slot here, in the order of turns.
    pub fn chosen(&self) -> &[CallbackId] {
        &self.chosen
    }

    /// How many slots there are.
    pub fn at_once(&self) -> usize {
        self.at_once
    }

    /// How many of them a key may hold for one origin.
    pub fn per_origin(&self) -> usize {
        self.per_origin
    }
}
