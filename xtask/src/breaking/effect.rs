//! What a change does: its classes, the two sides it is judged for, and the ways a value can travel.

/// How a change is taken, from the mildest to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Words for people; nothing on the wire changes.
    Documentation,
    /// What exists keeps working; something may be new.
    Additive,
    /// The rules cannot decide; a person must.
    Unclassified,
    /// What exists may stop working.
    Breaking,
}

use Class::{Additive, Breaking, Documentation, Unclassified};

impl Class {
    /// All classes, the worst first.
    pub const ALL: [Self; 4] = [Breaking, Unclassified, Additive, Documentation];

    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            Documentation => "documentation",
            Additive => "additive",
            Unclassified => "unclassified",
            Breaking => "breaking",
        }
    }
}

/// What a change does to both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// For a client made from the old document that calls a server of the new one.
    pub callers: Class,
    /// For a service written for the old document that is called by clients of the new one.
    pub servers: Class,
}

impl Effect {
    /// Nothing but words.
    pub const DOCUMENTATION: Self = Self::new(Documentation, Documentation);
    /// Harmless for both sides.
    pub const ADDITIVE: Self = Self::new(Additive, Additive);
    /// For people to judge.
    pub const UNCLASSIFIED: Self = Self::new(Unclassified, Unclassified);
    /// Harmful for both sides.
    pub const BREAKING: Self = Self::new(Breaking, Breaking);
    /// Callers must change, servers need not.
    pub const BREAKS_CALLERS: Self = Self::new(Breaking, Additive);
    /// Servers must change, callers need not.
    pub const BREAKS_SERVERS: Self = Self::new(Additive, Breaking);

    /// The two classes.
    pub const fn new(callers: Class, servers: Class) -> Self {
        Self { callers, servers }
    }

    /// The worse of two effects, for each side.
    fn worst(self, other: Self) -> Self {
        Self { callers: self.callers.max(other.callers), servers: self.servers.max(other.servers) }
    }
}

/// Which way a value travels; the same schema may travel both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Callers write it and servers read it.
    pub request: bool,
    /// Servers write it and callers read it.
    pub answer: bool,
}

impl Flow {
    /// From callers to servers.
    pub const REQUEST: Self = Self { request: true, answer: false };
    /// From servers to callers.
    pub const ANSWER: Self = Self { request: false, answer: true };
    /// Both ways.
    pub const BOTH: Self = Self { request: true, answer: true };

    /// What comes back.
    pub fn turned(self) -> Self {
        Self { request: self.answer, answer: self.request }
    }

    /// The worse of the effects in each of the ways that the value travels.
    pub fn effect(self, in_requests: Effect, in_answers: Effect) -> Effect {
        match (self.request, self.answer) {
            (true, false) => in_requests,
            (false, true) => in_answers,
            _ => in_requests.worst(in_answers),
        }
    }

    /// The effect when fewer values are allowed: who writes may write one that is not, who reads loses nothing.
    pub fn narrower(self) -> Effect {
        self.effect(Effect::BREAKS_CALLERS, Effect::BREAKS_SERVERS)
    }

    /// The effect when more values are allowed: who reads may get one that it did not have to expect.
    pub fn wider(self) -> Effect {
        self.effect(Effect::BREAKS_SERVERS, Effect::BREAKS_CALLERS)
    }
}
