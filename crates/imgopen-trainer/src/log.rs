//! The log of a training: what the trainer prints, in a file of bounded size in the directory of the training.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

/// The name of the file.
pub(crate) const LOG: &str = "trainer.log";

/// The size in bytes at which the file is put aside as the earlier one, of which there is one.
const LARGEST: u64 = 1 << 20;

/// How many lines may wait for the disk. Beyond it, they are left out, so that a slow disk does not hold up the trainer.
const WAITING: usize = 4096;

/// Where lines are sent. Clones write the same file.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    lines: mpsc::Sender<String>,
}

impl Log {
    /// Begins a log in a directory. It is written by a thread of its own until the last clone is dropped.
    pub(crate) fn start(directory: &Path) -> Self {
        let (lines, mut taken) = mpsc::channel::<String>(WAITING);
        let path = directory.join(LOG);
        tokio::task::spawn_blocking(move || {
            let mut file = Rotating::open(path);
            while let Some(line) = taken.blocking_recv() {
                let written = file.as_mut().map_err(|error| io::Error::new(error.kind(), error.to_string()));
                if let Err(error) = written.and_then(|file| file.line(&line)) {
                    tracing::warn!(%error, "the log of a training cannot be written");
                    return;
                }
            }
        });
        Self { lines }
    }

    /// Writes a line, unless too many wait or the file cannot be written.
    pub(crate) fn line(&self, line: &str) {
        let _ = self.lines.try_send(line.to_owned());
    }
}

/// A file that begins again once it is large.
struct Rotating {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Rotating {
    fn open(path: PathBuf) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        Ok(Self { file: File::create(&path)?, path, bytes: 0 })
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        if self.bytes >= LARGEST {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            self.file = File::create(&self.path)?;
            self.bytes = 0;
        }
        let line = format!("{line}\n");
        self.bytes += line.len() as u64;
        self.file.write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded_and_keeps_the_last_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs").join(LOG);
        let mut file = Rotating::open(path.clone()).unwrap();
        let line = "x".repeat(1023);
        for number in 0..5 * 1024 {
            file.line(if number == 5 * 1024 - 1 { "last" } else { &line }).unwrap();
        }
        let sizes = [path.clone(), path.with_extension("log.1")].map(|path| path.metadata().unwrap().len());
        assert!(sizes.iter().all(|size| *size <= LARGEST + 1024), "{sizes:?}");
        assert!(fs::read_to_string(path).unwrap().ends_with("\nlast\n"));
    }
}
