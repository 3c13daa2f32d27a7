//! `imgopen keys`.

use std::sync::Arc;

use anyhow::Context;
use imgopen_service::{Clock, KeyId, KeyRow, Keys, NewKey, Store, data_dir};
use serde_json::{Value, json};

use crate::output::{print, print_json};
use crate::{args, config};

/// Carries the command out.
pub fn run(command: args::Keys) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            args::Keys::Create { name, data } => {
                let folder = config::data_dir(&data)?;
                data_dir::make_private(&folder)
                    .with_context(|| format!("the data directory {} cannot be made", folder.display()))?;
                show_new(&keys(data_dir::open_store(&folder)?).create(&name).await?, data.json)
            }
            args::Keys::List { data } => list(&keys(open_existing(&data)?).list().await?, data.json),
            args::Keys::Revoke { id, data } => {
                keys(open_existing(&data)?).revoke(KeyId(id.clone())).await?;
                if data.json { print_json(&json!({ "revoked": id })) } else { print(&format!("{id} is revoked")) }
            }
        }
    })
}

fn keys(store: Arc<dyn Store>) -> Keys {
    Keys::new(store, Clock::system())
}

/// Opens the data of a service that has worked before. Looking must not make a folder, which would only hide a typing
/// error.
pub fn open_existing(data: &args::Data) -> anyhow::Result<Arc<dyn Store>> {
    let folder = config::data_dir(data)?;
    let exists = data_dir::exists(&folder);
    anyhow::ensure!(exists, "{} is no data folder of the service; give it with --data-dir", folder.display());
    Ok(data_dir::open_store(&folder)?)
}

fn show_new(key: &NewKey, as_json: bool) -> anyhow::Result<()> {
    let (id, secret) = (key.credentials.access_key_id(), key.credentials.expose_secret());
    if as_json {
        let signing = &key.signing_secret;
        return print_json(&json!({ "access_key_id": id, "access_key_secret": secret, "signing_secret": signing }));
    }
    print(&format!(
        "The secrets are shown this once.\n\naccess key id      {id}\naccess key secret  {secret}\nsigning secret     {}",
        key.signing_secret
    ))
}

fn list(keys: &[KeyRow], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return print_json(&keys.iter().map(told).collect::<Value>());
    }
    if keys.is_empty() {
        return print("there is no key; make one with `imgopen keys create`");
    }
    let lines = keys.iter().map(|key| {
        let state = key.revoked_at.map_or("holds".to_owned(), |at| format!("revoked {}", at.rfc3339()));
        let line = format!("{:<20} {:<26} {:<34} {}", key.id.as_str(), key.created_at.rfc3339(), state, key.name);
        line.trim_end().to_owned()
    });
    let lines = lines.collect::<Vec<_>>().join("\n");
    print(&format!("{:<20} {:<26} {:<34} name\n{lines}", "id", "made", "state"))
}

fn told(key: &KeyRow) -> Value {
    json!({
        "access_key_id": key.id,
        "name": key.name,
        "created_at": key.created_at.rfc3339(),
        "revoked_at": key.revoked_at.map(|at| at.rfc3339()),
    })
}
