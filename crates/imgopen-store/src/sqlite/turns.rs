//! Which of the callbacks that are due are pushed next, in SQL.
//!
//! There may be a hundred thousand pending callbacks, and this is asked many times a second. So nothing is sorted or
//! counted: two indexes hold the first and the repeated attempts by key, origin and time, and the search jumps in them from
//! key to key and from origin to origin.

use std::collections::VecDeque;
use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::callbacks;
use super::problem::Problem;
use super::values::system_time;
use crate::ids::{CallbackId, KeyId, OwnerId};
use crate::{CallbackRow, ClaimCallbacks, InProgress, Moment, Slots, UnderWay};

/// The two kinds of attempts, in the order in which they are served.
static STAGES: LazyLock<[Stage; 2]> = LazyLock::new(|| {
    [
        Stage::new("INDEXED BY callbacks_first WHERE state = 'pending' AND rung = 0", None),
        Stage::new(
            "INDEXED BY callbacks_again WHERE state = 'pending' AND rung > 0",
            // Nearly all repeated attempts wait for their time. First attempts are due unless the server itself failed.
            Some(
                "SELECT 1 FROM callbacks INDEXED BY callbacks_again_due
                 WHERE state = 'pending' AND rung > 0 AND key_id = ?1 AND next_at <= ?2 LIMIT 1",
            ),
        ),
    ]
});

/// The jumps of the search among first or repeated attempts.
struct Stage {
    next_key: String,
    next_origin: String,
    due: String,
    has_due: Option<&'static str>,
}

impl Stage {
    /// Takes the index and the condition of the attempts.
    fn new(pending: &str, has_due: Option<&'static str>) -> Self {
        Self {
            next_key: format!("SELECT key_id FROM callbacks {pending} AND key_id > ?1 ORDER BY key_id LIMIT 1"),
            next_origin: format!(
                "SELECT origin FROM callbacks {pending} AND key_id = ?1 AND origin > ?2 ORDER BY origin LIMIT 1"
            ),
            due: format!(
                "SELECT id FROM callbacks {pending} AND key_id = ?1 AND origin = ?2 AND next_at <= ?3
                 ORDER BY next_at LIMIT ?4"
            ),
            has_due,
        }
    }
}

pub fn due(connection: &Connection, now: Moment, under_way: UnderWay) -> Result<Vec<CallbackRow>, Problem> {
    let _snapshot = connection.unchecked_transaction()?;
    search(connection, now, Slots::new(under_way))
}

pub fn claim(connection: &Connection, claim: &ClaimCallbacks) -> Result<Vec<CallbackRow>, Problem> {
    let ClaimCallbacks { owner, claim, attempts, now, hold, most, at_once_per_host, turn } = claim;
    let time = system_time();
    let sql = "SELECT id, key_id, origin, claimed_by FROM callbacks INDEXED BY callbacks_claimed
               WHERE claim IS NOT NULL AND claimed_until > ?1 AND state = 'pending'";
    let mut statement = connection.prepare_cached(sql)?;
    let claimed = statement.query_map([time], |row| {
        let attempt = InProgress { callback: row.get(0)?, key: row.get(1)?, origin: row.get(2)? };
        Ok((attempt, row.get::<_, Option<OwnerId>>(3)?))
    })?;
    let (mut attempts, mut others) = (attempts.clone(), Vec::new());
    for claimed in claimed {
        let (attempt, by) = claimed?;
        if !attempts.contains(&attempt) {
            if by.as_ref() == Some(owner) { attempts.push(attempt) } else { others.push(attempt) }
        }
    }
    let under_way = UnderWay { attempts, at_once: *most, per_origin: *at_once_per_host, turn: turn.clone() };
    let mut chosen = search(connection, *now, Slots::new(under_way).beside(others))?;
    let sql = "UPDATE callbacks SET claim = ?2, claimed_by = ?3, claimed_until = ?4 WHERE id = ?1";
    for callback in &mut chosen {
        connection.prepare_cached(sql)?.execute(params![callback.id, claim, owner, time.plus(*hold)])?;
        callback.claim = Some(claim.clone());
    }
    Ok(chosen)
}

/// Gives the free slots away, and returns the callbacks that were given one.
fn search(connection: &Connection, now: Moment, mut slots: Slots) -> Result<Vec<CallbackRow>, Problem> {
    for stage in STAGES.iter() {
        Search { connection, now, stage }.fill(&mut slots)?;
    }
    slots.chosen().iter().filter_map(|id| callbacks::callback(connection, id).transpose()).collect()
}

