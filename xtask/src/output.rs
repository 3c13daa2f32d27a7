//! A generated file: written whole or not at all, or compared with what is there.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result};
use similar::{ChangeTag, TextDiff};
use tempfile::NamedTempFile;

/// What to do with the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Write those that differ.
    Write,
    /// Write nothing; show what differs.
    Check,
}

/// A file as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Seen from the root of the workspace, with forward slashes.
    path: String,
    text: String,
}

impl Output {
    pub fn new(path: String, text: String) -> Self {
        Self { path, text }
    }

    /// The text, if the file is the one at that path.
    #[cfg(test)]
    pub fn text_at(&self, path: &str) -> Option<&str> {
        (self.path == path).then_some(self.text.as_str())
    }

    /// What is on the disk, compared with what should be.
    fn status(&self, root: &Path) -> Result<Status> {
        let old = match fs::read_to_string(root.join(&self.path)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", self.path)),
        };
        // A checkout may have turned line ends into those of its system.
        let is_fresh = old.replace("\r\n", "\n") == self.text;
        Ok(if is_fresh { Status::Fresh } else { Status::Stale { old } })
    }

    /// Writes the text beside the file, to be renamed later.
    fn stage(&self, root: &Path) -> Result<NamedTempFile> {
        let file = root.join(&self.path);
        let folder = file.parent().context("the file has no folder")?;
        let mut temporary = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder)?;
        temporary.write_all(self.text.as_bytes())?;
        temporary.as_file().sync_all()?;
        make_readable(&temporary)?;
        Ok(temporary)
    }
}

/// A file on the disk.
enum Status {
    Fresh,
    Stale { old: String },
}

/// How the names of half-written files begin; git passes over them, and the next run removes what an interrupted one
/// left.
const TEMPORARY: &str = ".generated-";

/// Writes what differs, or shows it; returns whether anything did.
///
/// All texts are on the disk before the first file changes, and each file changes by a rename, so that neither a reader
/// nor an interruption ever sees half of one.
pub fn settle(outputs: &[&Output], root: &Path, mode: Mode, out: &mut dyn Write) -> Result<Freshness> {
    let mut freshness = Freshness::Fresh;
    let mut staged = Vec::new();
    for output in outputs {
        match (output.status(root)?, mode) {
            (Status::Fresh, _) => writeln!(out, "fresh      {}", output.path)?,
            (Status::Stale { .. }, Mode::Write) => {
                let file = output.stage(root).with_context(|| format!("writing {}", output.path))?;
                staged.push((output, file));
            }
            (Status::Stale { old }, Mode::Check) => {
                freshness = Freshness::Stale;
                writeln!(out, "stale      {}", output.path)?;
                show_difference(&old, &output.text, out)?;
            }
        }
    }
    for (output, file) in staged {
        file.persist(root.join(&output.path)).with_context(|| format!("writing {}", output.path))?;
        writeln!(out, "written    {} ({} lines)", output.path, output.text.lines().count())?;
    }
    Ok(freshness)
}

/// Whether the files are what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    Fresh,
    Stale,
}

/// Removes, or reports, what lies in a folder of generated files although nothing makes it any more: files of those
/// other endings, and partial files of an interrupted run.
pub fn sweep(
    folder: &str,
    endings: &[&str],
    outputs: &[&Output],
    root: &Path,
    mode: Mode,
    out: &mut dyn Write,
) -> Result<Freshness> {
    let mut freshness = Freshness::Fresh;
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("reading {folder}"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        let is_output = outputs.iter().any(|output| output.path == path);
        let is_ours = name.starts_with(TEMPORARY) || endings.iter().any(|ending| name.ends_with(ending));
        if is_output || !is_ours {
            continue;
        }
        match mode {
            Mode::Write => {
                fs::remove_file(root.join(&path)).with_context(|| format!("removing {path}"))?;
                writeln!(out, "removed    {path}")?;
            }
            Mode::Check => {
                freshness = Freshness::Stale;
                writeln!(out, "stale      {path} (nothing makes it any more)")?;
            }
        }
    }
    Ok(freshness)
}

