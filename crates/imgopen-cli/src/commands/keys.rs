//! `imgopen keys`.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use imgopen_service::data_dir::Access;
use imgopen_service::{Clock, KeyId, KeyRow, Keys, Moment, NewKey, Store};
use serde_json::{Value, json};

use super::data;
use crate::args::keys::Keys as Command;
use crate::output::{print, print_json};

/// Runs the command.
pub fn run(command: Command, as_json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Create { name, rows } => {
                let store = data::create(&rows).await?;
                let key = keys(&store).create(&name).await;
                data::close(&*store).await;
                let key = key?;
                let id = key.credentials.access_key_id();
                let unseen = || {
                    format!("the key {id} was created, but its secrets were not shown; revoke it with `imgopen keys revoke {id}`")
                };
                show_new(&key, as_json).with_context(unseen)
            }
            Command::List { rows } => {
                let store = data::open(&rows, Access::Reading).await?;
                let all = keys(&store).list().await;
                let bytes = store.kept_bytes_by_key().await;
                data::close(&*store).await;
                list(&all?, &bytes?.into_iter().collect(), as_json)
            }
            Command::Revoke { id, rows } => {
                let store = data::open(&rows, Access::Writing).await?;
                let revoked = keys(&store).revoke(KeyId(id.clone())).await;
                data::close(&*store).await;
                revoked?;
                if as_json { print_json(&json!({ "revoked": id })) } else { print(&format!("{id} is revoked")) }
            }
            Command::RotateSecret { id, overlap, rows } => {
                let store = data::open(&rows, Access::Writing).await?;
                let secret = keys(&store).rotate_signing_secret(KeyId(id.clone()), overlap).await;
                data::close(&*store).await;
                let until = (!overlap.is_zero()).then(|| Clock::system().now().plus(overlap));
                let unseen = || format!("the signing secret of {id} was replaced, but not shown; replace it again");
                show_rotated(&id, &secret?, until, as_json).with_context(unseen)
            }
        }
    })
}

fn keys(store: &Arc<dyn Store>) -> Keys {
    Keys::new(store.clone(), Clock::system())
}

fn show_new(key: &NewKey, as_json: bool) -> anyhow::Result<()> {
    let (id, secret) = (key.credentials.access_key_id(), key.credentials.expose_secret());
    if as_json {
        let signing = &key.signing_secret;
        return print_json(&json!({ "access_key_id": id, "access_key_secret": secret, "signing_secret": signing }));
    }
    print(&format!(
        "The secrets are not shown again.\n\naccess key id      {id}\naccess key secret  {secret}\nsigning secret     {}",
        key.signing_secret
    ))
}

/// Shows the new secret, and until when callbacks are also signed with the previous one, if they are.
fn show_rotated(id: &str, secret: &str, until: Option<Moment>, as_json: bool) -> anyhow::Result<()> {
    let until = until.map(Moment::rfc3339);
    if as_json {
        return print_json(&json!({ "access_key_id": id, "signing_secret": secret, "previous_valid_until": until }));
    }
    let previous = match until {
        Some(until) => format!("Callbacks are also signed with the previous one until {until}."),
        None => "Callbacks are no longer signed with the previous one.".to_owned(),
    };
    print(&format!(
        "The secret is not shown again. {previous}\n\n\
         access key id      {id}\nsigning secret     {secret}"
    ))
}

/// Lists the keys with the bytes of the pictures that are kept for each.
fn list(keys: &[KeyRow], bytes: &HashMap<KeyId, i64>, as_json: bool) -> anyhow::Result<()> {
    let kept = |key: &KeyRow| bytes.get(&key.id).copied().unwrap_or(0);
    if as_json {
        return print_json(&keys.iter().map(|key| json_of(key, kept(key))).collect::<Value>());
    }
    if keys.is_empty() {
        return print("no keys found; create one with `imgopen keys create`");
    }
    let lines = keys.iter().map(|key| {
        let state = key.revoked_at.map_or("active".to_owned(), |at| format!("revoked {}", at.rfc3339()));
        let (id, created, bytes) = (key.id.as_str(), key.created_at.rfc3339(), kept(key));
        let line = format!("{id:<20} {created:<26} {state:<34} {bytes:>14}  {}", key.name);
        line.trim_end().to_owned()
    });
    let lines = lines.collect::<Vec<_>>().join("\n");
    print(&format!("{:<20} {:<26} {:<34} {:>14}  name\n{lines}", "id", "created", "state", "bytes kept"))
}

fn json_of(key: &KeyRow, bytes: i64) -> Value {
    json!({
        "access_key_id": key.id,
        "name": key.name,
        "created_at": key.created_at.rfc3339(),
        "revoked_at": key.revoked_at.map(|at| at.rfc3339()),
        "bytes_kept": bytes,
    })
}