/// The search among one kind of attempts.
struct Search<'a> {
    connection: &'a Connection,
    now: Moment,
    stage: &'static Stage,
}

impl Search<'_> {
    /// Fills the free slots: one for each key, then again one for each key that had something due.
    fn fill(&self, slots: &mut Slots) -> Result<(), Problem> {
        let start = slots.turn().key.as_ref().map_or("", KeyId::as_str).to_owned();
        let mut served = VecDeque::new();
        round(
            &start,
            |after| self.text(&self.stage.next_key, [after]),
            |key| {
                let key = KeyId(key.to_owned());
                if self.serve(slots, &key)? {
                    served.push_back(key);
                }
                Ok(slots.free() == 0)
            },
        )?;
        while let Some(key) = served.pop_front().filter(|_| slots.free() > 0) {
            if self.serve(slots, &key)? {
                served.push_back(key);
            }
        }
        Ok(())
    }

    /// Chooses a callback of a key, and returns whether there is one.
    fn serve(&self, slots: &mut Slots, key: &KeyId) -> Result<bool, Problem> {
        if !slots.admits(key) || !self.may_be_due(key)? {
            return Ok(false);
        }
        let start = slots.turn().origins.get(key).cloned().unwrap_or_default();
        let next = |after: &str| self.text(&self.stage.next_origin, [key.as_str(), after]);
        round(&start, next, |origin| self.serve_origin(slots, key, origin))
    }

    fn serve_origin(&self, slots: &mut Slots, key: &KeyId, origin: &str) -> Result<bool, Problem> {
        if !slots.admits_origin(key, origin) {
            return Ok(false);
        }
        // Fewer than `per_origin` of the origin's are taken, so one of the first `per_origin` is not.
        let mut statement = self.connection.prepare_cached(&self.stage.due)?;
        let most = i64::try_from(slots.per_origin()).unwrap_or(i64::MAX);
        let ids = statement.query_map(params![key, origin, self.now, most], |row| row.get(0))?;
        for id in ids {
            let id: CallbackId = id?;
            if !slots.taken().contains(&id) {
                slots.choose(key, origin, id);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn text<const N: usize>(&self, sql: &str, values: [&str; N]) -> Result<Option<String>, Problem> {
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row(params_from_iter(values), |row| row.get(0)).optional()?)
    }

    fn may_be_due(&self, key: &KeyId) -> Result<bool, Problem> {
        let Some(sql) = self.stage.has_due else { return Ok(true) };
        Ok(self.connection.prepare_cached(sql)?.exists(params![key, self.now])?)
    }
}

/// Visits what follows `start` and then what comes up to it, until a visit returns `true`. Returns whether one did.
fn round(
    start: &str,
    next: impl Fn(&str) -> Result<Option<String>, Problem>,
    mut visit: impl FnMut(&str) -> Result<bool, Problem>,
) -> Result<bool, Problem> {
    for (from, last) in [(start, None), ("", Some(start))] {
        let mut after = from.to_owned();
        while let Some(found) = next(&after)?.filter(|found| last.is_none_or(|last| found.as_str() <= last)) {
            if visit(&found)? {
                return Ok(true);
            }
            after = found;
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SqliteStore;

    /// Every statement jumps to its place in an index that holds the columns in the order that it needs.
    #[test]
    fn the_search_never_scans_or_sorts() {
        let directory = tempfile::tempdir().unwrap();
        drop(SqliteStore::open(directory.path()).unwrap());
        let connection = Connection::open(directory.path().join(SqliteStore::FILE)).unwrap();
        for stage in STAGES.iter() {
            let statements = [&stage.next_key, &stage.next_origin, &stage.due].map(String::as_str);
            for sql in statements.into_iter().chain(stage.has_due) {
                let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
                let values = vec![rusqlite::types::Value::Null; statement.parameter_count()];
                let plan = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
                let plan: Vec<_> = plan.map(|step| step.unwrap()).collect();
                assert!(plan.len() == 1 && plan[0].starts_with("SEARCH callbacks USING"), "{sql}: {plan:?}");
                assert!(plan[0].contains("key_id"), "{sql}: {plan:?}");
            }
        }
    }
}
