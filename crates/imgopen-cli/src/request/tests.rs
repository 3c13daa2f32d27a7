use imgopen_types::operations;

use super::*;
use crate::failure::Exit;

fn refused(operation: &'static Operation, document: Value) -> String {
    let mut draft = Draft::new(operation, document).unwrap();
    draft.complete().unwrap();
    let failure = draft.finish().unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    failure.message
}

#[test]
fn all_faults_are_told_at_once_by_their_flags() {
    let document = json!({
        "n_iter": 0, "alwayson_scripts": {"override_settings": {"CLIP_stop_at_last_layers": "two"}},
        "width": "wide",
    });
    assert_eq!(
        refused(&operations::TEXT_TO_IMAGE, document),
        "the request was not sent:\n  \
         --n-iter: 0 given, a whole number of at least 1 expected\n  \
         --batch-size: missing; give a whole number of at least 1\n  \
         --prompt: missing; give a text\n  \
         --width: \"wide\" given, a whole number of at least 1 expected\n  \
         --sd-model-checkpoint: missing; give a text that is not empty\n  \
         --clip-stop-at-last-layers: \"two\" given, a whole number expected\n\
         `imgopen run text_to_image --help` tells what each flag takes"
    );
}

#[test]
fn places_inside_of_json_follow_the_flag() {
    let document = json!({
        "prompt": "x", "batch_size": 1, "resize_mode": 1,
        "alwayson_scripts": {"sd_model_checkpoint": "m"},
        "controlnet": {"args": [{"weight": 3}, {"image_link": "pose"}]},
    });
    let told = refused(&operations::CONTROLNET, document);
    assert!(told.contains("\n  --controlnet.args[0].weight: 3 given, a number from 0 to 2 expected"), "{told}");
    let picture = "--controlnet.args[1].image_link: \"pose\" given, a URL";
    assert!(told.contains(picture), "{told}");
}

#[test]
fn one_of_several_is_told_with_all_of_them() {
    let none = refused(&operations::WATERMARK_IMAGE, json!({"sourceImage": "https://a"}));
    let fix = "missing; give exactly one of --watermark-text and --watermark-image";
    assert!(none.contains(&format!("\n  --watermark-text, --watermark-image: {fix}")), "{none}");
    let both = json!({"sourceImage": "https://a", "watermarkText": "x", "watermarkImage": "https://b"});
    let both = refused(&operations::WATERMARK_IMAGE, both);
    assert!(both.contains("given together with others; give exactly one of"), "{both}");
}

#[test]
fn members_that_no_flag_sets_are_told_by_their_names() {
    let told = refused(&operations::ENLARGE_IMAGE, json!({"sourceImge": "https://a", "scale": 2}));
    assert!(
        told.contains("\n  `sourceImge`: not a field of EnlargeImageRequest; did you mean `sourceImage`?"),
        "{told}"
    );
    assert!(told.contains("\n  --source-image: missing; give a URL or the path of a picture"), "{told}");
    let failure = Draft::new(&operations::ENLARGE_IMAGE, json!([1])).unwrap_err();
    assert_eq!(failure.message, "the request is [1]; give a JSON object, as `{\"field\": …}`");
}

#[test]
fn a_field_set_anew_loses_its_other_spelling() {
    let mut draft = Draft::new(&operations::SUBMIT_TRAINING, json!({"max_epochs": 11, "taskId": "1"})).unwrap();
    draft.set(&["maxEpochs"], json!(12));
    draft.set(&["fileUrlList"], (0..10).map(|n| json!(format!("https://a/{n}"))).collect());
    assert_eq!(draft.complete().unwrap(), None);
    assert_eq!(draft.finish().unwrap()["maxEpochs"], 12);
}

/// The server refuses what stands there twice, so that it must not get lost on the way.
#[test]
fn what_a_document_says_twice_is_told() {
    let text = r#"{"sourceImage": "https://a", "scale": 2, "scale": 3}"#;
    let twice = || Draft::read(&operations::ENLARGE_IMAGE, text, "request.json").unwrap();
    let mut draft = twice();
    draft.complete().unwrap();
    let message = draft.finish().unwrap_err().message;
    assert!(message.starts_with("the request was not sent:\n  --scale: given twice; keep one\n`imgopen"), "{message}");
    // A flag says which of them is meant.
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
    assert!(broken.starts_with("standard input is no JSON: EOF"), "{broken}");
}

#[test]
fn an_id_is_made_up_where_the_caller_has_one() {
    for operation in operations::ALL.iter().copied() {
        let mut draft = Draft::new(operation, json!({})).unwrap();
        let made = draft.complete().unwrap();
        let is_wanted = operation.job.is_some() || *operation == operations::EXPAND_PROMPT;
        assert_eq!(made.is_some(), is_wanted, "{}", operation.id);
    }
    let mut draft = Draft::new(&operations::TEXT_TO_IMAGE, json!({})).unwrap();
    let id = draft.complete().unwrap().unwrap();
    assert_eq!(draft.body["alwayson_scripts"]["id_task"], json!(id));
    assert!(id.len() == 20 && id.starts_with("cli-"), "{id}");
}
