//! What a program prints: its steps, and what became of LoRAs.
//!
//! The same bar is drawn while weights are loaded, so it counts as steps only while a picture is made. Colours may be
//! on, and lines end with either of two characters.

use std::time::Instant;

/// The longest line that is read, in bytes; the rest of a longer one is left out.
const LONGEST: usize = 4096;

/// What a program has printed since a job began.
#[derive(Debug, Clone)]
pub(super) struct Log {
    /// When it last printed anything.
    pub grown: Instant,
    pub progress: Progress,
    pub loras: Vec<LoraReport>,
    /// Whether it said that the pictures are finished.
    pub is_finished: bool,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The pictures that have gone through the first pass.
    pub pictures: u32,
    /// The pictures that have gone through the hi-res fix.
    pub enlarged: u32,
    /// The steps of the picture that is being made.
    pub step: u32,
    pass: Pass,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Pass {
    #[default]
    None,
    First,
    Hires,
}

/// What a program says of a LoRA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoraReport {
    /// The path of its file.
    path: String,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Applied,
    /// So many of all tensors fit the model.
    Partly(u32, u32),
    Unreadable,
}

/// Splits what is printed into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes bytes, and returns the lines that they complete, without colours.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => lines.extend(self.take()),
                _ if self.rest.len() < LONGEST => self.rest.push(*byte),
                _ => {}
            }
        }
        lines
    }

    /// Returns the line that has begun, unless it is empty.
    pub(super) fn take(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.rest);
        let line = plain(&String::from_utf8_lossy(&bytes));
        (!line.is_empty()).then_some(line)
    }

    /// Returns whether what has begun is a complete bar, which the next one overwrites.
    pub(super) fn bar(&self) -> Option<u32> {
        let text = String::from_utf8_lossy(&self.rest);
        text.ends_with("\u{1b}[K").then(|| bar(&plain(&text)))?
    }
}

/// Removes escape sequences and blanks around.
fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        rest = rest.strip_prefix(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest);
    }
    plain.push_str(rest);
    plain.trim().to_owned()
}

/// Reads the step of a bar such as `|=====>    | 3/20 - 1.15it/s`.
fn bar(line: &str) -> Option<u32> {
    let (step, rest) = line.strip_prefix('|')?.split_once("| ")?.1.split_once('/')?;
    let (_, speed) = rest.split_once(" - ")?;
    (speed.ends_with("it/s") || speed.ends_with("s/it")).then(|| step.parse().ok())?
}

impl Log {
    pub(super) fn new() -> Self {
        Self { grown: Instant::now(), progress: Progress::default(), loras: Vec::new(), is_finished: false }
    }

    /// Notes that a step was made.
    pub(super) fn step(&mut self, step: u32) {
        if self.progress.pass != Pass::None {
            self.progress.step = step;
        }
    }

    /// Reads a line.
    pub(super) fn read(&mut self, line: &str) {
        let progress = &mut self.progress;
        if let Some(step) = bar(line) {
            self.step(step);
        } else if let Some((_, count)) = line.split_once("generating image: ") {
            let number = count.split_once('/').and_then(|(number, _)| number.parse::<u32>().ok());
            progress.pictures = number.map_or(progress.pictures, |number| number.saturating_sub(1));
            (progress.pass, progress.step) = (Pass::First, 0);
        } else if line.contains("hires sampling ") && line.contains(" completed") {
            progress.enlarged += 1;
            progress.step = 0;
        } else if line.contains("sampling completed") {
            progress.pictures += u32::from(progress.pass == Pass::First);
            (progress.pass, progress.step) = (Pass::None, 0);
        } else if line.contains("hires fix: ") && line.contains(" steps") {
            (progress.pass, progress.step) = (Pass::Hires, 0);
        } else if line.contains("hires fix completed") {
            progress.pass = Pass::None;
        } else if line.contains("generate_image completed") {
            self.is_finished = true;
        } else {
            self.loras.extend(LoraReport::read(line));
        }
    }

    /// Returns why LoRAs, by their paths in the directory of LoRAs, were not applied as they were asked for. Reports of
    /// others are about those of the job before, which are taken out again.
    pub(super) fn lora_problem<'a>(&self, asked: impl Iterator<Item = &'a str>) -> Option<String> {
        asked.into_iter().find_map(|path| {
            let reports = || self.loras.iter().filter(|report| report.is_about(path));
            let name = crate::names::stem(path);
            let bad = reports().find_map(|report| match report.outcome {
                Outcome::Applied => None,
                Outcome::Partly(some, all) => {
                    Some(format!("only {some} of the {all} tensors of the LoRA \"{name}\" fit the model"))
                }
                Outcome::Unreadable => Some(format!("the LoRA \"{name}\" cannot be read")),
            });
            let is_silent = reports().next().is_none();
            bad.or_else(|| is_silent.then(|| format!("it does not report that the LoRA \"{name}\" was applied")))
        })
    }
}

impl Progress {
    /// Returns how many steps are done, if the first pass of a picture makes `first` and the hi-res fix `second`.
    pub(super) fn done(&self, first: u32, second: u32) -> u32 {
        let current = match self.pass {
            Pass::None => 0,
            Pass::First => self.step.min(first),
            Pass::Hires => self.step.min(second),
        };
        self.pictures * first + self.enlarged * second + current
    }
}

