//! Graphs of nodes, in the form that `/prompt` takes. Nothing is put into one that the server does not list.

use imgopen_engine::EngineError;
use serde_json::{Map, Value, json};

use super::class::is_same;
use super::lists::Lists;

/// The class of the nodes that write results.
pub(super) const SAVE: &str = "SaveImage";
/// Their input with the beginning of the file's name.
pub(super) const PREFIX: &str = "filename_prefix";

/// What a node makes, as an input of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link(String, u32);

/// Builds a graph for one server.
pub(super) struct Builder<'a> {
    lists: &'a Lists,
    /// The name of the back end.
    name: &'a str,
    nodes: Map<String, Value>,
}

/// A node that is being built.
pub(super) struct Node<'b, 'a> {
    builder: &'b mut Builder<'a>,
    class: &'static str,
    inputs: Map<String, Value>,
}

impl From<&Link> for Value {
    fn from(Link(node, output): &Link) -> Self {
        json!([node, output])
    }
}

impl<'a> Builder<'a> {
    pub(super) fn new(lists: &'a Lists, name: &'a str) -> Self {
        Self { lists, name, nodes: Map::new() }
    }

    /// Begins a node.
    pub(super) fn node(&mut self, class: &'static str) -> Node<'_, 'a> {
        Node { builder: self, class, inputs: Map::new() }
    }

    /// Returns whether the server has a class of nodes.
    pub(super) fn has(&self, class: &str) -> bool {
        self.lists.class(class).is_some()
    }

    /// Returns the graph.
    pub(super) fn finish(self) -> Value {
        Value::Object(self.nodes)
    }
}

impl Node<'_, '_> {
    /// Sets an input.
    pub(super) fn input(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.inputs.insert(name.to_owned(), value.into());
        self
    }

    /// Sets an input that the node does its work without, if the server knows it.
    pub(super) fn optional(self, name: &str, value: impl Into<Value>) -> Self {
        match self.builder.lists.class(self.class).is_some_and(|class| class.has(name)) {
            true => self.input(name, value),
            false => self,
        }
    }

    /// Adds the node to the graph, and returns its first output.
    pub(super) fn add(self) -> Result<Link, EngineError> {
        let Self { builder, class, inputs } = self;
        let refused = |problem: String| EngineError::Rejected {
            field: None,
            problem: format!("the back end `{}` (ComfyUI) cannot make it: {problem}", builder.name),
        };
        let known = builder.lists.class(class);
        let known = known.ok_or_else(|| refused(format!("it has no node {class}; its operator can update it")))?;
        for (input, value) in &inputs {
            if let Some(problem) = known.problem(input, value) {
                return Err(refused(format!("`{input}` of the node {class}: {problem}")));
            }
        }
        if let Some(input) = known.lacking(&inputs) {
            return Err(refused(format!(
                "its node {class} needs the input `{input}`, which this version does not know"
            )));
        }
        let id = (builder.nodes.len() + 1).to_string();
        builder.nodes.insert(id.clone(), json!({"class_type": class, "inputs": inputs}));
        Ok(Link(id, 0))
    }
}

impl Link {
    /// Returns another output of the same node.
    pub(super) fn output(&self, index: u32) -> Self {
        Self(self.0.clone(), index)
    }

    /// Returns the id of the node.
    pub(super) fn node(&self) -> &str {
        &self.0
    }
}

/// Returns the nodes of a graph that write results.
pub(super) fn saving(graph: &Value) -> Vec<&str> {
    let nodes = graph.as_object().into_iter().flatten();
    nodes.filter(|(_, node)| node["class_type"] == SAVE).map(|(id, _)| id.as_str()).collect()
}

/// Returns whether two graphs are the same. ComfyUI adds members of its own to nodes.
pub(super) fn is_same_graph(one: &Value, other: &Value) -> bool {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else { return false };
    let is_same_node = |one: &Value, other: &Value| {
        let inputs = |node: &Value| node.get("inputs").and_then(Value::as_object).cloned().unwrap_or_default();
        let (mine, theirs) = (inputs(one), inputs(other));
        one["class_type"] == other["class_type"]
            && mine.len() == theirs.len()
            && mine.iter().all(|(name, value)| theirs.get(name).is_some_and(|other| is_same(value, other)))
    };
    one.len() == other.len()
        && one.iter().all(|(id, node)| other.get(id).is_some_and(|other| is_same_node(node, other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists() -> Lists {
        Lists::with_classes(&json!({
            "KSampler": {"input": {"required": {"steps": ["INT", {"min": 1}], "model": ["MODEL"]}}},
            "ControlNetApply": {"input": {"required": {"strength": ["FLOAT"]}, "optional": {"vae": ["VAE"]}}},
        }))
    }

    #[test]
    fn a_graph_has_only_what_the_server_lists() {
        let lists = lists();
        let mut graph = Builder::new(&lists, "mine");
        let first = graph.node("ControlNetApply").input("strength", 0.8).optional("vae", 1).optional("start", 0).add();
        let first = first.unwrap();
        graph.node("KSampler").input("steps", 4).input("model", &first.output(1)).add().unwrap();
        let expected = json!({
            "1": {"class_type": "ControlNetApply", "inputs": {"strength": 0.8, "vae": 1}},
            "2": {"class_type": "KSampler", "inputs": {"steps": 4, "model": ["1", 1]}},
        });
        assert_eq!(graph.finish(), expected);
        let mut graph = Builder::new(&lists, "mine");
        for (node, problem) in [
            (graph.node("Nope").add(), "it has no node Nope"),
            (graph.node("KSampler").input("steps", 0).add(), "`steps` of the node KSampler: 0 given"),
            (graph.node("KSampler").input("steps", 1).add(), "needs the input `model`"),
        ] {
            let error = node.unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("`mine`"), "{error}");
        }
    }

    #[test]
    fn graphs_are_compared_by_classes_and_inputs() {
        let graph = json!({"1": {"class_type": "A", "inputs": {"cfg": 7, "model": ["2", 0]}}});
        let stored = json!({"1": {"inputs": {"model": ["2", 0], "cfg": 7.0}, "class_type": "A", "is_changed": [1]}});
        assert!(is_same_graph(&graph, &stored) && saving(&graph).is_empty());
        for other in [
            json!({}),
            json!(null),
            json!({"1": {"class_type": "B", "inputs": {"cfg": 7, "model": ["2", 0]}}}),
            json!({"1": {"class_type": "A", "inputs": {"cfg": 8, "model": ["2", 0]}}}),
            json!({"1": {"class_type": "A", "inputs": {"cfg": 7}}}),
        ] {
            assert!(!is_same_graph(&graph, &other), "{other}");
        }
        assert_eq!(saving(&json!({"9": {"class_type": "SaveImage", "inputs": {}}})), ["9"]);
    }
}
