//! The catalogue: which packs there are, what each takes from which package, and under which licence.
//!
//! It is TOML. A pack names the package and the exact version that it comes from, its archive by size and SHA-256, every member of
//! the archive that is used, and every file that is made of them, all by size and SHA-256. A package with wheels for several
//! systems has one of them pinned, by its tags: the files that are taken from it fit every system.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::convert::Convert;
use crate::digest::is_digest;
use crate::file::InstalledFile;
use crate::paths::is_inside;
use crate::unknown::UnknownName;

/// The most bytes of an archive or a member: all members of a pack are in memory while it is installed.
const LARGEST: u64 = 1 << 30;

/// The names of files that every pack has.
const RESERVED: [&str; 2] = [MANIFEST, LICENCE];

/// The file that describes an installed pack.
pub(crate) const MANIFEST: &str = "pack.json";

/// The file with the texts of the licences.
pub(crate) const LICENCE: &str = "LICENSE";

/// What a name that is part of a path may have beside letters and digits.
const IN_FILES: &str = "._+-";

static BUILT_IN: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::parse(include_str!("../catalogue.toml")).expect("the built-in catalogue is valid"));

/// The packs that can be pulled.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    packs: Vec<Pack>,
}

/// Files that are pulled from one package.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Pack {
    /// Lower-case letters, digits and hyphens, such as `background`.
    pub name: String,
    /// What its files do, as part of a sentence.
    pub summary: String,
    /// Where it comes from.
    pub source: Source,
    /// Under which terms.
    pub licence: Licence,
    /// The files that it installs.
    pub files: Vec<PackFile>,
}

/// The package that a pack comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Source {
    /// Who has it.
    pub registry: Registry,
    /// The name of the package there.
    pub package: String,
    /// The exact version.
    pub version: String,
    /// The archive that is fetched.
    pub archive: Archive,
    /// Which wheel of the package that is; only for PyPI.
    pub wheel: Option<Wheel>,
}

/// A registry of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Registry {
    /// The Python Package Index, by `pip`.
    PyPi,
    /// That of Node.js, by `npm`.
    Npm,
}

/// The archive of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Archive {
    /// The name of its file.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// The tags of a wheel, as `pip download` takes them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Wheel {
    /// The version of Python, such as `3.11`.
    pub python: String,
    /// The implementation of Python, such as `cp`, or `py` for any.
    pub implementation: String,
    /// The binary interface, such as `none`.
    pub abi: String,
    /// The system, such as `manylinux1_x86_64`, or `any`.
    pub platform: String,
}

/// Under which terms a pack is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Licence {
    /// The licences, as an expression of SPDX.
    pub expression: String,
    /// What is under which of them, in sentences.
    #[serde(default)]
    pub note: String,
    /// What must be agreed to before the pack is pulled, if the licence binds those who only use it.
    pub agreement: Option<Agreement>,
    /// Texts of licences that the archive lacks.
    #[serde(default)]
    pub(crate) standard: Vec<Standard>,
    /// Texts of licences in the archive.
    #[serde(default)]
    pub(crate) texts: Vec<Member>,
}

/// What must be agreed to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Agreement {
    /// The id of the licence, by which it is accepted.
    pub licence: String,
    /// What it asks for, in sentences.
    pub terms: String,
}

/// The text of a licence that is part of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Standard {
    #[serde(rename = "Apache-2.0")]
    Apache2,
}

/// A file of a pack.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PackFile {
    /// Its name.
    pub name: String,
    /// How it is made of its members.
    #[serde(default)]
    pub convert: Convert,
    /// Its size, unless it is a member as it is.
    pub bytes: Option<u64>,
    /// Its SHA-256, in lower-case hexadecimal digits, unless it is a member as it is.
    pub sha256: Option<String>,
    /// The members of the archive that it is made of, in this order.
    pub members: Vec<Member>,
}

/// A member of an archive.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Member {
    /// Its path in the archive.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// Why a catalogue cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a catalogue of packs: {0}")]
pub struct CatalogueError(String);

