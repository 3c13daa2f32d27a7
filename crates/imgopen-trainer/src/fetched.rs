//! The record of what was fetched, so that the next run of a training goes on where an interrupted one ended.
//!
//! A picture counts as fetched only if its file has the size and the hash of the record. One that was half written when the
//! run was interrupted, or whose bytes the disk lost in a crash of the machine, is fetched again.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use imgopen_engine::{EngineError, Input};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use crate::files::{failed, remove};

/// The record: a line of JSON for each picture. A run that is interrupted may leave its last line incomplete.
pub(crate) const RECORD: &str = "fetched.jsonl";

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
    /// Read from the file as it was fetched.
    #[serde(default)]
    caption: Option<String>,
    /// Whether it was written as the trainer reads it and its caption was read. Earlier versions did neither and did not say so.
    #[serde(default)]
    prepared: bool,
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
    /// The files that were there before, by their names without the extension.
    earlier: HashMap<String, Vec<PathBuf>>,
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
        let listed = pictures.clone();
        let earlier = on_thread(&pictures, move || by_stem(&listed)).await?;
        Ok(Self { directory, pictures, run: run.to_owned(), entries, earlier })
    }

    /// Returns the picture of a field and its caption, if an earlier run has fetched and prepared it and its file is whole.
    pub(crate) async fn picture(&self, field: &str) -> Option<(Input, Option<String>)> {
        let entry = self.entries.get(field).filter(|entry| entry.prepared)?.clone();
        let file = self.pictures.join(&entry.file);
        let whole = spawn_blocking(move || {
            let bytes = fs::read(file).ok()?;
            let is_whole = bytes.len() as u64 == entry.bytes && hash(&bytes) == entry.sha256;
            is_whole.then(|| (Input { field: entry.field, url: entry.url, bytes: bytes.into() }, entry.caption))
        });
        whole.await.ok().flatten()
    }

    /// Returns the name of the file of a field that an earlier run has fetched.
    pub(crate) fn name(&self, field: &str) -> Option<&str> {
        self.entries.get(field).map(|entry| entry.file.as_str())
    }

    /// Writes a picture under this name, and records it with its caption. Removes what earlier runs have left of it before, so
    /// that neither a file of another format nor another caption stays beside it.
    pub(crate) async fn add(&self, input: &Input, name: &str, caption: Option<&str>) -> Result<(), EngineError> {
        let Input { field, url, bytes } = input.clone();
        let unfinished = self.directory.join(UNFINISHED).join(format!("{}-{name}", self.run));
        let (file, record, name) = (self.pictures.join(name), self.directory.join(RECORD), name.to_owned());
        let stem = Path::new(&name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let earlier = self.earlier.get(&stem).cloned().unwrap_or_default();
        let (shown, caption) = (file.clone(), caption.map(str::to_owned));
        on_thread(&shown, move || {
            earlier.iter().try_for_each(|earlier| remove_file(earlier))?;
            // Nothing here makes a directory, so that a thread of an interrupted run fails once its directory is renamed.
            fs::write(&unfinished, &bytes)?;
            fs::rename(unfinished, file)?;
            let (size, sha256) = (bytes.len() as u64, hash(&bytes));
            let entry = Entry { field, url, file: name, bytes: size, sha256, caption, prepared: true };
            // The line before may be incomplete.
            let line = format!("\n{}\n", serde_json::to_string(&entry)?);
            OpenOptions::new().create(true).append(true).open(record)?.write_all(line.as_bytes())
        })
        .await
    }

    /// Removes the record once the data set is complete, and all but these files from its pictures: the trainer reads whatever
    /// is there.
    pub(crate) async fn close(self, names: BTreeSet<String>) -> Result<(), EngineError> {
        remove(&self.directory.join(UNFINISHED)).await?;
        let (pictures, record) = (self.pictures.clone(), self.directory.join(RECORD));
        on_thread(&self.pictures, move || {
            remove_others(&pictures, &names)?;
            remove_file(&record)
        })
        .await
    }
}

