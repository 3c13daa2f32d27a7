//! Finds the prompt in a graph of ComfyUI, which is a table of nodes. An input of a node is a value, or the id of the node that it
//! comes from and the number of an output.

use std::collections::HashSet;

use serde_json::{Map, Value};

type Nodes = Map<String, Value>;

/// The inputs that hold a text, or come from a node that does, the most usual first.
const TEXTS: [&str; 9] = ["text", "text_g", "t5xxl", "clip_l", "prompt", "string", "value", "text1", "text_1"];
/// The inputs by which conditioning comes from the node before.
const BEFORE: [&str; 4] = ["positive", "conditioning", "conditioning_1", "conditioning_to"];
/// How many nodes are followed from a sampler.
const DEEPEST: usize = 32;

/// Returns the text that leads to the positive conditioning of a sampler.
pub(crate) fn prompt(graph: &str) -> Option<String> {
    let graph: Value = serde_json::from_str(graph).or_else(|_| serde_json::from_str(&as_json(graph))).ok()?;
    let nodes = graph.as_object()?;
    let mut seen = HashSet::new();
    // A guider takes conditioning in place of a sampler.
    for end in ["positive", "conditioning"] {
        let mut inputs = nodes.values().filter_map(|node| node.get("inputs")?.get(end));
        if let Some(text) = inputs.find_map(|input| from(nodes, input, DEEPEST, &mut seen)) {
            return Some(text);
        }
    }
    None
}

/// Puts `null` for the numbers that Python writes and JSON does not have. Texts stay as they are.
fn as_json(graph: &str) -> String {
    let (mut json, mut rest) = (String::with_capacity(graph.len()), graph);
    let mut is_text = false;
    while let Some(next) = rest.chars().next() {
        let number = ["NaN", "Infinity", "-Infinity"].into_iter().find(|number| !is_text && rest.starts_with(number));
        if let Some(number) = number {
            json.push_str("null");
            rest = &rest[number.len()..];
            continue;
        }
        // What follows a backslash ends no text.
        let length = match next {
            '\\' if is_text => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => next.len_utf8(),
        };
        is_text ^= next == '"';
        json.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    json
}

/// Returns the text that an input comes from. Each node is looked at once.
fn from(nodes: &Nodes, input: &Value, depth: usize, seen: &mut HashSet<String>) -> Option<String> {
    let id = input.as_array()?.first()?;
    let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    let (inputs, depth) = (nodes.get(&id)?.get("inputs")?, depth.checked_sub(1)?);
    if !seen.insert(id) {
        return None;
    }
    for name in TEXTS {
        let text = match inputs.get(name) {
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text.clone()),
            Some(linked) => from(nodes, linked, depth, seen),
            None => None,
        };
        if text.is_some() {
            return text;
        }
    }
    BEFORE.iter().find_map(|name| from(nodes, inputs.get(name)?, depth, seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_the_positive_conditioning_is_found() {
        let graph = r#"{
            "3": {"class_type": "KSampler", "inputs": {"seed": 7, "positive": ["6", 0], "negative": ["7", 0]}, "is_changed": [NaN]},
            "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "dog", "clip": ["4", 1]}},
            "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}}}"#;
        assert_eq!(prompt(graph).as_deref(), Some("a cat"));
        let linked = r#"{
            "1": {"inputs": {"positive": ["2", 0]}}, "2": {"inputs": {"positive": ["3", 0], "negative": ["9", 0]}},
            "3": {"inputs": {"text_g": ["4", 0], "text_l": "no"}}, "4": {"inputs": {"value": "a cat"}}}"#;
        assert_eq!(prompt(linked).as_deref(), Some("a cat"));
        let guided = r#"{
            "1": {"inputs": {"guider": ["2", 0]}}, "2": {"inputs": {"conditioning": [3, 0]}},
            "3": {"inputs": {"guidance": 3.5, "conditioning": ["4", 0]}}, "4": {"inputs": {"clip_l": "", "t5xxl": "a cat"}}}"#;
        assert_eq!(prompt(guided).as_deref(), Some("a cat"));
    }

    #[test]
    fn only_numbers_are_replaced() {
        let graph = r#"{
            "1": {"inputs": {"positive": ["2", 0], "cfg": NaN, "ends": [-Infinity, Infinity,NaN]}},
            "2": {"inputs": {"text": "a \"NaN\" 猫, \\", "more": NaN, "less": "Infinity"}}}"#;
        assert_eq!(prompt(graph).as_deref(), Some(r#"a "NaN" 猫, \"#));
        for (written, json) in [
            (r#"["NaN", NaN, "-Infinity", -Infinity]"#, r#"["NaN", null, "-Infinity", null]"#),
            (r#"["\\", NaN, "\"NaN"]"#, r#"["\\", null, "\"NaN"]"#),
            (r#"["NaN\"#, r#"["NaN\"#),
        ] {
            assert_eq!(as_json(written), json);
        }
    }

    #[test]
    fn a_graph_without_text_has_no_prompt() {
        let around = r#"{"1": {"inputs": {"positive": ["2", 0]}}, "2": {"inputs": {"conditioning": ["1", 0], "positive": ["2", 0]}}}"#;
        for graph in [
            "",
            "[]",
            "{}",
            r#"{"1": {"inputs": {"positive": "a cat"}}}"#,
            r#"{"1": {"inputs": {"positive": ["2", 0]}}}"#,
            around,
        ] {
            assert_eq!(prompt(graph), None, "{graph}");
        }
    }
}
