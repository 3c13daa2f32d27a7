//! Each rule against a small document that breaks it in one place, and the real documents against all rules.

mod cases;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::rules::RULES;
use super::*;
use crate::{spec, yaml};
use cases::Case;

/// A document that keeps every rule.
const SMALL: &str = include_str!("tests/small.yaml");

/// Rules that look beyond one document and have tests of their own below.
const TESTED_APART: [&str; 4] = ["thirty-operations", "vendor-paths", "unique-paths", "example-files"];

/// A document as `spec::load` would give it.
fn source(name: &str, text: &str) -> Source {
    let root = yaml::parse(text).unwrap();
    Source { name: name.to_owned(), path: format!("spec/{name}.yaml"), text: text.to_owned(), root }
}

/// What the rules say of one document beside which the example of `paint` lies.
fn lint_one(name: &str, text: &str) -> Vec<Finding> {
    let folder = tempfile::tempdir().unwrap();
    write_example(folder.path(), "paint/request.json", r#"{"subject": "a house"}"#);
    lint(folder.path(), &[source(name, text)]).list
}

/// Puts a file under `spec/examples`.
fn write_example(root: &Path, file: &str, text: &str) {
    let file = root.join("spec/examples").join(file);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// The report without colours.
fn plain(findings: &Findings) -> String {
    let mut out = anstream::StripStream::new(Vec::new());
    report(findings, &mut out).unwrap();
    String::from_utf8(out.into_inner()).unwrap()
}

/// The small document after an edit.
fn edited(old: &str, new: &str) -> String {
    assert!(SMALL.contains(old), "{old:?} must stand in small.yaml");
    SMALL.replace(old, new)
}

#[test]
fn the_small_document_keeps_every_rule() {
    assert_eq!(lint_one("small", SMALL), []);
}

#[test]
fn each_broken_document_is_told_once_at_the_right_place() {
    for Case { rule, old, new, pointer, line } in cases::all() {
        let text = edited(old, new);
        let findings = lint_one("small", &text);
        let line_of = |finding: &Finding| text.lines().nth(finding.line - 1).unwrap().trim().to_owned();
        let told: Vec<_> = findings.iter().map(|one| (one.rule, one.pointer.as_str(), line_of(one))).collect();
        assert_eq!(told, [(*rule, *pointer, (*line).to_owned())], "{new:?} gave {findings:#?}");
    }
}

#[test]
fn each_rule_has_a_case() {
    let cases: BTreeSet<_> = cases::all().map(|case| case.rule).chain(TESTED_APART).collect();
    let rules: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(cases, rules);
    assert_eq!(rules.len(), RULES.len(), "two rules have the same name");
}

#[test]
fn the_vendor_document_is_complete_and_under_the_prefix() {
    let found = lint_one(spec::VENDOR, &edited("/AIGCImgOpenServ/saas/paint", "/paint"));
    let told: Vec<_> = found.iter().map(|finding| (finding.rule, finding.pointer.as_str())).collect();
    assert_eq!(told, [("thirty-operations", "#/paths"), ("vendor-paths", "#/paths/~1paint")]);
}

#[test]
fn documents_share_paths_and_the_names_of_operations_and_schemas() {
    let folder = tempfile::tempdir().unwrap();
    write_example(folder.path(), "paint/request.json", r#"{"subject": "a house"}"#);
    let second = edited("          minLength: 1\n", "");
    let found = lint(folder.path(), &[source("a", SMALL), source("b", &second)]).list;
    let told: Vec<_> = found.iter().map(|finding| (finding.path.as_str(), finding.rule)).collect();
    let b = |rule| ("spec/b.yaml", rule);
    let paths_and_ids = ["unique-paths", "operation-id", "operation-id", "unique-paths", "operation-id"];
    assert_eq!(told, paths_and_ids.into_iter().chain(["component-names"]).map(b).collect::<Vec<_>>());
}

#[test]
fn example_files_agree_with_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let told = || {
        let found = lint(folder.path(), &[source("small", SMALL)]).list;
        found.into_iter().map(|finding| (finding.rule, finding.path, finding.problem)).collect::<Vec<_>>()
    };
    let here = |problem: &str| vec![("example-files", "spec/small.yaml".to_owned(), problem.to_owned())];
    assert_eq!(told(), here("spec/examples/paint/request.json is missing"));
    write_example(folder.path(), "paint/request.json", r#"{"subject": "a tree"}"#);
    assert_eq!(told(), here("it differs from spec/examples/paint/request.json"));
    write_example(folder.path(), "paint/request.json", r#"{"subject": "a house"}"#);
    write_example(folder.path(), "ask/response.json", "{}");
    assert_eq!(told(), here("no example `published` shows spec/examples/ask/response.json"));
    fs::remove_dir_all(folder.path().join("spec/examples/ask")).unwrap();
    fs::rename(folder.path().join("spec/examples/paint"), folder.path().join("spec/examples/draw")).unwrap();
    write_example(folder.path(), "paint/request.as-published.txt", "{,}");
    let stray = ("example-files", "spec/examples/draw".to_owned(), "it is not named after an operation".to_owned());
    assert_eq!(told(), [stray]);
}

#[test]
fn a_report_names_place_rule_fix_and_extent() {
    let folder = tempfile::tempdir().unwrap();
    write_example(folder.path(), "paint/request.json", r#"{"subject": "a house"}"#);
    let text = edited("summary: Ask for a job", "summary: Ask for a job.");
    let written = plain(&lint(folder.path(), &[source("small", &text)]));
    let lines: Vec<_> = written.lines().collect();
    let place = "#/paths/~1AIGCImgOpenServ~1saas~1ask~1{kind}/post/summary";
    let line = text.lines().position(|line| line.contains("summary: Ask")).unwrap() + 1;
    assert_eq!(lines[0], format!("spec/small.yaml:{line}: [summary] {place}: the summary is not a heading"));
    assert!(lines[1].starts_with("    fix: write one line"), "{}", lines[1]);
    assert!(written.contains("\nspec/small.yaml: 1 finding in 2 operations and 9 schemas\n"), "{written}");
}

#[test]
fn the_readme_lists_the_rules() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/README.md")).unwrap();
    let table = RULES.iter().map(|rule| format!("| `{}` | {} |\n", rule.name, rule.reason)).collect::<String>();
    let wanted = format!("## Lint rules\n\n| rule | what it asks for, and why |\n|---|---|\n{table}");
    assert!(readme.contains(&wanted), "the section `Lint rules` of spec/README.md should be:\n{wanted}");
}

#[test]
fn the_documents_of_this_project_keep_every_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sources = spec::load(&root).unwrap();
    let start = Instant::now();
    let findings = lint(&root, &sources);
    let taken = start.elapsed();
    assert!(findings.is_empty(), "{}", plain(&findings));
    assert!(taken < Duration::from_secs(5), "the rules took {taken:?}");
}
