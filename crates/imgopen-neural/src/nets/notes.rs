//! What became of trials of the operator's own nets, noted in the models directory: each is tried once, and one that has failed is
//! not run again at the next start. Without a directory that can be written, they are tried at each start.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tracing::debug;

/// The file, which is hidden.
const FILE: &str = ".imgopen-nets.json";

/// The most bytes of the file, and the most notes in it.
const MOST: u64 = 1024 * 1024;
const MOST_NOTES: usize = 512;

/// The number of what a trial finds out. Notes of trials that found out less do not count.
const TRIAL: u32 = 2;

/// The notes of a models directory. They are read each time, because another process may have written them.
#[derive(Debug)]
pub(super) struct Notes {
    directory: PathBuf,
    /// By what nets are tried: another version, another runtime or the same one on something else may run what this one does not.
    /// Notes by others stay for their return.
    by: String,
}

impl Notes {
    /// Finds the notes of a [`variant`](imgopen_nets::runtime::Runtime::variant) of a runtime.
    pub fn new(directory: &Path, runtime: &str) -> Self {
        let by = format!("imgopen {}, trial {TRIAL}, with {runtime}", env!("CARGO_PKG_VERSION"));
        Self { directory: directory.to_owned(), by }
    }

    /// Returns what became of the net with that SHA-256: nothing bad, or a problem. A problem counts only while its file has the
    /// same time, so that touching the file has it tried again. `None` if it has not been tried.
    pub fn find(&self, sha256: &str, modified: Option<SystemTime>) -> Option<Result<(), String>> {
        let note = self.read().into_iter().find(|note| self.is_of(note, sha256))?;
        match note["problem"].as_str() {
            None => Some(Ok(())),
            Some(problem) => (note["modified"] == moment(modified)).then(|| Err(problem.to_owned())),
        }
    }

    /// Notes what became of a net.
    pub fn keep(&self, sha256: &str, modified: Option<SystemTime>, problem: Option<&str>) {
        let mut notes = self.read();
        notes.retain(|note| !self.is_of(note, sha256));
        notes.drain(..notes.len().saturating_sub(MOST_NOTES - 1));
        notes.push(json!({ "by": self.by, "sha256": sha256, "modified": moment(modified), "problem": problem }));
        if let Err(error) = self.write(&Value::from(notes)) {
            debug!(%error, directory = %self.directory.display(), "what became of a net cannot be noted");
        }
    }

    fn is_of(&self, note: &Value, sha256: &str) -> bool {
        note["by"] == self.by.as_str() && note["sha256"] == sha256
    }

    /// Returns all notes; none if there are none that can be read.
    fn read(&self) -> Vec<Value> {
        let read = || -> io::Result<Vec<Value>> {
            let mut bytes = Vec::new();
            File::open(self.directory.join(FILE))?.take(MOST).read_to_end(&mut bytes)?;
            Ok(serde_json::from_slice(&bytes)?)
        };
        read().unwrap_or_default()
    }

    fn write(&self, notes: &Value) -> io::Result<()> {
        let part = self.directory.join(format!("{FILE}.{}.part", std::process::id()));
        let written = fs::write(&part, notes.to_string()).and_then(|()| fs::rename(&part, self.directory.join(FILE)));
        if written.is_err() {
            // It may not be there.
            let _ = fs::remove_file(&part);
        }
        written
    }
}

/// Returns milliseconds since 1970, for comparison alone.
fn moment(time: Option<SystemTime>) -> Value {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    json!(since.and_then(|since| u64::try_from(since.as_millis()).ok()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_failure_counts_until_its_file_or_what_tries_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let notes = |runtime| Notes::new(directory.path(), runtime);
        let time = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(notes("rten").find("A", time(1)), None);
        notes("rten").keep("A", time(1), Some("it fails"));
        notes("rten").keep("B", time(1), None);
        assert_eq!(notes("rten").find("A", time(1)), Some(Err("it fails".to_owned())));
        assert_eq!((notes("rten").find("A", time(2)), notes("rten").find("A", None)), (None, None));
        assert_eq!(notes("another").find("A", time(1)), None);
        // What has worked works wherever it is.
        assert_eq!((notes("rten").find("B", time(2)), notes("rten").find("C", time(1))), (Some(Ok(())), None));
        notes("rten").keep("A", time(2), None);
        assert_eq!(notes("rten").find("A", time(1)), Some(Ok(())));
        assert_eq!(notes("rten").read().len(), 2);
        let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [FILE]);
    }

    #[test]
    fn notes_that_cannot_be_read_or_written_are_none() {
        let directory = tempfile::tempdir().unwrap();
        let notes = Notes::new(directory.path(), "rten");
        for text in ["", "{}", "[1, null, {\"by\": 7}]", "[{\"sha256\": "] {
            fs::write(directory.path().join(FILE), text).unwrap();
            assert_eq!(notes.find("A", None), None, "{text}");
        }
        (0..MOST_NOTES + 9).for_each(|number| notes.keep(&number.to_string(), None, None));
        assert_eq!(
            (notes.read().len(), notes.find("8", None), notes.find("9", None)),
            (MOST_NOTES, None, Some(Ok(())))
        );
        // As an earlier version wrote them.
        let by = format!("imgopen {} with rten", env!("CARGO_PKG_VERSION"));
        let earlier = json!([{ "by": by, "sha256": "A", "modified": null, "problem": "it fails" }]);
        fs::write(directory.path().join(FILE), earlier.to_string()).unwrap();
        assert_eq!(notes.find("A", None), None);
        notes.keep("A", None, None);
        assert_eq!((notes.find("A", None), notes.read().len()), (Some(Ok(())), 2));
        let nowhere = Notes::new(&directory.path().join("nowhere"), "rten");
        nowhere.keep("A", None, None);
        assert_eq!(nowhere.find("A", None), None);
    }
}
