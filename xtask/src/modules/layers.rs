//! The order of the crates: who may depend on whom, and where SQL and HTTP may be.

use anyhow::{Result, bail};
use proc_macro2::{Literal, TokenStream, TokenTree};
use syn::visit::{self, Visit};

use super::graph::Graph;
use super::source::{Member, is_test};

/// A crate of the workspace, and what it may depend on, tests aside.
struct Layer {
    name: &'static str,
    /// Crates of the workspace.
    below: &'static [&'static str],
    /// Whether it may know HTTP.
    http: bool,
}

/// Lowest layer first: a crate depends only on crates listed above it.
const LAYERS: [Layer; 20] = [
    Layer { name: "imgopen-types", below: &[], http: false },
    Layer { name: "imgopen-fetch", below: &[], http: true },
    Layer { name: "imgopen-client", below: &["imgopen-types"], http: true },
    Layer { name: "imgopen-server", below: &["imgopen-types"], http: true },
    Layer { name: "imgopen-mock", below: &["imgopen-client", "imgopen-types"], http: true },
    Layer { name: "imgopen-engine", below: &["imgopen-types"], http: false },
    Layer { name: "imgopen-picture", below: &["imgopen-types", "imgopen-engine"], http: false },
    Layer { name: "imgopen-nets", below: &["imgopen-types", "imgopen-engine"], http: false },
    Layer { name: "imgopen-packs", below: &["imgopen-nets"], http: false },
    Layer { name: "imgopen-tools", below: &["imgopen-types", "imgopen-engine", "imgopen-picture"], http: false },
    Layer {
        name: "imgopen-neural",
        below: &[
            "imgopen-types",
            "imgopen-engine",
            "imgopen-picture",
            "imgopen-nets",
            "imgopen-packs",
            "imgopen-tools",
        ],
        http: false,
    },
    Layer { name: "imgopen-backends", below: &["imgopen-types", "imgopen-engine", "imgopen-picture"], http: true },
    Layer { name: "imgopen-trainer", below: &["imgopen-types", "imgopen-engine", "imgopen-picture"], http: false },
    Layer { name: STORE, below: &["imgopen-types"], http: false },
    Layer { name: POSTGRES, below: &[STORE], http: false },
    // It knows engines by their trait, the files of pictures, and the trainer, which shares its data directory. The command line chooses the others.
    Layer {
        name: "imgopen-service",
        below: &[
            "imgopen-types",
            "imgopen-fetch",
            "imgopen-server",
            "imgopen-engine",
            "imgopen-picture",
            "imgopen-trainer",
            STORE,
            POSTGRES,
        ],
        http: true,
    },
    Layer {
        name: "imgopen-cli",
        below: &[
            "imgopen-types",
            "imgopen-client",
            "imgopen-engine",
            "imgopen-neural",
            "imgopen-packs",
            "imgopen-picture",
            "imgopen-tools",
            "imgopen-backends",
            "imgopen-trainer",
            "imgopen-service",
        ],
        http: true,
    },
    Layer { name: "imgopen-tests", below: &["imgopen-types", "imgopen-client", "imgopen-server"], http: true },
    Layer {
        name: "imgopen-fuzz",
        below: &["imgopen-types", "imgopen-nets", "imgopen-server", "imgopen-tests"],
        http: true,
    },
    Layer { name: "xtask", below: &[], http: false },
];

/// The crates that know a database each, and where in them.
const STORE: &str = "imgopen-store";
const POSTGRES: &str = "imgopen-postgres";
const SQL_PLACES: [&str; 3] =
    ["crates/imgopen-store/src/sqlite/", "crates/imgopen-postgres/src/", "crates/imgopen-store/src/sqlite.rs"];

/// Libraries for databases, each with the crate that may know it.
const DATABASES: [(&str, &str); 6] = [
    ("rusqlite", STORE),
    ("sqlx", STORE),
    ("postgres", POSTGRES),
    ("tokio-postgres", POSTGRES),
    ("tokio-postgres-rustls", POSTGRES),
    ("deadpool-postgres", POSTGRES),
];
const HTTP: [&str; 7] = ["axum", "axum-server", "http", "hyper", "reqwest", "tower", "tower-http"];

