//! Why the trainer failed, from what it printed. `accelerate` prints a traceback of its own after that of the trainer, so the
//! first one is the cause.

use std::collections::VecDeque;
use std::process::ExitStatus;

use imgopen_engine::EngineError;

/// How many of the last lines are kept for the log.
const TAIL: usize = 20;

/// The most characters of the cause that a caller sees.
const SHOWN: usize = 500;

const TRACEBACK: &str = "Traceback (most recent call last):";

/// What follows if an exception was handled, and the handling failed: the next one is the cause.
const HANDLING: &str = "During handling of the above exception";

/// What PyTorch says if a device has too little memory.
const OUT_OF_MEMORY: [&str; 3] = ["CUDA out of memory", "OutOfMemoryError", "backend out of memory"];

/// What the system says if a disk is full.
const NO_SPACE: [&str; 2] = ["No space left on device", "[Errno 28]"];

/// How Python reports that a process it started was killed.
const KILLED: &str = "<Signals.SIGKILL";

/// Collects what matters of the trainer's lines.
#[derive(Debug, Default)]
pub(crate) struct Diagnosis {
    tail: VecDeque<String>,
    cause: Option<String>,
    /// Whether the lines are those of a traceback, until the one that names the exception.
    is_traceback: bool,
    /// Whether the next traceback replaces the cause.
    is_replaced: bool,
    is_out_of_memory: bool,
    has_no_space: bool,
    is_killed: bool,
}

