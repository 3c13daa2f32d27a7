//! Which module of a crate refers to which, file by file.
//!
//! A module is a file; a module inside a file belongs to it. Generated files are left out, and so is what is compiled for
//! tests only. A reference leads to the module that defines the name: a parent that re-exports what a child defines refers to
//! nothing by that, and who uses it through the parent refers to the child.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, UseTree, Visibility};

use super::source::is_test;

/// The path of a module from the root of its crate.
type ModulePath = Vec<String>;

/// A file.
pub struct Module {
    /// `crate`, `crate::tasks::submit`.
    pub name: String,
    /// Seen from the root of the workspace.
    pub file: String,
    pub syntax: syn::File,
}

/// The modules of a crate, and where one refers to another.
#[derive(Default)]
pub struct Graph {
    pub modules: Vec<Module>,
    /// The lines where the first module refers to the second.
    pub edges: BTreeMap<(usize, usize), Vec<String>>,
    scopes: HashMap<ModulePath, Scope>,
}

/// What a module, be it a file or inside one, has in it.
#[derive(Debug, Default)]
struct Scope {
    /// The file that it belongs to; none if it is generated.
    module: Option<usize>,
    names: BTreeSet<String>,
    children: BTreeSet<String>,
    imports: HashMap<String, Import>,
    globs: Vec<Vec<String>>,
}

#[derive(Debug)]
struct Import {
    path: Vec<String>,
    public: bool,
}

impl Graph {
    /// Reads the modules that begin with a file such as `src/lib.rs`.
    pub fn read(root: &Path, file: &Path) -> Result<Self> {
        let mut graph = Self::default();
        let folder = file.parent().context("a file has a folder")?.to_owned();
        graph.load(root, file, &folder, Vec::new())?;
        for module in 0..graph.modules.len() {
            let mut found = Found { graph: &graph, at: graph.path_of(module), lines: Vec::new() };
            found.visit_file(&graph.modules[module].syntax);
            for (to, line) in found.lines {
                let place = format!("{}:{line}", graph.modules[module].file);
                if to != module {
                    graph.edges.entry((module, to)).or_default().push(place);
                }
            }
        }
        Ok(graph)
    }

    pub fn name(&self, module: usize) -> &str {
        &self.modules[module].name
    }

    fn path_of(&self, module: usize) -> ModulePath {
        self.modules[module].name.split("::").skip(1).map(str::to_owned).collect()
    }

    /// Reads a file and those of its modules, which lie in `folder`.
    fn load(&mut self, root: &Path, file: &Path, folder: &Path, path: ModulePath) -> Result<()> {
        let shown = file.strip_prefix(root).unwrap_or(file).display().to_string();
        let text = fs::read_to_string(file).with_context(|| format!("reading {shown}"))?;
        let syntax = syn::parse_file(&text).with_context(|| format!("parsing {shown}"))?;
        let generated = file.file_name().is_some_and(|name| name == "generated.rs");
        let module = (!generated).then_some(self.modules.len());
        let mut files = Vec::new();
        self.scope(&syntax.items, &path, module, folder, &mut files);
        if !generated {
            let name = ["crate".to_owned()].into_iter().chain(path).collect::<Vec<_>>().join("::");
            self.modules.push(Module { name, file: shown, syntax });
        }
        for (file, folder, path) in files {
            self.load(root, &file, &folder, path)?;
        }
        Ok(())
    }

    /// Notes what a module defines, and the files that it declares.
    fn scope(
        &mut self,
        items: &[Item],
        path: &[String],
        module: Option<usize>,
        folder: &Path,
        files: &mut Vec<(PathBuf, PathBuf, ModulePath)>,
    ) {
        let mut scope = Scope { module, ..Scope::default() };
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            match item {
                Item::Mod(item) => {
                    let name = item.ident.to_string();
                    let below = [path, std::slice::from_ref(&name)].concat();
                    let inside = folder.join(&name);
                    scope.children.insert(name.clone());
                    match &item.content {
                        Some((_, items)) => self.scope(items, &below, module, &inside, files),
                        None => {
                            let named = named_file(&item.attrs).map(|name| folder.join(name));
                            let usual = [folder.join(format!("{name}.rs")), inside.join("mod.rs")];
                            let file = named.into_iter().chain(usual).find(|file| file.exists());
                            files.extend(file.map(|file| (file, inside, below)));
                        }
                    }
                }
                Item::Use(item) => leaves(&item.tree, &mut Vec::new(), &mut |leaf, name| match name {
                    Some(name) => {
                        let import = Import { path: leaf.to_vec(), public: is_public(item) };
                        scope.imports.insert(name.to_owned(), import);
                    }
                    None => scope.globs.push(leaf.to_vec()),
                }),
                item => scope.names.extend(defined(item)),
            }
        }
        self.scopes.insert(path.to_vec(), scope);
    }

    /// The path from the root of the crate, of one that is written in a module; none if it leads out of the crate.
    fn absolute(&self, at: &[String], written: &[String]) -> Option<Vec<String>> {
        let scope = self.scopes.get(at)?;
        let first = written.first()?;
        match first.as_str() {
            "crate" => Some(written[1..].to_vec()),
            "self" => Some([at, &written[1..]].concat()),
            "super" => {
                let ups = written.iter().take_while(|segment| *segment == "super").count();
                Some([at.get(..at.len().checked_sub(ups)?)?, &written[ups..]].concat())
            }
            name => {
                let own = scope.children.contains(name) || scope.names.contains(name);
                let imported = scope.imports.get(name).is_some_and(|import| import.path.first() != Some(first));
                (own || imported).then(|| [at, written].concat())
            }
        }
    }

    /// The module that defines what a path leads to; none if that is outside of the crate or generated.
    fn definer(&self, path: &[String], depth: usize) -> Option<usize> {
        if depth > 16 {
            return None;
        }
        let mut at = 0;
        while at < path.len() && self.scopes.get(&path[..at])?.children.contains(&path[at]) {
            // A module that was left out, because it is for tests or not there, defines nothing.
            if !self.scopes.contains_key(&path[..=at]) {
                return None;
            }
            at += 1;
        }
        let scope = self.scopes.get(&path[..at])?;
        let Some(name) = path.get(at) else { return scope.module };
        if scope.names.contains(name) {
            return scope.module;
        }
        if let Some(import) = scope.imports.get(name) {
            let target = self.absolute(&path[..at], &import.path)?;
            return self.definer(&[&target, &path[at + 1..]].concat(), depth + 1);
        }
        for glob in &scope.globs {
            let Some(target) = self.absolute(&path[..at], glob) else { continue };
            let holds = |scope: &Scope| scope.names.contains(name) || scope.imports.contains_key(name);
            if self.scopes.get(&target).is_some_and(holds) {
                return self.definer(&[&target, &path[at..]].concat(), depth + 1);
            }
        }
        scope.module
    }
}

