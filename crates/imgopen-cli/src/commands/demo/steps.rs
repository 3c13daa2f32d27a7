//! The tasks of the demo.

use imgopen_engine::Registry;
use imgopen_types::{Operation, operations};
use serde_json::{Value, json};

/// One task of the demo.
pub struct Step {
    /// Its operation.
    pub operation: &'static Operation,
    /// What the result shows.
    pub about: &'static str,
    /// The request, with names of pictures as paths.
    pub request: fn() -> Value,
}

/// Those that need nothing, in order.
pub const CLASSICAL: &[Step] = &[
    Step {
        operation: &operations::TEXT_TO_IMAGE,
        about: "a labelled test card, in place of a generated picture",
        request: || {
            json!({
                "prompt": "a lighthouse at night", "batch_size": 1, "width": 512, "height": 512, "seed": "7",
                "alwayson_scripts": { "sd_model_checkpoint": "sandbox.safetensors" },
            })
        },
    },
    Step {
        operation: &operations::REMOVE_OBJECT,
        about: "a photograph without the mission patch on the astronaut's suit",
        request: || json!({ "sourceImage": "portrait", "maskImage": "mask" }),
    },
    Step {
        operation: &operations::PREVIEW_CONTROLNET,
        about: "the edges of the photograph, as input for ControlNet",
        request: || json!({ "sourceImage": "portrait", "preprocessor": "canny" }),
    },
    Step {
        operation: &operations::WATERMARK_IMAGE,
        about: "the photograph with a watermark in its corner",
        request: || {
            json!({
                "sourceImage": "portrait", "watermarkText": "imgopen demo", "position": "bottom-right",
                "opacity": 0.8, "margin": 12,
            })
        },
    },
    Step {
        operation: &operations::DETECT_FACES,
        about: "the faces in the photograph",
        request: || json!({ "imageUrl": "portrait" }),
    },
];

/// Those for neural networks, in order. Those run that an engine is there for.
const NEURAL: &[Step] = &[
    Step {
        operation: &operations::REMOVE_BACKGROUND,
        about: "the subject of the photograph without its background",
        request: || json!({ "sourceImage": "photo" }),
    },
    Step {
        operation: &operations::SUPER_RESOLUTION,
        about: "a small copy of the photograph at four times its size, with its detail rebuilt",
        request: || json!({ "image": "small", "scale": 4 }),
    },
    Step {
        operation: &operations::DETECT_FACES,
        about: "the faces in the photograph",
        request: || json!({ "imageUrl": "photo" }),
    },
    Step {
        operation: &operations::RESTORE_FACE,
        about: "the photograph with its faces restored",
        request: || json!({ "image": "photo" }),
    },
    Step {
        operation: &operations::CHANGE_HAIRSTYLE,
        about: "the photograph with red hair",
        request: || json!({ "sourceImage": "photo", "hairStyle": "keep", "hairColor": "red" }),
    },
    Step {
        operation: &operations::REMOVE_OBJECT,
        about: "a photograph without the mission patch on the astronaut's suit",
        request: || json!({ "sourceImage": "portrait", "maskImage": "mask" }),
    },
    Step {
        operation: &operations::DESCRIBE_IMAGE,
        about: "what the photograph shows, in words",
        // A name that does not exist, because the operation wants one.
        request: || json!({ "image": "photo", "callbackUrl": "http://demo.invalid/" }),
    },
    Step {
        operation: &operations::RECOGNIZE_STYLE,
        about: "the style of the photograph",
        request: || json!({ "sourceImage": "photo" }),
    },
    Step {
        operation: &operations::PREVIEW_CONTROLNET,
        about: "the distance of what the photograph shows, as input for ControlNet",
        request: || json!({ "sourceImage": "photo", "preprocessor": "depth" }),
    },
];

/// With a photograph of the user's.
const SWAP: Step = Step {
    operation: &operations::SWAP_FACE,
    about: "the photograph with the face of the astronaut",
    request: || json!({ "sourceUrl": "portrait", "targetUrl": "photo" }),
};

/// Returns the tasks that these engines carry out with what was pulled: by engines that are not among those that need nothing.
pub fn neural(engines: &Registry, bare: &Registry, is_own_photo: bool) -> Vec<&'static Step> {
    let all = NEURAL.iter().chain(is_own_photo.then_some(&SWAP));
    all.filter(|step| is_added(step, engines, bare)).collect()
}

/// Returns whether an engine that needs something is there for a task, with the values that it asks for.
fn is_added(step: &Step, engines: &Registry, bare: &Registry) -> bool {
    let request = (step.request)();
    let Ok(choice) = engines.pick(step.operation.id, None) else { return false };
    let listed = |field: &str, values: &[String]| {
        let given = request.get(field).and_then(Value::as_str);
        given.is_none_or(|given| values.iter().any(|value| value == given))
    };
    bare.engine(choice.engine.name()).is_none()
        && choice.offer.values.iter().all(|known| listed(known.field, &known.values))
}

#[cfg(test)]
mod tests {
    use imgopen_tools::{Lanczos, Preprocessors};

    use super::*;
    use crate::request::draft::Draft;

    #[test]
    fn requests_are_valid() {
        for step in CLASSICAL.iter().chain(NEURAL).chain([&SWAP]) {
            let named = (step.request)().to_string();
            let text = ["portrait", "mask", "photo", "small"]
                .iter()
                .fold(named, |text, name| text.replace(&format!("\"{name}\""), "\"https://example.com/a.png\""));
            let mut draft = Draft::new(step.operation, serde_json::from_str(&text).unwrap()).unwrap();
            draft.complete().unwrap();
            assert!(draft.finish().is_ok(), "{}: {text}", step.operation.id);
        }
    }

    #[test]
    fn what_is_shown_is_done_by_engines_that_were_added() {
        let engines = Registry::default().with(Lanczos::new()).with(Preprocessors::new());
        let shown = |bare: &Registry| {
            let steps = neural(&engines, bare, true);
            steps.into_iter().map(|step| step.operation.id).collect::<Vec<_>>()
        };
        // No preprocessor here finds distances.
        assert_eq!(shown(&Registry::default()), ["super_resolution"]);
        assert_eq!(shown(&Registry::default().with(Lanczos::new())), [""; 0]);
    }
}
