use heck::ToKebabCase;
use imgopen_tests::document::request_examples;
use imgopen_tests::values::object;
use imgopen_types::operation::PathParameter;
use imgopen_types::schema::{Field, Object, Shape};
use imgopen_types::{operations, read_value};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::*;
use crate::request::draft::Draft;
use crate::request::flags::{Flag, flags};

/// Returns the request that arguments of an operation set, before it is checked.
fn body(operation: &'static Operation, arguments: &[String]) -> Value {
    let command = operation_command(Command::new(operation.id).no_binary_name(true), operation);
    let matches = command.try_get_matches_from(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    let mut draft = Draft::new(operation, json!({})).unwrap();
    draft.take_flags(&matches);
    assert_eq!(draft.faults, []);
    draft.body
}

/// Returns the arguments that set a value.
fn arguments(spelling: &str, value: &Value) -> Vec<String> {
    let one = |value: &Value| match value {
        Value::String(text) => format!("--{spelling}={text}"),
        value => format!("--{spelling}={value}"),
    };
    match value {
        Value::Array(items) => items.iter().map(one).collect(),
        value => vec![one(value)],
    }
}

fn pointer(flag: &Flag) -> String {
    flag.path.iter().map(|name| format!("/{name}")).collect()
}

/// Returns values of a shape, including its bounds.
fn samples(shape: &Shape) -> Vec<Value> {
    match shape {
        Shape::Boolean => vec![json!(true), json!(false)],
        Shape::Integer(rules) => {
            let bounds = rules.one_of.iter().copied().chain(rules.minimum).chain(rules.maximum);
            bounds.chain(rules.one_of.is_empty().then_some(7)).map(Value::from).collect()
        }
        Shape::Number(rules) => rules.minimum.into_iter().chain(rules.maximum).chain([0.25]).map(Value::from).collect(),
        Shape::IntegerEnum(set) => set.values.iter().map(|choice| json!(choice.value)).collect(),
        Shape::Text(_) => vec![json!("-1"), json!("a b=c"), json!("")],
        Shape::TextEnum(set) => set.values.iter().map(|choice| json!(choice.value)).collect(),
        Shape::List(list) => vec![json!(samples(&list.item))],
        Shape::Object(_) => vec![json!({"more": [1, {"x": null}]})],
    }
}

/// Writes whole numbers without a fraction, as the contract does.
fn plain(value: &Value) -> Value {
    match value.as_f64() {
        Some(number) if number.fract() == 0.0 => json!(number as i64),
        _ => value.clone(),
    }
}

/// Every field of every operation has a flag that sets it, in each of its spellings.
#[test]
fn every_field_has_a_flag() {
    let mut count = 0;
    for operation in operations::ALL.iter().copied() {
        let flags = flags(operation);
        let fields = count_fields(operation.request);
        assert_eq!(flags.len(), fields, "{}", operation.id);
        for flag in &flags {
            for sample in samples(&flag.field.shape) {
                for spelling in std::iter::once(&flag.long).chain(&flag.aliases) {
                    let body = body(operation, &required(operation, &arguments(spelling, &sample)));
                    let found = body.pointer(&pointer(flag)).map(plain);
                    assert_eq!(found, Some(plain(&sample)), "{} --{spelling}", operation.id);
                    count += 1;
                }
            }
        }
    }
    assert!(count > 1400, "only {count} values were tried");
}

fn count_fields(schema: &Object) -> usize {
    let inner = |field: &Field| match &field.shape {
        Shape::Object(inner) => 1 + count_fields(inner),
        _ => 1,
    };
    schema.fields.iter().map(inner).sum()
}

/// Adds the required arguments for variable parts of the path.
fn required(operation: &Operation, more: &[String]) -> Vec<String> {
    let value = |parameter: &PathParameter| parameter.values.values[0].value;
    let parameters = operation.parameters.iter();
    let parameters = parameters.map(|parameter| format!("--{}={}", parameter.name.to_kebab_case(), value(parameter)));
    parameters.chain(more.iter().cloned()).collect()
}

/// The examples of the document, expressed with flags alone, are the same requests.
#[test]
fn flags_can_express_every_example() {
    for operation in operations::ALL.iter().copied() {
        for example in request_examples(operation.id).into_iter().filter(|example| !example.is_quirk) {
            let canonical = read_value(operation.request, example.value.to_string().as_bytes()).unwrap();
            let mut words = Vec::new();
            express(&flags(operation), &canonical, "", &mut words);
            let mut draft = Draft::new(operation, body(operation, &required(operation, &words))).unwrap();
            draft.complete().unwrap();
            assert_eq!(draft.finish().unwrap(), canonical, "{} {}: {words:?}", operation.id, example.name);
        }
    }
}

/// Expresses members with their own flags if they have one, or else with the flag of the object around them.
fn express(flags: &[Flag], value: &Value, place: &str, words: &mut Vec<String>) {
    let mut others = serde_json::Map::new();
    let mut inner = Vec::new();
    for (name, value) in value.as_object().unwrap() {
        let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
        let Some(flag) = flags.iter().find(|flag| flag.id() == place) else {
            others.insert(name.clone(), value.clone());
            continue;
        };
        let has_inner = flags.iter().any(|inner| inner.id().starts_with(&format!("{place}.")));
        match value {
            Value::Object(members) if has_inner && !members.is_empty() => express(flags, value, &place, &mut inner),
            value => inner.extend(arguments(&flag.long, value)),
        }
    }
    if let Some(flag) = flags.iter().find(|flag| flag.id() == place).filter(|_| !others.is_empty()) {
        words.extend(arguments(&flag.long, &Value::Object(others)));
    }
    words.extend(inner);
}

/// Only undeclared top-level members have no flag.
#[test]
fn flags_can_express_every_valid_request() {
    for operation in operations::ALL.iter().copied() {
        let mut runner = TestRunner::new(ProptestConfig { cases: 16, failure_persistence: None, ..Default::default() });
        let checked = runner.run(&object(operation.request), |mut request| {
            request.as_object_mut().unwrap().retain(|name, _| operation.request.field(name).is_some());
            let canonical = read_value(operation.request, request.to_string().as_bytes()).unwrap();
            let mut words = Vec::new();
            express(&flags(operation), &canonical, "", &mut words);
            let draft = Draft::new(operation, body(operation, &required(operation, &words))).unwrap();
            prop_assert_eq!(draft.finish().map_err(|failure| failure.message), Ok(canonical), "{:?}", words);
            Ok(())
        });
        checked.unwrap_or_else(|error| panic!("{}: {error}", operation.id));
    }
}

#[test]
fn a_flag_is_the_shortest_unambiguous_ending_of_its_path() {
    let long = |operation: &Operation, path: &[&str]| {
        let flags = flags(operation);
        let flag = flags.iter().find(|flag| flag.path == path).unwrap();
        (flag.long.clone(), flag.shows_path)
    };
    let of = |name: &str, shows: bool| (name.to_owned(), shows);
    assert_eq!(long(&operations::TEXT_TO_IMAGE, &["alwayson_scripts", "sd_vae"]), of("sd-vae", true));
    assert_eq!(long(&operations::TEXT_TO_IMAGE, &["hr_resize_x"]), of("hr-resize-x", false));
    let clip = ["alwayson_scripts", "override_settings", "CLIP_stop_at_last_layers"];
    assert_eq!(long(&operations::TEXT_TO_IMAGE, &clip), of("clip-stop-at-last-layers", true));
    assert_eq!(long(&operations::TEXT_TO_IMAGE, &["alwayson_scripts", "ADetailer"]), of("a-detailer", true));
    // The settings of ControlNet have two possible places.
    let inner = ["alwayson_scripts", "controlnet", "args"];
    assert_eq!(long(&operations::CONTROLNET, &inner), of("alwayson-scripts.controlnet.args", false));
    assert_eq!(long(&operations::CONTROLNET, &["controlnet", "args"]), of("controlnet.args", false));
}

/// A boolean is set by the flag alone or by the word after it, and a text may begin with a hyphen.
#[test]
fn values_may_be_separate_words() {
    let request =
        |line: &str| body(&operations::TEXT_TO_IMAGE, &line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    for (line, expected) in [
        ("--restore-faces", json!({"restore_faces": true})),
        ("--restore-faces false", json!({"restore_faces": false})),
        ("--restore-faces=false", json!({"restore_faces": false})),
        ("--restore-faces --seed -1", json!({"restore_faces": true, "seed": "-1"})),
        ("--restore-faces maybe", json!({"restore_faces": "maybe"})),
        ("--prompt -x --seed 5", json!({"prompt": "-x", "seed": "5"})),
        ("--negative-prompt --ugly", json!({"negative_prompt": "--ugly"})),
    ] {
        assert_eq!(request(line), expected, "{line}");
    }
}

#[test]
fn invalid_json_is_reported() {
    let command = operation_command(Command::new("x").no_binary_name(true), &operations::CONTROLNET);
    let matches = command.try_get_matches_from(["--controlnet.args", "{oops"]).unwrap();
    let mut draft = Draft::new(&operations::CONTROLNET, json!({})).unwrap();
    draft.take_flags(&matches);
    let message = draft.finish().unwrap_err().message;
    assert!(
        message.contains("--controlnet.args: not JSON: key must be a string at line 1 column 2; give JSON"),
        "{message}"
    );
}

proptest! {
    /// Any text from a shell arrives unchanged, unless the field has another type.
    #[test]
    fn texts_arrive_unchanged(text in any::<String>(), number in any::<i64>()) {
        let given = [format!("--prompt={text}"), format!("--n-iter={number}"), format!("--seed={number}")];
        let body = body(&operations::TEXT_TO_IMAGE, &given);
        prop_assert_eq!(&body["prompt"], &json!(text));
        prop_assert_eq!(&body["n_iter"], &json!(number));
        prop_assert_eq!(&body["seed"], &json!(number.to_string()));
    }

    /// Items may each have a flag or all follow one.
    #[test]
    fn lists_keep_their_order(items in prop::collection::vec("[a-z]{1,8}", 1..20)) {
        let one_by_one = arguments("file-url-list", &json!(items));
        let mut at_once = vec!["--file-url-list".to_owned()];
        at_once.extend(items.iter().cloned());
        for given in [one_by_one, at_once] {
            prop_assert_eq!(&body(&operations::SUBMIT_TRAINING, &given)["fileUrlList"], &json!(items));
        }
    }
}

/// The examples in help work, once their files are replaced by URLs.
#[test]
fn every_example_in_help_is_valid() {
    for operation in operations::ALL.iter().copied() {
        let line = example::example_arguments(operation).join(" ");
        let line = line.replace("photos/*.png", &"https://a/1.png ".repeat(10));
        let line = ["photo.png", "mask.png", "group.png"]
            .into_iter()
            .fold(line, |line, file| line.replace(file, &format!("https://a/{file}")));
        let arguments = split(&line);
        let command = operation_command(Command::new(operation.id).no_binary_name(true), operation);
        let matches = command.try_get_matches_from(&arguments).unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut draft = Draft::new(operation, json!({})).unwrap();
        draft.take_flags(&matches);
        draft.complete().unwrap();
        read_value(operation.request, draft.body.to_string().as_bytes())
            .unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

/// Splits a line as a shell does, with single quotes only.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (index, part) in line.split('\'').enumerate() {
        let last = words.last_mut().unwrap();
        if index % 2 == 1 {
            last.push_str(part);
            continue;
        }
        let mut pieces = part.split(' ');
        last.push_str(pieces.next().unwrap());
        words.extend(pieces.map(str::to_owned));
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn an_operation_also_has_the_name_of_its_tool() {
    assert_eq!(aliases(&operations::ENLARGE_IMAGE), ["enlarge-image", "imgEnlarge"]);
    assert_eq!(aliases(&operations::TEXT_TO_IMAGE), ["text-to-image", "text2image"]);
    assert_eq!(aliases(&operations::DETECT_FACES), ["detect-faces", "face/detection"]);
    assert_eq!(aliases(&operations::CONTROLNET), [""; 0]);
    let mut all: Vec<_> = operations::ALL.iter().flat_map(|operation| aliases(operation)).collect();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "two operations share a name");
}
