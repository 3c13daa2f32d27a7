//! Workflows of an operator: files in the form that `/prompt` takes, with placeholders such as `{{prompt}}` in their
//! texts.
//!
//! A file is checked when the engine is created, and against the server's classes of nodes whenever these are read.

mod fields;
mod fill;

use std::path::Path;
use std::sync::LazyLock;

use imgopen_types::{Operation, utf8};
use regex_lite::Regex;
use serde_json::Value;

use super::graph::{SAVE, saving};
use super::lists::{Lists, find};
use crate::generation::FluxVariant;
use fields::{MODEL, Source, VARIANT, leaves, source};

/// The inputs that name a model.
const MODEL_INPUTS: &[&str] = &["ckpt_name", "unet_name"];
/// An input that older versions of the page write and no node has.
const UPLOAD_BUTTON: &str = "upload";

/// The workflow for an operation.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pub operation: &'static Operation,
    graph: Value,
    placeholders: Vec<Placeholder>,
}

/// A place in the graph that a request fills.
#[derive(Debug, Clone)]
struct Placeholder {
    node: String,
    input: String,
    source: Source,
    /// Its text, such as `{{steps=20}}`.
    text: String,
    /// What it stands for when a request says nothing.
    default: Option<Value>,
}

impl Template {
    /// Reads the workflow for the operation with that id.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the file and how to mend it.
    pub(super) fn open(operation: &str, path: &Path) -> Result<Self, String> {
        let place = format!("`workflows.{operation}`");
        let found = imgopen_types::operation::find(operation);
        let found = found.ok_or_else(|| format!("{place}: there is no such operation; give the id of one"))?;
        if !found.makes_pictures() {
            return Err(format!("{place}: the operation does not make pictures"));
        }
        let shown = path.display();
        let bytes = std::fs::read(path);
        let bytes =
            bytes.map_err(|error| format!("{place}: {shown} cannot be read: {error}; give the path of a file"))?;
        let text = utf8(&bytes).map_err(|error| format!("{place}: {shown} is {error}"))?;
        let graph = serde_json::from_str(text);
        let graph = graph.map_err(|error| format!("{place}: {shown} is not JSON: {error}; {SAVE_IT}"))?;
        Self::read(found, graph).map_err(|problem| format!("{place}: {shown}: {problem}"))
    }

    fn read(operation: &'static Operation, mut graph: Value) -> Result<Self, String> {
        check_form(&graph)?;
        let mut placeholders = Vec::new();
        for (id, node) in graph.as_object_mut().into_iter().flatten() {
            let Some(inputs) = node["inputs"].as_object_mut() else { continue };
            if inputs.get(UPLOAD_BUTTON).is_some_and(Value::is_string) {
                inputs.remove(UPLOAD_BUTTON);
            }
            for (input, value) in inputs {
                let Some(text) = value.as_str() else { continue };
                let at = |problem: String| format!("`{input}` of the node {id}: {problem}");
                placeholders.extend(found(text, id, input, operation).map_err(at)?);
            }
        }
        let template = Self { operation, graph, placeholders };
        match template.unfilled() {
            Some(path) if path == VARIANT => Err(
                "the names of its models do not say whether it is for FLUX.1 dev or schnell; name the file of one after it"
                    .to_owned(),
            ),
            Some(path) => Err(format!(
                "no placeholder stands for `{path}`, which every request of `{}` has; put one where it belongs",
                operation.id
            )),
            None => Ok(template),
        }
    }

    /// Returns a field that every request has and that no placeholder stands for.
    fn unfilled(&self) -> Option<String> {
        let mut required = leaves(self.operation).into_iter().filter(|leaf| leaf.is_required).map(|leaf| leaf.path);
        let is_ours = |path: &str| fields::asks_nothing(path, &"x".into(), &Value::Null, self.operation);
        let is_said = |path: &str| path == MODEL || path == VARIANT && self.variant().is_some();
        required.find(|path| !is_said(path) && !is_ours(path) && !self.stands_for(path))
    }

    fn stands_for(&self, path: &str) -> bool {
        self.placeholders.iter().any(|placeholder| placeholder.source.path() == Some(path))
    }

    /// Returns the classes of its nodes.
    pub(super) fn classes(&self) -> Vec<String> {
        let nodes = self.graph.as_object().into_iter().flatten();
        nodes.filter_map(|(_, node)| node["class_type"].as_str()).map(str::to_owned).collect()
    }

    /// Says what the server lacks for it, or what of it the server does not take.
    pub(super) fn problem(&self, lists: &Lists) -> Option<String> {
        let nodes = self.graph.as_object().into_iter().flatten();
        let problem = |(id, node): (&String, &Value)| {
            let class = node["class_type"].as_str().unwrap_or_default();
            let Some(known) = lists.class(class) else {
                return Some(format!(
                    "the node {class} ({id}), which the server does not have; install what brings it"
                ));
            };
            let inputs = node["inputs"].as_object()?;
            let is_open = |input: &str| {
                self.placeholders.iter().any(|placeholder| placeholder.node == *id && placeholder.input == input)
            };
            let unfit = inputs.iter().find_map(|(input, value)| match is_open(input) {
                true if known.has(input) => None,
                _ => Some(format!("`{input}` of the node {class} ({id}): {}", known.problem(input, value)?)),
            });
            let lacking = || Some(format!("the input `{}` of the node {class} ({id})", known.lacking(inputs)?));
            unfit.or_else(lacking)
        };
        nodes.into_iter().find_map(problem).map(|problem| format!("another workflow, or {problem}"))
    }

