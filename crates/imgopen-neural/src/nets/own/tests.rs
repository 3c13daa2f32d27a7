use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use imgopen_nets::Tensor;
use imgopen_nets::runtime::{Program, ProgramError, Rten};
use tempfile::TempDir;

use super::super::testing::*;
use super::*;

fn own(models: &Path, runtime: Arc<dyn Runtime>) -> Own {
    Own::new(models, Limits { file: 4 << 20, ..Limits::default() }, runtime)
}

/// A models directory.
struct Models {
    directory: TempDir,
    own: Own,
}

impl Models {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = own(directory.path(), Arc::new(Rten::new(NonZeroUsize::MIN)));
        Self { directory, own }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Gives a file a time of its own, so that a change is seen however coarse the times of files are.
    fn touch(&self, path: &str, seconds: u64) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        File::options().write(true).open(self.path(path)).unwrap().set_modified(time).unwrap();
    }

    fn names(&self, role: Role) -> Vec<String> {
        match self.own.held(role) {
            Held::Whole(all) => all.iter().map(|weights| weights.file.name().to_owned()).collect(),
            Held::Missing | Held::Broken(_) => Vec::new(),
        }
    }

    fn all(&self) -> Vec<String> {
        self.own.names(&Role::ALL)
    }

    /// What was found to be unusable, with whether that was logged.
    fn problems(&self) -> Vec<(String, bool)> {
        let files = lock(&self.own.files);
        let problem = |seen: &Seen| match &seen.finding {
            Finding::Unusable(unusable) => Some((unusable.problem.clone(), seen.is_logged)),
            Finding::Net(..) | Finding::Changing => None,
        };
        files.values().filter_map(problem).collect()
    }
}

#[test]
fn nets_are_found_in_the_folders_that_people_have() {
    let models = Models::new();
    models.write("wd14_tagger/tags.txt", "a tag\n".repeat(9083).as_bytes());
    for (path, net, role) in [
        ("RealESRGAN/x.onnx", esrgan(), Role::Upscaling),
        ("Codeformer/codeformer.onnx", codeformer(), Role::FaceRestoration),
        ("insightface/inswapper_128.onnx", inswapper(), Role::FaceSwap),
        ("insightface/models/buffalo_l/w600k_r50.onnx", arcface(), Role::FaceRecognition),
        ("U2Net/model.ONNX", u2net(), Role::Segmentation),
        ("lama/1.onnx", lama(), Role::Inpainting),
        ("wd14_tagger/model.onnx", tagger(448), Role::Tags),
        ("Depth-Anything/net.onnx", depth(), Role::Depth),
    ] {
        models.write(path, &net);
        models.own.look();
        assert_eq!(models.names(role), [path.rsplit('/').next().unwrap()], "{path}");
    }
    assert_eq!(models.all().len(), 8);
    let Held::Whole(swap) = models.own.held(Role::FaceSwap) else { panic!() };
    assert_eq!(swap[0].origin, Origin::Own("insightface".to_owned()));
    let digits = &swap[0].file.hash()[..12];
    assert_eq!(swap[0].described(), format!("`inswapper_128.onnx` (SHA-256 {digits}…) of your own in `insightface/`"));
}

#[test]
fn the_first_by_name_is_used_and_its_removal_is_seen() {
    let models = Models::new();
    models.write("GFPGAN/b.onnx", &gfpgan());
    models.write("Codeformer/A.onnx", &codeformer());
    models.own.look();
    assert_eq!(models.names(Role::FaceRestoration), ["A.onnx"]);
    fs::remove_file(models.path("Codeformer/A.onnx")).unwrap();
    models.own.look();
    assert_eq!(models.names(Role::FaceRestoration), ["b.onnx"]);
    fs::remove_dir_all(models.path("GFPGAN")).unwrap();
    models.own.look();
    assert!(models.all().is_empty() && models.names(Role::FaceRestoration).is_empty());
}

#[test]
fn the_folder_decides_between_roles_with_one_signature() {
    let models = Models::new();
    models.write("rembg/net.onnx", &isnet());
    models.write("depth/net.onnx", &isnet());
    models.own.look();
    assert_eq!((models.names(Role::Segmentation).len(), models.names(Role::Depth).len()), (1, 1));
}

