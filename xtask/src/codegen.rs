//! `cargo xtask codegen`: from the documents to the generated files, or a check that they are what they should be.

use std::io::Write;
use std::path::Path;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::model::{self, Api};
use crate::output::{Mode, Output};
use crate::spec::Source;
use crate::{emit, format, lint, spec};

/// Regenerates every file (`Mode::Write`) or compares (`Mode::Check`).
///
/// All files are made before the first is written, so a failing run leaves the old ones whole.
pub fn run(root: &Path, mode: Mode, out: &mut dyn Write) -> Result<()> {
    let start = Instant::now();
    let sources = spec::load(root)?;
    let (findings, made) = thread::scope(|scope| {
        // What is generated from a document that breaks the rules is thrown away; mostly none does, and the time is saved.
        let linting = scope.spawn(|| lint::lint(root, &sources));
        let made = generate(&sources);
        (join(linting), made)
    });
    let findings = findings?;
    if !findings.is_empty() {
        lint::report(&findings, out)?;
        bail!("the documents break the rules: fix them, then run `cargo xtask codegen` again");
    }
    let made = made?;
    for Made { name, took, .. } in &made {
        writeln!(out, "generated  {name} in {took:.1?}")?;
    }
    let outputs = made.iter().flat_map(|made| &made.outputs);
    let stale = outputs.map(|output| output.settle(root, mode, out)).collect::<Result<Vec<_>>>()?;
    writeln!(out, "done       in {:.0?}", start.elapsed())?;
    if mode == Mode::Check && stale.contains(&true) {
        bail!("generated files are stale: run `cargo xtask codegen`");
    }
    if mode == Mode::Write {
        writeln!(out, "\nSee the generated client and server talk to each other: cargo run --example training")?;
    }
    Ok(())
}

/// What an emitter made, and how long that took.
struct Made {
    name: &'static str,
    took: Duration,
    outputs: Vec<Output>,
}

/// Runs the emitters side by side.
fn generate(sources: &[Source]) -> Result<Vec<Made>> {
    let api = model::read(sources)?;
    thread::scope(|scope| {
        let running: Vec<_> = EMITTERS.iter().map(|emitter| scope.spawn(|| emitter.run(&api))).collect();
        running.into_iter().map(|emitter| join(emitter)?).collect()
    })
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked; its message stands above"))
}

impl Emitter {
    fn run(&self, api: &Api) -> Result<Made> {
        let start = Instant::now();
        let outputs = (self.emit)(api).with_context(|| format!("generating {}", self.name))?;
        Ok(Made { name: self.name, took: start.elapsed(), outputs })
    }
}

/// One generated crate.
struct Emitter {
    name: &'static str,
    emit: fn(&Api) -> Result<Vec<Output>>,
}

const EMITTERS: &[Emitter] = &[
    Emitter { name: "imgopen-types", emit: |api| rust("imgopen-types", syn::parse2(emit::types::emit(api)?)?) },
    Emitter { name: "imgopen-client", emit: |api| rust("imgopen-client", emit::client::emit(api)?) },
    Emitter { name: "imgopen-server", emit: server },
    Emitter { name: "imgopen-mock", emit: |api| rust("imgopen-mock", emit::mock::emit(api)?) },
];

fn rust(name: &str, file: syn::File) -> Result<Vec<Output>> {
    let text = format::rust(file)?;
    Ok(vec![Output::new(format!("crates/{name}/src/generated.rs"), text)])
}

/// The server's code, and the documents that it serves.
fn server(api: &Api) -> Result<Vec<Output>> {
    let mut outputs = rust("imgopen-server", syn::parse2(emit::server::emit(api)?)?)?;
    for document in &api.documents {
        let path = |ending| format!("crates/imgopen-server/src/{}.{ending}", document.name);
        outputs.push(Output::new(path("yaml"), document.yaml.clone()));
        outputs.push(Output::new(path("json"), serde_json::to_string_pretty(&document.json)? + "\n"));
    }
    Ok(outputs)
}
