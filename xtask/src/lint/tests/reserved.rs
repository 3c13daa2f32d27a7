//! The rule about reserved names, and its lists against the crates: what these define or use, the rule must know.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use heck::ToUpperCamelCase;
use syn::visit_mut::{self, VisitMut};
use syn::{File, ImplItem, Item, TraitItem, UseTree};

use super::{SMALL, lint_one};
use crate::document::source;
use crate::lint::reserved::{CALLS, OPERATIONS, SCHEMAS, owner};
use crate::model::{self, Api};

/// The folder of all crates.
const CRATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates");

fn api() -> Api {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    model::read::read(&source::load(&root).unwrap()).unwrap()
}

fn parse(file: &str) -> File {
    syn::parse_file(&fs::read_to_string(Path::new(CRATES).join(file)).unwrap()).unwrap()
}

/// Every file of the client crate.
fn client_files() -> Vec<File> {
    let folder = fs::read_dir(Path::new(CRATES).join("imgopen-client/src")).unwrap();
    let texts = folder.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    texts.map(|text| syn::parse_file(&text).unwrap()).collect()
}

/// The names of types that a file uses without saying where they are from, and those that it imports.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl VisitMut for Names {
    fn visit_path_mut(&mut self, path: &mut syn::Path) {
        if path.leading_colon.is_none() {
            self.0.extend(path.segments.first().map(|segment| segment.ident.to_string()));
        }
        visit_mut::visit_path_mut(self, path);
    }

    fn visit_item_use_mut(&mut self, found: &mut syn::ItemUse) {
        self.import(&found.tree);
    }

    /// What is derived has a space of names of its own.
    fn visit_attribute_mut(&mut self, _: &mut syn::Attribute) {}
}

impl Names {
    fn import(&mut self, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => self.import(&path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree)),
            UseTree::Name(name) => drop(self.0.insert(name.ident.to_string())),
            UseTree::Rename(rename) => drop(self.0.insert(rename.rename.to_string())),
            UseTree::Glob(_) => {}
        }
    }

    /// Those in UpperCamelCase that are not the document's own, nor a parameter such as `T`.
    fn foreign(self, own: &BTreeSet<String>) -> BTreeSet<String> {
        let is_type = |name: &String| name.len() > 1 && type_like(name);
        self.0.into_iter().filter(|name| is_type(name) && !own.contains(name)).collect()
    }
}

fn type_like(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase()) && name.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// The names of the methods of `Client` in a file.
fn client_methods(file: &File) -> Vec<String> {
    let of_client = |found: &&syn::ItemImpl| {
        found.trait_.is_none() && matches!(&*found.self_ty, syn::Type::Path(path) if path.path.is_ident("Client"))
    };
    let impls = file.items.iter().filter_map(|item| if let Item::Impl(found) = item { Some(found) } else { None });
    let items = impls.filter(of_client).flat_map(|found| &found.items);
    items
        .filter_map(|item| if let ImplItem::Fn(method) = item { Some(method.sig.ident.to_string()) } else { None })
        .collect()
}

/// What the rules say of the small document after it was rewritten.
fn reported(text: &str) -> Vec<(&'static str, String, String)> {
    let findings = lint_one("imgopen-small", text).into_iter();
    findings.map(|finding| (finding.rule, finding.pointer, finding.problem)).collect()
}

#[test]
fn an_operation_cannot_take_a_name() {
    for (name, owner) in [
        ("wait", "the client"),
        ("authorize", "the server's trait"),
        ("url", "the mock server"),
        ("clone", "every shared value"),
        ("all", "the list of all operations"),
        ("error", "the client"),
        ("result", "Rust"),
        ("gen", "Rust"),
        ("job_data", "a schema"),
    ] {
        let camel = name.to_upper_camel_case();
        let text = SMALL.replace(": ask\n", &format!(": {name}\n"));
        let text = text.replace("AskRe", &format!("{camel}Re"));
        let place = "#/paths/~1AIGCImgOpenServ~1saas~1ask~1{kind}/post/operationId".to_owned();
        let problem = format!("the name `{name}` is taken by {owner}");
        assert_eq!(reported(&text), [("reserved-names", place, problem)]);
    }
}

