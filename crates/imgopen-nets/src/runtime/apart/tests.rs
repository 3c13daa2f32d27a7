use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;
use crate::onnx::builder::{Builder, Setting};
use crate::runtime::Rten;
use crate::tensor::Dimension;
use crate::{Limits, Net, NetError};

/// Set where this program is to run a net, as the one named after it.
const ROLE: &str = "IMGOPEN_TEST_NET";

/// A net of one number.
fn model(build: impl FnOnce(&mut Builder) -> String) -> Vec<u8> {
    let mut builder = Builder::new(1024, ["x".to_owned(), "y".to_owned()]);
    builder.input("x", &[Dimension::Fixed(1)]);
    builder.output("y", &[Dimension::Unknown]);
    let value = build(&mut builder);
    builder.node_as("Identity", &[&value], "y", &[]);
    builder.finish()
}

fn doubling() -> Vec<u8> {
    model(|builder| {
        let two = builder.number(2.0);
        builder.node("Mul", &["x", &two], &[])
    })
}

/// A net whose result has a million million thousand numbers for each one that it is given.
fn growing() -> Vec<u8> {
    model(|builder| {
        let many = builder.number(1e6);
        let more = builder.node("Mul", &["x", &many], &[]);
        let first = builder.node("Cast", &[&more], &[("to", Setting::Int(7))]);
        let others = builder.ints(&[1_000_000, 1000]);
        let shape = builder.node("Concat", &[&first, &others], &[("axis", Setting::Int(0))]);
        builder.node("ConstantOfShape", &[&shape], &[])
    })
}

/// This program, to which the harness of tests passes on a single test, which is the net's process. The variable is inherited, so
/// it is set by `env`.
fn apart(role: &str, patience: Duration) -> Apart {
    let program = std::env::current_exe().unwrap();
    let name = "runtime::apart::tests::the_process_of_a_net";
    let arguments = ["-u", "RUST_BACKTRACE", &format!("{ROLE}={role}")].map(OsString::from).into_iter();
    let arguments = arguments.chain([program.into_os_string()]).chain([name, "--exact", "--nocapture"].map(Into::into));
    let (program, arguments) = ("env".into(), arguments.collect());
    let variant = "rten of tests".to_owned();
    Apart::new(ApartSettings { program, arguments, runtime: "rten", variant, working: 1 << 30, patience })
}

const PATIENCE: Duration = Duration::from_secs(60);

/// What [`apart`] starts; alone, it does nothing.
#[test]
fn the_process_of_a_net() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let runtime = Rten::new(NonZeroUsize::MIN);
    let limit = |bytes: u64| {
        // 2 GiB for the process, 1 GiB for a run, and the file.
        assert!((3 << 30..(3 << 30) + 4096).contains(&bytes), "{bytes}");
        match role.as_str() {
            "dying" => std::process::abort(),
            "sleeping" => thread::sleep(Duration::from_secs(600)),
            // The shell has a `kill` of its own.
            "killed" => drop(Command::new("sh").args(["-c", "kill -KILL $PPID"]).status()),
            _ => {}
        }
    };
    let served = serve(&runtime, io::stdin(), io::stdout(), limit, || std::process::exit(0));
    assert!(served.is_err());
}

fn run(net: &Net, number: f32) -> Result<Vec<f32>, NetError> {
    let [made] = net.run(&[("x", &Tensor::new([1], vec![number]).unwrap())], ["y"])?;
    Ok(made.as_f32().unwrap().to_vec())
}

#[cfg(unix)]
#[test]
fn a_net_runs_in_a_process_of_its_own() {
    let runtime = apart("net", PATIENCE);
    assert_eq!((runtime.name(), runtime.variant().as_str()), ("rten", "rten of tests"));
    let net = Net::from_bytes("double.onnx", doubling(), &runtime, &Limits::default()).unwrap();
    assert_eq!((run(&net, 3.0), run(&net, -1.0)), (Ok(vec![6.0]), Ok(vec![-2.0])));
    let unknown = model(|builder| builder.node("Telepathy", &["x"], &[]));
    let error = Net::from_bytes("x.onnx", unknown, &runtime, &Limits::default()).unwrap_err();
    assert!(matches!(&error, NetError::File { problem, .. } if problem.contains("Telepathy")), "{error}");
}

