//! LoRAs that were trained here, each of which belongs to one access key.
//!
//! A small file beside the LoRA says whose it is, so that this goes with the models directory, not with the database: after a
//! restore of an older one, a LoRA is still its owner's. An operator who deletes that file shares the LoRA with all keys.
//!
//! A LoRA is complete and has its owner before it gets its name, and is removed before its owner is, so that it is no one
//! else's at any moment.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::TempPath;
use walkdir::WalkDir;

/// The extension of the file beside a LoRA that says whose it is.
const EXTENSION: &str = "imgopen";

/// The extension of a LoRA that was trained here.
const LORA: &str = "safetensors";

/// The names of directories of LoRAs, in lower case. The first is made if there is none.
const DIRECTORIES: [&str; 2] = ["lora", "loras"];

/// How the name of a LoRA that is being copied begins and ends, around its task.
const PARTIAL: (&str, &str) = (".imgopen-", ".part");

/// The largest file that says whose a LoRA is, in bytes.
const LONGEST: u64 = 4096;

/// Whose a LoRA is, and what has trained it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The id of the access key.
    pub key: String,
    /// The id of the task.
    pub task: String,
    /// The id of its run.
    pub run: String,
}

/// Why a LoRA was not put into the models directory.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is one of that name.
    #[error("there is a LoRA of that name already")]
    Taken,
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Returns the directory of LoRAs within a models directory: one that exists, or else `Lora`.
pub(super) fn directory(folder: &Path) -> PathBuf {
    let walk = WalkDir::new(folder).follow_links(true).min_depth(1).max_depth(2).sort_by_file_name();
    let is_for_loras = |name: &str| DIRECTORIES.iter().any(|known| name.eq_ignore_ascii_case(known));
    let found = walk
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_dir() && entry.file_name().to_str().is_some_and(is_for_loras));
    found.min_by_key(walkdir::DirEntry::depth).map_or_else(|| folder.join("Lora"), walkdir::DirEntry::into_path)
}

/// Returns the key that alone may see a LoRA. If what is said about its owner cannot be read, that is no one.
pub(super) fn key_of(lora: &Path) -> Option<String> {
    match read(&lora.with_extension(EXTENSION)) {
        Ok(owner) => owner.map(|owner| owner.key),
        Err(_) => Some(String::new()),
    }
}

/// Copies a LoRA into a directory under its name.
pub(super) fn publish(directory: &Path, file: &Path, name: &str, owner: &Owner) -> Result<PathBuf, PublishError> {
    let directory = std::path::absolute(directory)?;
    make(&directory)?;
    let target = directory.join(format!("{name}.{LORA}"));
    if target.symlink_metadata().is_ok() {
        return Err(PublishError::Taken);
    }
    let partial = directory.join(partial(&owner.task));
    // From here on, an error removes it.
    let partial = TempPath::try_from_path(partial)?;
    fs::copy(file, &partial)?;
    allow_as(&directory, &partial)?;
    File::open(&partial)?.sync_all()?;
    let owned = target.with_extension(EXTENSION);
    write(&owned, owner)?;
    match partial.persist_noclobber(&target) {
        Ok(()) => {}
        Err(error) => {
            fs::remove_file(owned)?;
            return Err(match error.error {
                error if error.kind() == ErrorKind::AlreadyExists => PublishError::Taken,
                error => error.into(),
            });
        }
    }
    sync_directory(&directory)?;
    Ok(target)
}

/// Makes a directory of LoRAs, unless it exists.
fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory)?;
    directory.parent().map_or(Ok(()), |parent| allow_as(parent, directory))
}

/// Lets those read what is in a directory who may read the directory: a back end may be another user's.
#[cfg(unix)]
fn allow_as(directory: &Path, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = directory.metadata()?.permissions().mode();
    let mode = if path.is_dir() { mode & 0o7777 } else { mode & 0o666 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn allow_as(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns the LoRA that a task has put into a directory. From now on it is that of another run of the task.
pub(super) fn adopt(directory: &Path, owner: &Owner) -> io::Result<Option<PathBuf>> {
    for (lora, found) in all(directory)? {
        if found.task == owner.task && lora.is_file() {
            write(&lora.with_extension(EXTENSION), owner)?;
            return Ok(Some(lora));
        }
    }
    Ok(None)
}

/// Removes what a task, or one run of it, has put into a directory.
pub(super) fn withdraw(directory: &Path, task: &str, run: Option<&str>) -> io::Result<()> {
    unless_missing(fs::remove_file(directory.join(partial(task))))?;
    for (lora, owner) in all(directory)? {
        if owner.task == task && run.is_none_or(|run| owner.run == run) {
            unless_missing(fs::remove_file(&lora))?;
            unless_missing(fs::remove_file(lora.with_extension(EXTENSION)))?;
        }
    }
    Ok(())
}

/// Returns the tasks that have put something into a directory.
pub(super) fn publishers(directory: &Path) -> io::Result<BTreeSet<String>> {
    let owners = all(directory)?.into_iter().map(|(_, owner)| owner.task);
    let paths = paths(directory)?;
    let partials = paths.iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix(PARTIAL.0)?.strip_suffix(PARTIAL.1).map(str::to_owned)
    });
    Ok(owners.chain(partials).collect())
}

/// Lists the LoRAs in a directory that have owners. Their files may be gone.
fn all(directory: &Path) -> io::Result<Vec<(PathBuf, Owner)>> {
    let mut found = Vec::new();
    for path in paths(directory)? {
        if path.extension().is_some_and(|extension| extension == EXTENSION)
            && let Ok(Some(owner)) = read(&path)
        {
            found.push((path.with_extension(LORA), owner));
        }
    }
    Ok(found)
}

/// Lists what is in a directory, which need not exist.
fn paths(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn read(file: &Path) -> io::Result<Option<Owner>> {
    let length = match file.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        metadata => metadata?.len(),
    };
    if length > LONGEST {
        return Err(io::Error::new(ErrorKind::InvalidData, "it is too long"));
    }
    Ok(Some(serde_json::from_slice(&fs::read(file)?)?))
}

/// Writes the file of an owner: the whole of it or nothing.
fn write(file: &Path, owner: &Owner) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new().prefix(".imgopen-").tempfile_in(directory)?;
    new.write_all(&serde_json::to_vec(owner)?)?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(())
}

