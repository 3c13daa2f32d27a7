//! Claims by turns of the keys, in SQL.

use deadpool_postgres::Client;
use imgopen_store::{ClaimNext, KeyId, TaskRow};
use tokio_postgres::Row;

use crate::problem::Problem;
use crate::statement::one_row;
use crate::tasks::{self, columns};
use crate::values::{count, escape};

/// How many keys one statement looks at. Keys that have as many runs as they may are passed over.
const HOPS: i64 = 256;

/// Walks the keys that have something queued as a ring: from the key `$1`, which was served last, and until it has come round to
/// the key `$7`; `$8` says whether it has passed the last of all keys before. With work at the next key it takes one step. Each need
/// is one probe of the index; all together would sort every row of a key. If it finds nothing, it returns how far it came.
const CLAIM_NEXT: &str = concat!(
    "WITH RECURSIVE ring(key_id, wrapped, hop) AS (
        SELECT $1::text COLLATE \"C\", $8::boolean, 0::bigint
      UNION ALL
        SELECT coalesce(following.key_id, ''), ring.wrapped OR following.key_id IS NULL, ring.hop + 1
        FROM ring LEFT JOIN LATERAL (
            SELECT min(found.key_id) AS key_id
            FROM unnest($2::text[]) AS needed(needs), LATERAL (
                SELECT t.key_id FROM tasks t
                WHERE t.state = 'queued' AND text_digest(t.needs) = text_digest(needed.needs) AND t.key_id > ring.key_id
                ORDER BY t.key_id LIMIT 1) found
        ) following ON true
        WHERE ring.hop < $9::bigint
          AND NOT (ring.wrapped AND (following.key_id IS NULL OR following.key_id > $7::text COLLATE \"C\"))
    ), pick AS MATERIALIZED (
        SELECT first.place
        FROM ring, LATERAL (
            SELECT oldest.place FROM unnest($2::text[]) AS needed(needs), LATERAL (
                SELECT q.seq AS place, q.seq + 64 * q.deferrals AS turn FROM tasks q
                WHERE q.state = 'queued' AND text_digest(q.needs) = text_digest(needed.needs) AND q.needs = needed.needs
                  AND q.key_id = ring.key_id
                ORDER BY q.seq + 64 * q.deferrals LIMIT 1 FOR UPDATE SKIP LOCKED) oldest
            ORDER BY oldest.turn LIMIT 1) first
        WHERE ring.hop > 0 AND ring.key_id <> ''
          AND ($3::bigint IS NULL OR (SELECT count(*) FROM (
                SELECT 1 FROM tasks r WHERE r.state = 'running' AND r.key_id = ring.key_id LIMIT $3::bigint) counted) < $3::bigint)
        LIMIT 1
    ), claimed AS (
        UPDATE tasks SET state = 'running', attempt = attempt + 1, run = $4, owner = $5, started_at = $6, claimed_at = now_ms()
        WHERE tasks.seq = (SELECT place FROM pick) AND tasks.state = 'queued'
          AND EXISTS (SELECT 1 FROM owners WHERE id = $5 AND NOT draining)
        RETURNING ",
    columns!("request"),
    ")
    SELECT ",
    columns!("claimed.request"),
    ", claimed.seq IS NOT NULL OR EXISTS (SELECT 1 FROM pick),
        CASE WHEN claimed.seq IS NULL THEN (SELECT max(hop) FROM ring) END,
        CASE WHEN claimed.seq IS NULL THEN (SELECT key_id FROM ring ORDER BY hop DESC LIMIT 1) END,
        CASE WHEN claimed.seq IS NULL THEN (SELECT wrapped FROM ring ORDER BY hop DESC LIMIT 1) END
    FROM (SELECT 1) AS once LEFT JOIN claimed ON true"
);

/// Where a walk of the ring begins.
struct Place {
    key: String,
    has_wrapped: bool,
}

/// Claims the next task. A claim that may have been carried out by an earlier try is looked for before and after.
pub async fn claim_next(client: &mut Client, claim: &ClaimNext, again: bool) -> Result<Option<TaskRow>, Problem> {
    if again && let Some(task) = tasks::claimed(client, &claim.owner, &claim.run).await? {
        return Ok(Some(task));
    }
    match next(client, claim).await {
        Err(problem) if again && problem.is_taken() => tasks::claimed(client, &claim.owner, &claim.run).await,
        outcome => outcome,
    }
}

async fn next(client: &Client, claim: &ClaimNext) -> Result<Option<TaskRow>, Problem> {
    let last = claim.after.as_ref().map_or("", KeyId::as_str);
    let mut place = Place { key: last.to_owned(), has_wrapped: false };
    loop {
        let row = walk(client, claim, &place, last).await?;
        if row.try_get(25)? {
            // A task was picked, but its claim is refused if the owner is dead.
            let is_claimed = row.try_get::<_, Option<i64>>(1)?.is_some();
            return is_claimed.then(|| tasks::read(&row)).transpose();
        }
        if row.try_get::<_, i64>(26)? < HOPS {
            return Ok(None);
        }
        place = Place { key: row.try_get(27)?, has_wrapped: row.try_get(28)? };
    }
}

async fn walk(client: &Client, claim: &ClaimNext, place: &Place, last: &str) -> Result<Row, Problem> {
    let ClaimNext { needs, running_per_key, run, owner, now, .. } = claim;
    let needs: Vec<_> = needs.iter().map(|needs| escape(needs)).collect();
    one_row(
        client,
        CLAIM_NEXT,
        &[
            &place.key,
            &needs,
            &running_per_key.map(count),
            &run.as_str(),
            &owner.as_str(),
            &now.0,
            &last,
            &place.has_wrapped,
            &HOPS,
        ],
    )
    .await
}
