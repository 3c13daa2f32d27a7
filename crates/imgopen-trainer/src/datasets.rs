//! Data sets as directories: which are unfinished, which have expired.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::fetched;
use crate::plan::{DATASETS, OUTPUT};

/// The extension of a data set that is not complete.
const PARTIAL: &str = "part";

/// The end of the name of a data set that is being removed. A process that was killed leaves it among the incomplete ones.
const ASIDE: &str = ".aside.part";

/// The directory that a run fetches into. It is renamed once it is complete, so that no other run, not even one of a process
/// that is presumed dead, writes into the same one.
pub(crate) fn partial(data_dir: &Path, task: &str, run: &str) -> PathBuf {
    data_dir.join(DATASETS).join(format!("{task}.{run}.{PARTIAL}"))
}

/// The directory in which what an interrupted run has fetched waits for the next run of its task.
pub(crate) fn kept(data_dir: &Path, task: &str) -> PathBuf {
    data_dir.join(DATASETS).join(format!("{task}.{PARTIAL}"))
}

/// Keeps what a run has fetched for the next run of its task. By a rename, so that threads of the run that are still at work
/// write nothing more into it.
pub(crate) fn keep(data_dir: &Path, task: &str, run: &str) -> io::Result<()> {
    let (partial, kept) = (partial(data_dir, task, run), kept(data_dir, task));
    if !partial.try_exists()? {
        return Ok(());
    }
    // Such as that of a run that another process has lost.
    unless_missing(std::fs::remove_dir_all(&kept))?;
    unless_missing(std::fs::rename(partial, kept))
}

/// Gives a run what an earlier one of its task has fetched, if there is anything.
pub(crate) fn take_over(data_dir: &Path, task: &str, run: &str) -> io::Result<()> {
    unless_missing(std::fs::rename(kept(data_dir, task), partial(data_dir, task, run)))
}

/// Keeps what runs of a task have fetched that ended with their process, for its next run: of several data sets the one with
/// the longest record. No run of the task may be in progress.
pub(crate) fn keep_most(data_dir: &Path, task: &str) -> io::Result<()> {
    let kept = kept(data_dir, task);
    let mut partials = directories(data_dir)?;
    partials.retain(|directory| of_partial(directory).is_some_and(|(of, _)| of == task));
    // Between equal ones, that which is kept already.
    let rank = |directory: &PathBuf| (!is_aside(directory), fetched::recorded(directory), *directory == kept);
    partials.sort_by_key(rank);
    let most = partials.pop_if(|directory| !is_aside(directory));
    for other in partials {
        unless_missing(std::fs::remove_dir_all(other))?;
    }
    match most {
        Some(most) if most != kept => unless_missing(std::fs::rename(most, kept)),
        _ => Ok(()),
    }
}

fn unless_missing(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Returns the tasks whose data sets are not complete.
pub(crate) fn unfinished(data_dir: &Path) -> io::Result<BTreeSet<String>> {
    let tasks =
        directories(data_dir)?.iter().filter_map(|directory| Some(of_partial(directory)?.0.to_owned())).collect();
    Ok(tasks)
}

/// Removes the incomplete data sets of a task; returns how many.
pub(crate) fn remove_partials(data_dir: &Path, task: &str) -> io::Result<usize> {
    remove_where(data_dir, |directory| Ok(of_partial(directory).is_some_and(|(of, _)| of == task)))
}

/// Returns the task of an incomplete data set, and the run that fetches into it, if there is one.
fn of_partial(directory: &Path) -> Option<(&str, Option<&str>)> {
    let name = directory.file_name()?.to_str()?.strip_suffix(PARTIAL)?.strip_suffix('.')?;
    Some(name.split_once('.').map_or((name, None), |(task, run)| (task, Some(run))))
}

/// Removes the data sets in which nothing has changed for a lifetime, but those of tasks that use them; returns how many. A data
/// set with something in its output directory is kept, because the service did not make that, or it is not whole.
pub(crate) fn remove_expired(data_dir: &Path, lifetime: Duration, in_use: &BTreeSet<String>) -> io::Result<usize> {
    remove_where(data_dir, |directory| {
        // An earlier removal was cut short.
        if is_aside(directory) {
            return Ok(true);
        }
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        if in_use.contains(&*name) {
            return Ok(false);
        }
        let is_in_progress = of_partial(directory).is_some_and(|(_, run)| run.is_some());
        if is_in_progress || has_output(directory)? {
            return Ok(false);
        }
        // A training in progress writes somewhere below the directory.
        Ok(last_change(directory)?.elapsed().is_ok_and(|age| age >= lifetime))
    })
}

fn is_aside(directory: &Path) -> bool {
    directory.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ASIDE))
}