impl Diagnosis {
    /// Looks at a line.
    pub(crate) fn line(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        let has = |texts: &[&str]| texts.iter().any(|text| line.contains(text));
        self.is_out_of_memory |= has(&OUT_OF_MEMORY);
        self.has_no_space |= has(&NO_SPACE);
        self.is_killed |= has(&[KILLED]);
        if line.ends_with(TRACEBACK) {
            self.is_traceback = true;
        } else if line.starts_with(HANDLING) {
            self.is_replaced = true;
        } else if self.is_traceback && !line.starts_with(' ') {
            if self.cause.is_none() || self.is_replaced {
                self.cause = Some(line.to_owned());
            }
            (self.is_traceback, self.is_replaced) = (false, false);
        } else if self.cause.is_none()
            && let Some((_, problem)) = line.split_once(".py: error: ")
        {
            self.cause = Some(problem.to_owned());
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
    }

    /// Returns the last lines.
    pub(crate) fn tail(&self) -> String {
        self.tail.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Returns the error of a trainer that was not ended by us. What the machine lacks is no fault of the training.
    pub(crate) fn error(&self, status: ExitStatus) -> EngineError {
        let unavailable = |reason: &str| EngineError::Unavailable { reason: reason.to_owned(), retry_after: None };
        if self.is_killed || is_killed(status) {
            return unavailable("the system killed the trainer, as it does when the machine has too little memory");
        }
        if self.has_no_space {
            return unavailable("the trainer found no space left on the disk");
        }
        if self.is_out_of_memory {
            let problem = "the training needs more memory than its device has; give a smaller `batchSize`, `resolution` or \
                           `networkDim`, or `mixedPrecision`";
            return EngineError::Failed(problem.to_owned());
        }
        EngineError::Failed(match &self.cause {
            Some(cause) => {
                let cause: String = without_paths(cause).chars().take(SHOWN).collect();
                format!("the trainer ended with an error: {cause}")
            }
            None => "the trainer ended with an error that it did not explain; the server's log has its last lines"
                .to_owned(),
        })
    }
}

/// Whether a program was killed, or a shell says so of one that it ran.
fn is_killed(status: ExitStatus) -> bool {
    #[cfg(unix)]
    if std::os::unix::process::ExitStatusExt::signal(&status) == Some(9) {
        return true;
    }
    status.code() == Some(128 + 9)
}

/// Leaves only the last part of each absolute path in a text, because callers see it.
fn without_paths(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some(start) = path_start(rest, plain.chars().next_back()) {
        let (before, path) = rest.split_at(start);
        plain.push_str(before);
        let quote = plain.chars().next_back().filter(|c| ['\'', '"', '`'].contains(c));
        let ends = |c: char| quote.map_or(c.is_whitespace() || ",;:)]'\"".contains(c), |quote| c == quote);
        // The `:` of a drive is part of the path.
        let skipped = if path.as_bytes().get(1) == Some(&b':') { 2 } else { 0 };
        let end = path[skipped..].find(ends).map_or(path.len(), |end| end + skipped);
        let (path, after) = path.split_at(end);
        plain.push_str(path.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or("…"));
        rest = after;
    }
    plain + rest
}

/// Returns where an absolute path begins: at the start of a word, or behind a bracket, a quote or `=`.
fn path_start(text: &str, mut before: Option<char>) -> Option<usize> {
    for (at, c) in text.char_indices() {
        let is_start = before.is_none_or(|before| before.is_whitespace() || "'\"`([{=<".contains(before));
        let rest = &text[at..];
        let is_drive = c.is_ascii_alphabetic() && [":\\", ":/"].iter().any(|then| rest[1..].starts_with(then));
        if is_start && (is_drive || rest.starts_with("~/") || (c == '/' && rest.len() > 1)) {
            return Some(at);
        }
        before = Some(c);
    }
    None
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn error(lines: &str, status: i32) -> EngineError {
        let mut diagnosis = Diagnosis::default();
        lines.lines().for_each(|line| diagnosis.line(line));
        // A wait status has the exit code in its second byte, and a signal in the first.
        diagnosis.error(ExitStatus::from_raw(status))
    }

    fn failure(lines: &str) -> String {
        match error(lines, 1 << 8) {
            EngineError::Failed(problem) => problem,
            other => panic!("{other:?}"),
        }
    }

    fn traceback(error: &str) -> String {
        format!("{TRACEBACK}\n  File \"/opt/sd/train_network.py\", line 7, in <module>\n    train(x)\n{error}\n")
    }

    /// The recordings, with the tracebacks that were cut out of them.
    fn recorded(text: &str) -> String {
        text.replace("[traceback cut]", traceback("").trim_end())
    }

    #[test]
    fn the_first_traceback_is_the_cause() {
        let recorded = |text| failure(&recorded(text));
        assert_eq!(
            recorded(include_str!("../tests/recordings/run_bf16_on_cpu.stderr.txt")),
            "the trainer ended with an error: RuntimeError: mixed dtype (CPU): expect parameter to have scalar type of Float"
        );
        assert_eq!(
            recorded(include_str!("../tests/recordings/run_no_tokenizer.stderr.txt")),
            "the trainer ended with an error: TypeError: expected str, bytes or os.PathLike object, not NoneType"
        );
        // tqdm does not end its line.
        let bar =
            format!("steps: 0%|  | 0/3 [00:00<?, ?it/s]{}{}", traceback("ValueError: one"), traceback("Two: two"));
        assert!(failure(&bar).ends_with("error: ValueError: one"), "{}", failure(&bar));
        // What was handled is not the cause.
        let handled = format!("{}\n{HANDLING}, another exception occurred:\n\n", traceback("KeyError: 1"));
        let handled = handled + &traceback("RuntimeError: 2") + &traceback("subprocess.CalledProcessError: 3");
        assert!(failure(&handled).ends_with("error: RuntimeError: 2"));
        let usage = "usage: train_network.py [-h]\ntrain_network.py: error: unrecognized arguments: --xyz";
        assert!(failure(usage).ends_with("error: unrecognized arguments: --xyz"));
        assert!(failure("nothing").contains("did not explain"));
    }

    #[test]
    fn too_little_memory_of_a_device_has_a_way_out() {
        let problem = failure(&traceback("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."));
        assert!(problem.contains("`batchSize`") && !problem.contains("CUDA"), "{problem}");
    }

    #[test]
    fn what_the_machine_lacks_is_not_the_fault_of_the_training() {
        let killed = traceback("subprocess.CalledProcessError: Command '['python3']' died with <Signals.SIGKILL: 9>.");
        let full = traceback("OSError: [Errno 28] No space left on device: '/data/x.npz'");
        for (lines, status) in [(killed.as_str(), 1 << 8), ("", 9), ("", 137 << 8), (&full, 1 << 8)] {
            let error = error(lines, status);
            assert!(matches!(error, EngineError::Unavailable { .. }), "{error}");
            assert!(!error.to_string().contains("/data"), "{error}");
        }
        assert!(matches!(error("", 15), EngineError::Failed(_)));
    }

    #[test]
    fn callers_see_no_paths() {
        for (text, expected) in [
            (
                "No such file or directory: '/srv/my models/a b.safetensors'",
                "No such file or directory: 'a b.safetensors'",
            ),
            ("cannot open /srv/models/a.ckpt: denied", "cannot open a.ckpt: denied"),
            ("(\"~/x/y\") C:\\models\\z.pt, ok", "(\"y\") z.pt, ok"),
            ("a/b ratio 1/2, https://example.com/a, and/or", "a/b ratio 1/2, https://example.com/a, and/or"),
            ("path=/a/b/ and /", "path=b and /"),
            ("犬 /é/犬.png", "犬 犬.png"),
        ] {
            assert_eq!(without_paths(text), expected);
        }
    }

    #[test]
    fn the_last_lines_are_kept() {
        let mut diagnosis = Diagnosis::default();
        (0..100).for_each(|number| diagnosis.line(&number.to_string()));
        let expected: Vec<_> = (80..100).map(|number: u32| number.to_string()).collect();
        assert_eq!(diagnosis.tail(), expected.join("\n"));
    }
}
