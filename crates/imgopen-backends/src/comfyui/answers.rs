//! What the server says about its queue, about finished prompts, and about those that it refuses.

use std::collections::BTreeMap;

use imgopen_engine::EngineError;
use serde::Deserialize;
use serde_json::Value;

use super::class::LORA;
use super::graph::{PREFIX, SAVE};
use crate::exhausted::exhausted;
use crate::http::{parse, shown};
use crate::names::OWN_LORAS;

/// The answer of `/queue`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Queue {
    #[serde(default)]
    queue_running: Vec<Item>,
    #[serde(default)]
    queue_pending: Vec<Item>,
}

/// A prompt: its number, its id, its graph, and what came with it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Item(Value);

/// A finished prompt in `/history`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Entry {
    #[serde(default)]
    pub prompt: Item,
    #[serde(default)]
    outputs: BTreeMap<String, Value>,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Status {
    #[serde(default)]
    status_str: String,
    /// Pairs of a name and what goes with it.
    #[serde(default)]
    messages: Vec<Value>,
}

/// Where a file is at the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Place {
    pub filename: String,
    #[serde(default)]
    pub subfolder: String,
    #[serde(default, rename = "type")]
    pub kind: String,
}

/// How a prompt has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    Success,
    /// Someone has interrupted it.
    Interrupted,
    /// A node has failed, for this reason.
    Failed(String),
    /// The machine has run out of something, and this must be done.
    Exhausted(String),
}

/// The answer of `/prompt`.
#[derive(Debug, Clone, Default, Deserialize)]
struct Posted {
    #[serde(default)]
    prompt_id: Option<String>,
    #[serde(default)]
    error: Value,
    /// An object, or an empty list.
    #[serde(default)]
    node_errors: Value,
}

impl Queue {
    /// Returns whether a prompt runs.
    pub(super) fn runs(&self, id: &str) -> bool {
        self.queue_running.iter().any(|item| item.id() == Some(id))
    }

    /// Returns whether a prompt waits.
    pub(super) fn waits(&self, id: &str) -> bool {
        self.queue_pending.iter().any(|item| item.id() == Some(id))
    }

    /// Returns all prompts.
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.queue_running.iter().chain(&self.queue_pending)
    }
}

impl Item {
    /// Returns the id of the prompt.
    pub(super) fn id(&self) -> Option<&str> {
        self.0.get(1)?.as_str()
    }

    /// Returns the graph.
    pub(super) fn graph(&self) -> Option<&Value> {
        self.0.get(2)
    }

    /// Returns whether it writes files whose names begin so.
    pub(super) fn writes(&self, prefix: &str) -> bool {
        let nodes = self.graph().and_then(Value::as_object).into_iter().flatten().map(|(_, node)| node);
        let mut saving = nodes.filter(|node| node["class_type"] == SAVE);
        saving.any(|node| node["inputs"][PREFIX].as_str().is_some_and(|name| name.starts_with(prefix)))
    }
}

impl Entry {
    /// Returns how the prompt has ended. Only the last message distinguishes failures from interruptions.
    pub(super) fn ending(&self) -> Ending {
        let Some(status) = &self.status else { return Ending::Success };
        if status.status_str == "success" {
            return Ending::Success;
        }
        let last = status.messages.last();
        let kind = last.and_then(|last| last.get(0)).and_then(Value::as_str).unwrap_or_default();
        let details = last.and_then(|last| last.get(1)).unwrap_or(&Value::Null);
        let text = |name: &str| details[name].as_str().unwrap_or_default();
        match kind {
            "execution_interrupted" => Ending::Interrupted,
            "execution_error" => {
                let (kind, message) = (text("exception_type"), text("exception_message"));
                let what = format!("{kind} {message}").to_ascii_lowercase();
                let place = format!("the node {} ({})", text("node_type"), text("node_id"));
                if let Some(advice) = exhausted(&what) {
                    return Ending::Exhausted(format!("{place} failed: {advice}"));
                }
                Ending::Failed(if what.contains("outofmemory") || what.contains("out of memory") {
                    format!("it ran out of memory at {place}; ask for a smaller picture")
                } else {
                    format!("{place} failed: {}", shown(message))
                })
            }
            _ => Ending::Failed("it does not say why".to_owned()),
        }
    }

    /// Returns the files that these nodes have written, in their order.
    pub(super) fn files(&self, nodes: &[&str]) -> Vec<Place> {
        let images = nodes.iter().filter_map(|node| self.outputs.get(*node)?.get("images")?.as_array());
        images.flatten().filter_map(|image| Place::deserialize(image).ok()).collect()
    }
}

impl Place {
    /// Returns the path that the file is fetched by.
    pub(super) fn path(&self) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("filename", &self.filename)
            .append_pair("subfolder", &self.subfolder)
            .append_pair("type", if self.kind.is_empty() { "output" } else { &self.kind })
            .finish();
        format!("view?{query}")
    }
}

