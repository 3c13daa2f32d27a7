//! The table of edits and of what each does to callers and to servers.

use super::super::effect::Class;

mod calls;
mod schemas;

/// One edit and what is reported of it.
pub struct Case {
    /// What stands in the small document; the first place is edited.
    pub old: &'static str,
    /// What replaces it.
    pub new: &'static str,
    /// Place, class for callers, class for servers.
    pub reported: &'static [(&'static str, Class, Class)],
}

/// Makes a case; it keeps the tables free of field names.
const fn case(old: &'static str, new: &'static str, reported: &'static [(&'static str, Class, Class)]) -> Case {
    Case { old, new, reported }
}

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    calls::CASES.iter().chain(schemas::REQUESTS).chain(schemas::ANSWERS)
}

/// The pointer that a place of the tables stands for.
pub fn pointer(place: &str) -> String {
    let Some((start, rest)) = place.split_once(':') else { return format!("#/{place}") };
    let start = match start {
        "paint" => "#/paths/~1AIGCImgOpenServ~1saas~1paint/post/",
        "push" => "#/paths/~1AIGCImgOpenServ~1saas~1paint/post/callbacks/finished/{$request.body#~1callbackUrl}/post/",
        "ask" => "#/paths/~1AIGCImgOpenServ~1saas~1ask~1{kind}/post/",
        "schema" => "#/components/schemas/",
        other => panic!("`{other}` is not the start of a pointer"),
    };
    format!("{start}{rest}")
}
