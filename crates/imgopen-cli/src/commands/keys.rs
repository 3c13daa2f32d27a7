//! `imgopen keys`.

use std::sync::Arc;

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
            Command::Create { name, data } => {
                let store = data::create(&data)?;
                let key = keys(&store).create(&name).await;
                data::close(&*store).await;
                show_new(&key?, as_json)
            }
            Command::List { data } => {
                let store = data::open(&data)?;
                let all = keys(&store).list().await;
                data::close(&*store).await;
                list(&all?, as_json)
            }
            Command::Revoke { id, data } => {
                let store = data::open(&data)?;
                let revoked = keys(&store).revoke(KeyId(id.clone())).await;
                data::close(&*store).await;
                revoked?;
                if as_json { print_json(&json!({ "revoked": id })) } else { print(&format!("{id} is revoked")) }
            }
            Command::RotateSecret { id, overlap, data } => {
                let store = data::open(&data)?;
                let secret = keys(&store).rotate_signing_secret(KeyId(id.clone()), overlap).await;
                data::close(&*store).await;
                show_rotated(&id, &secret?, Clock::system().now().plus(overlap), as_json)
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

fn show_rotated(id: &str, secret: &str, until: Moment, as_json: bool) -> anyhow::Result<()> {
    let until = until.rfc3339();
    if as_json {
        return print_json(&json!({ "access_key_id": id, "signing_secret": secret, "previous_valid_until": until }));
    }
    print(&format!(
        "The secret is not shown again. Callbacks are also signed with the previous one until {until}.\n\n\
         access key id      {id}\nsigning secret     {secret}"
    ))
}

fn list(keys: &[KeyRow], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return print_json(&keys.iter().map(json_of).collect::<Value>());
    }
    if keys.is_empty() {
        return print("no keys found; create one with `imgopen keys create`");
    }
    let lines = keys.iter().map(|key| {
        let state = key.revoked_at.map_or("active".to_owned(), |at| format!("revoked {}", at.rfc3339()));
        let line = format!("{:<20} {:<26} {:<34} {}", key.id.as_str(), key.created_at.rfc3339(), state, key.name);
        line.trim_end().to_owned()
    });
    let lines = lines.collect::<Vec<_>>().join("\n");
    print(&format!("{:<20} {:<26} {:<34} name\n{lines}", "id", "created", "state"))
}

fn json_of(key: &KeyRow) -> Value {
    json!({
        "access_key_id": key.id,
        "name": key.name,
        "created_at": key.created_at.rfc3339(),
        "revoked_at": key.revoked_at.map(|at| at.rfc3339()),
    })
}
