//! `cargo xtask codegen`: from the documents to the generated files, or a check that they are what they should be.

use std::io::Write;
use std::path::Path;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::document::source::{self, Source};
use crate::model::{self, Api};
use crate::output::{self, Freshness, Mode, Output};
use crate::{emit, format, lint};

/// Regenerates every file (`Mode::Write`) or compares (`Mode::Check`).
///
/// All files are made before the first is written, so a failing run leaves the old ones whole.
pub fn run(root: &Path, mode: Mode, out: &mut dyn Write) -> Result<()> {
    let start = Instant::now();
    let sources = source::load(root)?;
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
        writeln!(out, "generated  {name} in {} ms", took.as_millis())?;
    }
    let outputs: Vec<_> = made.iter().flat_map(|made| &made.outputs).collect();
    let mut freshness = vec![output::settle(&outputs, root, mode, out)?];
    for folder in FOLDERS {
        freshness.push(output::sweep(folder, &[".yaml", ".json", ".html"], &outputs, root, mode, out)?);
    }
    writeln!(out, "done       in {} ms", start.elapsed().as_millis())?;
    if freshness.contains(&Freshness::Stale) {
        bail!("generated files are stale: run `cargo xtask codegen`");
    }
    if mode == Mode::Write {
        writeln!(
            out,
            "\nSee the generated client and server talk to each other: cargo run -p imgopen-tests --example training"
        )?;
    }
    Ok(())
}

/// Where generated files lie.
pub const FOLDERS: [&str; 5] = [
    "crates/imgopen-types/src",
    "crates/imgopen-client/src",
    "crates/imgopen-server/src",
    "crates/imgopen-mock/src",
    "tests/src",
];

/// What an emitter made, and how long that took.
struct Made {
    name: &'static str,
    took: Duration,
    outputs: Vec<Output>,
}

/// Runs the emitters side by side.
fn generate(sources: &[Source]) -> Result<Vec<Made>> {
    let api = model::read::read(sources)?;
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
    Emitter { name: "imgopen-types", emit: |api| rust("crates/imgopen-types", syn::parse2(emit::types::emit(api)?)?) },
    Emitter { name: "imgopen-client", emit: |api| rust("crates/imgopen-client", emit::client::emit(api)?) },
    Emitter { name: "imgopen-server", emit: server },
    Emitter { name: "imgopen-mock", emit: |api| rust("crates/imgopen-mock", emit::mock::emit(api)?) },
    Emitter { name: "imgopen-tests", emit: |api| rust("tests", syn::parse2(emit::suite::emit(api))?) },
];

fn rust(folder: &str, file: syn::File) -> Result<Vec<Output>> {
    let text = format::rust(file)?;
    Ok(vec![Output::new(format!("{folder}/src/generated.rs"), text)])
}

/// The server's code, the documents that it serves, and the page that shows them.
fn server(api: &Api) -> Result<Vec<Output>> {
    let mut outputs = rust("crates/imgopen-server", syn::parse2(emit::server::emit(api)?)?)?;
    for document in &api.documents {
        let path = |ending| format!("crates/imgopen-server/src/{}.{ending}", document.name);
        outputs.push(Output::new(path("yaml"), document.yaml.clone()));
        outputs.push(Output::new(path("json"), serde_json::to_string_pretty(&document.json)? + "\n"));
    }
    outputs.push(Output::new("crates/imgopen-server/src/docs.html".into(), emit::docs::emit(api)?));
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The project's documents and a small one beside them.
    fn sources() -> Vec<Source> {
        let root = source::workspace_root().unwrap();
        let mut sources = source::load(&root).unwrap();
        let text = include_str!("../testdata/imgopen-second.yaml").to_owned();
        sources.push(Source::parse("imgopen-second".into(), text).unwrap());
        sources
    }

    fn text_of<'a>(made: &'a [Made], path: &str) -> &'a str {
        made.iter().flat_map(|made| &made.outputs).find_map(|output| output.text_at(path)).unwrap()
    }

    #[test]
    fn a_second_document_gets_a_trait_and_shares_the_rest() {
        let sources = sources();
        assert!(lint::lint(&source::workspace_root().unwrap(), &sources).is_empty());
        let made = generate(&sources).unwrap();
        let server = text_of(&made, "crates/imgopen-server/src/generated.rs");
        let (first, second) = server.split_once("pub trait ImgOpenSecond").unwrap();
        assert!(first.contains("pub trait ImgOpen:") && !first.contains("fn park_task"));
        assert!(second.contains("fn park_task") && second.contains("pub fn second_router<"));
        assert!(text_of(&made, "crates/imgopen-types/src/generated.rs").contains("pub struct ParkTaskRequest"));
        assert!(text_of(&made, "crates/imgopen-client/src/generated.rs").contains("pub fn park_task(&self)"));
        assert!(text_of(&made, "crates/imgopen-server/src/imgopen-second.yaml").starts_with("openapi: 3.0.3"));
        assert!(text_of(&made, "crates/imgopen-server/src/docs.html").contains("id=\"op-park_task\""));
        assert_eq!(server.matches("\"/docs\"").count(), 1, "the routes of all documents can be merged");
    }

    #[test]
    fn every_run_makes_the_same() {
        let sources = sources();
        let (first, second) = (generate(&sources).unwrap(), generate(&sources).unwrap());
        let outputs = |made: &[Made]| made.iter().flat_map(|made| made.outputs.clone()).collect::<Vec<_>>();
        assert_eq!(outputs(&first), outputs(&second));
    }

    #[test]
    fn one_name_with_two_meanings_is_refused() {
        let mut sources = sources();
        let text = sources.pop().unwrap().text.replace("ParkTask", "QueryTask");
        sources.push(Source::parse("imgopen-second".into(), text).unwrap());
        let error = format!("{:#}", generate(&sources).err().unwrap());
        assert!(error.contains("the schema `QueryTaskRequest` of `imgopen-second` differs"), "{error}");
    }
}
