use std::collections::BTreeMap;

use imgopen_engine::{EngineError, JobRequest};
use imgopen_types::operations::{FLUX_TEXT_TO_IMAGE, IMAGE_TO_IMAGE, REMOVE_BACKGROUND, TEXT_TO_IMAGE};
use serde_json::json;

use super::*;

/// A workflow for `text_to_image`.
fn workflow() -> Value {
    json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "masterpiece, {{prompt}}, {{ seed }}", "clip": ["1", 1]}},
        "5": {"class_type": "KSampler", "inputs": {
            "model": ["1", 0], "positive": ["2", 0], "seed": "{{seed}}", "steps": "{{steps=28}}", "cfg": "{{guidance}}",
            "sampler_name": "{{sampler}}", "scheduler": "{{scheduler}}"
        }},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "mine"}}
    })
}

fn lists() -> Lists {
    Lists::with_classes(&json!({
        "CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": [["a.safetensors", "b.safetensors"]]}}},
        "CLIPTextEncode": {"input": {"required": {"text": ["STRING"], "clip": ["CLIP"]}}},
        "KSampler": {"input": {"required": {
            "model": ["MODEL"], "positive": ["CONDITIONING"], "seed": ["INT", {"min": 0}], "steps": ["INT", {"min": 1, "max": 50}],
            "cfg": ["FLOAT"], "sampler_name": [["euler", "dpmpp_2m"]], "scheduler": [["normal", "karras"]]
        }}},
        "LoadImage": {"input": {"required": {"image": [[], {"image_upload": true}]}}},
        "SaveImage": {"input": {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING"]}}},
    }))
}

fn request(changes: Value) -> JobRequest {
    let mut body = json!({
        "prompt": "a cat", "batch_size": 1, "alwayson_scripts": {"sd_model_checkpoint": "a.safetensors", "id_task": "mine"}
    });
    body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    JobRequest::new("task", &TEXT_TO_IMAGE, body)
}

fn fill(template: &Template, request: &JobRequest) -> Result<Value, EngineError> {
    let filling = template.request(request, "mine")?;
    template.fill(&filling, (&lists(), "mine"), &BTreeMap::new(), 7, "imgopen/task_1")
}

#[test]
fn placeholders_become_typed_values() {
    let template = Template::read(&TEXT_TO_IMAGE, workflow()).unwrap();
    assert_eq!(template.problem(&lists()), None);
    let graph = fill(&template, &request(json!({"cfg_scale": 5.5, "sampler_index": "DPM++ 2M Karras"}))).unwrap();
    let inputs = &graph["5"]["inputs"];
    let expected = json!({
        "model": ["1", 0], "positive": ["2", 0], "seed": 7, "steps": 28, "cfg": 5.5, "sampler_name": "dpmpp_2m",
        "scheduler": "karras"
    });
    assert_eq!(*inputs, expected);
    assert_eq!(graph["2"]["inputs"]["text"], "masterpiece, a cat, 7");
    assert_eq!(graph["7"]["inputs"]["filename_prefix"], "imgopen/task_1");
    // What a caller writes is no placeholder.
    let graph = fill(&template, &request(json!({"prompt": "{{seed}}", "steps": 4}))).unwrap();
    assert_eq!(graph["2"]["inputs"]["text"], "masterpiece, {{seed}}, 7");
    assert_eq!((&graph["5"]["inputs"]["steps"], &graph["5"]["inputs"]["cfg"]), (&json!(4), &json!(7)));
}

#[test]
fn what_a_workflow_has_no_place_for_is_refused_by_field() {
    let template = Template::read(&TEXT_TO_IMAGE, workflow()).unwrap();
    for (changes, field, problem) in [
        (json!({"width": 640}), "width", "has no place for it; leave it out"),
        (json!({"negative_prompt": "blurry"}), "negative_prompt", "has no place for it"),
        (json!({"enable_hr": true, "hr_scale": 2}), "enable_hr", "has no place for it"),
        (json!({"steps": 51}), "steps", "give a number from 1 to 50"),
        (json!({"sampler_index": "Heun"}), "sampler_index", "does not offer the sampler \"Heun\""),
        (json!({"prompt": "a <lora:x:1>"}), "prompt", "takes `<lora:x>` as words"),
        (json!({"prompt": "a [b:c:0.5]"}), "prompt", "as words"),
        (json!({"seed": "x"}), "seed", "a whole number"),
        (json!({"batch_size": 65}), "batch_size", "at most 64"),
        (
            json!({"alwayson_scripts": {"sd_model_checkpoint": "b.safetensors"}}),
            MODEL,
            "is not made for \"b.safetensors\"",
        ),
        (json!({"alwayson_scripts": {"sd_vae": "x"}}), "alwayson_scripts.sd_vae", "has no place for it"),
    ] {
        match fill(&template, &request(changes)) {
            Err(EngineError::Rejected { field: Some(rejected), problem: said }) => {
                assert!(rejected == field && said.contains(problem), "{field}: {rejected}: {said}");
            }
            other => panic!("{field}: {other:?}"),
        }
    }
    for changes in [
        json!({"negative_prompt": ""}),
        json!({"enable_hr": false, "hr_scale": 2, "denoising_strength": 0.4}),
        json!({"restore_faces": false, "seed": "-1", "n_iter": 2}),
        json!({"alwayson_scripts": {"output_image_format": "webp", "override_settings": {}}}),
    ] {
        assert!(fill(&template, &request(changes.clone())).is_ok(), "{changes}");
    }
}