impl Catalogue {
    /// Returns the catalogue that is part of this program.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Reads a catalogue in TOML.
    ///
    /// # Errors
    ///
    /// When it is not TOML, a field is unknown, missing or invalid, or two packs have the same name.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let catalogue: Self = toml::from_str(text).map_err(|error| CatalogueError(error.to_string()))?;
        for (index, pack) in catalogue.packs.iter().enumerate() {
            pack.check().map_err(|problem| CatalogueError(format!("the pack \"{}\": {problem}", pack.name)))?;
            if catalogue.packs[..index].iter().any(|other| other.name == pack.name) {
                return Err(CatalogueError(format!("two packs are named \"{}\"; rename one", pack.name)));
            }
        }
        Ok(catalogue)
    }

    /// Returns all packs, in the order of the catalogue.
    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// Returns the pack of a name.
    ///
    /// # Errors
    ///
    /// When there is none; names the nearest.
    pub fn find(&self, name: &str) -> Result<&Pack, UnknownName> {
        let names = || -> Vec<String> { self.packs.iter().map(|pack| pack.name.clone()).collect() };
        self.packs.iter().find(|pack| pack.name == name).ok_or_else(|| UnknownName::new("pack", name, names()))
    }

    /// Checks that some pack asks for agreement to each of these licences.
    ///
    /// # Errors
    ///
    /// When none does; names the nearest.
    pub fn check_accepted(&self, licences: &[String]) -> Result<(), UnknownName> {
        let agreements = self.packs.iter().filter_map(|pack| pack.licence.agreement.as_ref());
        let mut known: Vec<String> = agreements.map(|agreement| agreement.licence.clone()).collect();
        known.sort();
        known.dedup();
        match licences.iter().find(|licence| !known.contains(licence)) {
            Some(unknown) => Err(UnknownName::new("licence to be accepted", unknown, known)),
            None => Ok(()),
        }
    }
}

impl Pack {
    /// Returns the name of the directory that it is installed in, such as `background-1.4.5`.
    pub fn directory(&self) -> String {
        format!("{}-{}", self.name, self.source.version)
    }

    /// Returns the bytes of its files, which is what it takes on the disk.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.installed().bytes).sum()
    }

    /// Returns all members of the archive that are used.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.licence.texts.iter().chain(self.files.iter().flat_map(|file| &file.members))
    }

    /// Checks all fields: some become parts of paths, and of command lines.
    fn check(&self) -> Result<(), String> {
        let is_name = self.name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'));
        let is_name = is_name && is_plain(&self.name, "-");
        rule(is_name, "name", &self.name, "lower-case letters, digits and hyphens")?;
        rule(!self.summary.is_empty(), "summary", &self.summary, "what the files do")?;
        self.source.check()?;
        self.licence.check()?;
        rule(!self.files.is_empty(), "files", "[]", "at least one file")?;
        for (index, file) in self.files.iter().enumerate() {
            file.check()?;
            let is_new = !self.files[..index].iter().any(|other| other.name == file.name);
            rule(is_new, "files.name", &file.name, "each file another name")?;
        }
        let mut paths: Vec<_> = self.members().map(|member| &member.path).collect();
        paths.sort();
        match paths.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => rule(false, "path", pair[0], "each member once"),
            None => Ok(()),
        }
    }
}

impl Source {
    fn check(&self) -> Result<(), String> {
        let scoped = self.package.strip_prefix('@').and_then(|package| package.split_once('/'));
        let is_package = match (self.registry, scoped) {
            (Registry::Npm, Some((scope, package))) => is_plain(scope, IN_FILES) && is_plain(package, IN_FILES),
            _ => is_plain(&self.package, IN_FILES),
        };
        rule(is_package, "source.package", &self.package, "the name of a package")?;
        let is_version = is_plain(&self.version, IN_FILES) && self.version.starts_with(|c: char| c.is_ascii_digit());
        rule(is_version, "source.version", &self.version, "an exact version")?;
        let (ending, wheels) = match self.registry {
            Registry::PyPi => (".whl", "the tags of a wheel, because the package is from PyPI"),
            Registry::Npm => (".tgz", "no wheel, because the package is from npm"),
        };
        let is_archive = is_plain(&self.archive.name, IN_FILES) && self.archive.name.ends_with(ending);
        rule(
            is_archive,
            "source.archive.name",
            &self.archive.name,
            &format!("the name of a file that ends in `{ending}`"),
        )?;
        rule(self.wheel.is_some() == (self.registry == Registry::PyPi), "source.wheel", "", wheels)?;
        for tag in
            self.wheel.iter().flat_map(|wheel| [&wheel.python, &wheel.implementation, &wheel.abi, &wheel.platform])
        {
            rule(is_plain(tag, "._"), "source.wheel", tag, "a tag of a wheel")?;
        }
        sized("source.archive", self.archive.bytes, &self.archive.sha256)
    }

