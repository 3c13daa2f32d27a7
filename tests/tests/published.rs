//! The published examples in `spec/examples`: each reads and writes back unchanged, or fails as its quirk says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use imgopen_tests::calls::{read_request, read_response};
use imgopen_tests::spec;
use serde_json::Value;

/// All files: operation, file.
fn files() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/examples");
    let mut found = Vec::new();
    for directory in fs::read_dir(root).unwrap().map(|entry| entry.unwrap()) {
        let operation = directory.file_name().into_string().unwrap();
        found.extend(fs::read_dir(directory.path()).unwrap().map(|entry| (operation.clone(), entry.unwrap().path())));
    }
    found.sort();
    found
}

/// The published bodies that are JSON: operation, file, text.
fn published() -> Vec<(String, PathBuf, String)> {
    let files = files().into_iter().filter(|(_, file)| file.extension().is_some_and(|ending| ending == "json"));
    files.map(|(operation, file)| (operation, file.clone(), fs::read_to_string(file).unwrap())).collect()
}

/// The file names of bodies up to the first dot; others have the same body in another form.
const BODIES: [&str; 2] = ["request", "response"];

/// The published pages show 20 bodies; a page that is found later can only add some.
#[test]
fn every_published_body_has_its_file() {
    let mut documented = BTreeSet::new();
    for operation in spec::operations() {
        for (name, body) in BODIES.into_iter().zip([operation.request(), operation.response()]) {
            if body["examples"].get("published").is_some() {
                documented.insert((operation.id().to_owned(), name.to_owned()));
            }
        }
    }
    let first = |file: PathBuf| file.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
    let kept = files().into_iter().map(|(operation, file)| (operation, first(file)));
    let kept: BTreeSet<_> = kept.filter(|(_, name)| BODIES.contains(&name.as_str())).collect();
    assert_eq!(kept, documented);
    assert!(documented.len() >= 20, "{documented:?}");
}

#[test]
fn every_published_body_reads_back_or_fails_as_its_quirk_says() {
    let mut failures = String::new();
    for (operation, file, text) in published() {
        let is_request = file.ends_with("request.json");
        let outcome = match is_request {
            true => read_request(&operation, text.as_bytes()),
            false => read_response(&operation, text.as_bytes()),
        };
        let documented = spec::operation(&operation);
        let body = if is_request { documented.request() } else { documented.response() };
        let is_quirk = body["examples"]["published"].get("x-quirk").is_some();
        assert_eq!(outcome.is_err(), is_quirk, "{operation}: {outcome:?}");
        match outcome {
            Ok(written) => {
                let [written, read] = [&written, &text].map(|text| serde_json::from_str::<Value>(text).unwrap());
                assert_eq!(written, read, "{operation}");
            }
            Err(error) => failures += &format!("{operation}: {error}\n"),
        }
    }
    insta::assert_snapshot!(failures, @"describe_image: `callbackUrl`: missing; give a URL that begins with http:// or https://");
}

/// The order of members in an answer is that of the published answers.
#[test]
fn answers_keep_the_published_order() {
    for (operation, file, text) in published().into_iter().filter(|(_, file, _)| file.ends_with("response.json")) {
        let written = read_response(&operation, text.as_bytes()).unwrap();
        let compact = serde_json::from_str::<Value>(&text).unwrap().to_string();
        assert_eq!(written, compact, "{}", file.display());
    }
}