/// Collects the references of one file.
struct Found<'a> {
    graph: &'a Graph,
    at: ModulePath,
    lines: Vec<(usize, usize)>,
}

impl Found<'_> {
    /// A path in code: it counts if it names a module, or a name that the file re-exports.
    fn refer(&mut self, written: &[String], line: usize) {
        let Some(scope) = self.graph.scopes.get(&self.at) else { return };
        let Some(first) = written.first() else { return };
        let relative = matches!(first.as_str(), "crate" | "self" | "super") && written.len() > 1;
        let child = scope.children.contains(first) && written.len() > 1;
        let exported = scope.imports.get(first).is_some_and(|import| import.public);
        if relative || child || exported {
            self.resolve(written, line);
        }
    }

    fn resolve(&mut self, written: &[String], line: usize) {
        let definer = self.graph.absolute(&self.at, written).and_then(|path| self.graph.definer(&path, 0));
        self.lines.extend(definer.map(|module| (module, line)));
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut line, mut colons) = (0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if !path.is_empty() && colons == 2 => path.push(ident.to_string()),
                TokenTree::Ident(ident) => {
                    self.refer(&std::mem::take(&mut path), line);
                    line = ident.span().start().line;
                    path.push(ident.to_string());
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => {
                    self.refer(&std::mem::take(&mut path), line);
                    self.tokens(group.stream());
                }
                _ => self.refer(&std::mem::take(&mut path), line),
            }
            colons = 0;
        }
        self.refer(&path, line);
    }
}

impl<'ast> Visit<'ast> for Found<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_some() {
            self.at.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.at.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let line = item.span().start().line;
        leaves(&item.tree, &mut Vec::new(), &mut |leaf, _| {
            let path = self.graph.absolute(&self.at, leaf);
            let child = path.as_ref().is_some_and(|path| path.len() > self.at.len() && path.starts_with(&self.at));
            // A parent that re-exports what its children define does not use them.
            if !(is_public(item) && child) {
                self.resolve(leaf, line);
            }
        });
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let written: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if path.leading_colon.is_none() {
            self.refer(&written, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    /// Derives take paths as texts: `#[serde(with = "crate::durations")]`.
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let syn::Meta::List(list) = &attribute.meta else { return };
        for token in list.tokens.clone() {
            let TokenTree::Literal(literal) = token else { continue };
            let path = syn::parse_str::<syn::LitStr>(&literal.to_string()).and_then(|text| text.parse::<syn::Path>());
            if let Ok(path) = path {
                let written: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
                let line = literal.span().start().line;
                if written.len() > 1 {
                    self.refer(&written, line);
                } else {
                    self.resolve(&written, line);
                }
            }
        }
    }

    /// `pub(super)` refers to nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

fn is_public(item: &ItemUse) -> bool {
    !matches!(item.vis, Visibility::Inherited)
}

/// Calls for each name that a `use` brings, with its path; without a name for all names below a path.
fn leaves(tree: &UseTree, path: &mut Vec<String>, each: &mut dyn FnMut(&[String], Option<&str>)) {
    match tree {
        UseTree::Path(tree) => {
            path.push(tree.ident.to_string());
            leaves(&tree.tree, path, each);
            path.pop();
        }
        UseTree::Name(tree) if tree.ident == "self" => each(path, path.last().map(String::as_str)),
        UseTree::Name(tree) => {
            let name = tree.ident.to_string();
            path.push(name.clone());
            each(path, Some(&name));
            path.pop();
        }
        UseTree::Rename(tree) => {
            let own = tree.ident == "self";
            if !own {
                path.push(tree.ident.to_string());
            }
            each(path, Some(&tree.rename.to_string()));
            if !own {
                path.pop();
            }
        }
        UseTree::Glob(_) => each(path, None),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, path, each)),
    }
}

/// The file that `#[path = "…"]` names.
fn named_file(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find(|attribute| attribute.path().is_ident("path")).and_then(|attribute| match &attribute.meta {
        syn::Meta::NameValue(meta) => match &meta.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name that an item gives to its module.
fn defined(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
