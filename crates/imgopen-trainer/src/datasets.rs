//! Data sets as directories: which are unfinished, which have expired.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::plan::{DATASETS, OUTPUT};

/// The extension of a data set that is still being fetched.
const PARTIAL: &str = "part";

/// The directory that a run fetches into. It is renamed once it is complete, so that no other run, not even one of a process
/// that is presumed dead, writes into the same one.
pub(crate) fn partial(data_dir: &Path, task: &str, run: &str) -> PathBuf {
    data_dir.join(DATASETS).join(format!("{task}.{run}.{PARTIAL}"))
}

/// Removes what earlier processes left unfinished; returns how many. No other process may use the data directory.
pub(crate) fn remove_partials(data_dir: &Path) -> io::Result<usize> {
    remove_where(data_dir, |directory| Ok(is_partial(directory)))
}

fn is_partial(directory: &Path) -> bool {
    directory.extension().is_some_and(|extension| extension == PARTIAL)
}

/// Removes the data sets in which nothing has changed for a lifetime; returns how many. A data set with something in its
/// output directory is kept, because the service did not make that.
pub(crate) fn remove_expired(data_dir: &Path, lifetime: Duration) -> io::Result<usize> {
    remove_where(data_dir, |directory| {
        if is_partial(directory) || has_output(directory)? {
            return Ok(false);
        }
        // A training in progress writes somewhere below the directory.
        Ok(last_change(directory)?.elapsed().is_ok_and(|age| age >= lifetime))
    })
}

fn has_output(directory: &Path) -> io::Result<bool> {
    match std::fs::read_dir(directory.join(OUTPUT)) {
        Ok(mut files) => Ok(files.next().is_some()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The latest change of a path, or of anything below it.
fn last_change(path: &Path) -> io::Result<SystemTime> {
    let metadata = path.symlink_metadata()?;
    let mut latest = metadata.modified()?;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            latest = latest.max(last_change(&entry?.path())?);
        }
    }
    Ok(latest)
}

/// Removes the data sets that fulfil a condition. A failure does not affect the others; the first one is returned.
fn remove_where(data_dir: &Path, condition: impl Fn(&Path) -> io::Result<bool>) -> io::Result<usize> {
    let directories = match std::fs::read_dir(data_dir.join(DATASETS)) {
        Ok(directories) => directories,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let (mut removed, mut outcome) = (0, Ok(()));
    for directory in directories {
        let directory = directory?.path();
        let was_removed = condition(&directory).and_then(|is_to_go| {
            if is_to_go {
                std::fs::remove_dir_all(&directory)?;
            }
            Ok(is_to_go)
        });
        match was_removed {
            Ok(was_removed) => removed += usize::from(was_removed),
            // A run or an operator removed it, or something in it, meanwhile. What is left is looked at the next time.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let problem = format!("{} cannot be removed: {error}", directory.display());
                outcome = outcome.and(Err(io::Error::new(error.kind(), problem)));
            }
        }
    }
    outcome.map(|()| removed)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::plan::{IMAGES, LOGS};

    const MONTH: Duration = Duration::from_secs(30 * 86400);

    /// A data set from long ago.
    fn old(data_dir: &Path, name: &str) -> PathBuf {
        let directory = data_dir.join(DATASETS).join(name);
        for inner in [IMAGES, OUTPUT, LOGS] {
            fs::create_dir_all(directory.join(inner)).unwrap();
        }
        fs::write(directory.join(IMAGES).join("0001.png"), "picture").unwrap();
        for inner in ["img/0001.png", "img", "output", "logs", ""] {
            age(&directory.join(inner));
        }
        directory
    }

    fn age(path: &Path) {
        File::open(path).unwrap().set_modified(SystemTime::now() - 2 * MONTH).unwrap();
    }

    #[test]
    fn only_data_sets_that_were_never_used_expire() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(remove_expired(data.path(), MONTH).unwrap(), 0);
        old(data.path(), "unused");
        let trained = old(data.path(), "trained");
        fs::write(trained.join("output/lora.safetensors"), "weights").unwrap();
        let in_progress = old(data.path(), "in-progress");
        fs::create_dir(in_progress.join("logs/run")).unwrap();
        fs::write(in_progress.join("logs/run/events"), "step 1").unwrap();
        for changed in [trained.join("output/lora.safetensors"), trained.join("output"), in_progress.join("logs")] {
            age(&changed);
        }
        assert_eq!(remove_expired(data.path(), MONTH).unwrap(), 1);
        assert!(trained.exists() && in_progress.exists() && !data.path().join(DATASETS).join("unused").exists());
        assert_eq!(remove_expired(data.path(), 3 * MONTH).unwrap(), 0);
        age(&in_progress.join("logs/run/events"));
        age(&in_progress.join("logs/run"));
        assert_eq!(remove_expired(data.path(), MONTH).unwrap(), 1);
        assert!(trained.exists());
    }

    /// A file in the place of a directory cannot be removed as one, not even by root.
    #[test]
    fn what_cannot_be_removed_does_not_keep_the_others() {
        let data = tempfile::tempdir().unwrap();
        let data_sets = data.path().join(DATASETS);
        for directory in ["a.part", "b.part", "z.part"] {
            fs::create_dir_all(data_sets.join(directory)).unwrap();
        }
        fs::write(data_sets.join("m.part"), "not a directory").unwrap();
        let error = remove_partials(data.path()).unwrap_err().to_string();
        assert!(error.contains("m.part") && error.contains("cannot be removed"), "{error}");
        let names: Vec<_> = fs::read_dir(&data_sets).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["m.part"]);
    }

    #[test]
    fn what_vanishes_meanwhile_does_not_stop_the_rest() {
        let data = tempfile::tempdir().unwrap();
        for name in ["1", "2", "3"] {
            old(data.path(), name);
        }
        // Whichever comes first is gone when it is looked at.
        let is_first = std::cell::Cell::new(true);
        let removed = remove_where(data.path(), |directory| {
            if is_first.replace(false) {
                fs::remove_dir_all(directory).unwrap();
            }
            Ok(last_change(directory)?.elapsed().is_ok_and(|age| age >= MONTH))
        });
        assert_eq!(removed.unwrap(), 2);
        assert_eq!(fs::read_dir(data.path().join(DATASETS)).unwrap().count(), 0);
    }

    #[test]
    fn only_partial_data_sets_are_removed() {
        let data = tempfile::tempdir().unwrap();
        let named = partial(data.path(), "img1", "0a1b");
        for directory in
            [&named, &data.path().join(DATASETS).join("img1.part"), &data.path().join(DATASETS).join("img2")]
        {
            fs::create_dir_all(directory).unwrap();
        }
        assert_eq!(remove_partials(data.path()).unwrap(), 2);
        assert!(!named.exists() && data.path().join(DATASETS).join("img2").exists());
    }
}
