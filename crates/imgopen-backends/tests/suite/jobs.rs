//! Requests and jobs for tests: 64 pixels, few steps.

use image::{DynamicImage, Rgb, RgbImage};
use imgopen_engine::{Input, Job, JobRequest};
use imgopen_picture::{Attached, Format, encode};
use imgopen_types::Operation;
use imgopen_types::operations::{CONTROLNET, IMAGE_TO_IMAGE, TEXT_TO_IMAGE};
use serde_json::{Value, json};

/// A request for one picture of 64x64 pixels, with `changes` put over it.
pub fn text_to_image(model: &str, changes: Value) -> JobRequest {
    request(&TEXT_TO_IMAGE, model, changes)
}

/// The same from a picture.
pub fn image_to_image(model: &str, changes: Value) -> JobRequest {
    let mut body = json!({"alwayson_scripts": {"image_link": "https://example.com/a.png"}, "denoising_strength": 0.99});
    merge(&mut body, changes);
    request(&IMAGE_TO_IMAGE, model, body)
}

/// The same with ControlNet.
pub fn controlnet(model: &str, unit: Value, changes: Value) -> JobRequest {
    let mut body = json!({"resize_mode": 1, "controlnet": {"args": [unit]}});
    merge(&mut body, changes);
    request(&CONTROLNET, model, body)
}

fn request(operation: &'static Operation, model: &str, changes: Value) -> JobRequest {
    let mut body = json!({
        "prompt": "a lighthouse", "negative_prompt": "blurry", "batch_size": 1, "width": 64, "height": 64, "steps": 2,
        "seed": "7", "sampler_index": "Euler", "cfg_scale": 7,
        "alwayson_scripts": {"sd_model_checkpoint": model, "id_task": "mine"},
    });
    merge(&mut body, changes);
    JobRequest::new("task-1", operation, body)
}

/// Puts members over others; `null` removes one.
fn merge(into: &mut Value, changes: Value) {
    let Value::Object(changes) = changes else { panic!("{changes} has no members") };
    for (name, change) in changes {
        match change {
            Value::Null => {
                into.as_object_mut().unwrap().remove(&name);
            }
            Value::Object(_) if into.get(&name).is_some_and(Value::is_object) => merge(&mut into[&name], change),
            change => into[&name] = change,
        }
    }
}

/// A picture of 80x60 pixels that a field names.
pub fn input(field: &str) -> Input {
    fetched(field, RgbImage::from_fn(80, 60, |x, y| Rgb([x as u8 * 3, y as u8 * 4, 90])))
}

fn fetched(field: &str, image: RgbImage) -> Input {
    let bytes = encode(&DynamicImage::from(image), Format::Png, &Attached::default()).unwrap();
    Input { field: field.to_owned(), url: "https://example.com/a.png".to_owned(), bytes }
}

/// A job with a picture, a mask, and a control picture, whichever of them the request names.
pub fn job(request: JobRequest) -> Job {
    let mask = RgbImage::from_fn(80, 60, |x, _| Rgb([if x < 40 { 255 } else { 0 }; 3]));
    Job::new(request, "run").with_inputs(vec![
        input("alwayson_scripts.image_link"),
        fetched("alwayson_scripts.mask_link", mask),
        input("controlnet.args[0].image_link"),
    ])
}
