//! Every rule of every request field, just inside and just outside, on both sides: the server's over a real socket, the
//! client's before anything is sent. The rules are those of the tables, which `table.rs` compares with the documents.

use std::collections::BTreeSet;

use imgopen_client::Client;
use imgopen_client::types::schema::{Field, JsonType, Object, Shape};
use imgopen_client::types::*;
use imgopen_tests::calls::{filled_path, path_value, read_request};
use imgopen_tests::document::request_examples;
use imgopen_tests::recorder::Recorder;
use imgopen_tests::spec;
use imgopen_tests::values::{Edges, edges};
use imgopen_tests::wire::{serve, url};
use serde_json::Value;

/// One way to change a request, and whether it still fits.
struct Try {
    operation: &'static Operation,
    /// The property that changes, by its component and its name.
    property: Property,
    /// The changed field as errors name it.
    field: String,
    value: Value,
    body: Value,
    fits: bool,
}

type Property = (&'static str, &'static str);

fn all_tries() -> impl Iterator<Item = Try> {
    operations::ALL.iter().flat_map(|operation| tries(operation))
}

/// Every edge of every field that an example of an operation sets: the full one, and others for what it leaves out because it
/// excludes something else.
fn tries(operation: &'static Operation) -> Vec<Try> {
    let mut examples = request_examples(operation.id);
    examples.retain(|example| !example.is_quirk);
    examples.sort_by_key(|example| example.name != "full");
    let (mut found, mut tried) = (Vec::new(), BTreeSet::new());
    for example in examples {
        walk(operation.request, &example.value, &mut Vec::new(), &mut |path, property, Edges { inside, outside }| {
            if !tried.insert(name(path)) {
                return;
            }
            let inside = inside.into_iter().map(|value| (value, true));
            for (value, fits) in inside.chain(outside.into_iter().map(|value| (value, false))) {
                let mut body = example.value.clone();
                *body.pointer_mut(&pointer(path)).unwrap() = value.clone();
                found.push(Try { operation, property, field: name(path), value, body, fits });
            }
        });
    }
    found
}

type Visit<'a> = &'a mut dyn FnMut(&[String], Property, Edges);

fn walk(schema: &'static Object, value: &Value, path: &mut Vec<String>, visit: Visit<'_>) {
    for field in schema.fields {
        let Some(inner) = value.get(field.name) else { continue };
        path.push(field.name.to_owned());
        let mut allowed = edges(&field.shape);
        // What the document lets through as another type is not an edge.
        allowed.outside.retain(|value| !is_accepted(field, value));
        allowed.outside.push(Value::Null);
        let property = (schema.name, field.name);
        visit(path, property, allowed);
        descend(&field.shape, property, inner, path, visit);
        path.pop();
    }
}

/// Whether a value of another type than the field's is read as one of the field's.
fn is_accepted(field: &Field, value: &Value) -> bool {
    let (own, other) = match value {
        Value::Bool(_) => (matches!(field.shape, Shape::Boolean), JsonType::Boolean),
        Value::Number(_) => (matches!(field.shape, Shape::Integer(_) | Shape::Number(_)), JsonType::Number),
        Value::String(_) => (matches!(field.shape, Shape::Text(_) | Shape::TextEnum(_)), JsonType::String),
        Value::Array(_) => (matches!(field.shape, Shape::List(_)), JsonType::Array),
        Value::Null | Value::Object(_) => return false,
    };
    // Whole numbers are accepted where all numbers are.
    let whole = other == JsonType::Number && field.accepts.contains(&JsonType::Integer);
    !own && (whole || field.accepts.contains(&other))
}

fn descend(shape: &'static Shape, property: Property, value: &Value, path: &mut Vec<String>, visit: Visit<'_>) {
    match shape {
        Shape::Object(schema) => walk(schema, value, path, visit),
        Shape::List(list) => {
            let Some(first) = value.get(0) else { return };
            path.push("0".to_owned());
            let mut allowed = edges(&list.item);
            if list.unique {
                allowed.inside.retain(|item| value.as_array().is_none_or(|items| !items.contains(item)));
            }
            allowed.outside.push(Value::Null);
            visit(path, property, allowed);
            descend(&list.item, property, first, path, visit);
            path.pop();
        }
        _ => {}
    }
}

fn pointer(path: &[String]) -> String {
    path.iter().map(|step| format!("/{step}")).collect()
}

fn name(path: &[String]) -> String {
    let mut name = String::new();
    for step in path {
        match step.parse::<usize>() {
            Ok(index) => name += &format!("[{index}]"),
            Err(_) if name.is_empty() => name += step,
            Err(_) => name += &format!(".{step}"),
        }
    }
    name
}