impl LoraReport {
    fn read(line: &str) -> Option<Self> {
        let report = |path: &str, outcome| Some(Self { path: path.trim().to_owned(), outcome });
        if let Some((_, rest)) = line.split_once("load lora tensors from ") {
            return report(rest.strip_suffix(" failed")?, Outcome::Unreadable);
        }
        let (before, path) = line.split_once(" LoRA tensors have been applied, lora_file_path = ")?;
        let (some, all) = before.rsplit_once('(')?.1.strip_suffix(')')?.split_once(" / ")?;
        let (some, all) = (some.parse().ok()?, all.parse().ok()?);
        // A file without any tensors has no effect.
        let outcome = if some == all && all > 0 { Outcome::Applied } else { Outcome::Partly(some, all) };
        report(path, outcome)
    }

    fn is_about(&self, path: &str) -> bool {
        self.path.strip_suffix(path).is_some_and(|folder| folder.is_empty() || folder.ends_with(['/', '\\']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/sd-server/");
        std::fs::read(format!("{folder}{name}")).unwrap()
    }

    /// Reads a recording in pieces, as a pipe gives them, and returns all states of the progress.
    fn steps(name: &str, piece: usize, before: &str) -> (Log, Vec<u32>) {
        let (mut log, mut lines, mut seen) = (Log::new(), Lines::default(), Vec::new());
        let text = [before.as_bytes(), &recorded(name)].concat();
        for piece in text.chunks(piece) {
            for line in lines.feed(piece) {
                log.read(&line);
            }
            if let Some(step) = lines.bar() {
                log.step(step);
            }
            let done = log.progress.done(6, 0);
            if seen.last() != Some(&done) {
                seen.push(done);
            }
        }
        (log, seen)
    }

    #[test]
    fn steps_are_counted_as_they_are_printed() {
        for piece in [1, 7, 64] {
            let (log, seen) = steps("log_128_6steps.raw.txt", piece, "");
            assert_eq!(log.progress.pictures, 1, "in pieces of {piece}");
            assert!(log.is_finished && seen.is_sorted() && seen.last() == Some(&6), "{seen:?}");
        }
        assert_eq!(steps("log_128_6steps.raw.txt", 1, "").1, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn the_bar_of_loading_is_not_counted() {
        let loading = "\r  |====>  | 3/6 - 1.37GB/s\u{1b}[K\r  |====>  | 5/6 - 1.15it/s\u{1b}[K\n";
        assert_eq!(steps("log_128_6steps.raw.txt", 1, loading).1, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn several_pictures_and_the_second_pass_add_up() {
        let mut log = Log::new();
        let mut done = Vec::new();
        for line in [
            "\u{1b}[34;1m[INFO ]\u{1b}[0m stable-diffusion.cpp:3401 - generating image: 1/2 - seed 7",
            "|=====>  | 2/4 - 1.15s/it\u{1b}[K",
            "[INFO ] stable-diffusion.cpp:3432 - sampling completed, taking 5.88s",
            "[INFO ] stable-diffusion.cpp:3401 - generating image: 2/2 - seed 8",
            "[INFO ] stable-diffusion.cpp:3432 - sampling completed, taking 5.88s",
            "[INFO ] stable-diffusion.cpp:3455 - hires fix: upscaling to 128x128",
            "[INFO ] stable-diffusion.cpp:3496 - hires fix: 6 steps, denoising_strength=0.50, sigma_sched_size=4",
            "|=====>  | 1/3 - 1.15s/it",
            "[INFO ] stable-diffusion.cpp:3557 - hires sampling 1/2 completed, taking 1.00s",
            "|=====>  | 3/3 - 1.15s/it",
            "[INFO ] stable-diffusion.cpp:3557 - hires sampling 2/2 completed, taking 1.00s",
            "[INFO ] stable-diffusion.cpp:3578 - hires fix completed, taking 2.00s",
            "|=====>  | 3/3 - 1.15s/it",
        ] {
            log.read(&plain(line));
            done.push(log.progress.done(4, 3));
        }
        assert_eq!(done, [0, 2, 4, 4, 8, 8, 8, 9, 11, 14, 14, 14, 14]);
    }

    #[test]
    fn loras_that_do_not_fit_are_found() {
        let (mut log, mut lines) = (Log::new(), Lines::default());
        lines.feed(&recorded("log_lora_misfit.txt")).iter().for_each(|line| log.read(line));
        let problem = |path: &'static str| log.lora_problem([path].into_iter());
        assert_eq!(
            problem("misfit.safetensors").as_deref(),
            Some("only 3 of the 9 tensors of the LoRA \"misfit\" fit the model")
        );
        assert_eq!(problem("broken.safetensors").as_deref(), Some("the LoRA \"broken\" cannot be read"));
        assert!(problem("fit.safetensors").is_some_and(|problem| problem.contains("does not report")));
        log.read("[INFO ] lora.hpp:830  - (792 / 792) LoRA tensors have been applied, lora_file_path = models/loras/fit.safetensors");
        assert_eq!(log.lora_problem(["fit.safetensors"].into_iter()), None);
        assert_eq!(log.lora_problem(std::iter::empty()), None);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut lines = Lines::default();
        assert!(lines.feed(&vec![b'x'; 100_000]).is_empty());
        assert_eq!(lines.feed(b"\n")[0].len(), LONGEST);
        assert_eq!(lines.take(), None);
    }
}