    /// Returns the models that requests may name: any that the server has, or the one that the workflow is made for.
    pub(super) fn models(&self, lists: &Lists) -> Vec<String> {
        let open = self.placeholders.iter().find(|placeholder| placeholder.source.path() == Some(MODEL));
        let Some(open) = open else { return self.files() };
        let class = self.graph[&open.node]["class_type"].as_str().unwrap_or_default();
        lists.listed(class, &open.input).iter().map(|name| name.replace('\\', "/")).collect()
    }

    /// Returns the models that the workflow names itself.
    fn files(&self) -> Vec<String> {
        let nodes = self.graph.as_object().into_iter().flatten().map(|(_, node)| node);
        let names = nodes.flat_map(|node| MODEL_INPUTS.iter().filter_map(move |input| node["inputs"][*input].as_str()));
        names.map(|name| name.replace('\\', "/")).collect()
    }

    /// Returns the variant of FLUX.1 that the names of its models say.
    fn variant(&self) -> Option<FluxVariant> {
        let names = self.files().join(" ").to_ascii_lowercase();
        match (names.contains("schnell"), names.contains("dev")) {
            (true, false) => Some(FluxVariant::Schnell),
            (false, true) => Some(FluxVariant::Dev),
            _ => None,
        }
    }

    /// Returns the nodes that write results.
    pub(super) fn saving(&self) -> Vec<&str> {
        saving(&self.graph)
    }

    /// Returns whether the workflow is made for a model, without a placeholder for it.
    fn is_made_for(&self, model: &str, lists: &Lists) -> bool {
        find(&self.models(lists), model).is_some()
    }
}

/// Returns whether a request names a field.
pub(super) fn has(body: &Value, field: &str) -> bool {
    fields::value(body, field).is_some()
}

impl Source {
    /// Returns the field that it reads.
    fn path(&self) -> Option<&str> {
        match self {
            Source::Seed => Some("seed"),
            Source::Sampler(path) | Source::Scheduler(path) => path.as_deref(),
            Source::Prompt(path) | Source::Picture(path) | Source::Mask(path) | Source::Field(path) => Some(path),
        }
    }
}

const SAVE_IT: &str = "save it in ComfyUI by the menu Workflow, Export (API); in older versions by \"Save (API Format)\", \
                       after \"Enable Dev mode Options\" in the settings";

/// Checks that a file is a workflow in the form that `/prompt` takes, with results.
fn check_form(graph: &Value) -> Result<(), String> {
    if graph.get("nodes").is_some_and(Value::is_array) {
        return Err(format!("the workflow is saved in the form for the page; {SAVE_IT}"));
    }
    let nodes = graph.as_object().filter(|nodes| !nodes.is_empty());
    let nodes = nodes.ok_or_else(|| format!("it is not a workflow, whose members are nodes; {SAVE_IT}"))?;
    for (id, node) in nodes {
        if !node["class_type"].is_string() || !node["inputs"].is_object() {
            return Err(format!("the member `{id}` is not a node with `class_type` and `inputs`; {SAVE_IT}"));
        }
        for (input, value) in node["inputs"].as_object().into_iter().flatten() {
            let link = value.as_array().filter(|link| link.len() == 2 && link[1].is_u64());
            let linked = link.and_then(|link| link[0].as_str());
            if let Some(linked) = linked.filter(|linked| !nodes.contains_key(*linked)) {
                return Err(format!("`{input}` of the node {id} is linked to the node {linked}, which is not there"));
            }
        }
    }
    match saving(graph).is_empty() {
        true => Err(format!("no node {SAVE} is there, whose pictures are the result; add one")),
        false => Ok(()),
    }
}

/// Finds the placeholders in a text.
fn found(text: &str, node: &str, input: &str, operation: &'static Operation) -> Result<Vec<Placeholder>, String> {
    static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r"\{\{\s*([A-Za-z0-9_.]+)\s*(?:=\s*([^{}]*?)\s*)?\}\}";
        Regex::new(pattern).expect("the pattern is valid")
    });
    let mut rest = text.to_owned();
    let mut placeholders = Vec::new();
    for found in PLACEHOLDER.captures_iter(text) {
        let (whole, name) = (&found[0], &found[1]);
        let source = source(name, operation).map_err(|problem| format!("`{whole}` {problem}"))?;
        let default = found
            .get(2)
            .map(|default| serde_json::from_str(default.as_str()).unwrap_or_else(|_| Value::from(default.as_str())));
        rest = rest.replace(whole, "");
        let (node, input, text) = (node.to_owned(), input.to_owned(), whole.to_owned());
        placeholders.push(Placeholder { node, input, source, text, default });
    }
    match rest.contains("{{") || rest.contains("}}") {
        true => Err(format!("`{text}` has braces that are no placeholder; write it as `{{{{prompt}}}}`")),
        false => Ok(placeholders),
    }
}

#[cfg(test)]
mod tests;
