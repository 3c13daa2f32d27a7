//! The machine on which the service runs, and what goes wrong with it.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::common::load::{Load, Trouble};
use crate::common::program::{Program, imgopen};
use crate::common::shim::{EIO, EMFILE, ENOSPC, EROFS, Shim, rule};

/// No task fails because of interruptions, no callback is abandoned, and a stop is soon over. An Idempotency-Key holds longer
/// than the clock jumps.
const SETTINGS: [&str; 8] = [
    "workers=4",
    "attempts=1000",
    "callbacks.tries=1000",
    "callbacks.pauses=[\"50ms\"]",
    "callbacks.time=2s",
    "requests.idempotency=365d",
    "shutdown=2s",
    "pictures.time=10s",
];

/// The limit of open files, low enough for callers to use it up.
const DESCRIPTORS: u32 = 256;

/// What a stop may take beyond its limit on a busy machine.
const STOP: Duration = Duration::from_secs(30);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    Stop,
    Suspension,
    /// A call that fails with an error, for paths with a text.
    Call(&'static str, i32, &'static str),
    /// Hours.
    Clock(i64),
    Idle,
    Silent,
    HalfRequests,
    NoLog,
}

const FAULTS: [Fault; 18] = [
    Fault::Kill,
    Fault::Kill,
    Fault::Stop,
    Fault::Suspension,
    Fault::Call("write", ENOSPC, "/assets/"),
    Fault::Call("write", EIO, "/assets/"),
    Fault::Call("write", ENOSPC, ".sqlite3"),
    Fault::Call("sync", EIO, ".sqlite3-wal"),
    Fault::Call("write", EROFS, "/datasets/"),
    Fault::Call("socket", EMFILE, "-"),
    Fault::Call("accept", EMFILE, "-"),
    Fault::Clock(10),
    Fault::Clock(-10),
    Fault::Clock(240),
    Fault::Idle,
    Fault::Silent,
    Fault::HalfRequests,
    Fault::NoLog,
];

/// The machine.
pub struct Machine {
    data: PathBuf,
    shim: Shim,
    random: Rng,
    loads: Vec<Load>,
    trouble: Arc<Trouble>,
    program: Option<Program>,
    /// How far the clock is ahead.
    clock: i64,
    counts: BTreeMap<Fault, usize>,
    memory: u64,
    descriptors: usize,
    starts: Vec<Duration>,
}

impl Machine {
    /// Starts the service for these loads.
    pub fn start(data: &Path, seed: u64, loads: Vec<Load>, trouble: Arc<Trouble>) -> Self {
        let (shim, random) = (Shim::build(), Rng::with_seed(seed));
        let (counts, starts) = (BTreeMap::new(), Vec::new());
        let data = data.to_owned();
        let mut machine = Self {
            data,
            shim,
            random,
            loads,
            trouble,
            program: None,
            clock: 0,
            counts,
            memory: 0,
            descriptors: 0,
            starts,
        };
        machine.launch();
        machine
    }

    /// The address of the service.
    pub fn url(&self) -> &str {
        &self.program().url
    }

    fn program(&self) -> &Program {
        self.program.as_ref().unwrap()
    }

