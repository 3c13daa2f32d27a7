//! The table of rules: which function judges which key of which object. A key without a rule is reported as
//! unclassified.

mod calls;
mod document;
mod limits;
mod members;
mod schemas;
mod shared;
mod values;

use super::compare::Judge;
use crate::document::outline::Place;
use shared::{Rules, words};

/// Returns the judge of a key of an object that stands at such a place.
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
        Place::Choice => schemas::CHOICE,
        Place::Branch => schemas::BRANCH,
        Place::KnownValue => values::KNOWN_VALUE,
        Place::Numeric => limits::NUMERIC,
    }
}

/// The keys of objects that are only read by people. Their names and addresses, where those matter, are judged by
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
