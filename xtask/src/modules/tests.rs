//! Crates with planted cycles.

use std::fs;

use tempfile::TempDir;

use super::cycles;
use super::graph::Graph;
use super::layers::{self, check_source, is_sql};
use super::visitors::{self, Visitor};

/// Writes the files of a crate and reads its modules.
fn graph(files: &[(&str, &str)]) -> Graph {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    Graph::read(folder.path(), &folder.path().join(files[0].0)).unwrap()
}

/// The cycles, as they are printed.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    cycles::find(&graph(files), &|_, _| false).iter().map(ToString::to_string).collect()
}

#[test]
fn a_cycle_is_printed_with_the_lines_that_make_it() {
    let cycles = found(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
        ("a.rs", "use crate::b::B;\npub struct A(B);\n"),
        ("b.rs", "pub struct B;\n\nfn go() {\n    crate::c::go();\n    crate::c::go();\n}\n"),
        ("c.rs", "use super::a;\npub fn go() -> a::A {}\n"),
    ]);
    assert_eq!(
        cycles,
        ["a cycle of `crate::a`, `crate::b`, `crate::c`: cut a reference, or name the visitor in ARCHITECTURE.md\n  \
          a.rs:1 refers to `crate::b`\n  b.rs:4 refers to `crate::c`, and 1 more\n  c.rs:1 refers to `crate::a`"]
    );
}

#[test]
fn two_cycles_are_two_findings() {
    let cycles = found(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::a::A; use crate::c::C; pub struct B;"),
        ("c.rs", "use crate::d::D; pub struct C;"),
        ("d.rs", "use crate::c::C; pub struct D;"),
    ]);
    assert_eq!(cycles.len(), 2, "{cycles:?}");
}

#[test]
fn a_parent_that_re_exports_what_children_define_makes_no_cycle() {
    let cycles = found(&[
        ("lib.rs", "mod a; mod b; pub use a::{A, deep::D}; pub(crate) use b::*;"),
        ("a.rs", "pub mod deep; pub struct A;"),
        ("a/deep.rs", "use crate::B; pub struct D(B);"),
        ("b.rs", "use crate::A; pub struct B(A);"),
    ]);
    assert_eq!(cycles, [""; 0]);
}

#[test]
fn a_name_is_followed_to_the_module_that_defines_it() {
    let cycles = found(&[
        ("lib.rs", "mod a; mod b; pub use a::A; pub use b::*;"),
        ("a.rs", "use crate::B; pub struct A;"),
        ("b.rs", "use crate::A; pub struct B;"),
    ]);
    assert_eq!(cycles.len(), 1);
    assert!(cycles[0].starts_with("a cycle of `crate::a`, `crate::b`:"), "{cycles:?}");
}

#[test]
fn a_parent_that_calls_a_child_which_uses_it_is_a_cycle() {
    for call in ["child::go();", "dbg!(child::go());", "vec![1, child::go()];"] {
        let cycles = found(&[
            ("lib.rs", "mod parent;"),
            ("parent.rs", &format!("mod child; pub struct Parent; fn go() {{ {call} }}")),
            ("parent/child.rs", "use super::Parent; pub fn go() {}"),
        ]);
        assert_eq!(cycles.len(), 1, "{call}");
    }
    let exported = found(&[
        ("lib.rs", "mod parent;"),
        ("parent.rs", "mod child; pub use child::Child; pub struct Parent(Child);"),
        ("parent/child.rs", "use super::Parent; pub struct Child;"),
    ]);
    assert_eq!(exported.len(), 1, "a re-exported name is used");
}

#[test]
fn tests_generated_files_and_visibilities_do_not_count() {
    let cycles = found(&[
        ("lib.rs", "mod a; mod generated; #[cfg(test)] mod tests; fn run() { a::go(); }"),
        ("a.rs", "pub(crate) fn go() {} pub(super) struct A; #[cfg(test)] mod tests { use crate::run; }"),
        ("generated.rs", "use crate::run;"),
        ("tests.rs", "use crate::run;"),
    ]);
    assert_eq!(cycles, [""; 0]);
}

#[test]
fn inner_modules_belong_to_their_file_and_attributes_may_name_modules() {
    let cycles = found(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub mod inner { pub struct I; fn f() { super::super::b::go(); } }"),
        ("b.rs", "pub fn go() {} struct B { #[serde(with = \"crate::a::inner\")] field: u8 }"),
    ]);
    assert_eq!(cycles.len(), 1);
}

