//! `imgopen models packs`, `pull` and `remove`, with package managers that are shell scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use imgopen_nets::Dimension;
use imgopen_nets::onnx::{Builder, Setting};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::shell::names;
use crate::fake_packs::packages::{Draft, NET, catalogue, sha256};
use crate::fake_packs::programs::{FAIL, HANG, Programs, fetching};
use crate::{command, transcript};

/// A working directory with a catalogue, and the package managers of its packs.
struct Place {
    folder: TempDir,
    registry: TempDir,
    programs: Programs,
}

impl Place {
    /// With the packs `tiny`, `parts`, and `bound`, whose licence must be accepted.
    fn new() -> Self {
        let (folder, registry) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let drafts = [Draft::tiny(), Draft::parts(), Self::bound()];
        let scripts = drafts.each_ref().map(|draft| fetching(&draft.save(registry.path()), &draft.archive_name()));
        let [tiny, parts, bound] = scripts;
        let pip = format!("case \"$*\" in *bound*) {bound} ;; *) {tiny} ;; esac");
        let programs = Programs::none().with("pip", &pip).with("npm", &parts);
        let place = Self { folder, registry, programs };
        fs::write(place.path("catalogue.toml"), catalogue(&drafts.each_ref())).unwrap();
        place
    }

    fn bound() -> Draft {
        Draft { name: "bound", agreement: Some("Tiny-1.0"), ..Draft::tiny() }
    }

    /// Has `pip` do something else.
    fn with_pip(self, script: &str) -> Self {
        Self { programs: self.programs.with("pip", script), ..self }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a command about models, with the catalogue.
    fn command(&self, arguments: &[&str]) -> Command {
        let arguments = [&["models"], arguments, &["--catalogue", "catalogue.toml"]].concat();
        let mut command = command(self.folder.path(), &arguments);
        command.env("PATH", self.programs.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        transcript(&self.command(arguments).output().unwrap())
    }

    /// Runs a command with `--json`, and returns its exit code and JSON.
    fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.command(&[arguments, &["--json"]].concat()).output().unwrap();
        let printed = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (output.status.code().unwrap(), printed)
    }

    /// The names in the directory of packs.
    fn names(&self) -> Vec<String> {
        names(&self.path("imgopen-data/models/packs"))
    }
}

const TINY: &str = "imgopen-data/models/packs/tiny-1.0.0";

/// What fetches the archive of the pack `tiny`.
const PIP: &str = "pip download --no-deps --only-binary :all: --no-input --dest . --python-version 3.11 --implementation py \
                   --abi none --platform any tiny-weights==1.0.0";

#[test]
fn packs_are_listed_pulled_and_removed() {
    let place = Place::new();
    let head = "tiny 1.0.0: not installed; [size] to fetch, about [size] on disk\n  computes nothing\n  \
                from the package `tiny-weights` of PyPI, under MIT\n";
    let tail = "\nparts 2.0.0: not installed; [size] to fetch, about [size] on disk\n  computes nothing\n  \
                from the package `parts-weights` of npm, under MIT\n\n\
                bound 1.0.0: not installed; [size] to fetch, about [size] on disk\n  computes nothing\n  \
                from the package `bound-weights` of PyPI, under MIT, to be accepted with `--accept-licence Tiny-1.0`\n";
    assert_eq!(place.run(&["packs"]), format!("ends with 0\n{head}{tail}"));
    // Reading makes nothing.
    assert!(!place.path("imgopen-data").exists());
    let pulled = place.run(&["pull", "tiny", "parts"]);
    let expected = format!(
        "ends with 0\ntiny 1.0.0 is installed in {TINY}: 1 file, [size]\n\
         parts 2.0.0 is installed in imgopen-data/models/packs/parts-2.0.0: 1 file, [size]\nerrors:\n\
         imgopen: fetching `tiny-weights` 1.0.0 by `pip`: [size]\nimgopen: installing the pack \"tiny\"\n\
         imgopen: fetching `parts-weights` 2.0.0 by `npm`: [size]\nimgopen: installing the pack \"parts\"\n"
    );
    assert_eq!(pulled, expected);
    assert_eq!(fs::read(place.path(TINY).join("net.onnx")).unwrap(), NET);
    assert_eq!(fs::read(place.path("imgopen-data/models/packs/parts-2.0.0/whole.onnx")).unwrap(), NET);
    assert_eq!(place.names(), [".lock", "parts-2.0.0", "tiny-1.0.0"]);
    let again = place.run(&["pull", "tiny"]);
    assert_eq!(again, format!("ends with 0\ntiny 1.0.0 is already installed in {TINY}: 1 file, [size]\n"));
    let head = head.replace("not installed; [size] to fetch, about [size] on disk", "installed; [size] on disk");
    assert!(place.run(&["packs"]).starts_with(&format!("ends with 0\n{head}")));
    let removed = place.run(&["remove", "tiny", "bound"]);
    assert_eq!(removed, "ends with 0\ntiny is removed\nbound was not installed\n");
    assert_eq!(place.names(), [".lock", "parts-2.0.0"]);
    assert_eq!(place.programs.calls().len(), 2);
}

#[test]
fn files_of_ones_own_are_listed_and_examined() {
    let place = Place::new();
    let folder = place.path("imgopen-data/models/ESRGAN");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("x4.pth"), "PK").unwrap();
    fs::write(folder.join("net.onnx"), NET).unwrap();
    let list = place.run(&["packs"]);
    let (_, own) = list.split_once("\n\nyour own files:\n").unwrap();
    let lines: Vec<_> = own.lines().collect();
    let broken = "  ESRGAN/net.onnx, [size]: not used: the model file \"net.onnx\" cannot be used: ";
    assert!(lines[0].starts_with(broken), "{list}");
    assert!(lines[1].starts_with("  ESRGAN/x4.pth, [size]: not used: only ONNX files are run"), "{list}");
    let (_, list) = place.json(&["packs"]);
    let file = &list["own"][1];
    assert_eq!((&file["folder"], &file["bytes"], &file["purpose"]), (&json!("ESRGAN"), &json!(2), &json!(null)));
    // What is only for something else is no finding.
    let report = transcript(&command(place.folder.path(), &["doctor"]).output().unwrap());
    assert!(report.contains("net.onnx") && report.contains("fix: replace the file"), "{report}");
    assert!(!report.contains("x4.pth"), "{report}");
}

