//! Which of the callbacks that are due are pushed next, in SQL.
//!
//! There may be a hundred thousand pending callbacks, and this is asked many times a second, over a network. So one statement
//! for the first attempts and one for the repeated ones jump in their indexes from key to key and from origin to origin, and
//! return as many candidates as the free slots could take, in the order of turns. The slots are given away here.

use std::collections::{HashMap, VecDeque};

use deadpool_postgres::Client;
use imgopen_store::{CallbackId, CallbackRow, ClaimCallbacks, InProgress, KeyId, Moment, OwnerId, Slots, UnderWay};
use tokio_postgres::Row;

use crate::callbacks::{self, columns};
use crate::problem::Problem;
use crate::statement::rows;
use crate::values::{count, escape, json, milliseconds, text, unescape};

/// How many times callbacks are chosen in one claim, because other processes may have claimed some of them in between.
const ROUNDS: usize = 3;

/// The candidates among first or repeated attempts: for each key, in the order of turns, its origins in their order of turns,
/// each with its callbacks that are due. `$1` is the key that was served last and `$3`, `$4` the origins of keys; `$5` are the
/// callbacks under way, and `$6` to `$8` how many of them a key has to an origin. `$9` bounds these, `$10` the origins of a key
/// and `$11` the keys.
macro_rules! candidates {
    ($stage:literal, $is_due:literal) => {
        concat!(
            "WITH RECURSIVE ring(key_id, wrapped, hop) AS (
                SELECT $1::text COLLATE \"C\", false, 0
              UNION ALL
                SELECT coalesce(following.key_id, ''), ring.wrapped OR following.key_id IS NULL, ring.hop + 1
                FROM ring LEFT JOIN LATERAL (
                    SELECT c.key_id FROM callbacks c WHERE c.state = 'pending' AND ",
            $stage,
            " AND c.key_id > ring.key_id ORDER BY c.key_id LIMIT 1) following ON true
                WHERE NOT (ring.wrapped AND (following.key_id IS NULL OR following.key_id > $1::text COLLATE \"C\"))
            )
            SELECT ring.key_id, places.origins::text FROM ring, LATERAL (
                SELECT json_agg(json_build_array(origin, ids) ORDER BY hop) AS origins FROM (
                    WITH RECURSIVE around(origin, wrapped, hop) AS (
                        SELECT last.origin, false, 0 FROM (
                            SELECT coalesce(max(turn.origin), '') COLLATE \"C\" AS origin
                            FROM unnest($3::text[], $4::text[]) AS turn(key_id, origin) WHERE turn.key_id = ring.key_id) last
                      UNION ALL
                        SELECT coalesce(following.origin, ''), around.wrapped OR following.origin IS NULL, around.hop + 1
                        FROM around LEFT JOIN LATERAL (
                            SELECT c.origin FROM callbacks c WHERE c.state = 'pending' AND ",
            $stage,
            " AND c.key_id = ring.key_id AND c.origin > around.origin ORDER BY c.origin LIMIT 1) following ON true
                        WHERE NOT (around.wrapped AND (following.origin IS NULL OR following.origin > (
                            SELECT coalesce(max(turn.origin), '') COLLATE \"C\"
                            FROM unnest($3::text[], $4::text[]) AS turn(key_id, origin) WHERE turn.key_id = ring.key_id)))
                    )
                    SELECT around.origin, around.hop, due.ids FROM around, LATERAL (
                        SELECT array_agg(id ORDER BY next_at, seq) AS ids FROM (
                            SELECT c.id, c.next_at, c.seq FROM callbacks c WHERE c.state = 'pending' AND ",
            $stage,
            " AND c.key_id = ring.key_id AND c.origin = around.origin AND c.next_at <= $2::bigint AND c.id <> ALL($5::text[])
                            ORDER BY c.next_at, c.seq
                            LIMIT greatest(0, $9::bigint - coalesce((
                                SELECT sum(busy.number) FROM unnest($6::text[], $7::text[], $8::bigint[])
                                    AS busy(key_id, origin, number)
                                WHERE busy.key_id = ring.key_id AND busy.origin = around.origin), 0))::bigint) first
                    ) due
                    WHERE around.hop > 0 AND around.origin <> '' AND due.ids IS NOT NULL LIMIT $10::bigint) found
            ) places
            WHERE ring.hop > 0 AND ring.key_id <> '' AND ",
            $is_due,
            " AND places.origins IS NOT NULL LIMIT $11::bigint"
        )
    };
}

/// The two kinds of attempts, in the order in which they are served. Nearly all repeated attempts wait for their time, so
/// whether a key has one that is due is asked first: not by `EXISTS`, with which the planner could join in another order than
/// that of turns.
const STAGES: [&str; 2] = [
    candidates!("c.rung = 0", "true"),
    candidates!(
        "c.rung > 0",
        "(SELECT true FROM callbacks a WHERE a.state = 'pending' AND a.rung > 0 AND a.key_id = ring.key_id
                 AND a.next_at <= $2::bigint LIMIT 1)"
    ),
];

const CHOSEN: &str = concat!("SELECT ", columns!(), " FROM callbacks WHERE id = ANY($1) AND state = 'pending'");

/// The attempts that processes have claimed.
const CLAIMED: &str = "SELECT id, key_id, origin, claimed_by FROM callbacks
    WHERE claim IS NOT NULL AND claimed_until > now_ms() AND state = 'pending'";

/// Claims callbacks that are still due. What another process claims at the moment is left to it.
const CLAIM: &str = concat!(
    "WITH free AS (
        SELECT seq AS place FROM callbacks
        WHERE id = ANY($1) AND state = 'pending' AND next_at <= $2 AND (claim IS NULL OR claimed_until <= now_ms())
        ORDER BY seq FOR UPDATE SKIP LOCKED
    )
    UPDATE callbacks SET claim = $3, claimed_by = $4, claimed_until = now_ms() + $5::bigint
    FROM free WHERE callbacks.seq = free.place RETURNING ",
    columns!()
);

const OF_CLAIM: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM callbacks WHERE claim = $1 AND state = 'pending' AND claimed_until > now_ms()"
);