#[test]
fn a_named_visitor_is_allowed_and_a_row_without_one_is_not() {
    let text = "## Visitors\n\n| crate | module | why |\n|---|---|---|\n| `x` | `crate::parent` | dispatches |\n\n## Next\n| `y` | `z` | |";
    let visitors = visitors::read(text).unwrap();
    assert_eq!(visitors, [Visitor { package: "x".into(), module: "crate::parent".into(), line: 5 }]);
    let with = graph(&[
        ("lib.rs", "mod parent;"),
        ("parent.rs", "mod child; pub struct Parent; fn go() { child::go(); }"),
        ("parent/child.rs", "use super::Parent; pub fn go() {}"),
    ]);
    assert_eq!(super::check("x", &with, &visitors), [""; 0]);
    assert_eq!(super::check("other", &with, &visitors).len(), 1);
    let without = graph(&[("lib.rs", "mod parent;"), ("parent.rs", "mod child;"), ("parent/child.rs", "")]);
    assert_eq!(
        super::check("x", &without, &visitors),
        ["ARCHITECTURE.md:5: nothing below `crate::parent` of `x` refers to it; remove the row"]
    );
}

#[test]
fn a_row_needs_a_reason() {
    assert!(visitors::read("### Visitors\n| `x` | `crate` | |").is_err());
    assert!(visitors::read("### Visitors\n| `x` | crate | why |").is_err());
}

#[test]
fn sql_and_the_database_are_found_in_code_but_not_in_documentation_and_tests() {
    let with = graph(&[(
        "lib.rs",
        "//! SELECT a FROM b\nuse rusqlite::Row;\nfn a() { run(\"SELECT a FROM b\"); }\nfn b() { x!(\"UPDATE a SET b = ?\") }\n\
         #[cfg(test)]\nmod tests { fn c() { run(\"DELETE FROM a\"); } }\n",
    )]);
    assert_eq!(
        check_source("imgopen-service", &with),
        [
            "lib.rs:2: names `rusqlite`; only crates/imgopen-store/src/sqlite/ and crates/imgopen-postgres/src/ may have it\n  \
          lib.rs:3: has SQL\n  lib.rs:4: has SQL"
        ]
    );
    assert_eq!(check_source("xtask", &with), [""; 0]);
}

#[test]
fn prose_is_not_sql() {
    for text in ["select a model from the list", "Where is it?", "SELECTED", "an UPDATE"] {
        assert!(!is_sql(text), "{text}");
    }
}

#[test]
fn dependencies_run_one_way() {
    let member = |name: &str, dependencies: &str| super::source::Member {
        name: name.to_owned(),
        manifest: format!("{name}/Cargo.toml"),
        toml: format!("[dependencies]\n{dependencies}\n[dev-dependencies]\nrusqlite = \"1\"").parse().unwrap(),
        roots: Vec::new(),
    };
    let findings = layers::check(&[
        member("imgopen-engine", "imgopen-types = {}\naxum = \"1\""),
        member("imgopen-service", "imgopen-engine = {}\naxum = \"1\"\nrusqlite = \"1\"\nimgopen-cli = {}"),
        member("imgopen-postgres", "imgopen-store = {}\ntokio-postgres = \"1\""),
        member("imgopen-store", "imgopen-types = {}\nrusqlite = \"1\"\ntokio-postgres = \"1\""),
        member("imgopen-new", ""),
    ]);
    assert_eq!(
        findings.unwrap(),
        [
            "imgopen-engine/Cargo.toml: `imgopen-engine` depends on `axum`, but must not know HTTP",
            "imgopen-service/Cargo.toml: `imgopen-service` depends on `imgopen-cli`, which is not below it",
            "imgopen-service/Cargo.toml: `imgopen-service` depends on `rusqlite`, but only imgopen-store may know that database",
            "imgopen-store/Cargo.toml: `imgopen-store` depends on `tokio-postgres`, but only imgopen-postgres may know that \
             database",
            "imgopen-new/Cargo.toml: `imgopen-new` has no place in the order of the crates; give it one in \
             xtask/src/modules/layers.rs",
        ]
    );
}