/// Checks what the crates depend on.
pub fn check(crates: &[Member]) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for member in crates {
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == member.name) else {
            findings.push(format!(
                "{}: `{}` has no place in the order of the crates; give it one in xtask/src/modules/layers.rs",
                member.manifest, member.name
            ));
            continue;
        };
        for dependency in dependencies(member)? {
            let database = DATABASES.iter().find(|(library, place)| dependency == *library && member.name != *place);
            let problem = if dependency.starts_with("imgopen") && !layer.below.contains(&dependency.as_str()) {
                "which is not below it".to_owned()
            } else if HTTP.contains(&dependency.as_str()) && !layer.http {
                "but must not know HTTP".to_owned()
            } else if let Some((_, place)) = database {
                format!("but only {place} may know that database")
            } else {
                continue;
            };
            findings.push(format!("{}: `{}` depends on `{dependency}`, {problem}", member.manifest, member.name));
        }
    }
    Ok(findings)
}

/// What a crate is built with.
fn dependencies(member: &Member) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for (key, value) in &member.toml {
        match (key.as_str(), value.as_table()) {
            ("dependencies" | "build-dependencies", Some(table)) => names.extend(table.keys().cloned()),
            ("target", Some(targets)) => {
                let tables = targets.values().filter_map(|target| target.get("dependencies")?.as_table());
                names.extend(tables.flat_map(|table| table.keys().cloned()));
            }
            ("dependencies" | "build-dependencies" | "target", None) => {
                bail!("{}: `{key}` is not a table", member.manifest)
            }
            _ => {}
        }
    }
    Ok(names)
}

/// Checks that the code of a crate has no SQL but where it belongs.
pub fn check_source(package: &str, graph: &Graph) -> Vec<String> {
    let mut findings = Vec::new();
    if !package.starts_with("imgopen-") {
        return findings;
    }
    for module in graph.modules.iter().filter(|module| !SQL_PLACES.iter().any(|place| module.file.starts_with(place))) {
        let mut search = Search::default();
        search.visit_file(&module.syntax);
        if let Some((first, more)) = search.lines.split_first() {
            let more: Vec<String> =
                more.iter().map(|(line, what)| format!("  {}:{line}: {what}", module.file)).collect();
            let [sqlite, postgres, _] = SQL_PLACES;
            let head = format!("{}:{}: {}; only {sqlite} and {postgres} may have it", module.file, first.0, first.1);
            findings.push([vec![head], more].concat().join("\n"));
        }
    }
    findings
}

#[derive(Default)]
struct Search {
    lines: Vec<(usize, &'static str)>,
}

impl Search {
    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(ident) => self.ident(&ident),
                TokenTree::Literal(literal) => self.literal(&literal),
                TokenTree::Punct(_) => {}
            }
        }
    }

    fn ident(&mut self, ident: &proc_macro2::Ident) {
        if ident == "rusqlite" {
            self.lines.push((ident.span().start().line, "names `rusqlite`"));
        }
    }

    fn literal(&mut self, literal: &Literal) {
        if syn::parse_str::<syn::LitStr>(&literal.to_string()).is_ok_and(|text| is_sql(&text.value())) {
            self.lines.push((literal.span().start().line, "has SQL"));
        }
    }
}

impl<'ast> Visit<'ast> for Search {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(super::graph::attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    /// Documentation may speak of SQL.
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_ident(&mut self, ident: &'ast proc_macro2::Ident) {
        self.ident(ident);
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.literal(&text.token());
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
    }
}

/// Whether a text is a statement of SQL, or a part of one.
pub fn is_sql(text: &str) -> bool {
    const STARTS: [&str; 10] = [
        "SELECT ",
        "INSERT INTO ",
        "INSERT OR ",
        "DELETE FROM ",
        "CREATE TABLE ",
        "CREATE INDEX ",
        "CREATE UNIQUE ",
        "ALTER TABLE ",
        "DROP TABLE ",
        "PRAGMA ",
    ];
    let text = text.trim_start();
    STARTS.iter().any(|start| text.starts_with(start))
        || (text.starts_with("UPDATE ") && text.contains(" SET "))
        || (text.contains("WHERE ") && text.contains('?'))
}
