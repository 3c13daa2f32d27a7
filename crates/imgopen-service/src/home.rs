//! Whether the directory of the pictures is the one that the database knows, or the mount point of a disk that is away.
//!
//! A mark shows it: an empty directory, named after a number that the database has, too. A file would be counted among the
//! pictures by others, and could be half written. A directory that is taken without its mark gets a new number, so that no
//! other directory, such as that of a disk that comes back later, bears the same.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How the name of a mark begins. What follows is the number in 16 hexadecimal digits.
const PREFIX: &str = ".imgopen-";

/// How the name of an order to adopt a directory begins. What follows is the number that the database has.
const ADOPT: &str = ".imgopen-adopt-";

/// The directory of the pictures.
#[derive(Debug)]
pub(crate) struct Home {
    directory: PathBuf,
    /// The number of its mark, once that is known.
    number: Mutex<Option<i64>>,
}

/// The marks in a directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Their numbers.
    pub numbers: Vec<i64>,
    /// The numbers of the databases that are to adopt it. Each is valid once, because the number then changes.
    pub adopters: Vec<i64>,
}

impl Home {
    /// Looks at nothing yet.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), number: Mutex::default() }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the directory is surely the one that the database knows.
    pub fn is_here(&self) -> bool {
        let number = *self.lock();
        number.is_some_and(|number| self.directory.join(mark(number)).is_dir())
    }

    /// Lists the marks in the directory. `None` if it does not exist.
    pub fn marks(&self) -> io::Result<Option<Marks>> {
        marks(&self.directory)
    }

    /// The mark of that number is the one that the database knows.
    pub fn know(&self, number: i64) {
        *self.lock() = Some(number);
    }

    /// Marks the directory with a number. Makes it if it does not exist, but not its parent: a data directory that was deleted
    /// is not made again.
    pub fn mark(&self, number: i64) -> io::Result<()> {
        make(&self.directory)?;
        make(&self.directory.join(mark(number)))
    }

    /// Removes all marks but that one. What cannot be removed does no harm.
    pub fn keep_only(&self, number: i64) -> io::Result<()> {
        let Marks { numbers, adopters } = self.marks()?.unwrap_or_default();
        let others = numbers.into_iter().filter(|other| *other != number).map(mark);
        for name in others.chain(adopters.into_iter().map(adoption)) {
            drop(std::fs::remove_dir(self.directory.join(name)));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<i64>> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lists the marks in a directory. `None` if it does not exist.
pub(crate) fn marks(directory: &Path) -> io::Result<Option<Marks>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut marks = Marks::default();
    for entry in entries {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        marks.adopters.extend(number_after(ADOPT, name));
        marks.numbers.extend(number_after(PREFIX, name));
    }
    Ok(Some(marks))
}

/// Orders that the database with that number, 0 if it has none, adopts a directory when it is opened with it next.
pub(crate) fn adopt(directory: &Path, noted: Option<i64>) -> io::Result<()> {
    make(&directory.join(adoption(noted.unwrap_or_default())))
}

/// Returns the path that orders a database with that number to adopt a directory.
pub(crate) fn adoption_of(directory: &Path, noted: Option<i64>) -> PathBuf {
    directory.join(adoption(noted.unwrap_or_default()))
}

fn adoption(number: i64) -> String {
    format!("{ADOPT}{number:016x}")
}

fn mark(number: i64) -> String {
    format!("{PREFIX}{number:016x}")
}

fn number_after(prefix: &str, name: &str) -> Option<i64> {
    let digits = name.strip_prefix(prefix).filter(|digits| digits.len() == 16)?;
    i64::from_str_radix(digits, 16).ok()
}

fn make(directory: &Path) -> io::Result<()> {
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(numbers: &[i64]) -> Option<Marks> {
        Some(Marks { numbers: numbers.to_vec(), adopters: Vec::new() })
    }

    #[test]
    fn only_a_marked_directory_is_known() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("assets");
        let home = Home::new(&directory);
        assert_eq!(home.marks().unwrap(), None);
        home.mark(0x0123).unwrap();
        assert!(!home.is_here());
        home.know(0x0123);
        assert!(home.is_here() && directory.join(".imgopen-0000000000000123").is_dir());
        assert_eq!(home.marks().unwrap(), numbers(&[0x0123]));
        // An empty mount point.
        let away = parent.path().join("away");
        std::fs::rename(&directory, &away).unwrap();
        std::fs::create_dir(&directory).unwrap();
        assert!(!home.is_here());
        assert_eq!(home.marks().unwrap(), Some(Marks::default()));
        std::fs::remove_dir(&directory).unwrap();
        std::fs::rename(&away, &directory).unwrap();
        assert!(home.is_here());
        // A new number replaces all that was there before.
        adopt(&directory, Some(0x0123)).unwrap();
        adopt(&directory, None).unwrap();
        home.mark(7).unwrap();
        home.keep_only(7).unwrap();
        assert_eq!(home.marks().unwrap(), numbers(&[7]));
    }

    #[test]
    fn a_directory_is_made_but_not_its_parent() {
        let parent = tempfile::tempdir().unwrap();
        let data = parent.path().join("data");
        let home = Home::new(&data.join("assets"));
        assert!(home.mark(7).is_err() && !data.exists());
        std::fs::create_dir(&data).unwrap();
        home.mark(7).unwrap();
        home.mark(7).unwrap();
        std::fs::remove_dir_all(data.join("assets")).unwrap();
        std::fs::write(data.join("assets"), "in the way").unwrap();
        assert!(home.mark(7).is_err() && home.marks().is_err());
    }

    #[test]
    fn what_is_not_a_mark_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["0a", ".imgopen-", ".imgopen-12", ".imgopen-zzzzzzzzzzzzzzzz", ".imgopen-adopt", "lost+found"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        assert_eq!(marks(directory.path()).unwrap(), Some(Marks::default()));
        adopt(directory.path(), Some(0x1f)).unwrap();
        adopt(directory.path(), Some(0x1f)).unwrap();
        assert!(adoption_of(directory.path(), Some(0x1f)).ends_with(".imgopen-adopt-000000000000001f"));
        assert_eq!(marks(directory.path()).unwrap().unwrap().adopters, [0x1f]);
    }
}