#[test]
fn what_cannot_be_used_is_logged_once_with_the_reason_and_not_offered() {
    let models = Models::new();
    let whole = u2net();
    models.write("rembg/1-text.onnx", b"this is a text");
    models.write("rembg/2-truncated.onnx", &whole[..whole.len() / 2]);
    models.write("rembg/3-pickle.onnx", b"\x80\x02}q\x00(X\x05\x00\x00\x00stateq\x01ctorch._utils\n");
    models.write("rembg/4-empty.onnx", b"");
    models.write("rembg/5-large.onnx", &vec![0; (4 << 20) + 1]);
    models.write("rembg/6-other.onnx", &arcface());
    models.write("rembg/7-unknown.onnx", &net(&[("x", &[1, 7])], &[("y", &[1, 7])], &["Relu"], &[]));
    models.write("rembg/8-weights.pth", b"PK");
    models.write("rembg/9.onnx/readme.txt", b"a directory");
    models.write("rembg/.hidden.onnx", &whole);
    models.write("elsewhere/net.onnx", &whole);
    models.own.look();
    assert!(models.all().is_empty());
    let before = models.problems();
    assert!(before.len() == 8 && before.iter().all(|(_, is_logged)| !is_logged), "{before:?}");
    models.own.look();
    let problems = models.problems();
    assert!(problems.iter().all(|(_, is_logged)| *is_logged));
    for ((problem, _), expected) in problems.iter().zip([
        "\"1-text.onnx\"",
        "\"2-truncated.onnx\"",
        "\"3-pickle.onnx\"",
        "\"4-empty.onnx\" cannot be used: it is not an ONNX model",
        "it has 4194305 bytes; at most 4194304 are read; use a smaller net",
        "`rembg` is for background removal; it takes `input.1` (float, side_0x3x112x112); returns `683` (float, 1x512), and \
         can be used for face recognition, in `insightface`",
        "it is not a net that is known: it takes `x` (float, 1x7); returns `y` (float, 1x7); `rembg` is for background removal",
        "only ONNX files are run; convert it to ONNX",
    ]) {
        assert!(problem.contains(expected), "{problem} {expected}");
    }
}

#[test]
fn a_survey_has_every_file_with_what_it_is() {
    let models = Models::new();
    models.write("ESRGAN/a.onnx", &esrgan());
    models.write("ESRGAN/b.pth", b"PK");
    models.write("ESRGAN/c.onnx", b"no net");
    let files = models.own.survey();
    let states: Vec<_> =
        files.iter().map(|file| (file.purpose.as_deref(), file.problem.is_some(), file.is_broken)).collect();
    assert_eq!(states, [(Some("super resolution"), false, false), (None, true, false), (None, true, true)]);
    let first = &files[0];
    assert_eq!((first.path.clone(), first.folder.as_str()), (models.path("ESRGAN/a.onnx"), "ESRGAN"));
    assert_eq!((first.bytes, first.hash.as_ref().map(String::len)), (esrgan().len() as u64, Some(64)));
    assert!(Models::new().own.survey().is_empty());
}

#[test]
fn a_file_that_is_replaced_counts_again() {
    let models = Models::new();
    models.write("u2net/net.onnx", &u2net());
    models.touch("u2net/net.onnx", 1);
    models.own.look();
    let Held::Whole(before) = models.own.held(Role::Segmentation) else { panic!() };
    models.write("u2net/net.onnx", &isnet());
    models.touch("u2net/net.onnx", 2);
    models.own.look();
    let Held::Whole(after) = models.own.held(Role::Segmentation) else { panic!() };
    assert_ne!(before[0].file.hash(), after[0].file.hash());
    // Half of it: it does not count, and while it grows it is not read.
    let whole = isnet();
    for (part, seconds) in [(2, 3), (3, 4)] {
        models.write("u2net/net.onnx", &whole[..whole.len() * part / 4]);
        models.touch("u2net/net.onnx", seconds);
        models.own.look();
        assert!(models.all().is_empty());
    }
    assert!(models.problems().is_empty());
    models.write("u2net/net.onnx", &whole);
    models.touch("u2net/net.onnx", 5);
    models.own.look();
    assert!(models.all().is_empty());
    models.own.look();
    assert_eq!(models.names(Role::Segmentation), ["net.onnx"]);
}

