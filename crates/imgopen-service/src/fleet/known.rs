//! What other processes offer, also those that are not there at the moment: they may be about to start again, so requests for what
//! only they have wait for them, as for back ends that went away.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use imgopen_engine::RemoteOffers;
use imgopen_store::{OwnerId, OwnerRow};

/// What callers learn of an engine whose process is away.
const AWAY: &str = "the process that has it is away";

/// What callers learn of one whose process begins nothing, because it is to be stopped.
const DRAINING: &str = "the process that has it is about to stop";

/// The other processes that run tasks, with those that left a short while ago.
#[derive(Debug, Default)]
pub struct Known(Mutex<BTreeMap<OwnerId, Member>>);

#[derive(Debug)]
struct Member {
    host: String,
    offers: RemoteOffers,
    /// When it was among the processes last, by the uptime.
    seen: Duration,
}

impl Known {
    /// Notes which processes there are at that time, and returns what is offered by them, and by those that left at most as long ago
    /// as `patience`. All of those that begin no runs are away.
    pub fn update(&self, there: Vec<(OwnerRow, RemoteOffers)>, now: Duration, patience: Duration) -> Vec<RemoteOffers> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let present: HashSet<_> = there.iter().map(|(owner, _)| owner.id.clone()).collect();
        let (mut offered, mut new) = (Vec::with_capacity(there.len()), Vec::new());
        for (owner, offers) in there {
            let begins = begins_runs(&owner);
            let OwnerRow { id, about, draining, .. } = owner;
            let member = Member { host: about.host.clone(), offers: offers.clone(), seen: now };
            if known.insert(id, member).is_none() && begins {
                new.push(about.host);
            }
            offered.push(match (begins, draining) {
                (true, _) => offers,
                (false, true) => offers.away(DRAINING),
                (false, false) => offers.away(AWAY),
            });
        }
        // A process that starts is one that was stopped on its machine before.
        for host in new {
            let earlier = known.iter().find(|(id, member)| member.host == host && !present.contains(*id));
            if let Some(earlier) = earlier.map(|(id, _)| id.clone()) {
                known.remove(&earlier);
            }
        }
        known.retain(|_, member| now.saturating_sub(member.seen) <= patience);
        let gone = known.iter().filter(|(id, _)| !present.contains(*id));
        offered.extend(gone.map(|(_, member)| member.offers.clone().away(AWAY)));
        offered
    }
}

/// Whether a process is alive and begins runs.
pub fn begins_runs(owner: &OwnerRow) -> bool {
    !owner.draining && owner.lease_left.is_none_or(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use imgopen_store::OwnerAbout;
    use serde_json::{Value, json};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A process with an engine of its own name.
    fn process(id: &str, host: &str, left: u64, draining: bool) -> (OwnerRow, RemoteOffers) {
        let about = OwnerAbout { host: host.to_owned(), ..OwnerAbout::default() };
        let lease_left = Some(Duration::from_secs(left));
        let offer = json!({
            "operation": "outpaint", "grade": "draft", "inputs": "unused", "is_known": true, "prepares_only": false,
        });
        let offers = serde_json::from_value(json!({"engines": [{"name": id, "offers": [offer]}]})).unwrap();
        (OwnerRow { id: OwnerId(id.to_owned()), about, lease_left, draining, runs: 0 }, offers)
    }

    /// The engines with why they are away.
    fn engines(offered: &[RemoteOffers]) -> Vec<(String, Value)> {
        let engine = |offers: &RemoteOffers| {
            let engine = serde_json::to_value(offers).unwrap()["engines"][0].clone();
            (engine["name"].as_str().unwrap().to_owned(), engine["offers"][0]["away"].clone())
        };
        offered.iter().map(engine).collect()
    }

    fn is(name: &str, away: Option<&str>) -> (String, Value) {
        (name.to_owned(), json!(away))
    }

    #[test]
    fn what_a_process_offered_is_waited_for() {
        let known = Known::default();
        let at = |seconds, there| engines(&known.update(there, Duration::from_secs(seconds), PATIENCE));
        let (a, b) = (|| process("a", "x", 9, false), || process("b", "y", 9, false));
        assert_eq!(at(0, vec![a(), b()]), [is("a", None), is("b", None)]);
        // It drains, its lease ends, it is forgotten by the database.
        assert_eq!(at(5, vec![a(), process("b", "y", 9, true)]), [is("a", None), is("b", Some(DRAINING))]);
        assert_eq!(at(9, vec![a(), process("b", "y", 0, false)]), [is("a", None), is("b", Some(AWAY))]);
        assert_eq!(at(10, vec![a()]), [is("a", None), is("b", Some(AWAY))]);
        assert_eq!(at(69, vec![a()]), [is("a", None), is("b", Some(AWAY))]);
        assert_eq!(at(70, vec![a()]), [is("a", None)]);
        // All leases end in an outage of the database.
        assert_eq!(at(99, vec![process("a", "x", 0, false)]), [is("a", Some(AWAY))]);
    }

    #[test]
    fn a_process_that_starts_again_takes_the_place_of_the_one_before() {
        let known = Known::default();
        let at = |seconds, there| engines(&known.update(there, Duration::from_secs(seconds), PATIENCE));
        at(0, vec![process("a", "x", 9, false), process("b", "x", 9, false), process("c", "y", 9, false)]);
        assert_eq!(at(5, vec![]).len(), 3);
        // One for one, and only on its own machine.
        let first = || process("d", "x", 9, false);
        assert_eq!(at(6, vec![first()]), [is("d", None), is("b", Some(AWAY)), is("c", Some(AWAY))]);
        assert_eq!(at(7, vec![first()]), [is("d", None), is("b", Some(AWAY)), is("c", Some(AWAY))]);
        let second = process("e", "x", 9, false);
        assert_eq!(at(8, vec![first(), second]), [is("d", None), is("e", None), is("c", Some(AWAY))]);
    }
}
