//! Workflows of the operator.

use imgopen_backends::{BackendSettings, ComfyUi, Surroundings};
use imgopen_engine::{EngineError, Input, Job, JobRequest, Models, Monitor};
use imgopen_types::operations::{REMOVE_BACKGROUND, TEXT_TO_IMAGE};
use serde_json::{Value, json};

use crate::comfy_fake::{Behaviour, ComfyFake, Fault, Year};
use crate::jobs::{input, text_to_image};
use crate::targets::comfyui::{comfy_with, workflow_file};
use crate::targets::{QUICK, Target, settings};

/// A fake, and an engine with this workflow for an operation.
async fn with_workflow(operation: &str, name: &str, graph: &Value) -> Target {
    let fake = ComfyFake::start(Behaviour { year: Year::New, ..Behaviour::default() }).await;
    let workflows = [(operation.to_owned(), workflow_file(name, graph))].into();
    let settings = BackendSettings { workflows, ..settings(&fake.url) };
    comfy_with(settings, fake).await
}

/// The graph that was recorded, with placeholders.
fn recorded() -> Value {
    let mut graph = crate::recordings::recording("comfyui/prompt_accepted").sent["prompt"].clone();
    graph["2"]["inputs"]["text"] = "masterpiece, {{prompt}}".into();
    graph["3"]["inputs"]["text"] = "{{negative_prompt}}".into();
    for (input, value) in
        [("seed", "{{seed}}"), ("steps", "{{steps}}"), ("cfg", "{{guidance}}"), ("sampler_name", "{{sampler}}")]
    {
        graph["5"]["inputs"][input] = value.into();
    }
    for side in ["width", "height"] {
        graph["4"]["inputs"][side] = format!("{{{{{side}}}}}").into();
    }
    graph
}

#[tokio::test]
async fn a_workflow_takes_the_place_of_our_graph() {
    let target = with_workflow("text_to_image", "own", &recorded()).await;
    let offers = target.engine.offers();
    let offer = offers.iter().find(|offer| *offer.operation == TEXT_TO_IMAGE).unwrap();
    let Models::Listed(models) = &offer.models else { panic!("any model is taken") };
    assert_eq!(models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>(), ["random-sd15.safetensors"]);
    let changes = json!({"n_iter": 2, "alwayson_scripts": {"output_image_format": "webp"}});
    let output = target.run(text_to_image(&target.model, changes)).await.unwrap();
    let seeds: Vec<_> = output.pictures.iter().filter_map(|picture| picture.seed).collect();
    assert_eq!((seeds, output.pictures[0].format.name()), (vec![7, 8], "WebP"));
    let text = imgopen_picture::parameters(&output.pictures[1].bytes).unwrap();
    assert!(text.starts_with("a lighthouse\nNegative prompt: blurry\nSteps: 2, Sampler: Euler"), "{text}");
    assert!(text.contains("Seed: 8, Size: 64x64, Workflow: text_to_image"), "{text}");
    let sent = &target.comfy().posts()[1]["prompt"];
    assert_eq!(sent["2"]["inputs"]["text"], "masterpiece, a lighthouse");
    assert_eq!((&sent["5"]["inputs"]["seed"], &sent["5"]["inputs"]["sampler_name"]), (&json!(8), &json!("euler")));
    assert_eq!(sent["7"]["inputs"]["filename_prefix"], "imgopen/task-1_2");
    // It is taken over as well.
    target.run(text_to_image(&target.model, json!({"n_iter": 2}))).await.unwrap();
    assert_eq!(target.comfy().posts().len(), 2);
}