#[test]
fn files_that_have_not_changed_are_not_read_again() {
    let models = Models::new();
    models.write("lama/net.onnx", &lama());
    models.touch("lama/net.onnx", 1);
    models.own.look();
    let Held::Whole(before) = models.own.held(Role::Inpainting) else { panic!() };
    models.own.look();
    let Held::Whole(after) = models.own.held(Role::Inpainting) else { panic!() };
    assert!(Arc::ptr_eq(&before[0].file, &after[0].file));
}

#[test]
fn a_net_that_is_refused_does_not_count_until_its_file_changes() {
    let models = Models::new();
    models.write("ESRGAN/net.onnx", &esrgan());
    models.touch("ESRGAN/net.onnx", 1);
    models.own.look();
    let Held::Whole(held) = models.own.held(Role::Upscaling) else { panic!() };
    models.own.reject(&held[0], "it does not enlarge");
    assert!(models.all().is_empty());
    models.own.look();
    assert!(models.all().is_empty());
    models.write("ESRGAN/net.onnx", &esrgan());
    models.touch("ESRGAN/net.onnx", 2);
    models.own.look();
    models.own.look();
    assert_eq!(models.names(Role::Upscaling), ["net.onnx"]);
}

/// A runtime that counts its runs, and fails as it is said.
#[derive(Debug, Clone, Default)]
struct Counting {
    loads: Arc<AtomicUsize>,
    runs: Arc<AtomicUsize>,
    load_error: Option<ProgramError>,
    run_error: Option<&'static str>,
    /// How many of the next runs are ended from outside.
    kills: Arc<AtomicUsize>,
    /// What it runs nets on.
    provider: &'static str,
}

impl Runtime for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn variant(&self) -> String {
        format!("counting on {}", self.provider)
    }

    fn load(&self, _: Vec<u8>, _: Option<usize>) -> Result<Box<dyn Program>, ProgramError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.load_error.clone().map_or_else(|| Ok(Box::new(self.clone()) as Box<dyn Program>), Err)
    }
}

impl Program for Counting {
    fn run(&self, inputs: &[(&str, &Tensor)], _: &[usize]) -> Result<Vec<Tensor>, ProgramError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        if self.kills.load(Ordering::SeqCst) > 0 {
            self.kills.fetch_sub(1, Ordering::SeqCst);
            return Err(ProgramError::Killed("signal: 9 (SIGKILL)".to_owned()));
        }
        self.run_error.map_or_else(|| Ok(vec![inputs[0].1.clone()]), |error| Err(error.to_owned().into()))
    }
}

impl Counting {
    fn counts(&self) -> (usize, usize) {
        (self.loads.load(Ordering::SeqCst), self.runs.load(Ordering::SeqCst))
    }
}

#[test]
fn a_net_is_tried_once_and_one_that_fails_never_again() {
    let models = Models::new();
    models.write("lama/net.onnx", &lama());
    models.touch("lama/net.onnx", 1);
    let good = Counting::default();
    for _ in 0..2 {
        let own = own(models.directory.path(), Arc::new(good.clone()));
        own.look();
        assert_eq!(own.names(&Role::ALL), ["net.onnx"]);
    }
    assert_eq!(good.counts(), (1, 1));
    // As after an upgrade that has another opinion.
    fs::remove_file(models.path(".imgopen-nets.json")).unwrap();
    let bad = Counting { run_error: Some("it takes more memory than it may"), ..Counting::default() };
    let expected = "the net in \"net.onnx\" failed: it takes more memory than it may";
    for _ in 0..2 {
        let own = own(models.directory.path(), Arc::new(bad.clone()));
        let files = own.survey();
        assert_eq!((files[0].problem.as_deref(), files[0].is_broken), (Some(expected), true));
        assert_eq!((own.names(&Role::ALL).len(), own.problem(Role::Inpainting)), (0, Some(expected.to_owned())));
    }
    assert_eq!(bad.counts(), (1, 1));
    models.touch("lama/net.onnx", 2);
    own(models.directory.path(), Arc::new(bad.clone())).look();
    assert_eq!(bad.counts(), (2, 2));
}