/// A net with the signature of ESRGAN, whose result is what `build` makes of its input.
fn enlarging(build: impl FnOnce(&mut Builder) -> String) -> Vec<u8> {
    let mut builder = Builder::new(1024, ["x".to_owned(), "y".to_owned()]);
    let side = |name: &str| Dimension::Named(name.to_owned());
    for (name, shape) in [("x", [side("height"), side("width")]), ("y", [side("higher"), side("wider")])] {
        let [height, width] = shape;
        let shape = [Dimension::Fixed(1), Dimension::Fixed(3), height, width];
        if name == "x" { builder.input(name, &shape) } else { builder.output(name, &shape) }
    }
    let value = build(&mut builder);
    builder.node_as("Identity", &[&value], "y", &[]);
    builder.finish()
}

/// Adds zeros of so many times the height and the width of the input.
fn zeros(builder: &mut Builder, times: i64) -> String {
    let shape = builder.node("Shape", &["x"], &[]);
    let factors = builder.ints(&[1, 1, times, times]);
    let shape = builder.node("Mul", &[&shape, &factors], &[]);
    builder.node("ConstantOfShape", &[&shape], &[])
}

/// It has some hundred bytes, and asks for more memory than any machine has.
#[cfg(target_os = "linux")]
#[test]
fn a_net_that_takes_all_memory_is_refused_and_ends_nothing() {
    let place = Place::new();
    let models = place.path("imgopen-data/models");
    fs::create_dir_all(models.join("ESRGAN")).unwrap();
    let whole = enlarging(|builder| {
        let scales = builder.floats(&[1.0, 1.0, 2.0, 2.0]);
        builder.node("Resize", &["x", "", &scales], &[("mode", Setting::Text("nearest"))])
    });
    let hostile = enlarging(|builder| zeros(builder, 100_000));
    assert!(hostile.len() < 512);
    fs::write(models.join("ESRGAN/a.onnx"), whole).unwrap();
    fs::write(models.join("ESRGAN/b.onnx"), hostile).unwrap();
    // 3 channels of 3,200,000 x 3,200,000 numbers.
    let expected = "the net in \"b.onnx\" failed: it takes more memory than it may: memory allocation of 122880000000000 bytes failed";
    for _ in 0..2 {
        let (code, list) = place.json(&["packs"]);
        assert_eq!((code, &list["own"][0]["purpose"]), (0, &json!("super resolution")), "{list}");
        assert_eq!((&list["own"][1]["purpose"], &list["own"][1]["problem"]), (&json!(null), &json!(expected)));
        // What came of it is noted, and counts for the service too.
        let notes = fs::read_to_string(models.join(".imgopen-nets.json")).unwrap();
        assert!(notes.contains("122880000000000") && notes.contains("with rten"), "{notes}");
    }
    let report = transcript(&command(place.folder.path(), &["doctor"]).output().unwrap());
    assert!(report.contains("b.onnx: the net in \"b.onnx\" failed: it takes more memory than it may"), "{report}");
}