    fn launch(&mut self) {
        let begun = Instant::now();
        let mut command = Command::new("/bin/sh");
        command.env_clear().args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"")]);
        command.arg(imgopen().get_program());
        command.args(["serve", "--sandbox", "--listen", "127.0.0.1:0", "--allow-network", "127.0.0.0/8", "--data-dir"]);
        command.arg(&self.data);
        for setting in SETTINGS {
            command.args(["--set", setting]);
        }
        self.shim.preload(&mut command);
        let program = block_in_place(|| Program::start(command));
        self.starts.push(begun.elapsed());
        self.loads.iter().for_each(|load| load.serve_at(&program.url));
        self.program = Some(program);
    }

    /// Lets one thing go wrong for a while, and then nothing for a while.
    pub async fn go_wrong(&mut self) {
        let fault = *self.random.choice(&FAULTS).unwrap();
        *self.counts.entry(fault).or_default() += 1;
        let pause = Duration::from_millis(self.random.u64(200..1500));
        self.trouble.is_faulty.store(true, Ordering::SeqCst);
        self.suffer(fault, pause).await;
        self.trouble.is_faulty.store(false, Ordering::SeqCst);
        self.observe();
        assert!(self.program.as_mut().unwrap().is_running(), "{fault:?} ended the service: {}", self.program().log());
        sleep(Duration::from_millis(self.random.u64(200..800))).await;
    }

    async fn suffer(&mut self, fault: Fault, pause: Duration) {
        match fault {
            Fault::Kill => {
                self.observe();
                let program = self.program.take().unwrap();
                block_in_place(|| program.kill());
                self.launch();
            }
            Fault::Stop => {
                self.observe();
                let mut program = self.program.take().unwrap();
                program.terminate();
                let status = block_in_place(|| program.exit(STOP));
                assert!(status.success(), "{status}: {}", program.log());
                self.launch();
            }
            Fault::Suspension => {
                self.program().signal("STOP");
                sleep(pause).await;
                self.program().signal("CONT");
            }
            Fault::Call(call, errno, path) => {
                self.rules(&[rule(call, errno.into(), path)]);
                sleep(pause).await;
                self.rules(&[]);
            }
            Fault::Clock(hours) => {
                self.clock = if self.clock == 0 { hours * 60 * 60 } else { 0 };
                self.rules(&[]);
                sleep(pause).await;
            }
            Fault::Idle => self.hold(300, "", pause).await,
            Fault::Silent => self.hold(100, &"GET /docs HTTP/1.1\r\nhost: a\r\n\r\n".repeat(64), pause).await,
            Fault::HalfRequests => {
                let half = "POST /imgopen/v1/tasks/list HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n{";
                self.hold(100, half, pause).await;
            }
            Fault::NoLog => self.program().close_log(),
        }
    }

    /// Sets what fails, besides the clock.
    fn rules(&self, rules: &[String]) {
        let mut all = rules.to_vec();
        all.push(rule("clock", self.clock, "-"));
        self.shim.rules(&all);
    }

    /// Holds connections that have sent this.
    async fn hold(&self, count: usize, sent: &str, pause: Duration) {
        let address = self.url().strip_prefix("http://").unwrap();
        let hold = |_| {
            let mut caller = TcpStream::connect(address).ok()?;
            caller.set_write_timeout(Some(Duration::from_secs(1))).ok()?;
            // The service may have closed it already.
            let _ = caller.write_all(sent.as_bytes());
            Some(caller)
        };
        let held: Vec<_> = block_in_place(|| (0..count).filter_map(hold).collect());
        sleep(pause).await;
        drop(held);
    }

    /// Notes the most memory and descriptors.
    fn observe(&mut self) {
        let process = format!("/proc/{}", self.program().pid());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap_or_default();
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        let held = std::fs::read_dir(format!("{process}/fd")).map_or(0, Iterator::count);
        self.memory = self.memory.max(peak.unwrap_or(0));
        self.descriptors = self.descriptors.max(held);
    }

    /// Mends everything, and starts the service again.
    pub fn go_right(&mut self) {
        self.clock = 0;
        self.rules(&[]);
        let program = self.program.take().unwrap();
        block_in_place(|| program.stop());
        self.launch();
    }

    /// Stops the service, starts it once more, so that it deletes what killed runs left, and stops it. Returns what happened.
    pub fn stop(mut self) -> String {
        self.observe();
        self.program.take().unwrap().stop();
        self.launch();
        self.program.take().unwrap().stop();
        let faults: Vec<_> = self.counts.iter().map(|(fault, count)| format!("{count} × {fault:?}")).collect();
        let slowest = self.starts.iter().max().unwrap();
        format!(
            "{} faults: {}\npeak {} MiB, at most {} descriptors of {DESCRIPTORS}; {} starts, the slowest in {slowest:?}",
            self.counts.values().sum::<usize>(),
            faults.join(", "),
            self.memory / 1024,
            self.descriptors,
            self.starts.len()
        )
    }
}