#[test]
fn a_net_that_is_refused_is_not_run_at_the_next_start() {
    let models = Models::new();
    models.write("ESRGAN/net.onnx", &esrgan());
    models.own.look();
    let Held::Whole(held) = models.own.held(Role::Upscaling) else { panic!() };
    models.own.reject(&held[0], "it fails on pictures");
    let again = own(models.directory.path(), Arc::new(Rten::new(NonZeroUsize::MIN)));
    assert_eq!(again.survey()[0].problem.as_deref(), Some("it fails on pictures"));
    assert!(again.names(&Role::ALL).is_empty());
}

#[test]
fn a_runtime_that_does_not_work_says_nothing_about_a_net() {
    let models = Models::new();
    models.write("lama/net.onnx", &lama());
    let load_error = Some(ProgramError::Runtime("no process can be started".to_owned()));
    for (load_error, names) in [(load_error, 1), (None, 1)] {
        let own = own(models.directory.path(), Arc::new(Counting { load_error, ..Counting::default() }));
        own.look();
        assert_eq!(own.names(&Role::ALL).len(), names);
    }
    let load_error = Some(ProgramError::Model("it has an operator that is not known".to_owned()));
    let refusing = Counting { load_error, ..Counting::default() };
    fs::remove_file(models.path(".imgopen-nets.json")).unwrap();
    let own = own(models.directory.path(), Arc::new(refusing));
    own.look();
    assert!(own.problem(Role::Inpainting).is_some_and(|problem| problem.contains("an operator that is not known")));
}

#[test]
fn a_tagger_counts_while_the_names_of_its_tags_are_beside_it() {
    let models = Models::new();
    models.write("tagger/wd.onnx", &tagger(448));
    models.own.look();
    let missing = "the names of the tags of `wd.onnx` are not known: neither `selected_tags.csv` nor `tags.txt` is beside it; put the \
                   one that belongs to it into the same directory";
    let state = || (models.all(), models.own.problem(Role::Tags));
    assert_eq!(state(), (Vec::new(), Some(missing.to_owned())));
    // Those of another net.
    models.write("tagger/tags.txt", b"a tag\n");
    (0..2).for_each(|_| models.own.look());
    let (names, problem) = state();
    assert!(names.is_empty() && problem.unwrap().contains("it scores 9083 tags, and `tags.txt` names 1"));
    models.write("tagger/tags.txt", "a tag\n".repeat(9083).as_bytes());
    (0..2).for_each(|_| models.own.look());
    assert_eq!(state(), (vec!["wd.onnx".to_owned()], None));
    fs::remove_file(models.path("tagger/tags.txt")).unwrap();
    models.own.look();
    assert_eq!(state(), (Vec::new(), Some(missing.to_owned())));
}

#[test]
fn a_tagger_that_does_not_declare_its_scores_needs_as_many_names_as_it_makes() {
    let models = Models::new();
    models.write("tagger/wd.onnx", &open_tagger());
    let put = |names: usize| models.write("tagger/tags.txt", "a tag\n".repeat(names).as_bytes());
    put(3);
    models.own.look();
    assert_eq!((models.all(), models.own.problem(Role::Tags)), (vec!["wd.onnx".to_owned()], None));
    // Those of another net; the trial was noted.
    put(2);
    let restarted = own(models.directory.path(), Arc::new(Rten::new(NonZeroUsize::MIN)));
    for own in [&models.own, &restarted] {
        own.look();
        let problem = own.problem(Role::Tags).unwrap();
        assert!(
            own.names(&Role::ALL).is_empty() && problem.contains("it scores 3 tags, and `tags.txt` names 2"),
            "{problem}"
        );
    }
    // That says nothing of the net.
    put(3);
    (0..2).for_each(|_| restarted.look());
    assert_eq!((restarted.names(&Role::ALL), restarted.problem(Role::Tags)), (vec!["wd.onnx".to_owned()], None));
}