/// Renames a data set that is to be removed, so that no run takes it over while it is emptied. That of a run keeps its name,
/// because no other run takes it over.
fn set_aside(directory: &Path) -> io::Result<PathBuf> {
    let name = match of_partial(directory) {
        Some((_, Some(_))) => return Ok(directory.to_owned()),
        Some((task, None)) => task.to_owned(),
        None => directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let aside = directory.with_file_name(name + ASIDE);
    unless_missing(std::fs::remove_dir_all(&aside))?;
    std::fs::rename(directory, &aside)?;
    Ok(aside)
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

fn directories(data_dir: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(data_dir.join(DATASETS)) {
        Ok(directories) => directories.map(|directory| Ok(directory?.path())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Removes the data sets that fulfil a condition. A failure does not affect the others; the first one is returned.
fn remove_where(data_dir: &Path, condition: impl Fn(&Path) -> io::Result<bool>) -> io::Result<usize> {
    let (mut removed, mut outcome) = (0, Ok(()));
    for directory in directories(data_dir)? {
        let was_removed = condition(&directory).and_then(|is_to_go| {
            if is_to_go {
                std::fs::remove_dir_all(set_aside(&directory)?)?;
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

    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn names_of_incomplete_data_sets_are_read_back(task in "[A-Za-z0-9_-]{1,20}", run in "[0-9a-f]{1,32}") {
            let data = Path::new("data");
            let (of_run, waits) = (partial(data, &task, &run), kept(data, &task));
            let aside = data.join(DATASETS).join(format!("{task}{ASIDE}"));
            prop_assert_eq!(of_partial(&of_run), Some((task.as_str(), Some(run.as_str()))));
            prop_assert_eq!(of_partial(&waits), Some((task.as_str(), None)));
            // It is removed with the others of its task, and no run waits for it.
            prop_assert_eq!(of_partial(&aside), Some((task.as_str(), Some("aside"))));
            prop_assert!(is_aside(&aside) && !is_aside(&of_run) && !is_aside(&waits));
            let complete = data.join(DATASETS).join(&task);
            prop_assert_eq!(of_partial(&complete), None);
        }
    }

    #[test]
    fn only_data_sets_that_were_never_used_expire() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(remove_expired(data.path(), MONTH, &BTreeSet::new()).unwrap(), 0);
        old(data.path(), "unused");
        let trained = old(data.path(), "trained");
        fs::write(trained.join("output/lora.safetensors"), "weights").unwrap();
        let in_progress = old(data.path(), "in-progress");
        fs::create_dir(in_progress.join("logs/run")).unwrap();
        fs::write(in_progress.join("logs/run/events"), "step 1").unwrap();
        for changed in [trained.join("output/lora.safetensors"), trained.join("output"), in_progress.join("logs")] {
            age(&changed);
        }
        assert_eq!(remove_expired(data.path(), MONTH, &BTreeSet::new()).unwrap(), 1);
        assert!(trained.exists() && in_progress.exists() && !data.path().join(DATASETS).join("unused").exists());
        assert_eq!(remove_expired(data.path(), 3 * MONTH, &BTreeSet::new()).unwrap(), 0);
        age(&in_progress.join("logs/run/events"));
        age(&in_progress.join("logs/run"));
        let in_use = BTreeSet::from(["in-progress".to_owned()]);
        assert_eq!(remove_expired(data.path(), MONTH, &in_use).unwrap(), 0);
        assert_eq!(remove_expired(data.path(), MONTH, &BTreeSet::new()).unwrap(), 1);
        assert!(trained.exists());
    }

    /// A file in the place of a directory cannot be removed as one, not even by root.
    #[test]
    fn what_cannot_be_removed_does_not_keep_the_others() {
        let data = tempfile::tempdir().unwrap();
        let data_sets = data.path().join(DATASETS);
        for directory in ["a.1.part", "a.3.part", "a.part"] {
            fs::create_dir_all(data_sets.join(directory)).unwrap();
        }
        fs::write(data_sets.join("a.2.part"), "not a directory").unwrap();
        let error = remove_partials(data.path(), "a").unwrap_err().to_string();
        assert!(error.contains("a.2.part") && error.contains("cannot be removed"), "{error}");
        let names: Vec<_> = fs::read_dir(&data_sets).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["a.2.part"]);
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
    fn only_the_partial_data_sets_of_the_task_are_removed() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path();
        let complete = path.join(DATASETS).join("img1");
        for directory in [&partial(path, "img1", "0a1b"), &kept(path, "img1"), &kept(path, "img2"), &complete] {
            fs::create_dir_all(directory).unwrap();
        }
        assert_eq!(unfinished(path).unwrap(), ["img1", "img2"].map(str::to_owned).into());
        assert_eq!(remove_partials(path, "img1").unwrap(), 2);
        assert_eq!(unfinished(path).unwrap(), ["img2"].map(str::to_owned).into());
        assert!(complete.exists());
    }

    #[test]
    fn what_a_run_has_fetched_goes_to_the_next_run() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path();
        keep(path, "img1", "first").unwrap();
        take_over(path, "img1", "first").unwrap();
        assert!(!path.join(DATASETS).exists());
        for (run, next) in [("first", "second"), ("second", "third")] {
            fs::create_dir_all(partial(path, "img1", run)).unwrap();
            fs::write(partial(path, "img1", run).join(run), "fetched").unwrap();
            // An older one is replaced.
            fs::create_dir_all(kept(path, "img1").join("older")).unwrap();
            keep(path, "img1", run).unwrap();
            assert!(!partial(path, "img1", run).exists() && !kept(path, "img1").join("older").exists());
            take_over(path, "img1", next).unwrap();
            assert!(!kept(path, "img1").exists() && partial(path, "img1", next).join(run).exists());
        }
        assert!(partial(path, "img1", "third").join("first").exists());
    }

    /// Makes a data set with a record of that many pictures.
    fn partial_with(directory: &Path, pictures: usize) {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join(fetched::RECORD), "{}\n".repeat(pictures)).unwrap();
        fs::write(directory.join("pictures"), pictures.to_string()).unwrap();
    }

    #[test]
    fn the_most_that_was_fetched_is_kept() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path();
        keep_most(path, "img1").unwrap();
        let other = partial(path, "img2", "0a1b");
        // The pictures of the data set that is kept, and of those of runs.
        for (waits, of_runs) in [
            (None, vec![3]),
            (None, vec![2, 5, 4]),
            (Some(7), vec![]),
            (Some(1), vec![2]),
            (Some(2), vec![1]),
            (Some(0), vec![0]),
        ] {
            partial_with(&other, 1);
            waits.iter().for_each(|pictures| partial_with(&kept(path, "img1"), *pictures));
            for (run, pictures) in of_runs.iter().enumerate() {
                partial_with(&partial(path, "img1", &format!("run{run}")), *pictures);
            }
            // A removal that was cut short is not what was fetched.
            partial_with(&path.join(DATASETS).join(format!("img1{ASIDE}")), 9);
            keep_most(path, "img1").unwrap();
            let most = of_runs.iter().chain(&waits).max().unwrap();
            let found = fs::read_to_string(kept(path, "img1").join("pictures")).unwrap();
            assert_eq!(found, most.to_string(), "{waits:?} {of_runs:?}");
            let left = directories(path).unwrap();
            assert_eq!((left.len(), other.exists()), (2, true), "{left:?}");
            fs::remove_dir_all(kept(path, "img1")).unwrap();
        }
    }

    /// A file in the place of a directory cannot be removed as one, as if the removal went on for long.
    #[test]
    fn what_is_being_removed_is_not_taken_over() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path();
        fs::create_dir_all(path.join(DATASETS)).unwrap();
        fs::write(kept(path, "img1"), "fetched").unwrap();
        let aside = path.join(DATASETS).join(format!("img1{ASIDE}"));
        for _ in 0..2 {
            assert!(remove_where(path, |_| Ok(true)).is_err());
            take_over(path, "img1", "next").unwrap();
            assert!(!partial(path, "img1", "next").exists() && aside.exists());
        }
        // The next pass goes on, and so does a start after the task has ended.
        fs::remove_file(&aside).unwrap();
        fs::create_dir(&aside).unwrap();
        assert_eq!(unfinished(path).unwrap(), ["img1"].map(str::to_owned).into());
        assert_eq!(remove_expired(path, MONTH, &BTreeSet::new()).unwrap(), 1);
        assert!(!aside.exists());
    }

    #[test]
    fn what_waits_for_a_run_expires_but_not_what_a_run_fetches_into() {
        let data = tempfile::tempdir().unwrap();
        let (waits, in_progress) = (old(data.path(), "img1.part"), old(data.path(), "img1.0a1b.part"));
        assert_eq!(remove_expired(data.path(), MONTH, &BTreeSet::new()).unwrap(), 1);
        assert!(!waits.exists() && in_progress.exists());
    }
}