/// Temporary files are private to their owner; a source file is not.
#[cfg(unix)]
fn make_readable(file: &NamedTempFile) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))?)
}

#[cfg(not(unix))]
fn make_readable(_: &NamedTempFile) -> Result<()> {
    Ok(())
}

fn show_difference(old: &str, new: &str, out: &mut dyn Write) -> Result<()> {
    const MOST_LINES: usize = 200;
    let red = Style::new().fg_color(Some(AnsiColor::Red.into()));
    let green = Style::new().fg_color(Some(AnsiColor::Green.into()));
    let difference = TextDiff::from_lines(old, new);
    let mut shown = 0;
    for hunk in difference.unified_diff().context_radius(2).iter_hunks() {
        writeln!(out, "{}", hunk.header())?;
        for change in hunk.iter_changes() {
            let (sign, style) = match change.tag() {
                ChangeTag::Delete => ("-", red),
                ChangeTag::Insert => ("+", green),
                ChangeTag::Equal => (" ", Style::new()),
            };
            let line = change.value().trim_end_matches('\n');
            writeln!(out, "{style}{sign}{line}{style:#}")?;
            shown += 1;
            if shown == MOST_LINES {
                return Ok(writeln!(out, "… (more differences follow)")?);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(output: &Output, root: &Path, mode: Mode) -> (Freshness, String) {
        let mut text = Vec::new();
        let freshness = settle(&[output], root, mode, &mut text).unwrap();
        (freshness, String::from_utf8(text).unwrap())
    }

    #[test]
    fn writes_once_and_then_is_fresh() {
        let root = tempfile::tempdir().unwrap();
        let output = Output::new("a.rs".into(), "new\n".into());
        fs::write(root.path().join("a.rs"), "old\n").unwrap();
        let (freshness, text) = settled(&output, root.path(), Mode::Check);
        assert!(freshness == Freshness::Stale && text.contains("-old") && text.contains("+new"), "{text}");
        assert_eq!(fs::read_to_string(root.path().join("a.rs")).unwrap(), "old\n");
        assert!(settled(&output, root.path(), Mode::Write).1.contains("written    a.rs"));
        assert_eq!(settled(&output, root.path(), Mode::Check).0, Freshness::Fresh);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "no temporary file stays behind");
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_others_as_they_were() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.rs"), "old\n").unwrap();
        let (first, second) =
            (Output::new("a.rs".into(), "new\n".into()), Output::new("no/such/folder.rs".into(), "new\n".into()));
        let error = settle(&[&first, &second], root.path(), Mode::Write, &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "writing no/such/folder.rs");
        assert_eq!(fs::read_to_string(root.path().join("a.rs")).unwrap(), "old\n");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_nothing_makes_any_more_is_found_and_removed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("src")).unwrap();
        for name in ["kept.yaml", "orphan.yaml", ".generated-x1", "lib.rs"] {
            fs::write(root.path().join("src").join(name), "").unwrap();
        }
        let kept = Output::new("src/kept.yaml".into(), String::new());
        let swept = |mode| sweep("src", &[".yaml"], &[&kept], root.path(), mode, &mut Vec::new()).unwrap();
        assert_eq!(swept(Mode::Check), Freshness::Stale);
        swept(Mode::Write);
        assert_eq!(swept(Mode::Check), Freshness::Fresh);
        let mut left: Vec<_> = fs::read_dir(root.path().join("src")).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["kept.yaml", "lib.rs"]);
    }

    #[test]
    fn line_ends_of_another_system_are_not_stale() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.rs"), "one\r\ntwo\r\n").unwrap();
        let output = Output::new("a.rs".into(), "one\ntwo\n".into());
        assert_eq!(settled(&output, root.path(), Mode::Check).0, Freshness::Fresh);
    }
}
