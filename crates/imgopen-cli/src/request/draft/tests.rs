use imgopen_types::operations;

use super::*;
use crate::failure::Exit;

fn rejection(operation: &'static Operation, document: Value) -> String {
    let mut draft = Draft::new(operation, document).unwrap();
    draft.complete().unwrap();
    let failure = draft.finish().unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    failure.message
}

#[test]
fn all_faults_are_reported_together_by_flag() {
    let document = json!({
        "n_iter": 0, "alwayson_scripts": {"override_settings": {"CLIP_stop_at_last_layers": "two"}},
        "width": "wide",
    });
    assert_eq!(
        rejection(&operations::TEXT_TO_IMAGE, document),
        "the request was not sent:\n  \
         --n-iter: 0 given, a whole number of at least 1 expected\n  \
         --batch-size: missing; give a whole number of at least 1\n  \
         --prompt: missing; give a text\n  \
         --width: \"wide\" given, a whole number of at least 1 expected\n  \
         --sd-model-checkpoint: missing; give a text that is not empty\n  \
         --clip-stop-at-last-layers: \"two\" given, a whole number expected\n\
         `imgopen run text_to_image --help` describes each flag"
    );
}

#[test]
fn paths_inside_json_follow_the_flag() {
    let document = json!({
        "prompt": "x", "batch_size": 1, "resize_mode": 1,
        "alwayson_scripts": {"sd_model_checkpoint": "m"},
        "controlnet": {"args": [{"weight": 3}, {"image_link": "pose"}]},
    });
    let message = rejection(&operations::CONTROLNET, document);
    let weight = "\n  --controlnet.args[0].weight: 3 given, a number from 0 to 2 expected";
    assert!(message.contains(weight), "{message}");
    let picture = "--controlnet.args[1].image_link: \"pose\" given, a URL";
    assert!(message.contains(picture), "{message}");
}

#[test]
fn alternatives_are_reported_together() {
    let none = rejection(&operations::WATERMARK_IMAGE, json!({"sourceImage": "https://a"}));
    let fix = "missing; give exactly one of --watermark-text and --watermark-image";
    assert!(none.contains(&format!("\n  --watermark-text, --watermark-image: {fix}")), "{none}");
    let both = json!({"sourceImage": "https://a", "watermarkText": "x", "watermarkImage": "https://b"});
    let both = rejection(&operations::WATERMARK_IMAGE, both);
    assert!(both.contains("given together with others; give exactly one of"), "{both}");
}

#[test]
fn members_without_a_flag_are_reported_by_name() {
    let message = rejection(&operations::ENLARGE_IMAGE, json!({"sourceImge": "https://a", "scale": 2}));
    let unknown = "\n  `sourceImge`: not a field of EnlargeImageRequest; did you mean `sourceImage`?";
    assert!(message.contains(unknown), "{message}");
    assert!(message.contains("\n  --source-image: missing; give a URL or the path of a picture"), "{message}");
    let failure = Draft::new(&operations::ENLARGE_IMAGE, json!([1])).unwrap_err();
    assert_eq!(failure.message, "the request is [1]; give a JSON object such as `{\"field\": …}`");
}

#[test]
fn setting_a_field_removes_its_other_spelling() {
    let mut draft = Draft::new(&operations::SUBMIT_TRAINING, json!({"max_epochs": 11, "taskId": "1"})).unwrap();
    draft.set(&["maxEpochs"], json!(12));
    draft.set(&["fileUrlList"], (0..10).map(|n| json!(format!("https://a/{n}"))).collect());
    assert_eq!(draft.complete().unwrap(), None);
    assert_eq!(draft.finish().unwrap()["maxEpochs"], 12);
}

/// The server rejects duplicate members, so the command must not drop one silently.
#[test]
fn duplicate_members_are_reported() {
    let text = r#"{"sourceImage": "https://a", "scale": 2, "scale": 3}"#;
    let twice = || Draft::read(&operations::ENLARGE_IMAGE, text, "request.json").unwrap();
    let mut draft = twice();
    draft.complete().unwrap();
    let message = draft.finish().unwrap_err().message;
    assert!(message.starts_with("the request was not sent:\n  --scale: given twice; keep one\n`imgopen"), "{message}");
    // A flag overrides both.
    let mut draft = twice();
    draft.set(&["scale"], json!(4));
    draft.complete().unwrap();
    assert_eq!(draft.finish().unwrap()["scale"], 4);
    let spelled = r#"{"taskId": "1", "maxEpochs": 10, "max_epochs": 11}"#;
    let message = Draft::read(&operations::SUBMIT_TRAINING, spelled, "x").unwrap().finish().unwrap_err().message;
    assert_eq!(message.matches("--max-epochs: given twice, as").count(), 1, "{message}");
    let inner = r#"{"controlnet": {"args": [{"weight": 1, "weight": 2}]}}"#;
    let message = Draft::read(&operations::CONTROLNET, inner, "x").unwrap().finish().unwrap_err().message;
    assert!(message.contains("--controlnet.args[0].weight: given twice; keep one"), "{message}");
    let broken = Draft::read(&operations::CONTROLNET, "{", "standard input").unwrap_err().message;
    assert!(broken.starts_with("standard input is not JSON: EOF"), "{broken}");
}

#[test]
fn a_caller_id_is_generated_for_operations_that_take_one() {
    for operation in operations::ALL.iter().copied() {
        let mut draft = Draft::new(operation, json!({})).unwrap();
        let generated = draft.complete().unwrap();
        let takes_one = operation.job.is_some() || *operation == operations::EXPAND_PROMPT;
        assert_eq!(generated.is_some(), takes_one, "{}", operation.id);
    }
    let mut draft = Draft::new(&operations::TEXT_TO_IMAGE, json!({})).unwrap();
    let id = draft.complete().unwrap().unwrap();
    assert_eq!(draft.body["alwayson_scripts"]["id_task"], json!(id));
    assert!(id.len() == 20 && id.starts_with("cli-"), "{id}");
}
