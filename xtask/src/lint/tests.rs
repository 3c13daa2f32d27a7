//! Each rule against a small document that breaks it in one place, and the real documents against all rules.

mod cases;
mod reserved;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::rules::RULES;
use super::*;
use crate::document::{source, yaml};
use cases::Case;

/// A document that keeps every rule.
const SMALL: &str = include_str!("../../testdata/small.yaml");

/// Rules that look beyond one document and have tests of their own below.
const TESTED_APART: [&str; 5] =
    ["document-names", "thirty-operations", "vendor-paths", "unique-paths", "example-files"];

/// A document as `source::load` would give it.
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
    assert_eq!(lint_one("imgopen-small", SMALL), []);
}

#[test]
fn each_broken_document_is_reported_once_at_the_right_place() {
    let mut wrong = String::new();
    for Case { rule, old, new, pointer, line } in cases::all() {
        let text = edited(old, new);
        let findings = lint_one("imgopen-small", &text);
        let line_of = |finding: &Finding| text.lines().nth(finding.line - 1).unwrap().trim().to_owned();
        let reported: Vec<_> = findings.iter().map(|one| (one.rule, one.pointer.as_str(), line_of(one))).collect();
        if reported != [(*rule, *pointer, (*line).to_owned())] {
            wrong += &format!("{rule}: {new:?} gave {findings:#?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn each_rule_has_a_case() {
    let cases: BTreeSet<_> = cases::all().map(|case| case.rule).chain(TESTED_APART).collect();
    let rules: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(cases, rules);
    assert_eq!(rules.len(), RULES.len(), "two rules have the same name");
}

#[test]
fn a_document_of_another_system_is_refused_by_line() {
    let windows = format!("\u{feff}{}", SMALL.replace('\n', "\r\n"));
    let found = lint_one("imgopen-small", &windows);
    let reported: Vec<_> = found.iter().map(|finding| (finding.rule, finding.line, finding.problem.clone())).collect();
    let lines = SMALL.lines().count();
    let returns = format!("{lines} lines hold a carriage return, this one first");
    let mark = "the file begins with a byte order mark".to_owned();
    assert_eq!(reported, [("line-ends", 1, mark), ("line-ends", 1, returns)]);
    assert_eq!(lint_one("imgopen-small", &windows.replace("\r\n", "\n").replace('\u{feff}', "")), []);
}

#[test]
fn the_vendor_document_is_complete_and_under_the_prefix() {
    let found = lint_one(source::VENDOR, &edited("/AIGCImgOpenServ/saas/paint", "/paint"));
    let reported: Vec<_> = found.iter().map(|finding| (finding.rule, finding.pointer.as_str())).collect();
    assert_eq!(reported, [("thirty-operations", "#/paths"), ("vendor-paths", "#/paths/~1paint")]);
}

#[test]
fn documents_share_paths_and_the_names_of_operations_and_schemas() {
    let folder = tempfile::tempdir().unwrap();
    write_example(folder.path(), "paint/request.json", r#"{"subject": "a house"}"#);
    let second = edited("          minLength: 1\n", "");
    let found = lint(folder.path(), &[source("imgopen-a", SMALL), source("imgopen-b", &second)]).list;
    let reported: Vec<_> = found.iter().map(|finding| (finding.path.as_str(), finding.rule)).collect();
    let b = |rule| ("spec/imgopen-b.yaml", rule);
    let paths_and_ids = ["unique-paths", "operation-id", "operation-id", "unique-paths", "operation-id"];
    assert_eq!(reported, paths_and_ids.into_iter().chain(["component-names"]).map(b).collect::<Vec<_>>());
}

#[test]
fn a_document_gives_names_of_its_own() {
    let name_of = |name| lint_one(name, SMALL).into_iter().map(|finding| finding.rule).collect::<Vec<_>>();
    for name in ["imgopen-extras", "imgopen-my-own", "imgopen-v2"] {
        assert_eq!(name_of(name), [""; 0], "{name}");
    }
    for name in
        ["small", "extras", "imgopen-", "imgopen_extras", "imgopen-Extras", "imgopen-v-2", "imgopen-a--b", "imgopen-ä"]
    {
        assert_eq!(name_of(name), ["document-names"], "{name}");
    }
}

#[test]
fn all_documents_have_the_same_pair_of_keys() {
    const ID: &str = "    keyId:\n      type: apiKey\n      in: header\n      name: X-Key-Id\n      description: Id of the caller's key.\n";
    const SECRET: &str = "    keySecret:\n      type: apiKey\n      in: header\n      name: X-Key-Secret\n      description: Secret of the caller's key.\n";
    let swapped = edited(&format!("{ID}{SECRET}"), &format!("{SECRET}{ID}"));
    let third = edited("    keySecret: []\n", "    keySecret: []\n    keySeal: []\n")
        .replace(SECRET, &format!("{SECRET}{}", SECRET.replace("Secret", "Seal")));
    for (second, problem) in [
        (SMALL.to_owned(), None),
        (
            edited("X-Key-Id", "X-Own-Id"),
            Some("the keys are not those of spec/imgopen-a.yaml, of the same names and headers"),
        ),
        (swapped, Some("the keys are not those of spec/imgopen-a.yaml, of the same names and headers")),
        (third, Some("there are not two keys")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let found = lint(folder.path(), &[source("imgopen-a", SMALL), source("imgopen-b", &second)]).list;
        let reported = found.iter().filter(|finding| finding.rule == "security");
        let reported: Vec<_> = reported
            .map(|finding| (finding.path.as_str(), finding.pointer.as_str(), finding.problem.as_str()))
            .collect();
        let wanted = problem.map(|problem| ("spec/imgopen-b.yaml", "#/components/securitySchemes", problem));
        assert_eq!(reported, Vec::from_iter(wanted));
    }
}

#[test]
fn example_files_agree_with_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let reported = || {
        let found = lint(folder.path(), &[source("imgopen-small", SMALL)]).list;
        found.into_iter().map(|finding| (finding.rule, finding.path, finding.problem)).collect::<Vec<_>>()
    };
    let here = |problem: &str| vec![("example-files", "spec/imgopen-small.yaml".to_owned(), problem.to_owned())];
    assert_eq!(reported(), here("spec/examples/paint/request.json is missing"));
    write_example(folder.path(), "paint/request.json", r#"{"subject": "a tree"}"#);
    assert_eq!(reported(), here("it differs from spec/examples/paint/request.json"));
    write_example(folder.path(), "paint/request.json", r#"{"subject": "a house"}"#);
    write_example(folder.path(), "ask/response.json", "{}");
    assert_eq!(reported(), here("no example `published` shows spec/examples/ask/response.json"));
    fs::remove_dir_all(folder.path().join("spec/examples/ask")).unwrap();
    fs::rename(folder.path().join("spec/examples/paint"), folder.path().join("spec/examples/draw")).unwrap();
    write_example(folder.path(), "paint/request.as-published.txt", "{,}");
    let stray = ("example-files", "spec/examples/draw".to_owned(), "it is not named after an operation".to_owned());
    assert_eq!(reported(), [stray]);
}

#[test]
fn a_report_names_place_rule_fix_and_extent() {
    let folder = tempfile::tempdir().unwrap();
    write_example(folder.path(), "paint/request.json", r#"{"subject": "a house"}"#);
    let text = edited("description: Returns the state of a job.", "description: Returns the state of a job");
    let written = plain(&lint(folder.path(), &[source("imgopen-small", &text)]));
    let lines: Vec<_> = written.lines().collect();
    let place = "#/paths/~1AIGCImgOpenServ~1saas~1ask~1{kind}/post/description";
    let line = text.lines().position(|line| line.contains("description: Returns")).unwrap() + 1;
    let problem = "the description does not end like a sentence";
    assert_eq!(lines[0], format!("spec/imgopen-small.yaml:{line}: [descriptions] {place}: {problem}"));
    assert!(lines[1].starts_with("    fix: say what it means"), "{}", lines[1]);
    assert!(written.contains("\nspec/imgopen-small.yaml: 1 finding in 2 operations and 9 schemas\n"), "{written}");
}

#[test]
fn the_readme_lists_the_rules() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/README.md")).unwrap();
    let table = RULES.iter().map(|rule| format!("| `{}` | {} |\n", rule.name, rule.reason)).collect::<String>();
    let wanted = format!("\n| rule | what it asks for, and why |\n|---|---|\n{table}");
    assert!(readme.contains(&wanted), "the section `Lint rules` of spec/README.md should be:\n{wanted}");
}

#[test]
fn the_documents_of_this_project_keep_every_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sources = source::load(&root).unwrap();
    let findings = lint(&root, &sources);
    assert!(findings.is_empty(), "{}", plain(&findings));
}
