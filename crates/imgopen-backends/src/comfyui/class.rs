//! Classes of nodes as `/object_info` describes them: which inputs they have, and which values those take.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::names::{OWN_LORAS, choice};

/// The input that names a LoRA. Its list is never shown, because some may belong to other keys.
pub(super) const LORA: &str = "lora_name";

/// A class of nodes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Class {
    inputs: BTreeMap<String, Input>,
}

/// An input of a class.
#[derive(Debug, Clone, PartialEq)]
struct Input {
    is_required: bool,
    values: Values,
}

/// The values that an input takes.
#[derive(Debug, Clone, PartialEq)]
enum Values {
    /// One of these.
    Listed(Vec<Value>),
    /// A number.
    Number { least: Option<f64>, most: Option<f64>, is_whole: bool },
    /// The name of an uploaded file. The list of such files leaves out folders, so it is not asked.
    File,
    /// Anything else: texts, and what other nodes make.
    Any,
}

impl Class {
    /// Reads the description of a class.
    pub(super) fn read(description: &Value) -> Self {
        let of = |group: &str| description.get("input").and_then(|input| input.get(group)).and_then(Value::as_object);
        let read = |members: Option<&Map<String, Value>>, is_required: bool| {
            let members = members.into_iter().flatten();
            let inputs = members.map(|(name, spec)| (name.clone(), Input { is_required, values: Values::read(spec) }));
            inputs.collect::<Vec<_>>()
        };
        Self { inputs: read(of("required"), true).into_iter().chain(read(of("optional"), false)).collect() }
    }

    /// Returns whether it has an input.
    pub(super) fn has(&self, input: &str) -> bool {
        self.inputs.contains_key(input)
    }

    /// Returns the texts that an input takes.
    pub(super) fn listed(&self, input: &str) -> Vec<String> {
        match self.inputs.get(input).map(|input| &input.values) {
            Some(Values::Listed(values)) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns an input that is required and not among those given.
    pub(super) fn lacking(&self, given: &Map<String, Value>) -> Option<&str> {
        let mut required = self.inputs.iter().filter(|(_, input)| input.is_required).map(|(name, _)| name.as_str());
        required.find(|name| !given.contains_key(*name))
    }

    /// Says why an input does not take a value, if it does not. Links to other nodes are not looked at.
    pub(super) fn problem(&self, input: &str, value: &Value) -> Option<String> {
        let Some(known) = self.inputs.get(input) else { return Some("the node has no such input".to_owned()) };
        if value.is_array() && !matches!(&known.values, Values::Listed(values) if values.iter().any(Value::is_array)) {
            return None;
        }
        match &known.values {
            Values::Listed(values) => (!values.iter().any(|listed| is_same(listed, value))).then(|| {
                let choice = match input {
                    LORA => OWN_LORAS.to_owned(),
                    _ => choice(&values.iter().map(plain).collect::<Vec<_>>()),
                };
                format!("\"{}\" is not in the server's list; {choice}", plain(value))
            }),
            Values::Number { least, most, is_whole } => match value.as_f64() {
                None => Some(format!("{value} given; give a number")),
                Some(number) if *is_whole && number.fract() != 0.0 => {
                    Some(format!("{number} given; give a whole number"))
                }
                Some(number) => {
                    let is_in = least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most);
                    let range = match (least, most) {
                        (Some(least), Some(most)) => format!("from {least} to {most}"),
                        (Some(least), None) => format!("from {least}"),
                        (None, most) => format!("up to {}", most.unwrap_or(f64::INFINITY)),
                    };
                    (!is_in).then(|| format!("{number} given; give a number {range}"))
                }
            },
            Values::File | Values::Any => None,
        }
    }
}

impl Values {
    /// Reads `[type, options]`. Lists are the type itself, or the option `options` of the type `COMBO`.
    fn read(spec: &Value) -> Self {
        let (kind, options) = (spec.get(0), spec.get(1));
        let option = |name: &str| options.and_then(|options| options.get(name));
        let listed = match kind {
            Some(Value::Array(values)) => Some(values),
            Some(Value::String(kind)) if kind == "COMBO" => option("options").and_then(Value::as_array),
            _ => None,
        };
        if ["image_upload", "video_upload", "audio_upload"].iter().any(|name| option(name) == Some(&true.into())) {
            return Values::File;
        }
        if let Some(values) = listed {
            return Values::Listed(values.clone());
        }
        let bound = |name: &str| option(name).and_then(Value::as_f64);
        match kind.and_then(Value::as_str) {
            Some(kind @ ("INT" | "FLOAT")) => {
                Values::Number { least: bound("min"), most: bound("max"), is_whole: kind == "INT" }
            }
            _ => Values::Any,
        }
    }
}

/// Returns whether two values are the same. ComfyUI writes some whole numbers with a fraction.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => match (a.as_u64(), b.as_u64()) {
            // A seed may have more digits than a number with a fraction.
            (Some(a), Some(b)) => a == b,
            _ => a.as_f64() == b.as_f64(),
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        _ => one == other,
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class() -> Class {
        Class::read(&json!({"input": {
            "required": {
                "old": [["a", "b"], {}], "new": ["COMBO", {"options": ["c"]}], "steps": ["INT", {"min": 1, "max": 9}],
                "cfg": ["FLOAT", {"min": 0.0}], "image": [["x.png"], {"image_upload": true}], "model": ["MODEL"]
            },
            "optional": {"vae": ["VAE"], "lora_name": [["theirs"]]}
        }}))
    }

