//! The table of broken documents: one edit of the small document for each way to break a rule.

/// The pointer of something in the first operation.
macro_rules! paint {
    ($rest:literal) => {
        concat!("#/paths/~1AIGCImgOpenServ~1saas~1paint/post", $rest)
    };
}

/// The pointer of something in the callback.
macro_rules! push {
    ($rest:literal) => {
        concat!(paint!("/callbacks/finished/{$request.body#~1callbackUrl}/post"), $rest)
    };
}

/// The pointer of something in the second operation.
macro_rules! ask {
    ($rest:literal) => {
        concat!("#/paths/~1AIGCImgOpenServ~1saas~1ask~1{kind}/post", $rest)
    };
}

/// The pointer of something in the schemas.
macro_rules! schema {
    ($rest:literal) => {
        concat!("#/components/schemas/", $rest)
    };
}

mod calls;
mod schemas;

/// One edit and the one finding that it causes.
pub(super) struct Case {
    /// The rule that it breaks.
    pub(super) rule: &'static str,
    /// What stands in the small document.
    pub(super) old: &'static str,
    /// What replaces it.
    pub(super) new: &'static str,
    /// Where the finding points to.
    pub(super) pointer: &'static str,
    /// What stands in the line of the finding.
    pub(super) line: &'static str,
}

/// Makes a case; it keeps the tables free of field names.
const fn case(
    rule: &'static str,
    old: &'static str,
    new: &'static str,
    pointer: &'static str,
    line: &'static str,
) -> Case {
    Case { rule, old, new, pointer, line }
}

/// Every case.
pub(super) fn all() -> impl Iterator<Item = &'static Case> {
    calls::CASES.iter().chain(schemas::CASES)
}