#[tokio::test]
async fn the_server_accepts_values_inside_and_refuses_values_outside() {
    let server = url(serve(Recorder::default().router()).await);
    let http = reqwest::Client::new();
    let (mut taken, mut refused) = (0, 0);
    for Try { operation, field, value, body, fits, .. } in all_tries() {
        let path = filled_path(operation);
        let request = http.post(format!("{server}{path}")).json(&body);
        let request = request.header("X-Request-req-accessKeyId", "a").header("X-Request-req-accessKeySecret", "b");
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let envelope: Envelope = response.json().await.unwrap();
        let what = format!("{}: {field} = {value}: {}", operation.id, envelope.msg);
        assert_eq!(status, if fits { 200 } else { 422 }, "{what}");
        assert!(fits || envelope.msg.starts_with(&format!("`{field}")), "{what}");
        assert!(fits || !envelope.msg.contains("; `"), "only the changed field is at fault: {what}");
        *(if fits { &mut taken } else { &mut refused }) += 1;
    }
    assert!(taken > 300 && refused > 600, "{taken} taken, {refused} refused");
}

#[test]
fn the_types_decide_as_the_server_does() {
    for Try { operation, field, value, body, fits, .. } in all_tries() {
        let outcome = read_request(operation.id, body.to_string().as_bytes());
        assert_eq!(outcome.is_ok(), fits, "{}: {field} = {value}: {outcome:?}", operation.id);
    }
}

/// By name, for every field; there is no server that could take anything.
#[tokio::test]
async fn a_call_by_name_refuses_what_is_outside_before_it_is_sent() {
    let client = Client::builder("http://127.0.0.1:1").build().unwrap();
    for Try { operation, field, value, body, .. } in all_tries().filter(|one| !one.fits) {
        let mut call = client.dynamic(operation).body(body);
        for (parameter, value) in operation.parameters.iter().zip(path_value(operation)) {
            call = call.parameter(parameter.name, value);
        }
        let message = call.send().await.unwrap_err().to_string();
        let expected = format!("the request was not sent: `{field}");
        assert!(message.starts_with(&expected), "{}: {field} = {value}: {message}", operation.id);
    }
}

/// Every property that a request of any document may have is among those tried.
#[test]
fn every_property_of_every_request_is_tried() {
    let tried: BTreeSet<_> = all_tries().map(|one| one.property).collect();
    let of_documents = spec::operations().flat_map(|operation| operation.rules(operation.request()).into_keys());
    // Rules of whole components have no property.
    let properties: BTreeSet<_> = of_documents.filter(|(_, property)| !property.is_empty()).collect();
    assert_eq!(tried, properties);
}

/// Builds with one value; returns whether the field is at fault. All fields of the vendor's document that have a range are tried; of
/// additions some are, so that a new operation needs no line here.
macro_rules! client_side {
    ($($request:ident . $setter:ident ($wire:literal): [$($inside:expr),*] [$($outside:expr),*];)*) => {
        #[test]
        fn the_client_refuses_what_is_outside_before_it_is_sent() {
            let at_fault = |outcome: Result<(), Violations>, field: &str| {
                outcome.err().is_some_and(|faults| faults.iter().any(|fault| {
                    fault.field == field || fault.field.starts_with(&format!("{field}["))
                }))
            };
            let mut tried = BTreeSet::new();
            $(
                $(
                    let builder = $request::builder().$setter($inside);
                    let built = builder.build().map(drop);
                    assert_eq!(builder.to_json().err(), built.clone().err(), "what is sent is judged as what is built");
                    assert!(!at_fault(built, $wire), "{} {} inside", stringify!($request), $wire);
                )*
                $(
                    let builder = $request::builder().$setter($outside);
                    let built = builder.build().map(drop);
                    assert_eq!(builder.to_json().err(), built.clone().err(), "what is sent is judged as what is built");
                    assert!(at_fault(built, $wire), "{} {} outside", stringify!($request), $wire);
                )*
                tried.insert((stringify!($request), $wire));
            )*
            let [vendor, others] = [true, false].map(ranged_fields);
            assert!(vendor.is_subset(&tried), "not tried: {:?}", vendor.difference(&tried).collect::<Vec<_>>());
            let ranged = &vendor | &others;
            assert!(tried.is_subset(&ranged), "without range: {:?}", tried.difference(&ranged).collect::<Vec<_>>());
        }
    };
}

