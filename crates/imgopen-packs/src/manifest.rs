//! What is installed in a directory, as the file `pack.json` in it says.

use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::catalogue::{Archive, MANIFEST, Pack, Registry};
use crate::digest;
use crate::file::InstalledFile;

/// The number of how packs are installed. It grows when directories of packs change, so that packs of before are pulled again.
/// Files that are converted in another way have other digests.
const FORMAT: u32 = 1;

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
        let text = match std::fs::read(directory.join(MANIFEST)) {
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
            let found = std::fs::metadata(&path).map_err(|error| format!("`{name}` cannot be read: {error}"))?.len();
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