    #[test]
    fn values_are_checked_against_both_forms_of_lists() {
        let class = class();
        assert_eq!(
            (class.listed("old"), class.listed("new")),
            (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()])
        );
        for (input, value) in [
            ("old", json!("a")),
            ("new", json!("c")),
            ("steps", json!(9)),
            ("steps", json!(9.0)),
            ("cfg", json!(7)),
            ("image", json!("folder/new.png")),
            ("model", json!(["1", 0])),
            ("steps", json!(["1", 0])),
            ("vae", json!(["1", 2])),
        ] {
            assert_eq!(class.problem(input, &value), None, "{input}");
        }
        for (input, value, problem) in [
            ("old", json!("z"), "\"z\" is not in the server's list; give one of \"a\", \"b\""),
            ("new", json!("a"), "\"a\" is not in the server's list; give one of \"c\""),
            ("steps", json!(0), "0 given; give a number from 1 to 9"),
            ("steps", json!(1.5), "1.5 given; give a whole number"),
            ("cfg", json!(-1), "-1 given; give a number from 0"),
            ("cfg", json!("7"), "\"7\" given; give a number"),
            ("nope", json!(1), "the node has no such input"),
            ("lora_name", json!("z"), "\"z\" is not in the server's list; give one that `list_loras` names"),
        ] {
            assert_eq!(class.problem(input, &value).as_deref(), Some(problem), "{input}");
        }
    }

    #[test]
    fn required_inputs_are_missed_and_optional_ones_are_not() {
        let mut given = Map::new();
        for input in ["old", "new", "steps", "cfg", "image"] {
            given.insert(input.to_owned(), Value::Null);
        }
        assert_eq!(class().lacking(&given), Some("model"));
        given.insert("model".to_owned(), json!(["1", 0]));
        assert_eq!(class().lacking(&given), None);
    }

    #[test]
    fn numbers_are_the_same_with_a_fraction_or_without() {
        assert!(is_same(&json!(7), &json!(7.0)) && is_same(&json!(["1", 0]), &json!(["1", 0])));
        assert!(!is_same(&json!(9007199254740993_i64), &json!(9007199254740992_i64)));
        assert!(!is_same(&json!("7"), &json!(7)) && !is_same(&json!(["1", 0]), &json!(["1", 1])));
    }
}
