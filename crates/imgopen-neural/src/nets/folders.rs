//! The operator's own model files: in which folders of the models directory they are looked for, and how a look is cheap.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::signature::Role;
use super::tags::Family;

/// The deepest directory below the models directory that is looked into. `insightface/models/buffalo_l` is three deep.
const DEEPEST: usize = 4;

/// The most entries of directories that a look goes through.
const MOST: usize = 2_000;

/// A directory that was changed less than this ago may change again without another time.
const SETTLED: Duration = Duration::from_secs(4);

/// The names of folders, in lower case, and what nets in them may be for.
const FOLDERS: [(&str, &[Role]); 16] = [
    ("esrgan", &[Role::Upscaling]),
    ("realesrgan", &[Role::Upscaling]),
    ("gfpgan", &[Role::FaceRestoration]),
    ("codeformer", &[Role::FaceRestoration]),
    ("insightface", &[Role::FaceSwap, Role::FaceRecognition]),
    ("rembg", &[Role::Segmentation]),
    ("u2net", &[Role::Segmentation]),
    ("birefnet", &[Role::Segmentation]),
    ("lama", &[Role::Inpainting]),
    ("tagger", &[Role::Tags]),
    ("wd14_tagger", &[Role::Tags]),
    ("deepdanbooru", &[Role::Tags]),
    ("depth", &[Role::Depth]),
    ("depth_anything", &[Role::Depth]),
    ("depth-anything", &[Role::Depth]),
    ("midas", &[Role::Depth]),
];

/// A file in one of the folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub path: PathBuf,
    /// The folder, as its name is written.
    pub folder: String,
    /// What a net in it may be for.
    pub roles: &'static [Role],
    pub format: Format,
}

/// What a file is, by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Onnx,
    /// Weights that need the program that they were made with.
    Other,
}

/// By what a change of a file is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub size: u64,
    pub modified: Option<SystemTime>,
    is_readable: bool,
    /// Sizes and times of the files beside a tagger that may have the names of its tags.
    names: [Option<(u64, Option<SystemTime>)>; 2],
}

/// The files that were found, and the directories in which a change would make that wrong.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub files: Vec<Found>,
    /// Whether there were more than a look goes through.
    pub is_cut: bool,
    directories: Vec<(PathBuf, Option<SystemTime>)>,
    /// Whether a directory can change without another time.
    is_loose: bool,
    entries: usize,
    /// The directories that were looked into, by their paths without links.
    visited: HashSet<PathBuf>,
    /// Links to directories, which are looked into last.
    links: VecDeque<Branch>,
}

/// A directory in one of the folders, or the folder itself.
#[derive(Debug)]
struct Branch {
    path: PathBuf,
    folder: String,
    roles: &'static [Role],
    /// How deep it is below the models directory.
    depth: usize,
}

impl Stamp {
    /// Looks at a file. `None` if it is not there any more.
    pub fn of(found: &Found) -> Option<Self> {
        let size_and_time = |path: &Path| {
            // Only of files: opening a pipe would wait for a writer.
            let file = path.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((file.len(), file.modified().ok()))
        };
        let (size, modified) = size_and_time(&found.path)?;
        let names = match found.roles.contains(&Role::Tags) {
            true => Family::ALL.map(|family| size_and_time(&found.path.with_file_name(family.file()))),
            false => [None; 2],
        };
        Some(Self { size, modified, is_readable: File::open(&found.path).is_ok(), names })
    }
}

impl Listing {
    /// Lists the files in the folders of a models directory.
    pub fn of(models: &Path) -> Self {
        let mut listing = Self::default();
        listing.visited.insert(without_links(models));
        for (name, path) in listing.entries(models) {
            let known = FOLDERS.iter().find(|(folder, _)| name.eq_ignore_ascii_case(folder));
            if let Some(&(_, roles)) = known {
                listing.enter(Branch { path, folder: name, roles, depth: 1 });
            }
        }
        while let Some(link) = listing.links.pop_front() {
            listing.walk(link);
        }
        // A link may lead to a file that is found elsewhere, too; the first by name counts.
        let mut seen = HashSet::new();
        listing.files.retain(|file| seen.insert(without_links(&file.path)));
        listing
    }

    /// Returns whether no directory has changed since, as far as that can be known.
    pub fn is_current(&self) -> bool {
        !self.is_loose && self.directories.iter().all(|(path, before)| modified(path) == *before)
    }

    /// Looks into a directory, unless it is too deep; into a link to one later, so that what is in it is known by its own path.
    fn enter(&mut self, branch: Branch) {
        match branch.path.is_dir() && branch.depth <= DEEPEST {
            true if branch.path.is_symlink() => self.links.push_back(branch),
            true => self.walk(branch),
            false => {}
        }
    }

    fn walk(&mut self, Branch { path, folder, roles, depth }: Branch) {
        // A link may lead back, and would be followed again and again.
        if !self.visited.insert(without_links(&path)) {
            return;
        }
        for (name, path) in self.entries(&path) {
            if path.is_dir() {
                self.enter(Branch { path, folder: folder.clone(), roles, depth: depth + 1 });
            } else if let Some(format) = Format::of(&name) {
                self.files.push(Found { path, folder: folder.clone(), roles, format });
            }
        }
    }

    /// Returns the entries of a directory by their names, without hidden ones.
    fn entries(&mut self, directory: &Path) -> Vec<(String, PathBuf)> {
        let time = modified(directory);
        self.is_loose |= time.is_some_and(|time| !time.elapsed().is_ok_and(|age| age >= SETTLED));
        self.directories.push((directory.to_owned(), time));
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                self.is_loose |= error.kind() != io::ErrorKind::NotFound;
                return Vec::new();
            }
        };
        let mut named = Vec::new();
        for entry in entries.filter_map(Result::ok) {
            self.entries += 1;
            if self.entries > MOST {
                self.is_cut = true;
                break;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                named.push((name, entry.path()));
            }
        }
        named.sort();
        named
    }
}

impl Format {
    fn of(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        match extension.to_ascii_lowercase().as_str() {
            "onnx" => Some(Format::Onnx),
            "pth" | "pt" | "safetensors" | "ckpt" => Some(Format::Other),
            _ => None,
        }
    }
}

fn without_links(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
