//! The published examples in `spec/examples`: each reads and writes back unchanged, or fails as its quirk says.

use std::fs;
use std::path::{Path, PathBuf};

use imgopen_tests::calls::{read_request, read_response};
use imgopen_tests::document::{Example, request_examples, response_examples};
use serde_json::Value;

/// The published bodies: operation, file, text.
fn published() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/examples");
    let mut found = Vec::new();
    for directory in fs::read_dir(root).unwrap().map(|entry| entry.unwrap()) {
        let operation = directory.file_name().into_string().unwrap();
        for file in fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|ending| ending == "json") {
                found.push((operation.clone(), file.clone(), fs::read_to_string(file).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn is_quirk(examples: Vec<Example>) -> bool {
    examples.iter().find(|example| example.name == "published").unwrap().is_quirk
}

#[test]
fn every_published_body_reads_back_or_fails_as_its_quirk_says() {
    let mut failures = String::new();
    let published = published();
    assert!(!published.is_empty());
    for (operation, file, text) in published {
        let is_request = file.ends_with("request.json");
        let outcome = match is_request {
            true => read_request(&operation, text.as_bytes()),
            false => read_response(&operation, text.as_bytes()),
        };
        let examples = if is_request { request_examples(&operation) } else { response_examples(&operation) };
        assert_eq!(outcome.is_err(), is_quirk(examples), "{operation}: {outcome:?}");
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
