//! The example at the end of an operation's help: a command line with the required fields.

use imgopen_types::Operation;
use imgopen_types::schema::{Field, Object, Shape};
use serde_json::{Map, Value, json};

use super::argument::is_url;
use super::flags::{self, Flag};

/// The most columns of an example, so that clap does not wrap it.
const WIDTH: usize = 90;

/// Returns a command line that works, with the required fields only.
pub fn example(operation: &'static Operation) -> String {
    let mut lines = vec![format!("  imgopen run {}", operation.id)];
    for pair in example_arguments(operation).chunks(2) {
        let pair = pair.join(" ");
        match lines.last_mut() {
            Some(line) if line.chars().count() + pair.chars().count() < WIDTH => *line += &format!(" {pair}"),
            _ => lines.push(format!("      {pair}")),
        }
    }
    let mut text = format!("Examples:\n{}", lines.join(" \\\n"));
    if operation.job.is_some() {
        text += &format!("\n  imgopen run {} --request request.json --output results/", operation.id);
    }
    text
}

/// Returns the arguments of the example, quoted for a shell.
pub fn example_arguments(operation: &'static Operation) -> Vec<String> {
    let parameters = operation.parameters.iter().flat_map(|parameter| {
        let value = parameter.values.values.first().map(|choice| choice.value);
        [format!("--{}", heck::AsKebabCase(parameter.name)), value.unwrap_or_default().to_owned()]
    });
    let mut arguments: Vec<_> = parameters.collect();
    let all = flags::flags(operation);
    for flag in all.iter().filter(|flag| is_in_example(operation, flag)) {
        arguments.push(format!("--{}", flag.long));
        arguments.push(match (&flag.field.shape, sample(flag.field)) {
            (Shape::List(list), _) if list.min_items > Some(1) => "photos/*.png".to_owned(),
            (Shape::List(_), Some(Value::Array(items))) => items.iter().map(shell_word).collect::<Vec<_>>().join(" "),
            (_, Some(value)) => shell_word(&value),
            (_, None) => quoted(invented(flag.field.name)),
        });
    }
    arguments
}

fn shell_word(value: &Value) -> String {
    value.as_str().map_or_else(|| quoted(&value.to_string()), quoted)
}

/// A value for a field whose description names none.
fn invented(name: &str) -> &'static str {
    match name {
        "sd_model_checkpoint" => "photon_v1.safetensors",
        "watermarkText" => "(c) me",
        _ => "my-task-1",
    }
}

/// Whether a field is required, or the first of those of which one is required.
fn is_in_example(operation: &Operation, flag: &Flag) -> bool {
    let chosen = operation.request.exactly_one.first().is_some_and(|path| **path == *flag.path);
    let is_leaf = !matches!(flag.field.shape, Shape::Object(_));
    chosen || flag.required && is_leaf && !flag.is_caller_id(operation)
}

/// Returns a valid value: the one that the description names as an example, or else one within the bounds.
fn sample(field: &Field) -> Option<Value> {
    let number = example_number(field.about);
    Some(match &field.shape {
        shape if is_url(shape) && field.name == "callbackUrl" => {
            json!("https://example.com/callbacks/describe_image")
        }
        shape if is_url(shape) => json!(file(field.name)),
        Shape::Boolean => json!(true),
        Shape::Integer(_) | Shape::Number(_) if number.is_some() => whole(number?),
        Shape::Integer(_) if field.name == "pageNum" => json!(1),
        Shape::Integer(rules) => match rules.one_of.first() {
            Some(first) => json!(first),
            None => json!(2.clamp(rules.minimum.unwrap_or(1), rules.maximum.unwrap_or(i64::MAX))),
        },
        Shape::Number(rules) => whole(2_f64.clamp(rules.minimum.unwrap_or(1.0), rules.maximum.unwrap_or(f64::MAX))),
        Shape::IntegerEnum(set) => json!(set.values.first()?.value),
        Shape::TextEnum(set) => json!(set.values.first()?.value),
        Shape::Text(_) if field.name == "prompt" => json!("a lighthouse at night"),
        Shape::Text(_) => json!(example_text(field.about)?),
        Shape::List(list) => json!([item(&list.item)?]),
        Shape::Object(schema) => members(schema),
    })
}

/// Returns the text in quotes that a description names as an example.
fn example_text(about: &str) -> Option<&str> {
    about.split("such as \"").nth(1)?.split('"').next().filter(|text| !text.is_empty())
}

/// Returns the number that a description names as an example.
fn example_number(about: &str) -> Option<f64> {
    about.split("such as ").nth(1)?.split([';', ',', ' ']).next()?.trim_end_matches('.').parse().ok()
}

/// Writes a number without a fraction if it has none.
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 { json!(number as i64) } else { json!(number) }
}

fn file(name: &str) -> &'static str {
    match name {
        "maskImage" | "mask_link" => "mask.png",
        "targetUrl" => "group.png",
        _ => "photo.png",
    }
}

fn item(shape: &'static Shape) -> Option<Value> {
    match shape {
        Shape::Object(schema) => Some(members(schema)),
        shape if is_url(shape) => Some(json!("photo.png")),
        _ => None,
    }
}

/// Returns the members of an object that explain it best: pictures, sets of values and lists.
fn members(schema: &'static Object) -> Value {
    let explains = |shape: &Shape| is_url(shape) || matches!(shape, Shape::TextEnum(_) | Shape::List(_));
    let fields = schema.fields.iter().filter(|field| field.required || explains(&field.shape));
    fields.filter_map(|field| Some((field.name.to_owned(), sample(field)?))).collect::<Map<_, _>>().into()
}

fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
