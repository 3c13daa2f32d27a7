//! The record of what was fetched, so that the next run of a training goes on where an interrupted one ended.
//!
//! A picture counts as fetched only if its file has the size and the hash of the record. One that was half written when the
//! run was interrupted, or whose bytes the disk lost in a crash of the machine, is fetched again.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use imgopen_engine::{EngineError, Input};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use crate::files::{failed, remove};

/// The record: a line of JSON for each picture. A run that is interrupted may leave its last line incomplete.
const RECORD: &str = "fetched.jsonl";

/// Files that are being written. A thread of an interrupted run may still write one, so their names begin with the run's.
const UNFINISHED: &str = "unfinished";

/// A line of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    field: String,
    url: String,
    file: String,
    bytes: u64,
    sha256: String,
}

/// The pictures that earlier runs and this one have fetched.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The directory of the data set.
    directory: PathBuf,
    /// That of the pictures.
    pictures: PathBuf,
    run: String,
    entries: HashMap<String, Entry>,
}

impl Fetched {
    /// Reads the record of a data set. Both directories must exist.
    pub(crate) async fn open(directory: &Path, pictures: &Path, run: &str) -> Result<Self, EngineError> {
        let unfinished = directory.join(UNFINISHED);
        tokio::fs::create_dir_all(&unfinished).await.map_err(|error| failed(&unfinished, &error))?;
        let record = directory.join(RECORD);
        let text = match tokio::fs::read(&record).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(|error| failed(&record, &error))?,
        };
        let lines = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
        let entries = lines.map(|entry| (entry.field.clone(), entry)).collect();
        let (directory, pictures) = (directory.to_owned(), pictures.to_owned());
        Ok(Self { directory, pictures, run: run.to_owned(), entries })
    }

    /// Returns the picture of a field if an earlier run has fetched it and its file is whole.
    pub(crate) async fn picture(&self, field: &str) -> Option<Input> {
        let entry = self.entries.get(field)?.clone();
        let file = self.pictures.join(&entry.file);
        let whole = spawn_blocking(move || {
            let bytes = fs::read(file).ok()?;
            let is_whole = bytes.len() as u64 == entry.bytes && hash(&bytes) == entry.sha256;
            is_whole.then(|| Input { field: entry.field, url: entry.url, bytes: bytes.into() })
        });
        whole.await.ok().flatten()
    }

    /// Writes a picture under this name, and records it.
    pub(crate) async fn add(&self, input: &Input, name: &str) -> Result<(), EngineError> {
        let Input { field, url, bytes } = input.clone();
        let unfinished = self.directory.join(UNFINISHED).join(format!("{}-{name}", self.run));
        let (file, record, name) = (self.pictures.join(name), self.directory.join(RECORD), name.to_owned());
        let shown = file.clone();
        let written = spawn_blocking(move || {
            // Nothing here makes a directory, so that a thread of an interrupted run fails once its directory is renamed.
            fs::write(&unfinished, &bytes)?;
            fs::rename(unfinished, file)?;
            let entry = Entry { field, url, file: name, bytes: bytes.len() as u64, sha256: hash(&bytes) };
            // The line before may be incomplete.
            let line = format!("\n{}\n", serde_json::to_string(&entry)?);
            OpenOptions::new().create(true).append(true).open(record)?.write_all(line.as_bytes())
        });
        let written = written.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| failed(&shown, &error))
    }

    /// Removes the record, once the data set is complete.
    pub(crate) async fn close(self) -> Result<(), EngineError> {
        remove(&self.directory.join(UNFINISHED)).await?;
        let record = self.directory.join(RECORD);
        match tokio::fs::remove_file(&record).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&record, &error)),
            _ => Ok(()),
        }
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(field: &str, text: &'static str) -> Input {
        Input { field: field.to_owned(), url: format!("https://example.com/{field}"), bytes: text.into() }
    }

    async fn open(directory: &Path) -> Fetched {
        Fetched::open(directory, directory, "run").await.unwrap()
    }

    #[tokio::test]
    async fn only_whole_files_are_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let fetched = open(path).await;
        for field in ["whole", "cut", "altered", "lost"] {
            fetched.add(&input(field, "picture"), field).await.unwrap();
        }
        assert_eq!(fetched.picture("whole").await, None, "what this run has fetched is not asked for");
        fs::write(path.join("cut"), "pict").unwrap();
        fs::write(path.join("altered"), "Picture").unwrap();
        fs::remove_file(path.join("lost")).unwrap();
        // As if the process had been killed while it wrote.
        fs::write(path.join("unrecorded"), "picture").unwrap();
        let record = path.join(RECORD);
        let text = fs::read_to_string(&record).unwrap();
        fs::write(&record, format!("{text}{{\"field\":\"unrec")).unwrap();

        let fetched = open(path).await;
        assert_eq!(fetched.picture("whole").await, Some(input("whole", "picture")));
        for field in ["cut", "altered", "lost", "unrecorded"] {
            assert_eq!(fetched.picture(field).await, None, "{field}");
        }
        fetched.add(&input("cut", "picture"), "cut").await.unwrap();
        let fetched = open(path).await;
        assert_eq!(fetched.picture("cut").await, Some(input("cut", "picture")));
        fetched.close().await.unwrap();
        assert!(!record.exists() && !path.join(UNFINISHED).exists() && path.join("cut").exists());
    }
}
