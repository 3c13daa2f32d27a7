//! The recipe of `spec/README.md` for a new operation, followed in a copy of the documents: every step does what it says,
//! and what is generated has all that the tests of the workspace need.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::document::source;
use crate::output::Mode;
use crate::{breaking, codegen, lint};

/// What a stranger adds by hand.
const OPERATION: &str = include_str!("../testdata/recipe/paths.yaml");
const SCHEMAS: &str = include_str!("../testdata/recipe/schemas.yaml");
/// Where to.
const DOCUMENT: &str = "spec/imgopen-extras.yaml";

/// A checkout with the documents and the folders of generated code, and nothing else.
fn copy() -> (TempDir, PathBuf) {
    let (from, folder) = (source::workspace_root().unwrap(), tempfile::tempdir().unwrap());
    copy_folder(&from.join("spec"), &folder.path().join("spec"));
    for generated in codegen::FOLDERS {
        fs::create_dir_all(folder.path().join(generated)).unwrap();
    }
    (folder, from)
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Steps 1 to 4: the operation at the end of the paths, its schemas at the end of the components.
fn add_operation(root: &Path) {
    let file = root.join(DOCUMENT);
    let text = fs::read_to_string(&file).unwrap();
    let (paths, components) = text.split_once("\ncomponents:\n").unwrap();
    fs::write(file, format!("{paths}{OPERATION}\ncomponents:\n{components}{SCHEMAS}")).unwrap();
}

fn read(root: &Path, file: &str) -> String {
    fs::read_to_string(root.join(file)).unwrap()
}

/// What a command of xtask prints.
fn printed(run: impl FnOnce(&mut dyn std::io::Write) -> anyhow::Result<()>) -> String {
    let mut out = anstream::StripStream::new(Vec::new());
    run(&mut out).unwrap();
    String::from_utf8(out.into_inner()).unwrap()
}

#[test]
fn a_new_operation_needs_the_document_alone() {
    let (folder, from) = copy();
    let root = folder.path();
    add_operation(root);

    // Step 5.
    let findings = lint::lint(root, &source::load(root).unwrap());
    assert!(findings.is_empty(), "{:#?}", findings.list);
    let before = from.join(DOCUMENT);
    let changes = printed(|out| breaking::run(root, before.to_str().unwrap(), out));
    assert!(changes.contains("the operation added") && changes.contains("for callers: 0 breaking"), "{changes}");

    // Step 6.
    printed(|out| codegen::run(root, Mode::Write, out));
    let checked = printed(|out| codegen::run(root, Mode::Check, out));
    assert!(checked.contains("fresh      tests/src/generated.rs") && !checked.contains("stale"), "{checked}");

    // What step 7 implements, and who calls it.
    let generated = |package: &str| read(root, &format!("crates/{package}/src/generated.rs"));
    let (_, extras) = generated("imgopen-server").split_once("pub trait ImgOpenExtras").map(owned).unwrap();
    assert!(extras.contains("fn count_tasks(") && extras.contains("/imgopen/v1/tasks/count"));
    assert!(generated("imgopen-client").contains("pub fn count_tasks(&self)"));
    assert!(generated("imgopen-mock").contains("fn count_tasks<"));
    assert!(read(root, "crates/imgopen-server/src/docs.html").contains("id=\"op-count_tasks\""));

    // What step 8 goes through: the list of operations and their examples.
    let list = read(root, "tests/src/generated.rs").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(list.contains("count_tasks(CountTasksRequest) -> CountTasksResponse;"), "{list}");
    let document: Value = serde_json::from_str(&read(root, "crates/imgopen-server/src/imgopen-extras.json")).unwrap();
    let operation = &document["paths"]["/imgopen/v1/tasks/count"]["post"];
    let examples = &operation["requestBody"]["content"]["application/json"]["examples"];
    assert!(examples["minimal"]["value"].is_object() && examples["full"]["value"].is_object());
    let answers = operation["responses"]["200"]["content"]["application/json"]["examples"].as_object().unwrap();
    assert_eq!(answers.values().next().unwrap()["value"]["code"], "200");
}

fn owned((before, after): (&str, &str)) -> (String, String) {
    (before.to_owned(), after.to_owned())
}

/// Only what is generated lists operations: the shared code of the tests names none of those that only the extras have.
#[test]
fn the_tests_have_no_list_of_operations_by_hand() {
    let root = source::workspace_root().unwrap();
    let ids = ["cancel_task", "list_tasks", "list_callbacks", "redeliver_callback", "describe_server"];
    assert!(ids.iter().all(|id| read(&root, "tests/src/generated.rs").contains(&format!("{id}("))));
    for entry in fs::read_dir(root.join("tests/src")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        let named: Vec<_> = ids.iter().filter(|id| text.contains(**id)).collect();
        assert!(name == "generated.rs" || named.is_empty(), "tests/src/{name} names {named:?}");
    }
}

/// The commands of the recipe are those that the test above runs, and the tests at the end.
#[test]
fn the_recipe_has_no_step_that_is_not_tried() {
    let readme = read(&source::workspace_root().unwrap(), "spec/README.md");
    let (_, recipe) = readme.split_once("\n## Add an operation\n").unwrap();
    let (recipe, _) = recipe.split_once("\n## ").unwrap();
    let commands: Vec<_> = recipe.split('`').skip(1).step_by(2).filter(|code| code.starts_with("cargo ")).collect();
    let wanted = [
        "cargo xtask lint",
        "cargo xtask breaking",
        "cargo xtask codegen",
        "cargo xtask codegen --check",
        "cargo test --workspace",
        "cargo insta review",
    ];
    assert_eq!(commands, wanted);
}
