//! Access keys in SQL.

use deadpool_postgres::Client;
use imgopen_store::{KeyId, KeyRow, Moment, PreviousSecret};
use tokio_postgres::Row;

use crate::problem::Problem;
use crate::statement::{change, one_row, rows, some_row};
use crate::values::{escape, json, moment, some_moment, text};

const ADD: &str = "INSERT INTO keys (id, name, secret_hash, signing_secret, previous_secrets, created_at, revoked_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

/// The lock for the first key: while there is none, there is no row to lock.
const LOCK_FIRST: &str = "SELECT pg_advisory_xact_lock(7262, 1)";

const HAS_ANY: &str = "SELECT EXISTS (SELECT 1 FROM keys WHERE id <> $1)";

const KEY: &str =
    "SELECT id, name, secret_hash, signing_secret, previous_secrets, created_at, revoked_at FROM keys WHERE id = $1";

const ALL: &str = "SELECT id, name, secret_hash, signing_secret, previous_secrets, created_at, revoked_at FROM keys
    WHERE id <> $1 ORDER BY created_at, id";

const REVOKE: &str = "UPDATE keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1 AND id <> $3";

const SECRETS: &str = "SELECT signing_secret, previous_secrets FROM keys WHERE id = $1 FOR UPDATE";

const ROTATE: &str = "UPDATE keys SET signing_secret = $2, previous_secrets = $3 WHERE id = $1";

fn read(row: &Row) -> Result<KeyRow, Problem> {
    Ok(KeyRow {
        id: KeyId(row.try_get(0)?),
        name: text(row, 1)?,
        secret_hash: row.try_get(2)?,
        signing_secret: row.try_get(3)?,
        previous_secrets: json(row.try_get(4)?)?,
        created_at: moment(row, 5)?,
        revoked_at: some_moment(row, 6)?,
    })
}

async fn insert<C: deadpool_postgres::GenericClient>(client: &C, key: &KeyRow) -> Result<(), Problem> {
    let KeyRow { id, name, secret_hash, signing_secret, previous_secrets, created_at, revoked_at } = key;
    let previous = as_json(previous_secrets)?;
    let revoked_at = revoked_at.map(|moment| moment.0);
    change(
        client,
        ADD,
        &[&id.as_str(), &escape(name), secret_hash, signing_secret, &previous, &created_at.0, &revoked_at],
    )
    .await
    .map(drop)
}

fn as_json(secrets: &[PreviousSecret]) -> Result<String, Problem> {
    serde_json::to_string(secrets).map_err(|error| Problem::failed(format!("secrets cannot be written: {error}")))
}

pub async fn add(client: &mut Client, key: &KeyRow) -> Result<(), Problem> {
    insert(&*client, key).await
}

pub async fn add_first(client: &mut Client, key: &KeyRow) -> Result<bool, Problem> {
    let transaction = client.transaction().await?;
    one_row(&transaction, LOCK_FIRST, &[]).await?;
    let any: bool = one_row(&transaction, HAS_ANY, &[&KeyId::OPEN]).await?.try_get(0)?;
    if !any {
        insert(&transaction, key).await?;
    }
    transaction.commit().await?;
    Ok(!any)
}

pub async fn key(client: &mut Client, id: &KeyId) -> Result<Option<KeyRow>, Problem> {
    let row = some_row(&*client, KEY, &[&escape(id.as_str())]).await?;
    row.as_ref().map(read).transpose()
}

pub async fn all(client: &mut Client) -> Result<Vec<KeyRow>, Problem> {
    rows(&*client, ALL, &[&KeyId::OPEN]).await?.iter().map(read).collect()
}

pub async fn revoke(client: &mut Client, id: &KeyId, now: Moment) -> Result<bool, Problem> {
    Ok(change(&*client, REVOKE, &[&escape(id.as_str()), &now.0, &KeyId::OPEN]).await? == 1)
}

pub async fn rotate(
    client: &mut Client,
    id: &KeyId,
    secret: &str,
    until: Moment,
    now: Moment,
) -> Result<bool, Problem> {
    let transaction = client.transaction().await?;
    let id = escape(id.as_str());
    let Some(found) = some_row(&transaction, SECRETS, &[&id]).await? else { return Ok(false) };
    let replaced = PreviousSecret { secret: found.try_get(0)?, until };
    let earlier: Vec<PreviousSecret> = json(found.try_get(1)?)?;
    // The newest first. Expired ones are not kept for longer than they are needed.
    let previous: Vec<_> = std::iter::once(replaced).chain(earlier).filter(|previous| previous.until > now).collect();
    change(&transaction, ROTATE, &[&id, &secret, &as_json(&previous)?]).await?;
    transaction.commit().await?;
    Ok(true)
}