/// Returns how much a data set's record holds.
pub(crate) fn recorded(directory: &Path) -> u64 {
    fs::metadata(directory.join(RECORD)).map_or(0, |record| record.len())
}

/// Runs work on a file of the data set on a thread where it may block.
async fn on_thread<T: Send + 'static>(
    shown: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, EngineError> {
    let done = spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| failed(shown, &error))
}

fn by_stem(directory: &Path) -> io::Result<HashMap<String, Vec<PathBuf>>> {
    let mut by_stem: HashMap<String, Vec<PathBuf>> = HashMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        by_stem.entry(stem).or_default().push(path);
    }
    Ok(by_stem)
}

fn remove_others(directory: &Path, names: &BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| names.contains(name)) {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => remove_file(&entry.path())?,
        }
    }
    Ok(())
}

/// Removes a file. If it does not exist, does nothing.
fn remove_file(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
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
            fetched.add(&input(field, "picture"), field, Some("a cat")).await.unwrap();
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
        let caption = Some("a cat".to_owned());
        assert_eq!(fetched.picture("whole").await, Some((input("whole", "picture"), caption)));
        for field in ["cut", "altered", "lost", "unrecorded"] {
            assert_eq!(fetched.picture(field).await, None, "{field}");
        }
        fetched.add(&input("cut", "picture"), "cut", None).await.unwrap();
        let fetched = open(path).await;
        assert_eq!(fetched.picture("cut").await, Some((input("cut", "picture"), None)));
        fetched.close(["cut".to_owned()].into()).await.unwrap();
        assert!(!record.exists() && !path.join(UNFINISHED).exists() && path.join("cut").exists());
    }

    #[tokio::test]
    async fn what_an_earlier_version_has_fetched_is_fetched_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("0001.png"), "picture").unwrap();
        let sha256 = hash(b"picture");
        let line = format!(
            r#"{{"field":"first","url":"https://example.com/first","file":"0001.png","bytes":7,"sha256":"{sha256}"}}"#
        );
        fs::write(path.join(RECORD), format!("\n{line}\n")).unwrap();
        let fetched = open(path).await;
        assert_eq!(fetched.picture("first").await, None);
        fetched.add(&input("first", "picture"), "0001.png", Some("a cat")).await.unwrap();
        let caption = Some("a cat".to_owned());
        assert_eq!(open(path).await.picture("first").await, Some((input("first", "picture"), caption)));
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn nothing_stays_beside_a_picture_that_replaces_another() {
        let directory = tempfile::tempdir().unwrap();
        let (path, pictures) = (directory.path(), directory.path().join("img"));
        fs::create_dir(&pictures).unwrap();
        // What a run was writing when it was cut short is not recorded, and the source may have changed since.
        for name in ["0001.jpg", "0001.txt", "0002.webp", "0010.txt"] {
            fs::write(pictures.join(name), "earlier").unwrap();
        }
        let fetched = Fetched::open(path, &pictures, "run").await.unwrap();
        fetched.add(&input("first", "picture"), "0001.png", None).await.unwrap();
        assert_eq!(names(&pictures), ["0001.png", "0002.webp", "0010.txt"]);
        // What this run has written stays.
        fs::write(pictures.join("0002.txt"), "caption").unwrap();
        fetched.add(&input("second", "picture"), "0002.png", None).await.unwrap();
        assert_eq!(names(&pictures), ["0001.png", "0002.png", "0002.txt", "0010.txt"]);
        assert_eq!(Fetched::open(path, &pictures, "next").await.unwrap().name("second"), Some("0002.png"));
        fs::create_dir(pictures.join("stray")).unwrap();
        fetched.close(["0001.png", "0002.png", "0002.txt"].map(str::to_owned).into()).await.unwrap();
        assert_eq!(names(&pictures), ["0001.png", "0002.png", "0002.txt"]);
        assert_eq!(names(path), ["img"]);
    }
}