/// Here, it would end the tests.
#[cfg(unix)]
#[test]
fn a_net_that_takes_too_much_memory_ends_its_own_process_alone() {
    let net = Net::from_bytes("grow.onnx", growing(), &apart("net", PATIENCE), &Limits::default()).unwrap();
    assert_eq!(run(&net, 0.0), Ok(Vec::new()));
    let expected = "the net in \"grow.onnx\" failed: it takes more memory than it may: memory allocation of 4000000000000000 bytes \
                    failed";
    for _ in 0..2 {
        assert_eq!(run(&net, 1.0).unwrap_err().to_string(), expected);
    }
}

#[cfg(unix)]
#[test]
fn a_process_that_dies_or_hangs_is_an_error_of_the_net() {
    let load = |role, patience| Net::from_bytes("x.onnx", doubling(), &apart(role, patience), &Limits::default());
    let error = load("dying", PATIENCE).unwrap_err();
    assert!(matches!(&error, NetError::File { problem, .. } if problem.contains("has ended: signal: 6")), "{error}");
    let begun = Instant::now();
    let error = load("sleeping", Duration::from_secs(5)).unwrap_err();
    assert!(error.to_string().ends_with("it had not ended after 5 seconds"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

/// As by a system that is short of memory: that says nothing about the net.
#[cfg(unix)]
#[test]
fn it_is_seen_that_a_process_was_ended_while_it_was_idle() {
    let lodged = Lodged(Mutex::new(Guest::start(&apart("net", PATIENCE).settings).unwrap()));
    assert!(!lodged.has_ended());
    let mut guest = lodged.0.lock().unwrap();
    guest.kill();
    // Nobody waits for a run that is under way.
    assert!(!lodged.has_ended());
    drop(guest);
    assert!(lodged.has_ended());
}

/// As by a system that is short of memory, or an operator: that says little about the net.
#[cfg(unix)]
#[test]
fn a_process_that_is_ended_from_outside_is_no_error_of_the_net() {
    let error = Net::from_bytes("x.onnx", doubling(), &apart("killed", PATIENCE), &Limits::default()).unwrap_err();
    let expected =
        "the net in \"x.onnx\" was interrupted: the process that ran it was ended from outside: signal: 9 (SIGKILL)";
    assert_eq!(error.to_string(), expected);
    assert!(matches!(error, NetError::Killed { .. }), "{error:?}");
    let mut guest = Guest::start(&apart("net", PATIENCE).settings).unwrap();
    guest.kill();
    let mut ask = || guest.ask(|to| wire::write_run(to, &[], &[])).unwrap_err();
    let error = ask();
    assert!(matches!(&error, ProgramError::Killed(problem) if problem.ends_with("signal: 9 (SIGKILL)")), "{error:?}");
    // What waited for the process was not under way in it, and is not to count again.
    let error = ask();
    assert!(matches!(&error, ProgramError::Runtime(problem) if problem.ends_with("signal: 9 (SIGKILL)")), "{error:?}");
}

/// It says nothing about the net, which is not to be refused for it.
#[test]
fn a_program_that_cannot_be_started_is_an_error_of_the_runtime() {
    let settings = ApartSettings {
        program: "/nowhere/imgopen".into(),
        arguments: Vec::new(),
        runtime: "rten",
        variant: "rten".to_owned(),
        working: 0,
        patience: PATIENCE,
    };
    let error = Net::from_bytes("x.onnx", doubling(), &Apart::new(settings), &Limits::default()).unwrap_err();
    assert!(matches!(&error, NetError::Runtime { runtime: "rten", .. }), "{error}");
}

#[test]
fn requests_are_served_in_order() {
    let mut input = Vec::new();
    let x = Tensor::new([1], vec![4.0_f32]).unwrap();
    wire::write_run(&mut input, &[("x", &x)], &[0]).unwrap();
    wire::write_load(&mut input, 7, &doubling()).unwrap();
    wire::write_run(&mut input, &[("x", &x)], &[0]).unwrap();
    let (limits, (ends, ended)) = (Mutex::new(Vec::new()), channel());
    let limit = |bytes| limits.lock().unwrap().push(bytes);
    let mut output = Vec::new();
    let runtime = Rten::new(NonZeroUsize::MIN);
    serve(&runtime, io::Cursor::new(input), &mut output, limit, move || ends.send(()).unwrap()).unwrap();
    ended.recv().unwrap();
    assert_eq!(*limits.lock().unwrap(), [7]);
    let mut from = output.as_slice();
    wire::read_greeting(&mut from).unwrap();
    let mut answer = || wire::read_answer(&mut from).unwrap();
    assert_eq!(answer(), Err("no net is loaded".to_owned()));
    assert_eq!(answer(), Ok(Vec::new()));
    assert_eq!(answer(), Ok(vec![Tensor::new([1], vec![8.0_f32]).unwrap()]));
}