/// As a denoiser among nets that enlarge.
#[test]
fn a_net_that_does_not_enlarge_is_refused_by_its_trial() {
    let models = Models::new();
    models.write("ESRGAN/1x.onnx", &enlarging(1));
    models.write("ESRGAN/2x.onnx", &enlarging(2));
    models.write("ESRGAN/9x.onnx", &enlarging(9));
    let problem = |side: usize| {
        format!(
            "cannot be used: it makes 1x3x{side}x{side} out of 1x3x32x32; a net for super resolution enlarges 2 to 8 times"
        )
    };
    // As noted, too.
    for own in [&models.own, &own(models.directory.path(), Arc::new(Rten::new(NonZeroUsize::MIN)))] {
        let files = own.survey();
        let found: Vec<_> = files.iter().map(|file| (file.purpose.as_deref(), file.problem.as_deref())).collect();
        let [(None, Some(once)), (Some("super resolution"), None), (None, Some(nine))] = found[..] else {
            panic!("{found:?}")
        };
        assert!(once.ends_with(&problem(32)) && nine.ends_with(&problem(288)), "{found:?}");
        assert_eq!(own.names(&[Role::Upscaling]), ["2x.onnx"]);
    }
}

/// As of a GPU that has too little memory, and one that lacks operators.
#[test]
fn what_one_provider_makes_of_a_net_does_not_hold_for_another() {
    let models = Models::new();
    models.write("lama/net.onnx", &lama());
    let cuda = Counting { run_error: Some("out of memory"), provider: "cuda:0", ..Counting::default() };
    let cpu = Counting { provider: "cpu", ..Counting::default() };
    let usable = |runtime: &Counting| {
        let own = own(models.directory.path(), Arc::new(runtime.clone()));
        own.look();
        own.names(&Role::ALL).len()
    };
    assert_eq!((usable(&cuda), usable(&cpu), usable(&cuda), usable(&cpu)), (0, 1, 0, 1));
    assert_eq!((cuda.counts().1, cpu.counts().1), (1, 1));
}

#[test]
fn a_trial_that_is_interrupted_is_repeated_and_then_waits_for_a_restart_or_a_touch() {
    let models = Models::new();
    models.write("lama/net.onnx", &lama());
    models.touch("lama/net.onnx", 1);
    let runtime = Counting::default();
    let own = || own(models.directory.path(), Arc::new(runtime.clone()));
    runtime.kills.store(2, Ordering::SeqCst);
    let refusing = own();
    refusing.look();
    assert_eq!(
        refusing.problem(Role::Inpainting).as_deref(),
        Some(
            "the net in \"net.onnx\" was interrupted: signal: 9 (SIGKILL), twice in a row; touch the file, or restart the service, to \
             have it tried again"
        )
    );
    refusing.look();
    assert_eq!((runtime.counts().1, refusing.names(&Role::ALL).len()), (2, 0));
    models.touch("lama/net.onnx", 2);
    (0..2).for_each(|_| refusing.look());
    assert_eq!(refusing.names(&Role::ALL), ["net.onnx"]);
    // Another start knows nothing of it, and one interruption says nothing.
    fs::remove_file(models.path(".imgopen-nets.json")).unwrap();
    runtime.kills.store(2, Ordering::SeqCst);
    own().look();
    assert!(!models.path(".imgopen-nets.json").exists());
    runtime.kills.store(1, Ordering::SeqCst);
    let again = own();
    again.look();
    assert_eq!((again.names(&Role::ALL).len(), again.problem(Role::Inpainting)), (1, None));
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_forever() {
    use std::os::unix::fs::symlink;
    let models = Models::new();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("net.onnx"), lama()).unwrap();
    symlink(elsewhere.path(), models.path("LaMa")).unwrap();
    symlink(elsewhere.path(), elsewhere.path().join("again")).unwrap();
    symlink(elsewhere.path().join("missing.onnx"), elsewhere.path().join("broken.onnx")).unwrap();
    models.own.look();
    assert_eq!(models.names(Role::Inpainting), ["net.onnx"]);
    assert_eq!((models.all().len(), models.problems().len()), (1, 0));
}