#[tokio::test]
async fn what_a_workflow_does_not_do_is_refused_at_submit() {
    let target = with_workflow("text_to_image", "refusing", &recorded()).await;
    for (field, changes) in [
        ("enable_hr", json!({"enable_hr": true})),
        (
            "alwayson_scripts.sd_model_checkpoint",
            json!({"alwayson_scripts": {"sd_model_checkpoint": "broken.safetensors"}}),
        ),
        ("width", json!({"width": 8})),
    ] {
        match target.engine.check(&text_to_image(&target.model, changes)) {
            Err(EngineError::Rejected { field: Some(rejected), .. }) => assert_eq!(rejected, field),
            other => panic!("`{field}`: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_size_that_a_workflow_changes_is_noted() {
    let mut graph = recorded();
    graph["9"] = json!({"class_type": "LatentUpscaleBy", "inputs": {
        "samples": ["5", 0], "upscale_method": "bislerp", "scale_by": 2.0
    }});
    graph["6"]["inputs"]["samples"] = json!(["9", 0]);
    let target = with_workflow("text_to_image", "larger", &graph).await;
    let output = target.run(text_to_image(&target.model, json!({"n_iter": 2}))).await.unwrap();
    assert_eq!((output.pictures[0].width, output.pictures[0].height), (128, 128));
    assert_eq!(output.notes[1..], ["`width`: the workflow made 128x128 pixels of 64x64"]);
}

#[tokio::test]
async fn a_workflow_may_make_several_pictures_and_not_any_number() {
    let target = with_workflow("text_to_image", "several", &recorded()).await;
    target.comfy().set(|behaviour| behaviour.fault = Fault::Saves(3));
    let output = target.run(text_to_image(&target.model, json!({}))).await.unwrap();
    assert_eq!(output.pictures.len(), 3);
    target.comfy().set(|behaviour| behaviour.fault = Fault::Saves(65));
    let error = target.run(text_to_image(&target.model, json!({"seed": "8"}))).await.unwrap_err().to_string();
    assert!(error.contains("65 files came back for one picture, more than 64"), "{error}");
}

#[tokio::test]
async fn any_operation_that_makes_pictures_may_have_a_workflow() {
    let graph = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "{{image}}", "upload": "image"}},
        "2": {"class_type": "ImageScale", "inputs": {
            "image": ["1", 0], "upscale_method": "lanczos", "width": 40, "height": 30, "crop": "disabled"
        }},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}}
    });
    let target = with_workflow("remove_background", "background", &graph).await;
    assert!(target.engine.offers().iter().any(|offer| *offer.operation == REMOVE_BACKGROUND));
    let body = json!({"businessTaskId": "1", "sourceImage": "https://example.com/a.png"});
    let request = |body: Value| JobRequest::new("task-1", &REMOVE_BACKGROUND, body);
    target.engine.check(&request(body.clone())).unwrap();
    let job = Job::new(request(body.clone()), "run")
        .with_inputs(vec![Input { field: "sourceImage".to_owned(), ..input("sourceImage") }]);
    assert!(target.engine.memory(&job) > 80 * 60);
    let (monitor, watch) = Monitor::new();
    let output = target.engine.run(job, monitor).await.unwrap();
    assert_eq!((output.pictures[0].width, output.pictures[0].height), (40, 30));
    assert_eq!(watch.progress.borrow().percent, 100.0);
    let mut coloured = body;
    coloured["backgroundColor"] = "#ffffff".into();
    let error = target.engine.check(&request(coloured)).unwrap_err().to_string();
    assert!(error.starts_with("`backgroundColor`: the workflow of the back end `mine`"), "{error}");
}

#[tokio::test]
async fn a_workflow_that_the_server_cannot_run_is_away() {
    let mut graph = recorded();
    graph["5"]["class_type"] = "SuperSampler".into();
    let target = with_workflow("text_to_image", "foreign", &graph).await;
    let report = target.engine.report().to_string();
    let expected =
        "text_to_image: needs another workflow, or the node SuperSampler (5), which the server does not have";
    assert!(report.contains(expected), "{report}");
    let offers = target.engine.offers();
    let offer = offers.iter().find(|offer| *offer.operation == TEXT_TO_IMAGE).unwrap();
    assert!(offer.away.as_ref().is_some_and(|away| away.contains("the node SuperSampler (5)")), "{offer:?}");
}

#[tokio::test]
async fn a_broken_workflow_is_found_when_the_engine_is_created() {
    let path = workflow_file("broken", &json!({"nodes": [], "links": []}));
    let workflows = [("text_to_image".to_owned(), path)].into();
    let settings = BackendSettings { workflows, ..settings("http://127.0.0.1:1") };
    let error = ComfyUi::with_timing(settings, &Surroundings::default(), QUICK).unwrap_err();
    assert!(error.starts_with("`workflows.text_to_image`: ") && error.contains("Export (API)"), "{error}");
}