pub async fn due(client: &mut Client, now: Moment, under_way: UnderWay) -> Result<Vec<CallbackRow>, Problem> {
    let slots = search(client, now, Slots::new(under_way)).await?;
    if slots.chosen().is_empty() {
        return Ok(Vec::new());
    }
    let found = rows(&*client, CHOSEN, &[&ids(&slots)]).await?;
    in_turn(&found, &slots)
}

/// Claims callbacks. Those that an earlier try may have claimed are looked for first.
pub async fn claim(client: &mut Client, claim: &ClaimCallbacks, again: bool) -> Result<Vec<CallbackRow>, Problem> {
    let ClaimCallbacks { owner, claim: id, attempts: known, now, hold, most, at_once_per_host, turn } = claim;
    if again {
        let found = rows(&*client, OF_CLAIM, &[&id.as_str()]).await?;
        if !found.is_empty() {
            return found.iter().map(callbacks::read).collect();
        }
    }
    let (mut claimed, mut turn) = (Vec::new(), turn.clone());
    for _ in 0..ROUNDS {
        let (attempts, others) = under_way(client, owner, known).await?;
        let under_way = UnderWay { attempts, at_once: *most, per_origin: *at_once_per_host, turn: turn.clone() };
        let slots = search(client, *now, Slots::new(under_way).beside(others)).await?;
        let chosen = ids(&slots);
        if chosen.is_empty() {
            break;
        }
        let found =
            rows(&*client, CLAIM, &[&chosen, &now.0, &id.as_str(), &owner.as_str(), &milliseconds(*hold)]).await?;
        let taken = in_turn(&found, &slots)?;
        taken.iter().for_each(|callback| turn.passed(&callback.key, &callback.origin));
        let has_all = taken.len() == chosen.len();
        claimed.extend(taken);
        if has_all {
            break;
        }
    }
    Ok(claimed)
}

