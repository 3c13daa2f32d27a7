//! Validates graphs as the program does: from each node that makes results backwards.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::classes::class;
use super::{Behaviour, State, Year};
use crate::recordings::recording;

/// A list that is longer is not shown.
const SHOWN: usize = 20;

/// What a graph is answered with.
pub enum Verdict {
    /// It runs for these results; other nodes are wrong.
    Accepted { outputs: Vec<String>, errors: Map<String, Value> },
    /// It does not run: status and body.
    Refused(u16, Value),
}

pub fn validate(graph: &Value, state: &State, behaviour: &Behaviour) -> Verdict {
    let recorded = |name: &str| {
        let recording = recording(&format!("{}/{name}", behaviour.year.folder()));
        (recording.status, recording.answer)
    };
    let Some(nodes) = graph.as_object() else {
        let (status, body) = recorded("prompt_bad_none");
        return Verdict::Refused(status, body);
    };
    for (id, node) in nodes {
        let name = node["class_type"].as_str().unwrap_or_default();
        if class(name, behaviour).is_none() {
            let (status, mut body) = recorded("prompt_bad_class");
            if behaviour.year == Year::New {
                body["error"]["message"] = format!("Cannot execute because node {name} does not exist.").into();
                body["error"]["details"] = format!("Node ID '#{id}'").into();
            }
            return Verdict::Refused(status, body);
        }
    }
    let is_output = |node: &Value| {
        class(node["class_type"].as_str().unwrap(), behaviour).is_some_and(|class| class["output_node"] == true)
    };
    let outputs: Vec<&String> = nodes.iter().filter(|(_, node)| is_output(node)).map(|(id, _)| id).collect();
    if outputs.is_empty() {
        let (status, body) = recorded("prompt_bad_no_output");
        return Verdict::Refused(status, body);
    }
    let (mut good, mut errors) = (Vec::new(), Map::new());
    for output in outputs {
        let mut wrong = Map::new();
        for id in needed(graph, output) {
            let problems = problems(&graph[&id], state, behaviour);
            if !problems.is_empty() {
                let class = graph[&id]["class_type"].clone();
                let node = json!({"errors": problems, "dependent_outputs": [output], "class_type": class});
                wrong.insert(id.clone(), node);
            }
        }
        match wrong.is_empty() {
            true => good.push(output.clone()),
            false => errors.extend(wrong),
        }
    }
    if good.is_empty() {
        let (status, mut body) = recorded("prompt_bad_steps");
        body["node_errors"] = Value::Object(errors);
        return Verdict::Refused(status, body);
    }
    Verdict::Accepted { outputs: good, errors }
}

/// Returns the nodes that a node needs, and itself, in the order of their numbers.
pub fn needed(graph: &Value, node: &str) -> Vec<String> {
    let (mut found, mut open) = (BTreeSet::new(), vec![node.to_owned()]);
    while let Some(id) = open.pop() {
        if found.insert(id.clone()) {
            let inputs = graph[&id]["inputs"].as_object().into_iter().flatten();
            open.extend(inputs.filter_map(|(_, value)| Some(value.as_array()?.first()?.as_str()?.to_owned())));
        }
    }
    let mut found: Vec<String> = found.into_iter().collect();
    found.sort_by_key(|id| id.parse::<u32>().unwrap_or(u32::MAX));
    found
}

fn problems(node: &Value, state: &State, behaviour: &Behaviour) -> Vec<Value> {
    let class = class(node["class_type"].as_str().unwrap(), behaviour).unwrap();
    let mut problems = Vec::new();
    let groups =
        ["required", "optional"].into_iter().filter_map(|group| Some((group, class["input"][group].as_object()?)));
    for (name, spec, group) in
        groups.flat_map(|(group, inputs)| inputs.iter().map(move |(name, spec)| (name, spec, group)))
    {
        match node["inputs"].get(name) {
            None if group == "required" => problems.push(json!({
                "type": "required_input_missing", "message": "Required input is missing", "details": name,
                "extra_info": {"input_name": name}
            })),
            None | Some(Value::Array(_)) => {}
            Some(value) => problems.extend(problem(name, spec, value, state, behaviour)),
        }
    }
    problems
}

fn problem(name: &str, spec: &Value, value: &Value, state: &State, behaviour: &Behaviour) -> Option<Value> {
    let options = &spec[1];
    if options["image_upload"] == true {
        if value.as_str().is_some_and(|file| state.uploads.contains_key(file)) {
            return None;
        }
        let extra = match behaviour.year {
            Year::Old => json!({"input_name": name, "input_config": spec, "received_value": value}),
            Year::New => json!({"input_name": name}),
        };
        let details = format!("{name} - Invalid image file: {}", value.as_str().unwrap_or_default());
        return Some(json!({
            "type": "custom_validation_failed", "message": "Custom validation failed for node", "details": details,
            "extra_info": extra
        }));
    }
    let listed = spec[0].as_array().or_else(|| options["options"].as_array());
    if let Some(listed) = listed {
        if listed.contains(value) {
            return None;
        }
        let shown: Vec<String> = listed.iter().map(|name| format!("'{}'", name.as_str().unwrap_or_default())).collect();
        let (list, config) = match listed.len() > SHOWN {
            true => (format!("(list of length {})", listed.len()), Value::Null),
            false => (format!("[{}]", shown.join(", ")), spec.clone()),
        };
        let details = format!("{name}: '{}' not in {list}", value.as_str().unwrap_or_default());
        return Some(json!({
            "type": "value_not_in_list", "message": "Value not in list", "details": details,
            "extra_info": {"input_name": name, "input_config": config, "received_value": value}
        }));
    }
    let least = options["min"].as_f64()?;
    (value.as_f64()? < least).then(|| {
        json!({
            "type": "value_smaller_than_min", "message": format!("Value {value} smaller than min of {least}"),
            "details": name, "extra_info": {"input_name": name, "input_config": spec, "received_value": value}
        })
    })
}