#[cfg(unix)]
#[test]
fn a_file_that_becomes_readable_counts() {
    use std::os::unix::fs::PermissionsExt;
    let models = Models::new();
    models.write("lama/net.onnx", &lama());
    let set = |mode| fs::set_permissions(models.path("lama/net.onnx"), fs::Permissions::from_mode(mode)).unwrap();
    set(0o000);
    if File::open(models.path("lama/net.onnx")).is_ok() {
        // The administrator may read everything.
        return;
    }
    models.own.look();
    assert_eq!((models.all().len(), models.problems().len()), (0, 1));
    set(0o644);
    models.own.look();
    models.own.look();
    assert_eq!(models.names(Role::Inpainting), ["net.onnx"]);
}

#[test]
fn nobody_waits_while_a_net_is_tried() {
    let models = Models::new();
    models.write("GFPGAN/a.onnx", &gfpgan());
    models.write("lama/b.onnx", &lama());
    let (runtime, begun, end) = Waiting::new();
    let own = own(models.directory.path(), Arc::new(runtime));
    end.send(()).unwrap();
    thread::scope(|scope| {
        let look = scope.spawn(|| own.look());
        (0..2).for_each(|_| begun.recv_timeout(LONG).unwrap());
        // The second is tried, and the first counts already.
        assert_eq!(own.names(&Role::ALL), ["a.onnx"]);
        let Held::Whole(held) = own.held(Role::FaceRestoration) else { panic!() };
        own.reject(&held[0], "it fails on pictures");
        assert_eq!((own.names(&Role::ALL).len(), own.problem(Role::Inpainting)), (0, None));
        end.send(()).unwrap();
        look.join().unwrap();
    });
    assert_eq!(own.names(&Role::ALL), ["b.onnx"]);
    assert_eq!(own.problem(Role::FaceRestoration).as_deref(), Some("it fails on pictures"));
}

/// Both were being written when they were last looked at.
#[test]
fn a_file_that_no_longer_changes_counts_while_others_are_tried() {
    let models = Models::new();
    let (runtime, begun, end) = Waiting::new();
    let own = own(models.directory.path(), Arc::new(runtime));
    for (seconds, restoring, inpainting) in [(1, b"no net".to_vec(), b"no net".to_vec()), (2, gfpgan(), lama())] {
        for (path, bytes) in [("GFPGAN/a.onnx", restoring), ("lama/b.onnx", inpainting)] {
            models.write(path, &bytes);
            models.touch(path, seconds);
        }
        own.look();
    }
    end.send(()).unwrap();
    thread::scope(|scope| {
        let look = scope.spawn(|| own.look());
        (0..2).for_each(|_| begun.recv_timeout(LONG).unwrap());
        assert_eq!(own.names(&Role::ALL), ["a.onnx"]);
        end.send(()).unwrap();
        look.join().unwrap();
    });
}

#[cfg(unix)]
#[test]
fn links_are_followed_once() {
    use std::os::unix::fs::symlink;
    let models = Models::new();
    models.write("ESRGAN/net.onnx", &esrgan());
    models.write("elsewhere/other.onnx", &esrgan());
    let drive = tempfile::tempdir().unwrap();
    fs::create_dir(drive.path().join("deep")).unwrap();
    fs::write(drive.path().join("deep/net.onnx"), esrgan()).unwrap();
    symlink(drive.path(), drive.path().join("deep/back")).unwrap();
    for (target, link) in [(".", "ESRGAN/a"), ("..", "ESRGAN/b"), ("../ESRGAN", "ESRGAN/c"), ("nowhere", "ESRGAN/d")] {
        symlink(target, models.path(link)).unwrap();
    }
    symlink(drive.path(), models.path("RealESRGAN")).unwrap();
    let paths: Vec<_> = models.own.survey().into_iter().map(|file| file.path).collect();
    assert_eq!(paths, [models.path("ESRGAN/net.onnx"), models.path("RealESRGAN/deep/net.onnx")]);
}
