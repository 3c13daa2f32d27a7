//! The rule about quotes.

use super::Report;
use super::contract::Contract;
use super::cursor::Cursor;
use super::outline::Place;
use crate::yaml::{Data, Style};

/// Other readers of YAML take `16:9` for a number and `no` for false; only quotes mean the same to all of them.
pub(super) fn quoting(contract: &Contract<'_>, report: &mut Report) {
    for document in &contract.documents {
        for (place, object) in &document.outline {
            for text in quoted_members(*place).iter().filter_map(|key| object.get(key)).flat_map(|value| texts(&value))
            {
                if matches!(text.node.data, Data::Text { style: Style::Plain, .. }) {
                    report.add(&text, "the text is not quoted", "put it into double quotes");
                }
            }
        }
    }
    for operation in contract.all(Place::Operation).chain(contract.all(Place::Push)) {
        for (status, place) in operation.members_of("responses") {
            let line = place.source.text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
            if !line.trim_start().starts_with(['"', '{']) {
                report.add(&place, format!("the status {status} is not quoted"), format!("write \"{status}\""));
            }
        }
    }
}

/// The members whose texts are values of the wire.
fn quoted_members(place: Place) -> &'static [&'static str] {
    match place {
        Place::Component => &["enum"],
        Place::Property | Place::Inner => &["enum", "default", "pattern", "x-aliases", "x-accepts"],
        Place::KnownValue | Place::Example => &["value"],
        Place::Job => &["parameters"],
        _ => &[],
    }
}

/// Every text in a value.
fn texts<'a>(value: &Cursor<'a>) -> Vec<Cursor<'a>> {
    let inner = value.members().into_iter().map(|(_, member)| member).chain(value.items());
    match value.node.text() {
        Some(_) => vec![value.clone()],
        None => inner.flat_map(|inner| texts(&inner)).collect(),
    }
}
