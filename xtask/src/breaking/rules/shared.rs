//! Judges that several kinds of objects share.

use serde_json::Value;

use crate::breaking::compare::{Comparison, Judge};
use crate::breaking::effect::Effect;
use crate::breaking::pair::Edit;
use crate::document::cursor::Cursor;
use crate::document::yaml::Data;

/// The keys of a kind of object, and the judge of each.
pub type Rules = &'static [(&'static str, Judge)];

/// Words for people: nothing is sent or checked otherwise.
pub fn words(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.report(edit, Effect::DOCUMENTATION, format!("`{}` {}", edit.key, edit.verb()));
}

/// Something that both sides must agree on, such as the name of a header.
pub fn agreed(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    replaced(comparison, edit, "and both sides must agree on it");
}

/// A name that generated code bears: the wire stays, but code that uses it no longer compiles.
pub fn code_name(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    replaced(comparison, edit, "and generated code is named after it");
}

fn replaced(comparison: &mut Comparison, edit: &Edit<'_, '_>, reason: &str) {
    let (old, new) = edit.values();
    let text = |value: Option<Value>| value.map_or("nothing".to_owned(), |value| value.to_string());
    let what = format!("`{}` changed from {} to {}, {reason}", edit.key, text(old), text(new));
    comparison.report(edit, Effect::BREAKING, what);
}

/// A reference: what lies behind it on both sides is compared, so the step itself only changes a type in the code.
pub fn reference(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let (old, new) = (edit.pair.old.reference(), edit.pair.new.reference());
    let is_plain = |place: &Option<_>, target: Option<&str>| place.is_none() || target.is_some();
    if !is_plain(&edit.old, old) || !is_plain(&edit.new, new) {
        let what = format!("`{}` {}, and it is not one reference", edit.key, edit.verb());
        return comparison.report(edit, Effect::UNCLASSIFIED, what);
    }
    let name = |target: Option<&str>| match target {
        Some(pointer) => format!("`{}`", pointer.rsplit('/').next().unwrap_or(pointer)),
        None => "nothing".to_owned(),
    };
    match old == new {
        true => comparison.report(edit, Effect::DOCUMENTATION, "the same reference is written in another form"),
        false => {
            let what =
                format!("refers to {} instead of {}; their differences are listed separately", name(new), name(old));
            comparison.report(edit, Effect::ADDITIVE, what);
        }
    }
}

/// Keys that are asked for narrow what may be sent, as a required member does.
pub fn security(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let asks =
        |place: &Option<Cursor<'_>>| place.as_ref().is_some_and(|place| place.node.data != Data::List(Vec::new()));
    let (effect, what) = match (asks(&edit.old), asks(&edit.new)) {
        (false, true) => (edit.flow.narrower(), "keys are asked for"),
        (true, false) => (edit.flow.wider(), "keys are no longer asked for"),
        (true, true) => (Effect::BREAKING, "other keys are asked for"),
        (false, false) => (Effect::DOCUMENTATION, "that no keys are asked for is said otherwise"),
    };
    comparison.report(edit, effect, what);
}