/// The name of a LoRA that is being copied. It is hidden, so that no program lists it.
fn partial(task: &str) -> String {
    format!("{}{task}{}", PARTIAL.0, PARTIAL.1)
}

fn unless_missing(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(key: &str, task: &str, run: &str) -> Owner {
        Owner { key: key.to_owned(), task: task.to_owned(), run: run.to_owned() }
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_nearest_directory_of_loras_is_taken() {
        for (there, expected) in [
            (&[][..], "Lora"),
            (&["models/loras", "other"], "models/loras"),
            (&["models/Lora", "loras"], "loras"),
            (&["LORA/loras"], "LORA"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            there.iter().for_each(|path| fs::create_dir_all(folder.path().join(path)).unwrap());
            assert_eq!(directory(folder.path()), folder.path().join(expected), "{there:?}");
        }
    }

    #[test]
    fn a_lora_is_published_whole_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let (file, loras) = (folder.path().join("trained"), folder.path().join("Lora"));
        fs::write(&file, "weights").unwrap();
        let (one, two) = (owner("a", "t1", "r1"), owner("b", "t2", "r1"));
        let published = publish(&loras, &file, "ink.v2", &one).unwrap();
        assert_eq!(names(&loras), ["ink.v2.imgopen", "ink.v2.safetensors"]);
        assert_eq!(
            (fs::read_to_string(&published).unwrap().as_str(), key_of(&published)),
            ("weights", Some("a".into()))
        );
        assert!(matches!(publish(&loras, &file, "ink.v2", &two), Err(PublishError::Taken)));
        assert_eq!(key_of(&published), Some("a".to_owned()));
        // One that an operator put there stays everyone's.
        fs::write(loras.join("open.safetensors"), "open").unwrap();
        assert!(matches!(publish(&loras, &file, "open", &two), Err(PublishError::Taken)));
        assert_eq!(key_of(&loras.join("open.safetensors")), None);
        // A name is free again once the file is deleted.
        fs::remove_file(&published).unwrap();
        publish(&loras, &file, "ink.v2", &two).unwrap();
        assert_eq!(key_of(&published), Some("b".to_owned()));
        // What cannot be copied leaves nothing.
        assert!(matches!(publish(&loras, &folder.path().join("missing"), "new", &one), Err(PublishError::Io(_))));
        assert_eq!(names(&loras), ["ink.v2.imgopen", "ink.v2.safetensors", "open.safetensors"]);
    }

    #[test]
    fn a_later_run_takes_over_what_its_task_has_published() {
        let folder = tempfile::tempdir().unwrap();
        let (file, loras) = (folder.path().join("trained"), folder.path().join("Lora"));
        fs::write(&file, "weights").unwrap();
        assert_eq!(adopt(&loras, &owner("a", "t1", "r2")).unwrap(), None);
        withdraw(&loras, "t1", None).unwrap();
        assert!(publishers(&loras).unwrap().is_empty());
        let published = publish(&loras, &file, "ink", &owner("a", "t1", "r1")).unwrap();
        assert_eq!(adopt(&loras, &owner("a", "t2", "r2")).unwrap(), None);
        fs::write(loras.join(partial("t3")), "wei").unwrap();
        assert_eq!(publishers(&loras).unwrap(), BTreeSet::from(["t1", "t3"].map(str::to_owned)));
        withdraw(&loras, "t3", None).unwrap();
        assert_eq!(adopt(&loras, &owner("a", "t1", "r2")).unwrap(), Some(published.clone()));
        // The run that put it there is over, and removes nothing of the later one.
        withdraw(&loras, "t1", Some("r1")).unwrap();
        withdraw(&loras, "t2", None).unwrap();
        assert!(published.exists());
        withdraw(&loras, "t1", Some("r2")).unwrap();
        assert_eq!(names(&loras), Vec::<String>::new());
        // So does what a process left that was killed while it copied.
        fs::write(loras.join(partial("t1")), "wei").unwrap();
        withdraw(&loras, "t1", None).unwrap();
        assert_eq!(names(&loras), Vec::<String>::new());
    }

    /// The trainer's files may be its own user's alone.
    #[cfg(unix)]
    #[test]
    fn a_lora_is_read_by_those_who_read_its_directory() {
        use std::os::unix::fs::PermissionsExt;
        for (mode, expected) in [(0o755, 0o644), (0o750, 0o640), (0o700, 0o600)] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("trained");
            fs::write(&file, "weights").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            let lora = publish(&folder.path().join("Lora"), &file, "ink", &owner("a", "t1", "r1")).unwrap();
            let found = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!((found(&lora), found(lora.parent().unwrap())), (expected, mode));
        }
    }

    #[test]
    fn a_lora_whose_owner_cannot_be_read_is_no_ones() {
        let folder = tempfile::tempdir().unwrap();
        let lora = folder.path().join("ink.safetensors");
        for damaged in ["", "{}", &"x".repeat(5000)] {
            fs::write(lora.with_extension(EXTENSION), damaged).unwrap();
            assert_eq!(key_of(&lora), Some(String::new()));
        }
    }
}
