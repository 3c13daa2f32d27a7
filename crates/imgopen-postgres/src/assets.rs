//! Assets in SQL.

use deadpool_postgres::Client;
use imgopen_store::{AssetFile, AssetRow, AssetToken, KeyId, Moment};
use tokio_postgres::Row;

use crate::problem::Problem;
use crate::statement::{change, one_row, rows, some_row};
use crate::values::{count, escape, moment, some_moment, some_text};

const ASSET: &str = "SELECT media_type, bytes, created_at, expires_at, deleted_at, name FROM assets WHERE token = $1";

const KEPT: &str = "SELECT token FROM assets WHERE deleted_at IS NULL AND token = ANY($1)";

const WITH_FILES: &str = "SELECT token, bytes, expires_at FROM assets WHERE deleted_at IS NULL AND token > $1
    ORDER BY token LIMIT $2";

/// What another process marks at the moment is left to it.
const EXPIRE: &str = "WITH expired AS (
        SELECT token FROM assets WHERE deleted_at IS NULL AND expires_at <= $1
        ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ), listed AS (
        INSERT INTO expired_files (token, since) SELECT token, $1 FROM expired ON CONFLICT (token) DO NOTHING
    )
    UPDATE assets SET deleted_at = $1 FROM expired WHERE assets.token = expired.token RETURNING assets.token";

/// A run that has ended or was given up writes no further row: its end is refused by the same condition that is read here. So what
/// is proven stays so.
const TOMBSTONES: &str = "WITH proven AS (
        SELECT DISTINCT asked.token FROM unnest($1::text[], $2::text[]) AS asked(token, run)
        WHERE NOT EXISTS (SELECT 1 FROM assets a WHERE a.token = asked.token AND a.deleted_at IS NULL)
          AND (EXISTS (SELECT 1 FROM expired_files e WHERE e.token = asked.token)
            OR EXISTS (SELECT 1 FROM assets a WHERE a.token = asked.token)
            OR EXISTS (SELECT 1 FROM orphaned_runs o WHERE o.run = asked.run)
            OR EXISTS (SELECT 1 FROM tasks t WHERE t.run = asked.run AND t.state IN ('succeeded', 'failed', 'cancelled')))
    ), listed AS (
        INSERT INTO expired_files (token, since) SELECT token, now_ms() FROM proven ORDER BY token
        ON CONFLICT (token) DO NOTHING
    )
    SELECT token FROM proven ORDER BY token";

const EXPIRED_FILES: &str = "SELECT token FROM expired_files WHERE token > $1 ORDER BY token LIMIT $2";

const FORGET_EXPIRED_FILES: &str = "DELETE FROM expired_files WHERE token = ANY($1)";

const UNACCOUNTED: &str = "SELECT asked.token FROM unnest($1::text[]) AS asked(token)
    WHERE NOT EXISTS (SELECT 1 FROM assets a WHERE a.token = asked.token AND a.deleted_at IS NULL)
      AND NOT EXISTS (SELECT 1 FROM expired_files e WHERE e.token = asked.token)
      AND NOT EXISTS (SELECT 1 FROM orphaned_runs o WHERE o.run = left(asked.token, 32))
      AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.state = 'running' AND t.run = left(asked.token, 32))";

const BYTES: &str = "SELECT coalesce(sum(bytes), 0)::bigint FROM kept_bytes";

const KEPT_BYTES: &str = "SELECT coalesce(sum(bytes), 0)::bigint FROM kept_bytes WHERE key_id = $1";

const KEPT_BYTES_BY_KEY: &str = "SELECT key_id, sum(bytes)::bigint FROM kept_bytes GROUP BY key_id ORDER BY key_id";

pub async fn asset(client: &mut Client, token: &AssetToken) -> Result<Option<AssetRow>, Problem> {
    let row = some_row(&*client, ASSET, &[&escape(token.as_str())]).await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<AssetRow, Problem> {
    Ok(AssetRow {
        media_type: row.try_get(0)?,
        bytes: row.try_get::<_, i64>(1)?.try_into().unwrap_or(0),
        created_at: moment(row, 2)?,
        expires_at: some_moment(row, 3)?,
        deleted_at: some_moment(row, 4)?,
        name: some_text(row, 5)?,
    })
}

/// Tokens as a parameter. Names of files have no NUL.
fn list(tokens: &[AssetToken]) -> Vec<&str> {
    tokens.iter().map(AssetToken::as_str).collect()
}

fn tokens(rows: &[Row]) -> Result<Vec<AssetToken>, Problem> {
    rows.iter().map(|row| Ok(AssetToken(row.try_get(0)?))).collect()
}

pub async fn kept(client: &mut Client, asked: &[AssetToken]) -> Result<Vec<AssetToken>, Problem> {
    tokens(&rows(&*client, KEPT, &[&list(asked)]).await?)
}

pub async fn with_files(
    client: &mut Client,
    after: Option<&AssetToken>,
    most: usize,
) -> Result<Vec<AssetFile>, Problem> {
    let after = after.map_or("", AssetToken::as_str);
    let found = rows(&*client, WITH_FILES, &[&after, &count(most)]).await?;
    let file = |row: &Row| {
        let bytes = row.try_get::<_, i64>(1)?.try_into().unwrap_or(0);
        Ok(AssetFile { token: AssetToken(row.try_get(0)?), bytes, expires_at: some_moment(row, 2)? })
    };
    found.iter().map(file).collect()
}

pub async fn expire(client: &mut Client, now: Moment, most: usize) -> Result<Vec<AssetToken>, Problem> {
    tokens(&rows(&*client, EXPIRE, &[&now.0, &count(most)]).await?)
}

pub async fn tombstones(client: &mut Client, asked: &[AssetToken]) -> Result<Vec<AssetToken>, Problem> {
    let of_runs = asked.iter().filter_map(|token| Some((token.as_str(), token.run()?)));
    let (asked, runs): (Vec<_>, Vec<_>) = of_runs.unzip();
    tokens(&rows(&*client, TOMBSTONES, &[&asked, &runs]).await?)
}

pub async fn expired_files(
    client: &mut Client,
    after: Option<&AssetToken>,
    most: usize,
) -> Result<Vec<AssetToken>, Problem> {
    let after = after.map_or("", AssetToken::as_str);
    tokens(&rows(&*client, EXPIRED_FILES, &[&after, &count(most)]).await?)
}

pub async fn forget_expired_files(client: &mut Client, deleted: &[AssetToken]) -> Result<(), Problem> {
    change(&*client, FORGET_EXPIRED_FILES, &[&list(deleted)]).await.map(drop)
}

pub async fn unaccounted(client: &mut Client, asked: &[AssetToken]) -> Result<Vec<AssetToken>, Problem> {
    tokens(&rows(&*client, UNACCOUNTED, &[&list(asked)]).await?)
}

pub async fn bytes(client: &mut Client) -> Result<i64, Problem> {
    Ok(one_row(&*client, BYTES, &[]).await?.try_get(0)?)
}

pub async fn kept_bytes(client: &mut Client, key: &KeyId) -> Result<i64, Problem> {
    Ok(one_row(&*client, KEPT_BYTES, &[&key.as_str()]).await?.try_get(0)?)
}

pub async fn kept_bytes_by_key(client: &mut Client) -> Result<Vec<(KeyId, i64)>, Problem> {
    let found = rows(&*client, KEPT_BYTES_BY_KEY, &[]).await?;
    found.iter().map(|row| Ok((KeyId(row.try_get(0)?), row.try_get(1)?))).collect()
}