/// Returns the attempts in progress: those of an owner, which knows of some, and those of others.
async fn under_way(
    client: &Client,
    owner: &OwnerId,
    known: &[InProgress],
) -> Result<(Vec<InProgress>, Vec<InProgress>), Problem> {
    let (mut own, mut others) = (known.to_vec(), Vec::new());
    for row in rows(client, CLAIMED, &[]).await? {
        let (callback, key) = (CallbackId(row.try_get(0)?), KeyId(row.try_get(1)?));
        let attempt = InProgress { callback, key, origin: text(&row, 2)? };
        let by: Option<&str> = row.try_get(3)?;
        if !own.contains(&attempt) {
            if by == Some(owner.as_str()) { own.push(attempt) } else { others.push(attempt) }
        }
    }
    Ok((own, others))
}

/// Gives the free slots away.
async fn search(client: &Client, now: Moment, mut slots: Slots) -> Result<Slots, Problem> {
    for sql in STAGES {
        if slots.free() > 0 {
            let candidates = candidates(client, sql, now, &slots).await?;
            fill(&mut slots, candidates);
        }
    }
    Ok(slots)
}

/// The ids of the callbacks that were given a slot, in the order of turns.
fn ids(slots: &Slots) -> Vec<&str> {
    slots.chosen().iter().map(CallbackId::as_str).collect()
}

/// Reads callbacks, and puts them into the order of turns.
fn in_turn(found: &[Row], slots: &Slots) -> Result<Vec<CallbackRow>, Problem> {
    let mut callbacks = found.iter().map(callbacks::read).collect::<Result<Vec<_>, _>>()?;
    let places: HashMap<_, _> = ids(slots).into_iter().enumerate().map(|(place, id)| (id, place)).collect();
    callbacks.sort_by_key(|callback| places.get(callback.id.as_str()).copied());
    Ok(callbacks)
}

/// A key with what it has due: the first callback of each origin, then the second of each.
struct Candidates {
    key: KeyId,
    callbacks: VecDeque<(String, CallbackId)>,
}

async fn candidates(client: &Client, sql: &str, now: Moment, slots: &Slots) -> Result<Vec<Candidates>, Problem> {
    let last = slots.turn().key.as_ref().map_or("", KeyId::as_str);
    let (turn_keys, turn_origins): (Vec<_>, Vec<_>) =
        slots.turn().origins.iter().map(|(key, origin)| (key.as_str(), escape(origin))).unzip();
    let taken: Vec<_> = slots.taken().iter().map(CallbackId::as_str).collect();
    let (mut busy_keys, mut busy_origins, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for ((key, origin), number) in slots.by_origin() {
        busy_keys.push(key.as_str());
        busy_origins.push(escape(origin));
        busy.push(count(*number));
    }
    let (per_origin, free, at_once) = (count(slots.per_origin()), count(slots.free()), count(slots.at_once()));
    let found = rows(
        client,
        sql,
        &[
            &last,
            &now.0,
            &turn_keys,
            &turn_origins,
            &taken,
            &busy_keys,
            &busy_origins,
            &busy,
            &per_origin,
            &free,
            &at_once,
        ],
    )
    .await?;
    found
        .iter()
        .map(|row| {
            let origins: Vec<(String, VecDeque<String>)> = json(row.try_get(1)?)?;
            Ok(Candidates { key: KeyId(row.try_get(0)?), callbacks: by_turns(origins) })
        })
        .collect()
}

fn by_turns(mut origins: Vec<(String, VecDeque<String>)>) -> VecDeque<(String, CallbackId)> {
    let mut callbacks = VecDeque::new();
    while !origins.is_empty() {
        origins.retain_mut(|(origin, ids)| {
            let id = ids.pop_front();
            callbacks.extend(id.map(|id| (unescape(origin.clone()), CallbackId(id))));
            !ids.is_empty()
        });
    }
    callbacks
}

/// Fills the free slots: one for each key, then again one for each key that had something due.
fn fill(slots: &mut Slots, candidates: Vec<Candidates>) {
    let mut waiting = VecDeque::from(candidates);
    while let Some(mut next) = waiting.pop_front().filter(|_| slots.free() > 0) {
        if !slots.admits(&next.key) {
            continue;
        }
        let Some((origin, callback)) = next.callbacks.pop_front() else { continue };
        slots.choose(&next.key, &origin, callback);
        waiting.push_back(next);
    }
}