/// Reads the answer to a prompt: its id, and why it will not run as it should.
pub(super) fn posted(body: &[u8], name: &str) -> Result<(Option<String>, Option<EngineError>), EngineError> {
    let posted: Posted = parse(body).map_err(|error| error.into_engine(name))?;
    let errors = posted.node_errors.as_object().into_iter().flatten();
    let of_nodes: Vec<String> = errors.flat_map(|(id, node)| node_problems(id, node)).collect();
    let of_prompt = match &posted.error {
        Value::Null => None,
        Value::String(text) => Some(shown(text)),
        error => {
            let text = |name: &str| error[name].as_str().unwrap_or_default();
            Some(shown(format!("{} {}", text("message"), text("details")).trim()))
        }
    };
    let problem = if of_nodes.is_empty() { of_prompt } else { Some(of_nodes.join("; ")) };
    let refusal = problem.map(|problem| EngineError::Rejected {
        field: None,
        problem: format!("the back end `{name}` (ComfyUI) refuses it: {problem}"),
    });
    Ok((posted.prompt_id, refusal))
}

/// Says what is wrong with a node.
fn node_problems(id: &str, node: &Value) -> Vec<String> {
    let class = node["class_type"].as_str().unwrap_or("?");
    let errors = node["errors"].as_array().into_iter().flatten().map(|error| {
        let text = |name: &str| error[name].as_str().unwrap_or_default();
        let input = error.pointer("/extra_info/input_name").and_then(Value::as_str);
        let details = match input {
            // They name all LoRAs that are there.
            Some(LORA) => format!("{}; {OWN_LORAS}", shown(text("message"))),
            _ => shown(&format!("{} ({})", text("message"), text("details"))),
        };
        let input = input.map(|input| format!("`{input}` of ")).unwrap_or_default();
        format!("{input}the node {class} ({id}): {details}")
    });
    errors.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(status: Value) -> Entry {
        let outputs = json!({"7": {"images": [{"filename": "a b.png", "subfolder": "imgopen", "type": "output"}]}});
        serde_json::from_value(json!({"prompt": [0, "id", {}], "outputs": outputs, "status": status})).unwrap()
    }

    #[test]
    fn the_last_message_says_how_it_ended() {
        let failed = |kind: &str, message: &str| {
            let details = json!({
                "node_id": "5", "node_type": "KSampler", "exception_type": kind, "exception_message": message
            });
            json!({"status_str": "error", "messages": [["execution_start", {}], ["execution_error", details]]})
        };
        let interrupted = json!({"status_str": "error", "messages": [["execution_interrupted", {"node_id": "4"}]]});
        for (status, ending) in [
            (json!({"status_str": "success", "messages": []}), Ending::Success),
            (Value::Null, Ending::Success),
            (interrupted, Ending::Interrupted),
            (
                failed("ValueError", "no file /srv/x.pt\n"),
                Ending::Failed("the node KSampler (5) failed: no file …".to_owned()),
            ),
            (
                failed("torch.OutOfMemoryError", "Allocation on device"),
                Ending::Failed("it ran out of memory at the node KSampler (5); ask for a smaller picture".to_owned()),
            ),
            (
                failed("OSError", "[Errno 28] No space left on device: '/srv/out/x.png'"),
                Ending::Exhausted(
                    "the node KSampler (5) failed: its disk is full; its operator must make room there".to_owned(),
                ),
            ),
            (json!({"status_str": "error"}), Ending::Failed("it does not say why".to_owned())),
        ] {
            assert_eq!(entry(status).ending(), ending);
        }
    }

    #[test]
    fn a_refused_node_is_named_with_details_but_for_loras() {
        let refused = |input: &str| {
            let error = json!({
                "message": "Value not in list", "details": format!("{input}: 'x' not in ['theirs']"),
                "extra_info": {"input_name": input},
            });
            let node = json!({"class_type": "Loader", "errors": [error]});
            let body = json!({"error": {"message": "Prompt failed", "details": ""}, "node_errors": {"1": node}});
            posted(body.to_string().as_bytes(), "mine").unwrap().1.unwrap().to_string()
        };
        assert!(refused("ckpt_name").ends_with("Value not in list (ckpt_name: 'x' not in ['theirs'])"));
        let lora = refused("lora_name");
        assert!(lora.ends_with("Value not in list; give one that `list_loras` names"), "{lora}");
        assert!(!lora.contains("theirs"), "{lora}");
    }

    #[test]
    fn files_are_those_of_the_nodes_asked_for() {
        let entry = entry(Value::Null);
        let files = entry.files(&["6", "7"]);
        assert_eq!(files[0].path(), "view?filename=a+b.png&subfolder=imgopen&type=output");
        assert!(entry.files(&["6"]).is_empty() && entry.prompt.id() == Some("id"));
    }
}
