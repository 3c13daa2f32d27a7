//! The first access key: shown on a terminal, or else kept in a file, because what is not a terminal is often a log.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use imgopen_service::{Clock, NewKey, Service};
use tracing::info;

use crate::output;

/// The name of the key.
const NAME: &str = "created at the first start";

/// The name of the file in the data directory.
const FILE: &str = "first-key.env";

/// Creates the first key if there is none, and shows it or where it is. That the output cannot be written is not an error.
pub async fn create(service: &Service, url: &str) -> anyhow::Result<()> {
    if !service.keys().list().await?.is_empty() {
        return Ok(());
    }
    let key = NewKey::make(NAME, Clock::system().now())?;
    let exports = exports(url, &key);
    if io::stdout().is_terminal() {
        if service.keys().add_first(&key).await? {
            let text = format!("An access key, not shown again (`imgopen keys create` creates more):\n\n{exports}\n");
            drop(output::print(&format!("{text}The API reference is at {url}/docs.\n\n")));
        }
        return Ok(());
    }
    let path = path(&service.settings().data_dir);
    // Before the key is stored: nobody would know its secret if the disk were full.
    write(&path, &exports).with_context(|| format!("the first access key cannot be written to {}", path.display()))?;
    if !service.keys().add_first(&key).await? {
        // A command has created one meanwhile.
        std::fs::remove_file(&path)?;
        return Ok(());
    }
    let path = path.display();
    info!(%path, "the first access key was created; its secrets are in this file");
    drop(output::print(&format!(
        "The first access key is in {path}, which only its owner can read. Load it with\n\n    . '{path}'\n\nand delete \
         the file once the key is kept elsewhere (`imgopen keys create` creates more). The API reference is at {url}/docs.\n\n"
    )));
    Ok(())
}

fn exports(url: &str, key: &NewKey) -> String {
    format!(
        "export IMGOPEN_BASE_URL={url}\n\
         export IMGOPEN_ACCESS_KEY_ID={}\n\
         export IMGOPEN_ACCESS_KEY_SECRET={}\n\
         export IMGOPEN_SIGNING_SECRET={}\n",
        key.credentials.access_key_id(),
        key.credentials.expose_secret(),
        key.signing_secret,
    )
}

fn path(data_dir: &Path) -> PathBuf {
    std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned()).join(FILE)
}

/// Writes a file that only its owner can read.
fn write(path: &Path, text: &str) -> io::Result<()> {
    // One that is there is of a start that failed, or of a database that was lost and may come back.
    match std::fs::rename(path, path.with_extension("env.old")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
