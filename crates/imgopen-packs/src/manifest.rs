//! What is installed in a directory, as the file `pack.json` in it says.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::catalogue::{Archive, MANIFEST, Pack, Registry};
use crate::digest;
use crate::file::InstalledFile;

/// The number of how packs are installed. It grows when directories of packs change, so that packs of before are pulled again.
/// Files that are converted in another way have other digests.
const FORMAT: u32 = 1;

/// The most bytes of a manifest. Those of packs have some hundred for each file.
const MOST: u64 = 1024 * 1024;

/// What is installed in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The number of how it was installed.
    pub format: u32,
    /// The name of the pack.
    pub name: String,
    /// Who had the package.
    pub registry: Registry,
    /// The name of the package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its archive.
    pub archive: Archive,
    /// The licences, as an expression of SPDX.
    pub licence: String,
    /// The licence that was accepted before, if one had to be.
    pub accepted: Option<String>,
    /// The files, beside this one and the texts of the licences.
    pub files: Vec<InstalledFile>,
}

impl Manifest {
    pub(crate) fn new(pack: &Pack, files: Vec<InstalledFile>) -> Self {
        let (source, licence) = (&pack.source, &pack.licence);
        Self {
            format: FORMAT,
            name: pack.name.clone(),
            registry: source.registry,
            package: source.package.clone(),
            version: source.version.clone(),
            archive: source.archive.clone(),
            licence: licence.expression.clone(),
            accepted: licence.agreement.as_ref().map(|agreement| agreement.licence.clone()),
            files,
        }
    }

    /// Returns the bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Reads that of a directory; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Says why it cannot be read.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>, String> {
        let text = match contents(&directory.join(MANIFEST)) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(format!("`{MANIFEST}` cannot be read: {error}")),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| format!("`{MANIFEST}` is damaged: {error}"))
    }

    /// Whether it describes what the catalogue has now: all files with their digests. It may have more, which earlier versions have
    /// installed.
    pub(crate) fn is_of(&self, pack: &Pack) -> bool {
        self.format == FORMAT
            && self.archive == pack.source.archive
            && pack.files.iter().all(|file| self.files.contains(&file.installed()))
    }

    /// Checks that all files are there with their sizes, and on request with their contents, which takes a second for some
    /// hundred megabytes.
    ///
    /// # Errors
    ///
    /// Names the first file that is missing or changed.
    pub(crate) fn check(&self, directory: &Path, contents: bool) -> Result<(), String> {
        for InstalledFile { name, bytes, sha256 } in &self.files {
            let path = directory.join(name);
            let found = fs::metadata(&path).map_err(|error| format!("`{name}` cannot be read: {error}"))?.len();
            if found != *bytes {
                return Err(format!("`{name}` has {found} bytes instead of {bytes}"));
            }
            if contents {
                let found = digest::of_file(&path).map_err(|error| format!("`{name}` cannot be read: {error}"))?;
                if found != *sha256 {
                    return Err(format!("`{name}` was changed: its SHA-256 is {found} instead of {sha256}"));
                }
            }
        }
        Ok(())
    }
}

/// Reads a file that is not larger than a manifest may be.
fn contents(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for a writer, and a device may have no end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= MOST {
        true => Ok(bytes),
        false => Err(io::Error::other(format!("it has more than {MOST} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(directory: &Path) -> String {
        Manifest::read(directory).unwrap_err()
    }

    #[test]
    fn what_is_no_manifest_is_not_read_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(directory.path()), Ok(None));
        assert_eq!(Manifest::read(&directory.path().join("nowhere")), Ok(None));
        let path = directory.path().join(MANIFEST);
        fs::create_dir(&path).unwrap();
        assert_eq!(problem(directory.path()), "`pack.json` cannot be read: it is not a file");
        fs::remove_dir(&path).unwrap();
        fs::write(&path, vec![b' '; MOST as usize + 1]).unwrap();
        assert_eq!(problem(directory.path()), "`pack.json` cannot be read: it has more than 1048576 bytes");
        fs::write(&path, "{").unwrap();
        assert!(problem(directory.path()).starts_with("`pack.json` is damaged: "));
    }

    /// It would never end.
    #[cfg(unix)]
    #[test]
    fn a_device_is_no_manifest() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/zero", directory.path().join(MANIFEST)).unwrap();
        assert_eq!(problem(directory.path()), "`pack.json` cannot be read: it is not a file");
    }
}