#[test]
fn a_workflow_for_flux_serves_the_variant_of_its_model() {
    let graph = |file: &str| {
        json!({
            "1": {"class_type": "UNETLoader", "inputs": {"unet_name": file}},
            "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "{{prompt}}", "size": "{{width}} {{height}}"}},
            "3": {"class_type": "FluxGuidance", "inputs": {"guidance": "{{guidance}}", "steps": "{{steps}}"}},
            "7": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}}
        })
    };
    let template = Template::read(&FLUX_TEXT_TO_IMAGE, graph("FLUX1-schnell.safetensors")).unwrap();
    let check = |variant: &str| {
        let body = json!({"businessTaskId": "1", "comfyTaskType": variant, "prompt": "a cat", "steps": 4});
        template.request(&JobRequest::new("t", &FLUX_TEXT_TO_IMAGE, body), "mine").map(drop)
    };
    assert_eq!(check("Flux1SchnellFP8"), Ok(()));
    let error = check("Flux1DevFP8").unwrap_err().to_string();
    assert!(error.starts_with("`comfyTaskType`: the workflow") && error.contains("Flux1SchnellFP8"), "{error}");
    let error = Template::read(&FLUX_TEXT_TO_IMAGE, graph("model.safetensors")).unwrap_err();
    assert!(error.contains("do not say whether it is for FLUX.1 dev or schnell"), "{error}");
}

#[test]
fn a_schedule_without_a_place_is_refused() {
    let mut graph = workflow();
    graph["5"]["inputs"]["scheduler"] = "normal".into();
    let template = Template::read(&TEXT_TO_IMAGE, graph.clone()).unwrap();
    let with = |sampler: &str| request(json!({ "sampler_index": sampler }));
    assert!(fill(&template, &with("DPM++ 2M")).is_ok());
    let error = fill(&template, &with("DPM++ 2M Karras")).unwrap_err().to_string();
    assert!(error.starts_with("`sampler_index`") && error.contains("has no place for a schedule"), "{error}");
    graph["5"]["inputs"]["sampler_name"] = "euler".into();
    graph["5"]["inputs"]["scheduler"] = "{{scheduler}}".into();
    let template = Template::read(&TEXT_TO_IMAGE, graph).unwrap();
    let error = fill(&template, &with("DPM++ 2M")).unwrap_err().to_string();
    assert!(error.contains("has no place for a sampler"), "{error}");
}

#[test]
fn a_placeholder_for_the_model_takes_any_that_the_server_has() {
    let mut graph = workflow();
    graph["1"]["inputs"]["ckpt_name"] = "{{model}}".into();
    let template = Template::read(&TEXT_TO_IMAGE, graph).unwrap();
    assert_eq!(template.models(&lists()), ["a.safetensors", "b.safetensors"]);
    let named = |name: &str| request(json!({"alwayson_scripts": {"sd_model_checkpoint": name}}));
    assert_eq!(fill(&template, &named("b")).unwrap()["1"]["inputs"]["ckpt_name"], "b.safetensors");
    let error = fill(&template, &named("c")).unwrap_err().to_string();
    assert!(error.contains(MODEL) && error.contains("\"c\" is not in the server's list"), "{error}");
    let fixed = Template::read(&TEXT_TO_IMAGE, workflow()).unwrap();
    assert_eq!(fixed.models(&lists()), ["a.safetensors"]);
}