/// Its result is no larger than that of any other net: it is the system that refuses what the net takes on its way there.
#[cfg(target_os = "linux")]
#[test]
fn a_net_is_refused_memory_that_the_machine_has() {
    let place = Place::new();
    let folder = place.path("imgopen-data/models/ESRGAN");
    fs::create_dir_all(&folder).unwrap();
    let greedy = enlarging(|builder| {
        let zeros = zeros(builder, 750);
        let [starts, ends, axes] = [[0, 0], [64, 64], [2, 3]].map(|numbers| builder.ints(&numbers));
        builder.node("Slice", &[&zeros, &starts, &ends, &axes], &[])
    });
    fs::write(folder.join("a.onnx"), greedy).unwrap();
    // 3 channels of 24,000 x 24,000 numbers, which are 6.4 GiB. A process gets 2 GiB, and 4 GiB for a run.
    let expected =
        "the net in \"a.onnx\" failed: it takes more memory than it may: memory allocation of 6912000000 bytes failed";
    let (code, list) = place.json(&["packs"]);
    assert_eq!((code, &list["own"][0]["problem"]), (0, &json!(expected)), "{list}");
}

/// What is made for packs is made as the service would make it.
#[test]
fn the_data_directory_is_private_and_a_named_models_directory_stays_as_it_is() {
    let place = Place::new();
    assert!(place.run(&["pull", "tiny"]).starts_with("ends with 0\n"));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.path("imgopen-data")), 0o700);
    fs::create_dir(place.path("shared")).unwrap();
    fs::set_permissions(place.path("shared"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(place.run(&["pull", "tiny", "--models", "shared", "--data-dir", "elsewhere"]).starts_with("ends with 0\n"));
    assert_eq!((mode(&place.path("shared")), place.path("elsewhere").exists()), (0o755, false));
    assert_eq!(fs::read(place.path("shared/packs/tiny-1.0.0/net.onnx")).unwrap(), NET);
    // A pull makes the directory that it is given, if it is not there.
    let pulled = place.run(&["pull", "tiny", "--models", "new/models"]);
    assert!(pulled.starts_with("ends with 0\ntiny 1.0.0 is installed in new/models/packs/tiny-1.0.0: "), "{pulled}");
    // The settings of the service say where its models are.
    fs::write(place.path("imgopen.toml"), format!("models = {:?}\n", place.path("shared"))).unwrap();
    let (code, list) = place.json(&["packs", "--config", "imgopen.toml"]);
    assert_eq!((code, &list["packs"][0]["state"]), (0, &json!("installed")), "{list}");
}

#[test]
fn lists_pulls_and_removals_are_printed_in_json() {
    let place = Place::new();
    let (code, list) = place.json(&["packs"]);
    let draft = Draft::tiny();
    let mut expected = json!({
        "name": "tiny", "version": "1.0.0", "summary": "computes nothing", "operations": [], "registry": "pypi", "package": "tiny-weights",
        "licence": "MIT", "licence_note": "By nobody.", "accept_licence": null, "terms": null,
        "bytes_to_fetch": draft.archive.len(), "command": PIP, "bytes_on_disk": NET.len(), "state": "missing", "problem": null,
        "directory": null, "files": ["net.onnx"],
    });
    assert_eq!((code, &list["packs"][0]), (0, &expected));
    assert_eq!(list["directory"], "imgopen-data/models/packs");
    let bound = &list["packs"][2];
    assert_eq!(
        (&bound["accept_licence"], &bound["terms"]),
        (&json!("Tiny-1.0"), &json!("Feed the network twice a day."))
    );
    let (code, pulled) = place.json(&["pull", "tiny"]);
    let pulled = &pulled["packs"][0];
    assert_eq!((code, &pulled["is_new"], &pulled["directory"]), (0, &json!(true), &json!(TINY)), "{pulled}");
    let files = json!([{"name": "net.onnx", "bytes": NET.len(), "sha256": sha256(NET)}]);
    assert_eq!(
        (&pulled["manifest"]["files"], &pulled["manifest"]["archive"]["sha256"]),
        (&files, &json!(sha256(&draft.archive)))
    );
    let (_, again) = place.json(&["pull", "tiny"]);
    assert_eq!(again["packs"][0]["is_new"], false);
    expected["state"] = json!("installed");
    expected["directory"] = json!(TINY);
    assert_eq!(place.json(&["packs"]).1["packs"][0], expected);
    fs::write(place.path(TINY).join("net.onnx"), "short").unwrap();
    let (_, list) = place.json(&["packs"]);
    let (state, problem) = (&list["packs"][0]["state"], &list["packs"][0]["problem"]);
    assert_eq!(
        (state, problem),
        (&json!("damaged"), &json!(format!("`net.onnx` has 5 bytes instead of {}", NET.len())))
    );
    let removed = place.json(&["remove", "tiny", "parts"]);
    assert_eq!(removed, (0, json!({"removed": ["tiny"], "missing": ["parts"]})));
}

#[test]
fn mistakes_are_refused_before_anything_is_fetched() {
    let place = Place::new();
    fs::write(place.path("bad.toml"), "[[packs]]\nname = \"tiny\"\n").unwrap();
    let archive = place.registry.path().join(Draft::tiny().archive_name());
    let archive = archive.to_str().unwrap();
    for (arguments, message) in [
        (&["pull", "tiny", "part"][..], "there is no pack \"part\"; did you mean \"parts\"?"),
        (&["pull", "clip"], "there is no pack \"clip\"; give one of: tiny, parts, bound"),
        (&["remove", "clip"], "there is no pack \"clip\"; give one of: tiny, parts, bound"),
        (
            &["pull", "tiny", "--accept-licence", "Tiny"],
            "--accept-licence: there is no licence to be accepted \"Tiny\"; did you mean \"Tiny-1.0\"?",
        ),
        (
            &["pull", "tiny", "--models", "bad.toml"],
            "`models`: bad.toml is not a directory; give the directory that holds the models",
        ),
        (
            &["packs", "--models", "nowhere"],
            "`models`: nowhere is not a directory; give the directory that holds the models",
        ),
        (&["pull", "tiny", "parts", "--from", archive], "is one archive, but 2 packs are named; give a directory"),
        (&["pull"], "the following required arguments were not provided"),
        (&["pull", "tiny", "--timeout", "soon"], "invalid value 'soon' for '--timeout <TIME>'"),
    ] {
        let refused = place.run(arguments);
        assert!(refused.starts_with("ends with 2\nerrors:\n") && refused.contains(message), "{refused}");
    }
    for (catalogue, code, message) in [
        ("bad.toml", 2, "--catalogue: bad.toml: not a catalogue of packs: "),
        ("nowhere.toml", 1, "--catalogue: cannot read nowhere.toml: "),
    ] {
        let refused =
            transcript(&command(place.folder.path(), &["models", "packs", "--catalogue", catalogue]).output().unwrap());
        assert!(refused.starts_with(&format!("ends with {code}\nerrors:\nimgopen: {message}")), "{refused}");
    }
    assert!(!place.path("imgopen-data").exists());
    assert_eq!(place.programs.calls(), [""; 0]);
}

#[test]
fn a_licence_that_binds_is_shown_and_must_be_accepted() {
    let place = Place::new();
    let refused = place.run(&["pull", "tiny", "bound"]);
    let expected = "ends with 2\nerrors:\nimgopen: the pack \"bound\" is under Tiny-1.0, which must be accepted first:\n\n\
                    Feed the network twice a day.\n\n\
                    to accept it, run `imgopen models pull tiny bound --catalogue catalogue.toml --accept-licence Tiny-1.0`\n";
    assert_eq!(refused, expected);
    // Not even the one that needs no agreement.
    assert!(!place.path("imgopen-data").exists());
    let (code, refused) = place.json(&["pull", "bound"]);
    let licences = json!([{"pack": "bound", "accept_licence": "Tiny-1.0", "terms": "Feed the network twice a day."}]);
    assert_eq!((code, &refused["error"]["licences"]), (2, &licences), "{refused}");
    let pulled = place.run(&["pull", "tiny", "bound", "--accept-licence", "Tiny-1.0"]);
    assert!(pulled.starts_with("ends with 0\n"), "{pulled}");
    let manifest = fs::read(place.path("imgopen-data/models/packs/bound-1.0.0/pack.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&manifest).unwrap()["accepted"], "Tiny-1.0");
    // It was accepted.
    assert!(place.run(&["pull", "bound"]).starts_with("ends with 0\n"));
}

/// Without a catalogue of their own, commands use the built-in one.
#[test]
fn the_built_in_catalogue_has_packs_whose_licence_must_be_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), &["models", "packs", "--json"]).output().unwrap();
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = list["packs"].as_array().unwrap().iter().map(|pack| pack["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"background") && names.contains(&"safety"), "{names:?}");
    let upscale = list["packs"].as_array().unwrap().iter().find(|pack| pack["name"] == "upscale").unwrap();
    assert_eq!(upscale["operations"], json!(["super_resolution", "restore_face", "swap_face_v2"]));
    let list = transcript(&command(folder.path(), &["models", "packs"]).output().unwrap());
    assert!(list.contains("\n  for `super_resolution`, `restore_face`, `swap_face_v2`\n"), "{list}");
    assert!(list.contains("\n  for the audit of results, if `safety` in the settings asks for it\n"), "{list}");
    let refused = transcript(&command(folder.path(), &["models", "pull", "background"]).output().unwrap());
    let command = "to accept it, run `imgopen models pull background --accept-licence AGPL-3.0-only`\n";
    assert!(refused.starts_with("ends with 2\n") && refused.ends_with(command), "{refused}");
    assert!(refused.contains("GNU Affero General Public License"), "{refused}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_machine_without_a_network_pulls_from_a_file_or_a_directory() {
    let place = Place { programs: Programs::none(), ..Place::new() };
    let missing = place.run(&["pull", "tiny"]);
    let expected = format!(
        "ends with 1\nerrors:\nimgopen: `pip`, `pip3` or `python3 -m pip` is needed, and none that works is in PATH; install pip, \
         or run `{PIP}` on another machine and give the file that it fetches with `--from`\n"
    );
    assert_eq!(missing, expected);
    let (directory, archive) = (place.registry.path(), place.registry.path().join(Draft::tiny().archive_name()));
    assert!(place.run(&["pull", "tiny", "--from", archive.to_str().unwrap()]).starts_with("ends with 0\n"));
    assert!(place.run(&["remove", "tiny"]).starts_with("ends with 0\n"));
    let pulled = place.run(&["pull", "tiny", "parts", "--from", directory.to_str().unwrap()]);
    assert!(pulled.starts_with("ends with 0\n") && !pulled.contains("fetching"), "{pulled}");
    assert_eq!(place.names(), [".lock", "parts-2.0.0", "tiny-1.0.0"]);
    fs::create_dir(place.path("empty")).unwrap();
    place.run(&["remove", "tiny"]);
    let error = place.run(&["pull", "tiny", "--from", "empty"]);
    assert!(error.starts_with("ends with 1\n"), "{error}");
    assert!(
        error.contains("empty does not hold the file \"tiny_weights-1.0.0-py3-none-any.whl\" of the pack \"tiny\""),
        "{error}"
    );
}

/// Mirrors, proxies and keys are the user's. Where the file comes to lie, and whether there is one, is not.
#[test]
fn settings_of_package_managers_hold_unless_they_break_a_pull() {
    let place = Place::new();
    // As the real ones: `pip` reads variables, and `npm` reads them unless there is a flag.
    let [tiny, parts] = [Draft::tiny(), Draft::parts()]
        .map(|draft| fetching(&draft.save(place.registry.path()), &draft.archive_name()));
    let looked_at =
        "PIP_INDEX_URL PIP_REQUIREMENT PIP_CONSTRAINT PIP_PLATFORM PIP_REQUIRE_HASHES PIP_REQUIRE_VIRTUALENV";
    let variables = format!("for name in {looked_at}; do eval \"echo $name=\\$$name\" >>\"$here/variables\"; done");
    let away = "case \"$*\" in *--pack-destination*.*--no-dry-run*) ;; *) cd \"$npm_config_pack_destination\" ;; esac";
    let programs =
        Programs::none().with("pip", &format!("{variables}; {tiny}")).with("npm", &format!("{away}; {parts}"));
    let place = Place { programs, ..place };
    fs::create_dir(place.path("elsewhere")).unwrap();
    let mut pull = place.command(&["pull", "tiny", "parts"]);
    for (name, value) in [
        ("PIP_INDEX_URL", "https://mirror.example.com/simple"),
        ("PIP_REQUIREMENT", "requirements.txt"),
        ("PIP_CONSTRAINT", "constraints.txt"),
        ("PIP_PLATFORM", "win_amd64"),
        ("PIP_REQUIRE_HASHES", "1"),
        ("PIP_REQUIRE_VIRTUALENV", "1"),
    ] {
        pull.env(name, value);
    }
    pull.env("npm_config_pack_destination", place.path("elsewhere")).env("npm_config_dry_run", "true");
    let pulled = transcript(&pull.output().unwrap());
    assert!(pulled.starts_with("ends with 0\n"), "{pulled}");
    let seen = fs::read_to_string(place.programs.file("variables")).unwrap();
    let expected = "PIP_INDEX_URL=https://mirror.example.com/simple\nPIP_REQUIREMENT=\nPIP_CONSTRAINT=\nPIP_PLATFORM=\n\
                    PIP_REQUIRE_HASHES=0\nPIP_REQUIRE_VIRTUALENV=0\n";
    assert_eq!(seen, expected);
    assert_eq!(names(&place.path("elsewhere")), [""; 0]);
}

#[test]
fn another_file_than_the_archive_is_named_as_that() {
    let place = Place::new();
    let other = place.path("other.whl");
    fs::write(&other, "another file").unwrap();
    let refused = place.run(&["pull", "tiny", "--from", "other.whl"]);
    let expected = format!(
        "ends with 1\nerrors:\nimgopen: installing the pack \"tiny\"\nimgopen: other.whl is not the archive of the pack \"tiny\", \
         \"tiny_weights-1.0.0-py3-none-any.whl\"; give that file, which `{PIP}` fetches\n"
    );
    assert_eq!(refused, expected);
    // A file with its name was changed.
    let named = place.path(&Draft::tiny().archive_name());
    fs::write(&named, "another file").unwrap();
    let refused = place.run(&["pull", "tiny", "--from", named.to_str().unwrap()]);
    assert!(refused.contains("its size is 12 instead of") && refused.contains("fetch it again"), "{refused}");
}

#[test]
fn what_a_failed_pull_says_and_leaves() {
    let place = Place::new().with_pip(FAIL);
    // One that was pulled before the other failed stays.
    let failed = place.run(&["pull", "parts", "tiny"]);
    assert!(failed.starts_with("ends with 1\nerrors:\n"), "{failed}");
    let message = "imgopen: `pip` could not fetch tiny-weights 1.0.0: it ended with exit status: 1; it printed:\n\
                   ERROR: No matching distribution found\n";
    assert!(failed.ends_with(message), "{failed}");
    assert_eq!(place.names(), [".lock", "parts-2.0.0"]);
    let (code, failed) = place.json(&["pull", "tiny"]);
    assert_eq!((code, &failed["error"]["exit_code"]), (1, &json!(1)), "{failed}");
    let lie = Draft::tiny().with_archive(b"another file".to_vec());
    let file = place.registry.path().join("lie.whl");
    fs::write(&file, &lie.archive).unwrap();
    let place = place.with_pip(&fetching(&file, "tiny.whl"));
    let refused = place.run(&["pull", "tiny"]);
    assert!(
        refused.starts_with("ends with 1\n")
            && refused.contains("is not the archive of the pack \"tiny\": its size is 12"),
        "{refused}"
    );
    assert_eq!(place.names(), [".lock", "parts-2.0.0"]);
    let place = place.with_pip(HANG);
    let late = place.run(&["pull", "tiny", "--timeout", "1s"]);
    assert!(late.contains("`pip` has not fetched tiny-weights 1.0.0 within 1 seconds"), "{late}");
    assert_eq!(place.names(), [".lock", "parts-2.0.0"]);
}

#[cfg(target_os = "linux")]
mod linux {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::common::PATIENCE;
    use crate::common::program::{Background, Key};
    use crate::common::shim::{EIO, ENOSPC, Shim};

    /// Polls until something is there.
    fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            assert!(start.elapsed() < PATIENCE, "timed out, waiting until {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a process has ended.
    fn until_ended(id: u32) {
        until("the process has ended", || {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").map_or("Z", |(_, rest)| &rest[..1]);
            (state == "Z").then_some(())
        });
    }

    /// Nothing goes on, nothing counts as installed, and the next pull removes what is left.
    #[test]
    fn a_pull_that_is_killed_leaves_no_half_of_a_pack() {
        let place = Place::new().with_pip(HANG);
        let mut pull = place.command(&["pull", "tiny"]).spawn().unwrap();
        let pip = until("pip hangs", || place.programs.hanging());
        pull.kill().unwrap();
        pull.wait().unwrap();
        until_ended(pip);
        let names = place.names();
        assert!(names.len() == 2 && names[1].starts_with(".tiny-1.0.0.") && names[1].ends_with(".part"), "{names:?}");
        let (_, list) = place.json(&["packs"]);
        assert_eq!(list["packs"][0]["state"], "missing");
        // Others are not held up by it.
        assert!(place.run(&["pull", "parts"]).starts_with("ends with 0\n"));
        assert_eq!(place.names(), [".lock", "parts-2.0.0"]);
    }

    /// Whether this process ignores SIGHUP, as under `nohup`, and so what it starts.
    fn ignores_hangups() -> bool {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 == 1
    }

    /// By Ctrl-C, by what stops containers and units of systemd, and by a terminal that is closed.
    #[test]
    fn signals_end_a_pull_and_remove_what_it_had_fetched() {
        let signals = if ignores_hangups() { &["INT", "TERM"][..] } else { &["INT", "TERM", "HUP"] };
        for signal in signals {
            let place = Place::new().with_pip(HANG);
            let pull = Background::start(place.command(&["pull", "tiny"]));
            let pip = until("pip hangs", || place.programs.hanging());
            pull.signal(signal);
            let (status, output, errors) = pull.end();
            assert_eq!((status.code(), output.as_str()), (Some(130), ""), "{signal}: {errors}");
            assert!(errors.ends_with("imgopen: the pull was cancelled; what it had fetched was removed\n"), "{errors}");
            until_ended(pip);
            assert_eq!(place.names(), [".lock"]);
        }
    }

    /// As `nohup` has it.
    #[test]
    fn a_pull_goes_on_without_its_terminal_if_it_is_to() {
        let place = Place::new();
        let archive = place.registry.path().join(Draft::tiny().archive_name());
        let wait = "echo $$ >\"$here/pid\"; while [ ! -e \"$here/go\" ]; do /bin/sleep 0.1; done";
        let place = place.with_pip(&format!("{wait}; {}", fetching(&archive, "tiny.whl")));
        let pull = place.command(&["pull", "tiny"]);
        let mut deaf = Command::new("/bin/sh");
        deaf.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(pull.get_program()).args(pull.get_args());
        deaf.current_dir(place.folder.path()).env_clear().env("PATH", place.programs.path());
        let pull = Background::start(deaf);
        until("pip works", || place.programs.hanging());
        pull.signal("HUP");
        fs::write(place.programs.file("go"), "").unwrap();
        let (status, output, errors) = pull.end();
        assert!(status.success() && output.starts_with("tiny 1.0.0 is installed in"), "{output}{errors}");
    }

    #[test]
    fn of_two_pulls_at_the_same_time_one_fetches_and_the_other_waits() {
        let place = Place::new();
        let archive = place.registry.path().join(Draft::tiny().archive_name());
        let wait = "echo $$ >\"$here/pid\"; while [ ! -e \"$here/go\" ]; do /bin/sleep 0.1; done";
        let place = place.with_pip(&format!("{wait}; {}", fetching(&archive, "tiny.whl")));
        let first = Background::start(place.command(&["pull", "tiny"]));
        until("pip works", || place.programs.hanging());
        let second = Background::start(place.command(&["pull", "tiny"]));
        second.error_line("waiting until another process has ended its work on the packs");
        fs::write(place.programs.file("go"), "").unwrap();
        let (status, output, errors) = second.end();
        let already = format!("tiny 1.0.0 is already installed in {TINY}: 1 file, ");
        assert!(status.success() && output.starts_with(&already), "{output}{errors}");
        let (status, output, errors) = first.end();
        assert!(status.success() && output.starts_with("tiny 1.0.0 is installed in"), "{output}{errors}");
        assert_eq!(place.programs.calls().len(), 1);
        assert_eq!(place.names(), [".lock", "tiny-1.0.0"]);
    }

    #[test]
    fn a_disk_that_fails_leaves_no_half_of_a_pack() {
        let (place, shim) = (Place::new(), Shim::build());
        let pull = || {
            let mut pull = place.command(&["pull", "tiny"]);
            shim.preload(&mut pull);
            transcript(&pull.output().unwrap())
        };
        for (call, errno, file, message) in [
            ("write", ENOSPC, "/net.onnx", "No space left on device (os error 28); make room on the disk"),
            ("write", ENOSPC, "/pack.json", "No space left on device (os error 28); make room on the disk"),
            ("sync", EIO, "/LICENSE", "Input/output error (os error 5)"),
        ] {
            shim.fail(call, errno, file);
            let failed = pull();
            assert!(failed.starts_with("ends with 1\n") && failed.contains(&format!("{file}: {message}")), "{failed}");
            assert_eq!(place.names(), [".lock"]);
        }
        shim.heal();
        assert!(pull().starts_with("ends with 0\n"));
        assert_eq!(place.names(), [".lock", "tiny-1.0.0"]);
    }

    #[test]
    fn doctor_reads_installed_packs() {
        let place = Place::new();
        Key::create(&place.path("imgopen-data"));
        let findings = || {
            let output = command(place.folder.path(), &["doctor", "--json"]).output().unwrap();
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            let is_looked_at = report["checks"].as_array().unwrap().contains(&json!("packs"));
            let findings = report["findings"].as_array().unwrap().clone();
            (is_looked_at, findings.into_iter().filter(|finding| finding["check"] == "packs").collect::<Vec<_>>())
        };
        assert_eq!(findings(), (false, vec![]));
        assert!(place.run(&["pull", "tiny"]).starts_with("ends with 0\n"));
        assert_eq!(findings(), (true, vec![]));
        let net = place.path(TINY).join("net.onnx");
        fs::write(&net, [0_u8; NET.len()]).unwrap();
        let (_, found) = findings();
        assert_eq!((found.len(), &found[0]["fix"]), (1, &json!("run `imgopen models pull tiny`")));
        let problem = found[0]["problem"].as_str().unwrap();
        let expected = format!("the pack in {TINY} cannot be used: `net.onnx` was changed");
        assert!(problem.starts_with(&expected), "{problem}");
        assert_eq!(place.json(&["packs"]).1["packs"][0]["state"], "damaged");
        // What is advised helps.
        let part = place.path("imgopen-data/models/packs/.tiny-1.0.0.a1b2c3.part");
        for damage in [None, Some(&b"{"[..])] {
            if let Some(manifest) = damage {
                fs::write(place.path(TINY).join("pack.json"), manifest).unwrap();
            }
            let pulled = place.run(&["pull", "tiny"]);
            assert!(pulled.starts_with(&format!("ends with 0\ntiny 1.0.0 is installed in {TINY}: ")), "{pulled}");
            assert_eq!(findings(), (true, vec![]));
        }
        assert!(place.run(&["remove", "tiny"]).starts_with("ends with 0\ntiny is removed\n"));
        fs::create_dir(&part).unwrap();
        let (_, found) = findings();
        let expected = format!("a pull or a removal that was killed has left {}", part.file_name().unwrap().display());
        let problem = found[0]["problem"].as_str().unwrap().replace("imgopen-data/models/packs/", "");
        assert_eq!((found.len(), problem), (1, expected));
        assert!(place.run(&["pull", "tiny"]).starts_with("ends with 0\n"));
        assert_eq!((findings(), part.exists()), ((true, vec![]), false));
    }
}
