//! What is queued, listed and counted in bounded pieces, in SQL.
//!
//! The indexes of queued tasks are walked from entry to entry: each step is one probe, however many tasks there are of a kind or a
//! key.

use deadpool_postgres::Client;
use imgopen_store::{Asked, COUNTED, KeyId, KeyShare, Lane};

use crate::problem::Problem;
use crate::statement::{one_row, rows};
use crate::values::{count, escape, text};

const NEEDS: &str = "WITH RECURSIVE walk(digest, needs, hop) AS (
        (SELECT text_digest(needs), needs, 1::bigint FROM tasks
         WHERE state = 'queued' AND text_digest(needs) > coalesce(text_digest($1::text), ''::bytea)
         ORDER BY text_digest(needs) LIMIT 1)
      UNION ALL
        SELECT following.digest, following.needs, walk.hop + 1 FROM walk, LATERAL (
            SELECT text_digest(t.needs) AS digest, t.needs FROM tasks t
            WHERE t.state = 'queued' AND text_digest(t.needs) > walk.digest ORDER BY text_digest(t.needs) LIMIT 1) following
        WHERE walk.hop < $2::bigint
    )
    SELECT needs FROM walk WHERE hop <= $2::bigint ORDER BY hop";

/// For each of the needs in `$1`, the lanes from the key in `$2` on, at most as many as `$3` says, counted up to `$4`. The keys are
/// walked as a ring, until it has come round.
const LANES: &str = "SELECT asked.number, lane.key_id, lane.count, lane.first
    FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS asked(needs, after, most, number), LATERAL (
        WITH RECURSIVE walk(key_id, wrapped, hop) AS (
            SELECT asked.after COLLATE \"C\", false, 0::bigint
          UNION ALL
            SELECT coalesce(following.key_id, ''), walk.wrapped OR following.key_id IS NULL,
                walk.hop + CASE WHEN following.key_id IS NULL THEN 0 ELSE 1 END
            FROM walk LEFT JOIN LATERAL (
                SELECT t.key_id FROM tasks t
                WHERE t.state = 'queued' AND text_digest(t.needs) = text_digest(asked.needs) AND t.key_id > walk.key_id
                ORDER BY t.key_id LIMIT 1) following ON true
            WHERE walk.hop < asked.most
              AND NOT (walk.wrapped AND (following.key_id IS NULL OR following.key_id > asked.after COLLATE \"C\"))
        )
        SELECT walk.key_id, walk.hop, counted.count, counted.first
        FROM walk, LATERAL (
            SELECT count(*) AS count, min(oldest.seq) AS first FROM (
                SELECT q.seq FROM tasks q
                WHERE q.state = 'queued' AND text_digest(q.needs) = text_digest(asked.needs) AND q.needs = asked.needs
                  AND q.key_id = walk.key_id
                ORDER BY q.seq + 64 * q.deferrals LIMIT $4::bigint) oldest
        ) counted
        WHERE walk.hop > 0 AND walk.key_id <> '' AND counted.count > 0
    ) lane
    ORDER BY asked.number, lane.hop";

const LENGTH: &str = "SELECT count(*) FROM (SELECT 1 FROM tasks WHERE state = 'queued' LIMIT $1::bigint) found";

const SHARE: &str = "SELECT
    (SELECT count(*) FROM (SELECT 1 FROM tasks WHERE state = 'queued' AND key_id = $1 LIMIT $2::bigint) own),
    (WITH RECURSIVE walk(key_id, hop) AS (
        (SELECT key_id, 1::bigint FROM tasks WHERE state = 'queued' ORDER BY key_id LIMIT 1)
      UNION ALL
        SELECT following.key_id, walk.hop + 1 FROM walk, LATERAL (
            SELECT t.key_id FROM tasks t WHERE t.state = 'queued' AND t.key_id > walk.key_id
            ORDER BY t.key_id LIMIT 1) following
        WHERE walk.hop < least($2::bigint, 1000)
     ) SELECT count(*) FROM walk)";

pub async fn needs(client: &mut Client, after: Option<&str>, most: usize) -> Result<Vec<String>, Problem> {
    let found = rows(&*client, NEEDS, &[&after.map(escape), &count(most)]).await?;
    found.iter().map(|row| text(row, 0)).collect()
}

pub async fn lanes(client: &mut Client, asked: &[Asked]) -> Result<Vec<Lane>, Problem> {
    let needs: Vec<_> = asked.iter().map(|asked| escape(&asked.needs)).collect();
    let after: Vec<_> = asked.iter().map(|asked| asked.after.as_ref().map_or("", KeyId::as_str)).collect();
    let most: Vec<_> = asked.iter().map(|asked| count(asked.most)).collect();
    let found = rows(&*client, LANES, &[&needs, &after, &most, &count(COUNTED)]).await?;
    let mut lanes = Vec::new();
    for row in &found {
        let index = usize::try_from(row.try_get::<_, i64>(0)? - 1).ok();
        let Some(asked) = index.and_then(|index| asked.get(index)) else { continue };
        let count = row.try_get::<_, i64>(2)?.try_into().unwrap_or(0);
        lanes.push(Lane { needs: asked.needs.clone(), key: KeyId(row.try_get(1)?), count, first: row.try_get(3)? });
    }
    Ok(lanes)
}

pub async fn length(client: &mut Client, most: usize) -> Result<usize, Problem> {
    let found: i64 = one_row(&*client, LENGTH, &[&count(most)]).await?.try_get(0)?;
    Ok(found.try_into().unwrap_or(0))
}

pub async fn share(client: &mut Client, key: &KeyId, most: usize) -> Result<KeyShare, Problem> {
    let row = one_row(&*client, SHARE, &[&key.as_str(), &count(most)]).await?;
    let (own, keys): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(KeyShare { own: own.try_into().unwrap_or(0), keys: keys.try_into().unwrap_or(0) })
}
