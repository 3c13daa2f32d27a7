//! The binary as a child process.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use imgopen_client::{Client, Credentials};
use serde_json::Value;

use super::PATIENCE;

/// Returns the command with an empty environment.
pub fn imgopen() -> Command {
    // Another build can be tried by naming it.
    let program = std::env::var_os("IMGOPEN_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_imgopen").into());
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    command
}

/// The flag for the database that stands in place of that in a data directory, if the tests are run on PostgreSQL.
pub fn database(folder: &Path) -> Vec<String> {
    let url = super::postgres::instead_of(folder).map(|database| database.url());
    url.map_or_else(Vec::new, |url| vec!["--database".to_owned(), url])
}

/// A running service, killed when dropped.
pub struct Program {
    child: Child,
    /// The URL that it printed.
    pub url: String,
    /// What it printed before the URL.
    pub greeting: String,
    log: Arc<Mutex<String>>,
    is_deaf: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Program {
    /// Starts `imgopen serve` on a data directory, with the sandbox, and waits until it is ready.
    pub fn serve(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = imgopen();
        command.args(["serve", "--sandbox", "--listen", "127.0.0.1:0", "--allow-network", "127.0.0.0/8"]);
        // A short lease, because tests start the service again at once. It does nothing without a database.
        command.env("IMGOPEN_SERVE_DATABASE__LEASE", "1s");
        command.arg("--data-dir").arg(folder).args(database(folder)).args(arguments);
        Self::start(command)
    }

    /// Starts a command that serves and waits until it is ready.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (log, mut errors) = (Arc::<Mutex<String>>::default(), BufReader::new(child.stderr.take().unwrap()));
        let (copy, is_deaf) = (log.clone(), Arc::<AtomicBool>::default());
        let switch = is_deaf.clone();
        let reader = std::thread::spawn(move || {
            let mut line = String::new();
            while !switch.load(Ordering::SeqCst) && errors.read_line(&mut line).is_ok_and(|length| length > 0) {
                copy.lock().unwrap().push_str(&std::mem::take(&mut line));
            }
        });
        let lines = lines(child.stdout.take().unwrap());
        let mut program =
            Self { child, url: String::new(), greeting: String::new(), log, is_deaf, reader: Some(reader) };
        program.await_ready(&lines);
        program
    }

    fn await_ready(&mut self, lines: &Receiver<String>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => match line.strip_prefix("ready: ") {
                    Some(url) => return self.url = url.to_owned(),
                    None => self.greeting += &format!("{line}\n"),
                },
                Err(error) => panic!("{error}: it is not ready; it printed {}{}", self.greeting, self.log()),
            }
        }
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Kills it with SIGKILL and returns its log.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.whole_log()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status().unwrap().success());
    }

    /// Closes its standard error after the next line.
    pub fn close_log(&self) {
        self.is_deaf.store(true, Ordering::SeqCst);
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its exit.
    pub fn exit(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it still runs after {within:?}; its log is {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it and returns its log.
    pub fn stop(mut self) -> String {
        self.terminate();
        let status = self.exit(PATIENCE);
        let log = self.whole_log();
        assert!(status.success(), "{status}: {log}");
        log
    }

    fn whole_log(&mut self) -> String {
        self.reader.take().unwrap().join().unwrap();
        self.log()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the lines of a stream in the background, so that the writer is never blocked.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// An access key.
#[derive(Debug, Clone)]
pub struct Key {
    pub id: String,
    pub secret: String,
    pub signing: String,
}

impl Key {
    /// Creates a key with the command line.
    pub fn create(folder: &Path) -> Self {
        let mut command = imgopen();
        command.args(["keys", "create", "--json", "--data-dir"]).arg(folder).args(database(folder));
        Self::printed(&command.output().unwrap())
    }

    /// Creates a key in a database.
    pub fn in_database(url: &str) -> Self {
        Self::printed(&imgopen().args(["keys", "create", "--json", "--database", url]).output().unwrap())
    }

    fn printed(output: &Output) -> Self {
        let made: Value = serde_json::from_str(&stdout(output)).unwrap();
        let part = |name: &str| made[name].as_str().unwrap().to_owned();
        Self { id: part("access_key_id"), secret: part("access_key_secret"), signing: part("signing_secret") }
    }

    /// Returns a client that uses the key.
    pub fn client(&self, url: &str) -> Client {
        Client::new(url, Credentials::new(&self.id, &self.secret)).unwrap()
    }
}

/// Returns the output of a command that must succeed.
pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A command that runs in the background, killed when dropped.
pub struct Background {
    child: Child,
    output: Receiver<String>,
    errors: Receiver<String>,
}

impl Background {
    /// Starts the command.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (output, errors) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Self { child, output, errors }
    }

    /// Waits for a line on standard error that contains a text.
    pub fn error_line(&self, text: &str) -> String {
        line_with(&self.errors, text)
    }

    /// Waits for a line on standard output that contains a text.
    pub fn output_line(&self, text: &str) -> String {
        line_with(&self.output, text)
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status().unwrap().success());
    }

    /// Waits for its exit, and returns the rest of its output and its errors.
    pub fn end(mut self) -> (ExitStatus, String, String) {
        let rest = |lines: &Receiver<String>| {
            let deadline = Instant::now() + PATIENCE;
            let mut text = String::new();
            while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                text += &format!("{line}\n");
            }
            text
        };
        let (output, errors) = (rest(&self.output), rest(&self.errors));
        (self.child.wait().unwrap(), output, errors)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line_with(lines: &Receiver<String>, text: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut before = String::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.contains(text) => return line,
            Ok(line) => before += &format!("{line}\n"),
            Err(error) => panic!("{error}: no line with {text:?}, only\n{before}"),
        }
    }
}
