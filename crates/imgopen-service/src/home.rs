//! Whether the directory of the pictures is the one that the database knows, or the empty mount point of a disk that is away.
//!
//! A mark shows it: an empty directory, named after a number that the database has, too. A file would be counted among the
//! pictures by others, and could be half written.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// How the name of a mark begins. What follows is the number in 16 hexadecimal digits.
const PREFIX: &str = ".imgopen-";

/// The mark of a directory that belongs to whichever database is opened with it next.
pub(crate) const ADOPT: &str = ".imgopen-adopt";

/// The directory of the pictures.
#[derive(Debug)]
pub(crate) struct Home {
    directory: PathBuf,
    /// The number of its mark, once that is known.
    number: OnceLock<i64>,
}

/// The marks in a directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Their numbers.
    pub numbers: Vec<i64>,
    /// Whether it is to be adopted.
    pub is_adopted: bool,
}

impl Home {
    /// Creates the directory if it does not exist.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let is_new = !directory.try_exists()?;
        std::fs::create_dir_all(directory)?;
        if is_new {
            adopt(directory)?;
        }
        Ok(Self { directory: directory.to_owned(), number: OnceLock::new() })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the directory is surely the one that the database knows.
    pub fn is_here(&self) -> bool {
        self.number.get().is_some_and(|number| self.directory.join(mark(*number)).is_dir())
    }

    /// The same, but a directory that was deleted is made again: where a disk is away, its mount point is left. A data
    /// directory that was deleted is not made again.
    pub fn is_here_or_made(&self) -> io::Result<bool> {
        if self.is_here() {
            return Ok(true);
        }
        match (std::fs::create_dir(&self.directory), self.number.get()) {
            (Ok(()), Some(number)) => self.settle(*number).map(|()| true),
            (Ok(()), None) => adopt(&self.directory).map(|()| false),
            (Err(error), _) if error.kind() == ErrorKind::AlreadyExists && self.directory.is_dir() => Ok(false),
            (Err(error), _) => Err(error),
        }
    }

    /// Lists the marks in the directory.
    pub fn marks(&self) -> io::Result<Marks> {
        let mut marks = Marks::default();
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            marks.is_adopted |= name == ADOPT;
            let digits = name.strip_prefix(PREFIX).filter(|digits| digits.len() == 16);
            marks.numbers.extend(digits.and_then(|digits| i64::from_str_radix(digits, 16).ok()));
        }
        Ok(marks)
    }

    /// Marks the directory as the one of that number.
    pub fn settle(&self, number: i64) -> io::Result<()> {
        make(&self.directory.join(mark(number)))?;
        // A process that also marks it may have been faster.
        drop(std::fs::remove_dir(self.directory.join(ADOPT)));
        self.number.get_or_init(|| number);
        Ok(())
    }
}

/// Marks a directory as one that belongs to whichever database is opened with it next.
pub(crate) fn adopt(directory: &Path) -> io::Result<()> {
    make(&directory.join(ADOPT))
}

fn mark(number: i64) -> String {
    format!("{PREFIX}{number:016x}")
}

fn make(directory: &Path) -> io::Result<()> {
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_marked_directory_is_known() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("assets");
        let home = Home::open(&directory).unwrap();
        assert_eq!(home.marks().unwrap(), Marks { numbers: Vec::new(), is_adopted: true });
        assert!(!home.is_here() && !home.is_here_or_made().unwrap());
        home.settle(0x0123).unwrap();
        assert!(home.is_here());
        assert_eq!(home.marks().unwrap(), Marks { numbers: vec![0x0123], is_adopted: false });
        assert!(directory.join(".imgopen-0000000000000123").is_dir());
        // An empty mount point.
        let away = parent.path().join("away");
        std::fs::rename(&directory, &away).unwrap();
        std::fs::create_dir(&directory).unwrap();
        assert!(!home.is_here() && !home.is_here_or_made().unwrap());
        assert_eq!(home.marks().unwrap(), Marks::default());
        std::fs::remove_dir(&directory).unwrap();
        std::fs::rename(&away, &directory).unwrap();
        assert!(home.is_here());
    }

    #[test]
    fn a_deleted_directory_is_made_again_but_not_its_parent() {
        let parent = tempfile::tempdir().unwrap();
        let data = parent.path().join("data");
        let home = Home::open(&data.join("assets")).unwrap();
        home.settle(7).unwrap();
        std::fs::remove_dir_all(data.join("assets")).unwrap();
        assert!(!home.is_here());
        assert!(home.is_here_or_made().unwrap() && home.is_here());
        std::fs::remove_dir_all(&data).unwrap();
        assert!(home.is_here_or_made().is_err() && !data.exists());
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("assets"), "in the way").unwrap();
        assert!(home.is_here_or_made().is_err());
    }

    #[test]
    fn what_is_not_a_mark_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["0a", ".imgopen-", ".imgopen-12", ".imgopen-zzzzzzzzzzzzzzzz", "lost+found"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let home = Home::open(directory.path()).unwrap();
        assert_eq!(home.marks().unwrap(), Marks::default());
        adopt(directory.path()).unwrap();
        adopt(directory.path()).unwrap();
        assert!(home.marks().unwrap().is_adopted);
    }
}
