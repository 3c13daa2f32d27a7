use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::onnx::builder::{Builder, Weights};
use crate::runtime::{Program, ProgramError};
use crate::tensor::Tensor;

/// Counts what it loads, and says of what it has loaded that it has ended, if that is asked for.
#[derive(Debug, Clone, Default)]
struct Counting {
    loads: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

struct Nothing(Arc<AtomicBool>);

impl Runtime for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn load(&self, _: Vec<u8>, _: Option<usize>) -> Result<Box<dyn Program>, ProgramError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.ended.store(false, Ordering::SeqCst);
        Ok(Box::new(Nothing(self.ended.clone())))
    }
}

impl Program for Nothing {
    fn run(&self, _: &[(&str, &Tensor)], _: &[usize]) -> Result<Vec<Tensor>, ProgramError> {
        Ok(Vec::new())
    }

    fn has_ended(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

struct Place {
    folder: TempDir,
    runtime: Counting,
    sessions: Sessions,
}

impl Place {
    fn new(settings: SessionSettings) -> Self {
        let runtime = Counting::default();
        let sessions = Sessions::new(Arc::new(runtime.clone()), settings);
        Self { folder: tempfile::tempdir().unwrap(), runtime, sessions }
    }

    /// Writes a model with that many weights.
    fn file(&self, name: &str, weights: usize) -> PathBuf {
        let mut builder = Builder::new(4 * weights, ["y".to_owned()]);
        let value = builder.weights(Weights::F32, &[weights], &vec![0; 4 * weights]);
        builder.node_as("Identity", &[&value], "y", &[]);
        builder.output("y", &[]);
        let path = self.folder.path().join(name);
        fs::write(&path, builder.finish()).unwrap();
        path
    }

    fn loads(&self) -> usize {
        self.runtime.loads.load(Ordering::SeqCst)
    }
}

fn hour() -> SessionSettings {
    SessionSettings { idle: Duration::from_secs(3600), ..SessionSettings::default() }
}

#[test]
fn jobs_share_a_net_until_it_has_been_idle() {
    let place = Place::new(hour());
    let path = place.file("a.onnx", 10);
    let (one, other) = (place.sessions.open(&path).unwrap(), place.sessions.open(&path).unwrap());
    assert_eq!((place.loads(), one.file().name(), other.runtime()), (1, "a.onnx", "counting"));
    assert_eq!(place.sessions.resident(), one.file().weights());
    drop(one);
    // It is in use, for however long.
    let late = Instant::now() + Duration::from_secs(36_000);
    assert_eq!(place.sessions.shared.sweep(late), None);
    drop(other);
    let left = place.sessions.shared.sweep(Instant::now()).unwrap();
    assert!(left > Duration::from_secs(3000) && left <= Duration::from_secs(3600));
    drop(place.sessions.open(&path).unwrap());
    assert_eq!(place.loads(), 1);
    assert_eq!(place.sessions.shared.sweep(late), None);
    assert_eq!(place.sessions.resident(), 0);
    drop(place.sessions.open(&path).unwrap());
    assert_eq!(place.loads(), 2);
}

#[test]
fn idle_nets_are_dropped_by_themselves() {
    let place = Place::new(SessionSettings { idle: Duration::from_millis(1), ..SessionSettings::default() });
    let path = place.file("a.onnx", 10);
    drop(place.sessions.open(&path).unwrap());
    let begun = Instant::now();
    while place.sessions.resident() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is still loaded");
        thread::yield_now();
    }
}

#[test]
fn several_threads_load_a_net_once() {
    let place = Place::new(hour());
    let path = place.file("a.onnx", 10);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| place.sessions.open(&path).unwrap());
        }
    });
    assert_eq!(place.loads(), 1);
}

#[test]
fn a_file_that_has_changed_is_loaded_again() {
    let place = Place::new(hour());
    let path = place.file("a.onnx", 10);
    let before = place.sessions.open(&path).unwrap();
    place.file("a.onnx", 11);
    let after = place.sessions.open(&path).unwrap();
    assert_eq!(place.loads(), 2);
    assert_ne!(before.file().hash(), after.file().hash());
    assert_eq!(place.sessions.resident(), after.file().weights());
}

#[test]
fn of_idle_nets_those_used_last_stay() {
    let place = Place::new(hour());
    let [a, b, c] = ["a.onnx", "b.onnx", "c.onnx"].map(|name| place.file(name, 1000));
    let one = place.sessions.open(&a).unwrap().file().weights();
    let place = Place {
        sessions: Sessions::new(Arc::new(place.runtime.clone()), SessionSettings { resident: 2 * one, ..hour() }),
        ..place
    };
    for path in [&a, &b, &c] {
        drop(place.sessions.open(path).unwrap());
    }
    assert_eq!((place.sessions.resident(), place.loads()), (2 * one, 4));
    drop((place.sessions.open(&c).unwrap(), place.sessions.open(&b).unwrap()));
    assert_eq!(place.loads(), 4);
    drop(place.sessions.open(&a).unwrap());
    assert_eq!(place.loads(), 5);
}

#[test]
fn a_broken_file_is_refused_by_its_name_and_may_be_replaced() {
    let place = Place::new(hour());
    let path = place.folder.path().join("a.onnx");
    let error = place.sessions.open(&path).unwrap_err();
    assert!(error.to_string().starts_with("the model file \"a.onnx\" cannot be used: "), "{error}");
    fs::write(&path, "<html>").unwrap();
    let error = place.sessions.open(&path).unwrap_err().to_string();
    assert!(!error.contains(place.folder.path().to_str().unwrap()), "{error}");
    place.file("a.onnx", 10);
    assert!(place.sessions.open(&path).is_ok());
}

#[test]
fn files_that_are_opened_apart_are_loaded_by_their_own_runtime() {
    let (usual, apart) = (Counting::default(), Counting::default());
    let settings = SessionSettings::default();
    let sessions = Sessions::with_apart(Arc::new(usual.clone()), Arc::new(apart.clone()), settings);
    let place = Place::new(settings);
    let loads = || [&usual, &apart].map(|runtime| runtime.loads.load(Ordering::SeqCst));
    let (one, other) = (place.file("one.onnx", 1), place.file("other.onnx", 1));
    let _held = (sessions.open_apart(&one).unwrap(), sessions.open_apart(&one).unwrap());
    assert_eq!(loads(), [0, 1]);
    let _held = sessions.open(&other).unwrap();
    assert_eq!(loads(), [1, 1]);
}

#[test]
fn a_net_whose_process_has_ended_is_loaded_again() {
    let place = Place::new(hour());
    let path = place.file("a.onnx", 10);
    drop(place.sessions.open(&path).unwrap());
    place.runtime.ended.store(true, Ordering::SeqCst);
    drop(place.sessions.open(&path).unwrap());
    drop(place.sessions.open(&path).unwrap());
    assert_eq!(place.loads(), 2);
}
