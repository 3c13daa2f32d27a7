//! Takes members out of archives: wheels, which are zip files, and the tarballs of npm.
//!
//! Only the members that are asked for are read, into memory, each up to its size; nothing is unpacked onto the disk. An archive
//! with a link, or with a path that leaves it, is refused as a whole: no honest package has one.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use tar::Archive as Tarball;
use zip::ZipArchive;

use crate::catalogue::{Member, Registry};
use crate::digest;
use crate::paths::is_inside;

/// The most bytes that a tarball is decompressed to.
const MOST: u64 = 4 << 30;

/// Why an archive cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It is damaged, or something else.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// A member would leave the directory that it is unpacked in.
    #[error("it has the member \"{0}\", whose path leaves the archive")]
    Outside(String),
    /// A member is a link.
    #[error("it has the member \"{0}\", which is a link")]
    Link(String),
    /// A member is missing.
    #[error("it lacks the member \"{0}\"")]
    Missing(String),
    /// A member has another size.
    #[error("its member \"{path}\" does not have {expected} bytes")]
    Size {
        /// The path of the member.
        path: String,
        /// Its pinned size.
        expected: u64,
    },
    /// A member has other contents.
    #[error("its member \"{path}\" has the SHA-256 {found} instead of {expected}")]
    Digest {
        /// The path of the member.
        path: String,
        /// Its pinned SHA-256.
        expected: String,
        /// That of what is there.
        found: String,
    },
}

/// The members that were found, by their paths.
pub(crate) type Members = HashMap<String, Vec<u8>>;

/// Reads members of an archive, and checks their sizes and digests.
pub(crate) fn read<'a>(
    path: &Path,
    registry: Registry,
    wanted: impl Iterator<Item = &'a Member>,
) -> Result<Members, ArchiveError> {
    let wanted: HashMap<&str, &Member> = wanted.map(|member| (member.path.as_str(), member)).collect();
    let file = BufReader::new(File::open(path).map_err(unreadable)?);
    let found = match registry {
        Registry::PyPi => read_wheel(file, &wanted)?,
        Registry::Npm => read_tarball(file, &wanted)?,
    };
    match wanted.keys().find(|path| !found.contains_key(**path)) {
        Some(missing) => Err(ArchiveError::Missing((*missing).to_owned())),
        None => Ok(found),
    }
}

fn read_wheel(file: BufReader<File>, wanted: &HashMap<&str, &Member>) -> Result<Members, ArchiveError> {
    let mut wheel = ZipArchive::new(file).map_err(unreadable)?;
    let mut found = Members::new();
    for index in 0..wheel.len() {
        let (name, is_link) = {
            let entry = wheel.by_index_data(index).map_err(unreadable)?;
            (entry.name().map_err(unreadable)?.into_owned(), entry.is_symlink())
        };
        check(&name, is_link)?;
        if let Some(member) = wanted.get(name.as_str()) {
            let entry = wheel.by_index(index).map_err(unreadable)?;
            found.insert(name, contents(entry, member)?);
        }
    }
    Ok(found)
}

fn read_tarball(file: BufReader<File>, wanted: &HashMap<&str, &Member>) -> Result<Members, ArchiveError> {
    let mut tarball = Tarball::new(GzDecoder::new(file).take(MOST));
    let mut found = Members::new();
    for entry in tarball.entries().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        check(&name, kind.is_symlink() || kind.is_hard_link())?;
        if let Some(member) = wanted.get(name.as_str()).filter(|_| kind.is_file()) {
            found.insert(name, contents(entry, member)?);
        }
    }
    Ok(found)
}

fn check(name: &str, is_link: bool) -> Result<(), ArchiveError> {
    if !is_inside(name) {
        return Err(ArchiveError::Outside(name.to_owned()));
    }
    if is_link { Err(ArchiveError::Link(name.to_owned())) } else { Ok(()) }
}

/// Reads a member to its end, or to one byte more than it has.
fn contents(entry: impl Read, member: &Member) -> Result<Vec<u8>, ArchiveError> {
    let Member { path, bytes, sha256 } = member;
    let mut contents = Vec::new();
    entry.take(bytes + 1).read_to_end(&mut contents).map_err(unreadable)?;
    if contents.len() as u64 != *bytes {
        return Err(ArchiveError::Size { path: path.clone(), expected: *bytes });
    }
    let found = digest::of([contents.as_slice()]);
    if found == *sha256 {
        Ok(contents)
    } else {
        Err(ArchiveError::Digest { path: path.clone(), expected: sha256.clone(), found })
    }
}

fn unreadable(error: impl std::fmt::Display) -> ArchiveError {
    ArchiveError::Unreadable(error.to_string())
}
