//! A generated file: written whole or not at all, or compared with what is there.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result};
use similar::{ChangeTag, TextDiff};

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

    /// Writes or compares, and says which; tells whether the file was stale.
    pub fn settle(&self, root: &Path, mode: Mode, out: &mut dyn Write) -> Result<bool> {
        let file = root.join(&self.path);
        let old = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", self.path)),
        };
        // A checkout may have turned line ends into those of its system.
        if old.replace("\r\n", "\n") == self.text {
            writeln!(out, "fresh      {}", self.path)?;
            return Ok(false);
        }
        match mode {
            Mode::Write => {
                write_whole(&file, &self.text).with_context(|| format!("writing {}", self.path))?;
                writeln!(out, "written    {} ({} lines)", self.path, self.text.lines().count())?;
            }
            Mode::Check => {
                writeln!(out, "stale      {}", self.path)?;
                show_difference(&old, &self.text, out)?;
            }
        }
        Ok(true)
    }
}

/// Writes beside the file and renames, so that a reader or an interruption never sees half of it.
fn write_whole(file: &Path, text: &str) -> Result<()> {
    let folder = file.parent().context("the file has no folder")?;
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(text.as_bytes())?;
    temporary.as_file().sync_all()?;
    make_readable(&temporary)?;
    temporary.persist(file)?;
    Ok(())
}

/// Temporary files are private to their owner; a source file is not.
#[cfg(unix)]
fn make_readable(file: &tempfile::NamedTempFile) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))?)
}

#[cfg(not(unix))]
fn make_readable(_: &tempfile::NamedTempFile) -> Result<()> {
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

    #[test]
    fn writes_once_and_then_is_fresh() {
        let root = tempfile::tempdir().unwrap();
        let output = Output::new("a.rs".into(), "new\n".into());
        fs::write(root.path().join("a.rs"), "old\n").unwrap();
        let mut text = Vec::new();
        assert!(output.settle(root.path(), Mode::Check, &mut text).unwrap());
        assert_eq!(fs::read_to_string(root.path().join("a.rs")).unwrap(), "old\n");
        assert!(output.settle(root.path(), Mode::Write, &mut text).unwrap());
        assert!(!output.settle(root.path(), Mode::Check, &mut text).unwrap());
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("-old") && text.contains("+new") && text.contains("written    a.rs"), "{text}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "no temporary file stays behind");
    }

    #[test]
    fn line_ends_of_another_system_are_not_stale() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.rs"), "one\r\ntwo\r\n").unwrap();
        let output = Output::new("a.rs".into(), "one\ntwo\n".into());
        assert!(!output.settle(root.path(), Mode::Check, &mut Vec::new()).unwrap());
    }
}