#[test]
fn a_workflow_that_cannot_work_is_refused_with_what_to_do() {
    let changed = |node: &str, input: &str, value: Value| {
        let mut graph = workflow();
        graph[node]["inputs"][input] = value;
        graph
    };
    let mut without_result = workflow();
    without_result.as_object_mut().unwrap().remove("7");
    for (graph, problem) in [
        (
            json!({"nodes": [], "links": []}),
            "saved in the form for the page; save it in ComfyUI by the menu Workflow, Export (API)",
        ),
        (json!([]), "it is not a workflow"),
        (json!({"1": {"type": "KSampler"}}), "the member `1` is not a node"),
        (without_result, "no node SaveImage is there"),
        (changed("5", "model", json!(["9", 0])), "`model` of the node 5 is linked to the node 9, which is not there"),
        (
            changed("5", "seed", "{{nope}}".into()),
            "`seed` of the node 5: `{{nope}}` stands for a field that `text_to_image` does not",
        ),
        (changed("5", "seed", "{{image}}".into()), "`{{image}}` stands for a field that `text_to_image` does not have"),
        (changed("5", "seed", "{{ }}".into()), "has braces that are no placeholder"),
        (
            changed("2", "text", "a cat".into()),
            "no placeholder stands for `prompt`, which every request of `text_to_image` has",
        ),
    ] {
        let error = Template::read(&TEXT_TO_IMAGE, graph).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn files_are_named_in_what_is_wrong_with_them() {
    let path = std::env::temp_dir().join(format!("imgopen-workflow-{}.json", std::process::id()));
    for (operation, text, problem) in [
        ("nope", "{}", "`workflows.nope`: there is no such operation"),
        ("describe_image", "{}", "the operation does not make pictures"),
        ("text_to_image", "{", "is not JSON"),
        ("text_to_image", "{}", "it is not a workflow"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = Template::open(operation, &path).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
    std::fs::write(&path, workflow().to_string()).unwrap();
    assert!(Template::open("text_to_image", &path).is_ok());
    std::fs::write(&path, format!("\u{FEFF}{}", workflow())).unwrap();
    assert!(Template::open("text_to_image", &path).is_ok());
    std::fs::remove_file(&path).unwrap();
    let error = Template::open("text_to_image", &path).unwrap_err();
    assert!(error.contains("cannot be read") && error.contains("imgopen-workflow"), "{error}");
}

#[test]
fn what_the_server_lacks_for_it_is_named() {
    let problem = |graph: Value| Template::read(&TEXT_TO_IMAGE, graph).unwrap().problem(&lists());
    let changed = |node: &str, input: &str, value: Value| {
        let mut graph = workflow();
        graph[node]["inputs"][input] = value;
        graph
    };
    let mut foreign = workflow();
    foreign["2"]["class_type"] = "SuperEncode".into();
    let mut lacking = workflow();
    lacking["5"]["inputs"].as_object_mut().unwrap().remove("model");
    for (graph, expected) in [
        (foreign, "the node SuperEncode (2), which the server does not have; install what brings it"),
        (lacking, "the input `model` of the node KSampler (5)"),
        (
            changed("1", "ckpt_name", "c.safetensors".into()),
            "`ckpt_name` of the node CheckpointLoaderSimple (1): \"c.safetensors\" is not in the server's list",
        ),
        (changed("5", "vae", json!(["1", 2])), "`vae` of the node KSampler (5): the node has no such input"),
        (changed("5", "nope", "{{steps}}".into()), "`nope` of the node KSampler (5): the node has no such input"),
    ] {
        let problem = problem(graph).unwrap();
        assert!(problem.contains(expected), "{problem}");
    }
    // Older pages write this for their own button.
    assert_eq!(problem(changed("1", "upload", "image".into())), None);
}

#[test]
fn pictures_are_those_that_fields_name() {
    let graph = |image: &str, mask: &str| {
        json!({
            "1": {"class_type": "LoadImage", "inputs": {"image": image}},
            "2": {"class_type": "LoadImage", "inputs": {"image": mask}},
            "7": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "{{prompt}} {{negative_prompt}}"}}
        })
    };
    let template = Template::read(&IMAGE_TO_IMAGE, graph("{{image}}", "{{mask}}")).unwrap();
    let pictures = template.pictures();
    let found: Vec<(&str, bool)> = pictures.iter().map(|wanted| (wanted.field.as_str(), wanted.is_mask)).collect();
    assert_eq!(found, [("alwayson_scripts.image_link", false), ("alwayson_scripts.mask_link", true)]);
    let simple = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "{{sourceImage}}"}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    });
    let template = Template::read(&REMOVE_BACKGROUND, simple).unwrap();
    let body = json!({"businessTaskId": "1", "sourceImage": "https://example.com/a.png"});
    let filling = template.request(&JobRequest::new("t", &REMOVE_BACKGROUND, body), "mine").unwrap();
    let uploads = BTreeMap::from([("sourceImage".to_owned(), "imgopen/x.png".to_owned())]);
    let graph = template.fill(&filling, (&lists(), "mine"), &uploads, 7, "p").unwrap();
    assert_eq!(graph["1"]["inputs"]["image"], "imgopen/x.png");
}
