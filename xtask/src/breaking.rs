//! Classifies the changes of the documents for callers and for servers: breaking, additive or documentation only.
//!
//! *Callers* asks whether a client made from the old document keeps working against a server of the new one; *servers*,
//! whether a service written for the old document stays right for clients of the new one. Allowing fewer values breaks
//! the side that writes them, allowing more the side that reads them. What a service need not handle is additive for it: an
//! operation without a method answers 501, an optional member that is not read changes nothing.
//!
//! Changing a name in generated code (operation ids, schemas, known values) is breaking too, although the wire stays the
//! same: code that uses it no longer compiles.

mod against;
mod compare;
mod effect;
mod pair;
mod report;
mod rules;
#[cfg(test)]
mod tests;
mod usage;

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};

use crate::document::source::{self, Source};
use against::Against;
use compare::Change;
use effect::{Class, Effect};

/// Compares the documents in `spec/` with older ones, reports the changes, and fails if one is breaking or unclassified.
pub fn run(root: &Path, against: &str, out: &mut dyn Write) -> Result<()> {
    let from = Against::new(against);
    let changes = changes(&from, &from.load(root)?, &source::load(root)?)?;
    report::report(&changes, against, out)?;
    let count = |wanted| changes.iter().filter(|change| worst(change) == wanted).count();
    match (count(Class::Breaking), count(Class::Unclassified)) {
        (0, 0) => Ok(()),
        (0, unclassified) => bail!(
            "{unclassified} of the changes could not be classified: read them and decide whether callers or servers break"
        ),
        (breaking, 0) => bail!("{breaking} of the changes are breaking for callers or servers"),
        (breaking, unclassified) => bail!(
            "{breaking} of the changes are breaking for callers or servers, and {unclassified} could not be classified"
        ),
    }
}

/// Returns the worse class of both sides.
fn worst(change: &Change) -> Class {
    change.effect.callers.max(change.effect.servers)
}

/// All changes, document by document.
fn changes(from: &Against, old: &[Source], new: &[Source]) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for document in old {
        match new.iter().find(|found| found.name == document.name) {
            Some(found) => changes.extend(compare::compare(document, found, rules::rule)),
            None if from.is_complete() => changes.push(whole(document, None, Effect::BREAKS_CALLERS, "removed")),
            None => {
                bail!("there is no {}: name the file like the document that it is to be compared with", document.path)
            }
        }
    }
    let is_new = |document: &&Source| from.is_complete() && !old.iter().any(|found| found.name == document.name);
    changes.extend(new.iter().filter(is_new).map(|document| whole(document, Some(1), Effect::ADDITIVE, "added")));
    Ok(changes)
}

/// Returns the change that a document was added or removed.
fn whole(document: &Source, line: Option<usize>, effect: Effect, verb: &str) -> Change {
    let (path, pointer) = (document.path.clone(), "#".to_owned());
    Change { effect, path, line, pointer, what: format!("the document {verb} with all its operations") }
}