    /// Returns the arguments of `pip` or `npm` that have it fetch the archive into its working directory, whatever its settings say
    /// of that.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let (package, version) = (&self.package, &self.version);
        let mut words = match self.registry {
            Registry::PyPi => vec!["download", "--no-deps", "--only-binary", ":all:", "--no-input", "--dest", "."],
            Registry::Npm => {
                let ours = ["pack", "--ignore-scripts", "--pack-destination", ".", "--no-dry-run", "--no-usage"];
                [&ours[..], &["--no-update-notifier"]].concat()
            }
        };
        if let Some(wheel) = &self.wheel {
            words.extend(["--python-version", &wheel.python, "--implementation", &wheel.implementation]);
            words.extend(["--abi", &wheel.abi, "--platform", &wheel.platform]);
        }
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        words.push(match self.registry {
            Registry::PyPi => format!("{package}=={version}"),
            Registry::Npm => format!("{package}@{version}"),
        });
        words
    }

    /// Returns the command that fetches the archive into the working directory of a shell.
    pub fn command(&self) -> String {
        let program = match self.registry {
            Registry::PyPi => "pip",
            Registry::Npm => "npm",
        };
        format!("{program} {}", self.arguments().join(" "))
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PyPi => "PyPI",
            Self::Npm => "npm",
        })
    }
}

impl Licence {
    fn check(&self) -> Result<(), String> {
        let is_expression = self.expression.chars().any(|c| c.is_ascii_alphanumeric());
        rule(is_expression, "licence.expression", &self.expression, "the licences of SPDX")?;
        if let Some(Agreement { licence, terms }) = &self.agreement {
            rule(is_plain(licence, IN_FILES), "licence.agreement.licence", licence, "the id of a licence")?;
            rule(!terms.trim().is_empty(), "licence.agreement.terms", terms, "what the licence asks for")?;
        }
        let has_text = !self.standard.is_empty() || !self.texts.is_empty();
        rule(
            has_text,
            "licence.texts",
            "[]",
            "the members with the texts of the licences, or their ids as `standard`",
        )?;
        self.texts.iter().try_for_each(Member::check)
    }
}

impl Standard {
    /// Returns the id of the licence and its text.
    pub(crate) fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Apache2 => ("Apache-2.0", include_str!("../LICENSE-APACHE")),
        }
    }
}

impl PackFile {
    fn check(&self) -> Result<(), String> {
        let is_file = is_plain(&self.name, IN_FILES) && !RESERVED.contains(&self.name.as_str());
        rule(is_file, "files.name", &self.name, "the name of a file")?;
        let (takes, count) = (self.convert.takes(), self.members.len());
        let expected = match (takes.start(), takes.end()) {
            (start, end) if start == end => format!("exactly {start}"),
            (start, end) => format!("{start} to {end}"),
        };
        rule(takes.contains(&count), &format!("files.members` of `{}", self.name), &count.to_string(), &expected)?;
        self.check_made()?;
        self.members.iter().try_for_each(Member::check)
    }

    /// Checks that size and digest are there if, and only if, those of a member do not hold.
    fn check_made(&self) -> Result<(), String> {
        let field = format!("files.sha256` of `{}", self.name);
        match (self.convert, self.bytes, &self.sha256) {
            (Convert::None, None, None) => Ok(()),
            (Convert::None, ..) => {
                rule(false, &field, "", "no size and no digest, because the file is its member as it is")
            }
            (_, Some(bytes), Some(sha256)) => sized(&self.name, bytes, sha256),
            _ => {
                rule(false, &field, "", "size and digest of the file that its members become, as `bytes` and `sha256`")
            }
        }
    }

    /// Returns the file as it is once it is installed.
    pub(crate) fn installed(&self) -> InstalledFile {
        let member = self.members.first();
        let bytes = self.bytes.or_else(|| member.map(|member| member.bytes)).unwrap_or_default();
        let sha256 = self.sha256.clone().or_else(|| member.map(|member| member.sha256.clone())).unwrap_or_default();
        InstalledFile { name: self.name.clone(), bytes, sha256 }
    }
}

impl Member {
    fn check(&self) -> Result<(), String> {
        rule(is_inside(&self.path), "path", &self.path, "the path of a member, within the archive")?;
        sized(&self.path, self.bytes, &self.sha256)
    }
}

/// Whether a text begins with a letter or a digit and has only such characters, and those of `others`. So it is a single part of
/// a path, and not an option of a program.
fn is_plain(text: &str, others: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= 200
        && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

fn sized(field: &str, bytes: u64, sha256: &str) -> Result<(), String> {
    let is_size = (1..=LARGEST).contains(&bytes);
    rule(is_size, &format!("bytes` of `{field}"), &bytes.to_string(), &format!("a number from 1 to {LARGEST}"))?;
    let expected = "64 lower-case hexadecimal digits";
    rule(is_digest(sha256), &format!("sha256` of `{field}"), sha256, expected)
}

/// Returns an error that names the field and its value, unless the rule holds.
fn rule(holds: bool, field: &str, value: &str, expected: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("`{field}`: \"{value}\" given; give {expected}")) }
}

#[cfg(test)]
mod tests;
