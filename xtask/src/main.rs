//! The workspace's own commands.
//!
//! Data flows one way: the documents in `spec/` are loaded (`document`), checked (`lint`), compared with older ones
//! (`breaking`), read into a model (`model`), reduced to what progenitor needs (`prepare`, `progenitor`), emitted
//! (`emit`), formatted and written or compared (`format`, `output`).

mod breaking;
mod codegen;
mod docs;
mod document;
mod emit;
mod format;
mod gallery;
mod lint;
mod model;
mod modules;
mod names;
mod operations;
mod output;
mod prepare;
mod progenitor;
#[cfg(test)]
mod recipe;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use document::source;

/// The workspace's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
enum Command {
    /// Check the documents in spec/ against the project's rules
    Lint,
    /// Regenerate types, client, server and mock from the documents in spec/
    Codegen {
        /// Write nothing; show what is stale and exit with 1
        #[arg(long)]
        check: bool,
    },
    /// Render the documents in spec/ as one HTML page
    Docs {
        /// The file to write, instead of target/docs/imgopen.html
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Make a contact sheet of all tools applied to photographs, as an HTML page and a PNG; needs python3
    Gallery {
        /// The folder to write to, instead of target/gallery
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// A models directory, whose packs and nets are shown at work too
        #[arg(long, value_name = "DIR")]
        models: Option<PathBuf>,
    },
    /// Write the table of README.md that says what makes the results of each operation real
    Operations {
        /// Write nothing; show how it differs and exit with 1
        #[arg(long)]
        check: bool,
    },
    /// Check that modules and crates depend on one another as ARCHITECTURE.md says
    Modules,
    /// Report whether changes of the documents break callers or servers; exit with 1 if one does or cannot be judged
    Breaking {
        /// The git revision to compare with, or a file with an older state of the document of the same name
        #[arg(long, default_value = "HEAD")]
        against: String,
    },
}

fn main() -> ExitCode {
    let mut out = anstream::stdout();
    let outcome = run(Command::parse(), &mut out);
    // What was found stands before the error that sums it up.
    let outcome = outcome.and(out.flush().context("writing to the terminal"));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, out: &mut dyn Write) -> Result<()> {
    let root = source::workspace_root()?;
    match command {
        Command::Lint => {
            let sources = source::load(&root)?;
            let findings = lint::lint(&root, &sources);
            lint::report(&findings, out)?;
            if !findings.is_empty() {
                bail!("the documents have {} findings", findings.len());
            }
            Ok(())
        }
        Command::Codegen { check } => {
            let mode = if check { output::Mode::Check } else { output::Mode::Write };
            codegen::run(&root, mode, out)
        }
        Command::Docs { out: file } => docs::run(&root, file, out),
        Command::Gallery { out: folder, models } => gallery::run(&root, folder, models),
        Command::Operations { check } => operations::run(&root, check),
        Command::Modules => modules::run(&root, out),
        Command::Breaking { against } => breaking::run(&root, &against, out),
    }
}
