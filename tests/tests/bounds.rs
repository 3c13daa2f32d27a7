//! Every rule of every request field, just inside and just outside, on both sides: the server's over a real socket, the
//! client's before anything is sent.

use std::collections::BTreeSet;

use imgopen_client::types::schema::{Object, Shape};
use imgopen_client::types::*;
use imgopen_tests::calls::{filled_path, read_request};
use imgopen_tests::document::request_examples;
use imgopen_tests::recorder::Recorder;
use imgopen_tests::values::{Edges, edges};
use imgopen_tests::wire::{serve, url};
use serde_json::Value;

/// One way to change a request, and whether it still fits.
struct Try {
    operation: &'static Operation,
    /// The changed field as errors name it.
    field: String,
    value: Value,
    body: Value,
    fits: bool,
}

/// Every edge of every field that the full example of an operation sets.
fn tries(operation: &'static Operation) -> Vec<Try> {
    let full = request_examples(operation.id).into_iter().find(|example| example.name == "full").unwrap().value;
    let mut found = Vec::new();
    walk(operation.request, &full, &mut Vec::new(), &mut |path, Edges { inside, outside }| {
        let values =
            inside.into_iter().map(|value| (value, true)).chain(outside.into_iter().map(|value| (value, false)));
        for (value, fits) in values {
            let mut body = full.clone();
            *body.pointer_mut(&pointer(path)).unwrap() = value.clone();
            found.push(Try { operation, field: name(path), value, body, fits });
        }
    });
    found
}

fn walk(schema: &'static Object, value: &Value, path: &mut Vec<String>, visit: &mut impl FnMut(&[String], Edges)) {
    for field in schema.fields {
        let Some(inner) = value.get(field.name) else { continue };
        path.push(field.name.to_owned());
        let mut allowed = edges(&field.shape);
        // What the document lets through as another type is not an edge.
        allowed.outside.retain(|value| {
            field.accepts.is_empty() || !(value.is_boolean() || value.is_number() || value.is_string())
        });
        allowed.outside.push(Value::Null);
        visit(path, allowed);
        descend(&field.shape, inner, path, visit);
        path.pop();
    }
}

fn descend(shape: &'static Shape, value: &Value, path: &mut Vec<String>, visit: &mut impl FnMut(&[String], Edges)) {
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
            visit(path, allowed);
            descend(&list.item, first, path, visit);
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
    for Try { operation, field, value, body, fits } in operations::ALL.iter().flat_map(|operation| tries(operation)) {
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
    for Try { operation, field, value, body, fits } in operations::ALL.iter().flat_map(|operation| tries(operation)) {
        let outcome = read_request(operation.id, body.to_string().as_bytes());
        assert_eq!(outcome.is_ok(), fits, "{}: {field} = {value}: {outcome:?}", operation.id);
    }
}

/// Builds with one value; returns whether the field is at fault. The fields are a sample of those with a range: a builder is
/// checked by the reader, which the tests above try with every field.
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
            assert!(tried.is_subset(&ranged_fields()), "every field that is tried has a range");
        }
    };
}

/// Every request field with a range, a length of list or a closed set.
fn ranged_fields() -> BTreeSet<(&'static str, &'static str)> {
    let mut found = BTreeSet::new();
    for operation in operations::ALL {
        for field in operation.request.fields {
            let ranged = match &field.shape {
                Shape::Integer(rules) => rules.maximum.is_some() || !rules.one_of.is_empty(),
                Shape::Number(rules) => rules.minimum.is_some() || rules.maximum.is_some(),
                Shape::Text(rules) => rules.numeric.is_some_and(|numeric| numeric.maximum.is_some()),
                Shape::List(rules) => rules.max_items.is_some(),
                Shape::TextEnum(set) => !set.open,
                _ => false,
            };
            if ranged {
                found.insert((operation.request.name, field.name));
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
