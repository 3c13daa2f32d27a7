//! Tiny packages, and a catalogue of them.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The contents of the file `net.onnx`.
pub const NET: &[u8] = b"the weights of a network";

/// The text of the licence.
pub const TERMS: &[u8] = b"Anyone may use these weights.\n";

/// Names of members with their contents.
pub type Members<'a> = &'a [(&'a str, &'a [u8])];

/// A pack before it is written down.
#[derive(Debug, Clone)]
pub struct Draft {
    pub name: &'static str,
    pub version: &'static str,
    pub registry: &'static str,
    /// The contents of the archive.
    pub archive: Vec<u8>,
    /// The name of the file, how it is made, and of which members.
    pub file: (&'static str, &'static str, Vec<(&'static str, Vec<u8>)>),
    /// The licence that must be accepted.
    pub agreement: Option<&'static str>,
}

impl Draft {
    /// The pack `tiny`, a wheel with a network.
    pub fn tiny() -> Self {
        let members = vec![("tiny/net.onnx", NET.to_vec())];
        Self {
            name: "tiny",
            version: "1.0.0",
            registry: "pypi",
            archive: wheel(&[
                ("tiny/__init__.py", b"raise SystemExit"),
                ("tiny/net.onnx", NET),
                ("tiny/LICENSE", TERMS),
            ]),
            file: ("net.onnx", "none", members),
            agreement: None,
        }
    }

    /// The pack `parts`, a tarball of npm with a network in two parts.
    pub fn parts() -> Self {
        let (first, second) = NET.split_at(9);
        let members: Members<'_> = &[
            ("package/package.json", b"{}"),
            // Behind what it is joined to.
            ("package/dist/2", second),
            ("package/dist/1", first),
            ("tiny/LICENSE", TERMS),
        ];
        let parts = vec![("package/dist/1", first.to_vec()), ("package/dist/2", second.to_vec())];
        Self {
            name: "parts",
            version: "2.0.0",
            registry: "npm",
            archive: tarball(members, &[]),
            file: ("whole.onnx", "join", parts),
            agreement: None,
        }
    }

    /// The same pack with another archive.
    pub fn with_archive(self, archive: Vec<u8>) -> Self {
        Self { archive, ..self }
    }

    /// The name of its archive.
    pub fn archive_name(&self) -> String {
        let Self { name, version, registry, .. } = self;
        match *registry {
            "pypi" => format!("{name}_weights-{version}-py3-none-any.whl"),
            _ => format!("{name}-weights-{version}.tgz"),
        }
    }

    /// Writes its archive into a directory.
    pub fn save(&self, directory: &Path) -> PathBuf {
        let path = directory.join(self.archive_name());
        fs::write(&path, &self.archive).unwrap();
        path
    }

    /// Its part of a catalogue.
    fn toml(&self) -> String {
        let Self { name, version, registry, archive, file: (file, convert, members), agreement } = self;
        let (size, digest, file_name) = (archive.len(), sha256(archive), self.archive_name());
        let member = |path: &str, bytes: &[u8]| {
            format!("{{ path = \"{path}\", bytes = {}, sha256 = \"{}\" }}", bytes.len(), sha256(bytes))
        };
        let whole = members.iter().map(|(_, bytes)| &bytes[..]).collect::<Vec<_>>().concat();
        let made = match *convert {
            "none" => String::new(),
            _ => format!("bytes = {}\nsha256 = \"{}\"\n", whole.len(), sha256(&whole)),
        };
        let members: Vec<_> = members.iter().map(|(path, bytes)| member(path, bytes)).collect();
        let wheel = match *registry {
            "pypi" => "wheel = { python = \"3.11\", implementation = \"py\", abi = \"none\", platform = \"any\" }",
            _ => "",
        };
        let agreement = agreement.map_or(String::new(), |licence| {
            format!("agreement = {{ licence = \"{licence}\", terms = \"Feed the network twice a day.\" }}")
        });
        format!(
            "[[packs]]\nname = \"{name}\"\nsummary = \"computes nothing\"\n\n\
             [packs.source]\nregistry = \"{registry}\"\npackage = \"{name}-weights\"\nversion = \"{version}\"\n\
             archive = {{ name = \"{file_name}\", bytes = {size}, sha256 = \"{digest}\" }}\n{wheel}\n\n\
             [packs.licence]\nexpression = \"MIT\"\nnote = \"By nobody.\"\n{agreement}\ntexts = [{}]\n\n\
             [[packs.files]]\nname = \"{file}\"\nconvert = \"{convert}\"\n{made}members = [{}]\n\n",
            member("tiny/LICENSE", TERMS),
            members.join(", "),
        )
    }
}

/// Returns a catalogue in TOML.
pub fn catalogue(drafts: &[&Draft]) -> String {
    drafts.iter().map(|draft| draft.toml()).collect()
}

/// Returns a wheel, which is a zip file.
pub fn wheel(members: Members<'_>) -> Vec<u8> {
    wheel_with_links(members, &[])
}

/// Returns a wheel that also has symbolic links, each a name and its target.
pub fn wheel_with_links(members: Members<'_>, links: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    for (name, target) in links {
        zip.add_symlink(*name, *target, SimpleFileOptions::default()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Returns a tarball that also has links, each a name, its target and its kind.
pub fn tarball(members: Members<'_>, links: &[(&str, &str, EntryType)]) -> Vec<u8> {
    let mut tarball = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in members {
        tarball.append(&header(name, bytes.len(), EntryType::Regular), *bytes).unwrap();
    }
    for (name, target, kind) in links {
        let mut header = header(name, 0, *kind);
        header.set_link_name_literal(target).unwrap();
        header.set_cksum();
        tarball.append(&header, &b""[..]).unwrap();
    }
    tarball.into_inner().unwrap().finish().unwrap()
}

fn header(name: &str, size: usize, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_entry_type(kind);
    // By hand, because the library refuses names that leave the archive.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    header
}

/// Returns the SHA-256 in lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
