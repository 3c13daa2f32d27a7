//! The table of rules: who judges which key of which object. A key without a rule is reported as unclassified.

mod calls;
mod document;
mod limits;
mod members;
mod schemas;
mod values;

use serde_json::Value;

use super::compare::Comparison;
use super::effect::Effect;
use super::pair::Edit;
use crate::lint::outline::Place;

/// Judges a key whose value differs.
pub type Judge = fn(&mut Comparison, &Edit<'_, '_>);

/// The keys of a kind of object, and who judges each.
type Rules = &'static [(&'static str, Judge)];

/// The judge of a key of an object that stands at such a place.
pub fn rule(place: Place, key: &str) -> Option<Judge> {
    rules(place).iter().find(|(known, _)| *known == key).map(|(_, judge)| *judge)
}

fn rules(place: Place) -> Rules {
    match place {
        Place::Document => document::DOCUMENT,
        Place::Components => document::COMPONENTS,
        Place::Info | Place::Server | Place::Tag | Place::Page | Place::Example => WORDS,
        Place::SecurityScheme => document::SECURITY_SCHEME,
        Place::PathItem => calls::PATH_ITEM,
        Place::PushItem => calls::PUSH_ITEM,
        Place::Operation | Place::Push => calls::OPERATION,
        Place::Job => calls::JOB,
        Place::Parameter => calls::PARAMETER,
        Place::Body | Place::Response => calls::BODY,
        Place::Media => calls::MEDIA,
        Place::Carried | Place::Component | Place::Property | Place::Inner => schemas::SCHEMA,
        Place::Branch => schemas::BRANCH,
        Place::KnownValue => values::KNOWN_VALUE,
        Place::Numeric => limits::NUMERIC,
    }
}

/// The keys of objects that only tell people something. Their names and addresses, where those matter, are judged by
/// who holds them.
const WORDS: Rules = &[
    ("title", words),
    ("version", words),
    ("description", words),
    ("termsOfService", words),
    ("contact", words),
    ("license", words),
    ("name", words),
    ("url", words),
    ("externalDocs", words),
    ("$ref", words),
    ("summary", words),
    ("value", words),
    ("x-quirk", words),
];

/// Words for people: nothing is sent or checked otherwise.
fn words(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    comparison.tell(edit, Effect::DOCUMENTATION, format!("`{}` {}", edit.key, edit.verb()));
}

/// Something that both sides must agree on, such as the name of a header.
fn agreed(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    replaced(comparison, edit, "and both sides must agree on it");
}

/// A name that generated code bears: the wire stays, but code that uses it no longer compiles.
fn code_name(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    replaced(comparison, edit, "and generated code is named after it");
}

fn replaced(comparison: &mut Comparison, edit: &Edit<'_, '_>, reason: &str) {
    let (old, new) = edit.values();
    let text = |value: Option<Value>| value.map_or("nothing".to_owned(), |value| value.to_string());
    let what = format!("`{}` changed from {} to {}, {reason}", edit.key, text(old), text(new));
    comparison.tell(edit, Effect::BREAKING, what);
}

/// A reference: what lies behind it on both sides is compared, so the step itself only changes a type in the code.
fn reference(comparison: &mut Comparison, edit: &Edit<'_, '_>) {
    let (old, new) = (edit.pair.old.reference(), edit.pair.new.reference());
    let is_plain = |place: &Option<_>, target: Option<&str>| place.is_none() || target.is_some();
    if !is_plain(&edit.old, old) || !is_plain(&edit.new, new) {
        let what = format!("`{}` {}, and it is not one reference", edit.key, edit.verb());
        return comparison.tell(edit, Effect::UNCLASSIFIED, what);
    }
    let name = |target: Option<&str>| match target {
        Some(pointer) => format!("`{}`", pointer.rsplit('/').next().unwrap_or(pointer)),
        None => "nothing".to_owned(),
    };
    match old == new {
        true => comparison.tell(edit, Effect::DOCUMENTATION, "the same reference is written in another form"),
        false => {
            let what = format!("refers to {} instead of {}; their differences are told apart", name(new), name(old));
            comparison.tell(edit, Effect::ADDITIVE, what);
        }
    }
}
