//! `cargo xtask docs`: one HTML page of everything that the documents say.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::document::source;
use crate::output::{self, Mode, Output};
use crate::{emit, model};

/// Where the page goes when no file is named, seen from the root of the workspace.
const DEFAULT: &str = "target/docs/imgopen.html";

/// Makes the page and writes it to `file`.
pub fn run(root: &Path, file: Option<PathBuf>, out: &mut dyn Write) -> Result<()> {
    let page = emit::docs::emit(&model::read::read(&source::load(root)?)?)?;
    let file = std::path::absolute(file.unwrap_or_else(|| root.join(DEFAULT)))?;
    let name =
        file.to_str().with_context(|| format!("{} is not valid Unicode; choose another name", file.display()))?;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    }
    let page = Output::new(name.to_owned(), page);
    output::settle(&[&page], root, Mode::Write, out)?;
    Ok(())
}
