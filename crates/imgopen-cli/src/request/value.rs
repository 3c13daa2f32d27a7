//! The values of flags, as JSON.

use clap::ArgMatches;
use imgopen_types::schema::Shape;
use serde_json::{Value, json};

use super::flags::Flag;
use super::paths;

/// Returns the value of a flag as JSON. Text that is not of the field's form stays text, so that the contract's rules
/// report it.
///
/// # Errors
///
/// If the flag takes JSON and the text is not JSON.
pub fn value(flag: &Flag, matches: &ArgMatches) -> Option<Result<Value, String>> {
    // Only the paths of pictures may be something else than UTF-8.
    let texts: Vec<_> = matches.get_raw(&flag.id())?.map(paths::argument_to_text).collect();
    let shape = &flag.field.shape;
    if let Shape::List(list) = shape {
        return Some(parse_list(&list.item, &texts));
    }
    texts.last().map(|text| parse(shape, text))
}

fn parse_list(item: &Shape, texts: &[String]) -> Result<Value, String> {
    let mut items = Vec::new();
    for text in texts {
        match parse(item, text)? {
            // A JSON array holds several items.
            Value::Array(more) => items.extend(more),
            one => items.push(one),
        }
    }
    Ok(Value::Array(items))
}

fn parse(shape: &Shape, text: &str) -> Result<Value, String> {
    let whole = || text.parse::<i64>().ok().map(Value::from);
    let number = || text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from);
    Ok(match shape {
        Shape::Boolean => text.parse::<bool>().map_or_else(|_| json!(text), Value::from),
        Shape::Integer(_) | Shape::IntegerEnum(_) | Shape::Number(_) => {
            whole().or_else(number).unwrap_or_else(|| json!(text))
        }
        Shape::Text(_) | Shape::TextEnum(_) => json!(text),
        Shape::Object(_) | Shape::List(_) => {
            serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?
        }
    })
}