#[test]
fn a_parameter_cannot_take_a_name() {
    for (name, owner) in [("caller", "the server's methods"), ("body", "the client's builders")] {
        let text = SMALL.replace("{kind}", &format!("{{{name}}}")).replace("name: kind", &format!("name: {name}"));
        let text = text.replace("kind: \"oil/wall\"", &format!("{name}: \"oil/wall\""));
        let place = format!("#/paths/~1AIGCImgOpenServ~1saas~1ask~1{{{name}}}/post/parameters/0");
        let problem = format!("the name `{name}` is taken by {owner}");
        assert_eq!(reported(&text), [("reserved-names", place, problem)]);
    }
}

#[test]
fn schemas_cannot_hide_what_the_types_crate_uses() {
    let own: BTreeSet<_> = api().schemas.into_iter().map(|schema| schema.name).collect();
    let mut names = Names::default();
    for file in ["imgopen-types/src/generated.rs", "imgopen-types/src/lib.rs"] {
        names.visit_file_mut(&mut parse(file));
    }
    let foreign = names.foreign(&own);
    assert!(["Shape", "Violations", "JobState", "Option"].iter().all(|name| foreign.contains(*name)), "{foreign:?}");
    let unknown: Vec<_> = foreign.iter().filter(|name| owner(SCHEMAS, name).is_none()).collect();
    assert!(unknown.is_empty(), "add them to SCHEMAS in lint/reserved.rs: {unknown:?}");
}

#[test]
fn operations_cannot_hide_what_the_client_has() {
    let api = api();
    let own: BTreeSet<_> = api.operations().map(|operation| operation.id.clone()).collect();
    let methods: BTreeSet<_> =
        client_files().iter().flat_map(client_methods).filter(|name| !own.contains(name)).collect();
    assert!(["wait", "new_with_client"].iter().all(|name| methods.contains(*name)), "{methods:?}");
    let unknown: Vec<_> = methods.iter().filter(|name| owner(OPERATIONS, name).is_none()).collect();
    assert!(unknown.is_empty(), "add them to OPERATIONS in lint/reserved.rs: {unknown:?}");
}

#[test]
fn builders_of_calls_cannot_hide_what_they_use() {
    let own = api().operations().map(|operation| operation.id.to_upper_camel_case()).collect();
    let mut names = Names::default();
    for item in &mut parse("imgopen-client/src/generated.rs").items {
        if let Item::Mod(module) = item
            && module.ident == "builder"
        {
            names.visit_item_mod_mut(module);
        }
    }
    let foreign = names.foreign(&own);
    assert!(["Error", "Result"].iter().all(|name| foreign.contains(*name)), "{foreign:?}");
    let unknown: Vec<_> = foreign.iter().filter(|name| owner(CALLS, name).is_none()).collect();
    assert!(unknown.is_empty(), "add them to CALLS in lint/reserved.rs: {unknown:?}");
}

#[test]
fn operations_cannot_hide_what_the_server_has() {
    let api = api();
    let own: BTreeSet<_> = api.operations().map(|operation| operation.id.as_str()).collect();
    let file = parse("imgopen-server/src/generated.rs");
    let traits = file.items.iter().filter_map(|item| if let Item::Trait(found) = item { Some(found) } else { None });
    let mut seen = 0;
    for item in traits.flat_map(|found| &found.items) {
        let TraitItem::Fn(method) = item else { continue };
        let name = method.sig.ident.to_string();
        seen += 1;
        assert!(
            own.contains(name.as_str()) || owner(OPERATIONS, &name).is_some(),
            "add `{name}` to OPERATIONS in lint/reserved.rs"
        );
    }
    assert!(seen > own.len(), "the traits have a method beside the operations");
}