/// Every field of a request with a range, a length of list or a closed set, as the vendor's document has it, or the others.
fn ranged_fields(of_vendor: bool) -> BTreeSet<Property> {
    let mut found = BTreeSet::new();
    for operation in spec::operations().filter(|operation| (operation.document == spec::VENDOR) == of_vendor) {
        let request = spec::schema_name(operation.request());
        for (property, rules) in operation.rules(operation.request()) {
            let has = |keyword: &str| rules.get(keyword).is_some();
            let ranged = match rules["type"].as_str() {
                Some("integer") => has("maximum") || has("enum"),
                Some("number") => has("minimum") || has("maximum"),
                Some("string") => has("enum") || rules["x-numeric"].get("maximum").is_some(),
                Some("array") => has("maxItems"),
                _ => false,
            };
            if ranged && property.0 == request {
                found.insert(property);
            }
        }
    }
    found
}

fn urls(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("https://example.com/{n}.png")).collect()
}

client_side! {
    SubmitTrainingRequest.file_url_list("fileUrlList"): [urls(10), urls(100)] [urls(9), urls(101), vec!["no url"; 10]];
    SubmitTrainingRequest.max_epochs("maxEpochs"): [10, 50] [9, 51];
    SubmitTrainingRequest.batch_size("batchSize"): [1, 4] [0, 5];
    SubmitTrainingRequest.learning_rate("learningRate"): ["0.0000001", "1e-4", 0.00005] ["0.00000009", "1.1e-4", 1];
    SubmitTrainingRequest.max_token_length("maxTokenLength"): [0, 150, 225] [1, 226];
    SubmitTrainingRequest.clip_skip("clipSkip"): [1, 5] [0, 6];
    SubmitTrainingRequest.repeats("repeats"): [1, 30] [0, 31];
    SubmitTrainingRequest.mixed_precision("mixedPrecision"): ["fp16", MixedPrecision::Bf16] ["float", ""];
    SubmitTrainingRequest.save_precision("savePrecision"): ["float", SavePrecision::Fp16] ["fp32"];
    SubmitTrainingRequest.num_cpu_threads_per_process("numCpuThreadsPerProcess"): [1, 20] [0, 21];
    SubmitTrainingRequest.lr_warmup_steps("lrWarmupSteps"): [0, 100] [-1, 101];
    SubmitTrainingRequest.optimizer_type("optimizerType"): ["Lion", OptimizerType::AdaFactor] ["lion"];
    SubmitTrainingRequest.network_dropout("networkDropout"): [0, 1] [-0.000001, 1.000001];
    SubmitTrainingRequest.rank_dropout("rankDropout"): [0, 1] [-0.000001, 1.000001];
    SubmitTrainingRequest.module_dropout("moduleDropout"): [0, 1] [-0.000001, 1.000001];
    SubmitTrainingRequest.noise_offset("noiseOffset"): [0, 1] [-0.000001, 1.000001];
    SwapFaceV2Request.fidelity_weight("fidelityWeight"): ["0", 1, 0.5] ["-0.1", 1.1];
    RestoreFaceRequest.fidelity_weight("fidelityWeight"): ["0", "1"] ["-0.1", "1.1", "half"];
    SuperResolutionRequest.scale("scale"): [2, 4] [1, 3];
    DescribeImageRequest.model("model"): ["clip", DescribeModel::Deepdanbooru] ["blip"];
    SwapFacesRequest.source_url("sourceUrl"): [urls(1), urls(2)] [urls(0), urls(3)];
    ExpandPromptRequest.mode("mode"): [0, 1] [-1, 2];
    ExpandPromptRequest.top_k("topK"): [0, 250] [-1, 251];
    ExpandPromptRequest.top_p("topP"): [0.01, 1] [0.009999, 1.000001];
    ListTasksRequest.page_size("pageSize"): [1, 100] [0, 101];
    ListCallbacksRequest.page_size("pageSize"): [1, 100] [0, 101];
    OutpaintRequest.sample_step("sampleStep"): [0, 50] [-1, 51];
    OutpaintRequest.prompt_guide_factor("promptGuideFactor"): [1, 45] [0, 46];
    OutpaintRequest.seed("seed"): [-1, 2147483647] [-2, 2147483648];
    OutpaintRequest.vertical_expansion_ratio("verticalExpansionRatio"): [1, 4] [0.999999, 4.000001];
    OutpaintRequest.horizontal_expansion_ratio("horizontalExpansionRatio"): [1, 4] [0.999999, 4.000001];
    EnlargeImageRequest.scale("scale"): [1, 8] [0.999999, 8.000001];
    WatermarkImageRequest.position("position"): ["tile", WatermarkPosition::Center] ["middle"];
    WatermarkImageRequest.opacity("opacity"): [0, 1] [-0.000001, 1.000001];
    WatermarkImageRequest.scale("scale"): [0.000001, 1] [0, 1.000001];
}
