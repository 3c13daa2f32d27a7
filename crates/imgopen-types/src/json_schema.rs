//! JSON Schemas of the types, made from the same tables that the reader checks against.

use schemars::Schema;
use serde_json::{Map, Value, json};

use crate::schema::{Choice, Field, IntegerEnum, Numeric, Object, Shape, Text, TextEnum, Unknown};

pub(crate) fn object(schema: &'static Object) -> Schema {
    wrap(object_value(schema))
}

pub(crate) fn text_enum(set: &'static TextEnum) -> Schema {
    wrap(text_enum_value(set))
}

pub(crate) fn integer_enum(set: &'static IntegerEnum) -> Schema {
    wrap(integer_enum_value(set))
}

fn wrap(value: Value) -> Schema {
    match value {
        Value::Object(map) => Schema::from(map),
        _ => Schema::default(),
    }
}

fn object_value(schema: &'static Object) -> Value {
    let properties: Map<String, Value> =
        schema.fields.iter().map(|field| (field.name.to_owned(), field_value(field))).collect();
    let required: Vec<_> = schema.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut value = json!({
        "title": schema.name,
        "description": schema.about,
        "type": "object",
        "properties": properties,
        "required": required,
    });
    if schema.unknown == Unknown::Refused {
        value["additionalProperties"] = json!(false);
    }
    if !schema.exactly_one.is_empty() {
        value["oneOf"] = schema.exactly_one.iter().map(|path| requires(path)).collect();
    }
    value
}

fn requires(path: &[&str]) -> Value {
    match path {
        [name] => json!({"required": [name]}),
        [outer, inner @ ..] => json!({"required": [outer], "properties": {*outer: requires(inner)}}),
        [] => json!({}),
    }
}

fn field_value(field: &'static Field) -> Value {
    let mut value = shape_value(&field.shape);
    value["description"] = json!(field.about);
    if let Some(default) = field.default {
        value["default"] = serde_json::from_str(default).unwrap_or(Value::Null);
    }
    if field.nullable {
        return json!({"description": field.about, "anyOf": [value, {"type": "null"}]});
    }
    value
}

fn shape_value(shape: &'static Shape) -> Value {
    match shape {
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Integer(rules) if !rules.one_of.is_empty() => json!({"type": "integer", "enum": rules.one_of}),
        Shape::Integer(rules) => {
            with(json!({"type": "integer"}), [("minimum", json!(rules.minimum)), ("maximum", json!(rules.maximum))])
        }
        Shape::Number(rules) => {
            let least = if rules.above_minimum { "exclusiveMinimum" } else { "minimum" };
            with(json!({"type": "number"}), [(least, json!(rules.minimum)), ("maximum", json!(rules.maximum))])
        }
        Shape::Text(rules) => text_value(rules),
        Shape::List(rules) => with(
            json!({"type": "array", "items": shape_value(&rules.item), "uniqueItems": rules.unique}),
            [("minItems", json!(rules.min_items)), ("maxItems", json!(rules.max_items))],
        ),
        Shape::TextEnum(set) => text_enum_value(set),
        Shape::IntegerEnum(set) => integer_enum_value(set),
        Shape::Object(schema) => object_value(schema),
    }
}

fn text_value(rules: &Text) -> Value {
    let number = rules.numeric.map(|Numeric { integer, .. }| if integer { r"^-?[0-9]+$" } else { r"^[-+.0-9eE]+$" });
    let pattern = rules.pattern.map(|pattern| pattern.as_str()).or(number);
    with(
        json!({"type": "string"}),
        [("minLength", json!(rules.min_length)), ("maxLength", json!(rules.max_length)), ("pattern", json!(pattern))],
    )
}

fn text_enum_value(set: &'static TextEnum) -> Value {
    let values: Vec<_> = set.values.iter().map(|choice| choice.value).collect();
    let known = if set.open { "examples" } else { "enum" };
    json!({"title": set.name, "description": described(set.about, set.values), "type": "string", known: values})
}

fn integer_enum_value(set: &'static IntegerEnum) -> Value {
    let values: Vec<_> = set.values.iter().map(|choice| choice.value).collect();
    json!({"title": set.name, "description": described(set.about, set.values), "type": "integer", "examples": values})
}

/// The set's description with the meaning of each value that has one.
fn described<T: std::fmt::Display>(about: &str, values: &[Choice<T>]) -> String {
    let meanings = values.iter().filter(|choice| !choice.about.is_empty());
    let lines: String = meanings.map(|choice| format!("\n- {}: {}", choice.value, choice.about)).collect();
    format!("{about}{lines}")
}

fn with<const N: usize>(mut value: Value, rules: [(&str, Value); N]) -> Value {
    for (name, rule) in rules {
        if !rule.is_null() {
            value[name] = rule;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use schemars::schema_for;

    use crate::{SubmitTrainingRequest, ToolCode, WatermarkImageRequest, WatermarkPosition};

    #[test]
    fn carries_the_bounds_of_the_document() {
        let schema = schema_for!(SubmitTrainingRequest);
        let epochs = schema.pointer("/properties/maxEpochs").unwrap();
        assert_eq!(epochs["minimum"], 10);
        assert_eq!(epochs["maximum"], 50);
        assert_eq!(epochs["default"], 20);
        assert_eq!(schema.pointer("/properties/fileUrlList/minItems").unwrap(), 10);
        assert_eq!(schema.pointer("/required").unwrap(), &serde_json::json!(["taskId", "fileUrlList"]));
        assert_eq!(schema.pointer("/additionalProperties").unwrap(), false);
    }

    #[test]
    fn carries_sets_and_exclusive_members() {
        let schema = schema_for!(WatermarkImageRequest);
        assert_eq!(schema.pointer("/oneOf/0/required/0").unwrap(), "watermarkText");
        assert_eq!(schema.pointer("/properties/scale/exclusiveMinimum").unwrap(), 0.0);
        assert_eq!(schema_for!(WatermarkPosition).pointer("/enum/0").unwrap(), "top-left");
        assert_eq!(schema_for!(ToolCode).pointer("/examples/0").unwrap(), "comfyui/text2image");
        assert_eq!(schema_for!(ToolCode).pointer("/enum"), None, "other codes are valid");
    }
}
