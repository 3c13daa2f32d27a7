//! The tools that need no pack over HTTP, with the examples of the document.

use image::RgbImage;
use serde_json::{Value, json};

use crate::common::pictures::{fetch, pixels, scene};
use crate::common::rows::text;
use crate::jobs::Ended;
use crate::{World, jobs};

/// The size of the scene.
const SIZE: (u32, u32) = (60, 41);

async fn run(world: &World, operation: &str, engine: (&str, &str)) -> (Ended, Vec<RgbImage>) {
    let job = jobs::run(&world.client, operation, world.example(operation)).await;
    assert_eq!(job.failure, None, "{operation}");
    assert_eq!((text(&job.row, "engine"), text(&job.row, "grade")), engine, "{operation}");
    let mut pictures = Vec::new();
    for url in job.row["outputImageUrlList"].as_array().into_iter().flatten() {
        pictures.push(pixels(&fetch(&reqwest::Client::new(), url.as_str().unwrap()).await));
    }
    (job, pictures)
}

fn sizes(pictures: &[RgbImage]) -> Vec<(u32, u32)> {
    pictures.iter().map(RgbImage::dimensions).collect()
}

/// Returns the number of pixels that differ from the scene.
fn changed(picture: &RgbImage) -> usize {
    picture.pixels().zip(scene().pixels()).filter(|(now, before)| now != before).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_tool_has_the_result_of_its_example() {
    let world = World::start(&[]).await;

    let (_, larger) = run(&world, "super_resolution", ("lanczos", "classical")).await;
    assert_eq!(sizes(&larger), [(240, 164)]);

    let (_, edges) = run(&world, "preview_controlnet", ("preprocessors", "classical")).await;
    assert_eq!(sizes(&edges), [SIZE]);
    assert!(edges[0].pixels().all(|pixel| pixel.0 == [0; 3] || pixel.0 == [255; 3]));

    let (_, marked) = run(&world, "watermark_image", ("watermark", "classical")).await;
    assert_eq!(sizes(&marked), [SIZE]);
    let share = changed(&marked[0]) as f64 / f64::from(SIZE.0 * SIZE.1);
    assert!((0.002..0.6).contains(&share), "{share}");

    let (_, filled) = run(&world, "remove_object", ("patchmatch", "classical")).await;
    assert_eq!(sizes(&filled), [SIZE]);
    assert!(changed(&filled[0]) > 100);

    let (_, wider) = run(&world, "outpaint", ("patchmatch", "draft")).await;
    assert_eq!(sizes(&wider), [(105, 62); 2]);
    assert_ne!(wider[0], wider[1]);

    let (faceless, _) = run(&world, "detect_faces", ("faces", "neural")).await;
    assert_eq!(faceless.report["faces"], json!([]));

    let (styled, _) = run(&world, "recognize_style", ("statistics", "draft")).await;
    let labels = styled.report["styleLabels"].as_array().unwrap();
    let confidences: Vec<_> = labels.iter().map(|label| label["confidence"].as_f64().unwrap()).collect();
    assert!(!labels.is_empty() && confidences.is_sorted_by(|a, b| a >= b), "{labels:?}");
    assert!(confidences.iter().all(|confidence| (0.0..=1.0).contains(confidence)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_unknown_preprocessor_is_rejected_with_a_list() {
    let world = World::start(&[]).await;
    let mut request = world.example("preview_controlnet");
    request["preprocessor"] = json!("cany");
    let error = imgopen_tests::calls::call(&world.client, "preview_controlnet", &request).await.unwrap_err();
    assert_eq!(error.status().unwrap(), 422);
    let msg = &error.envelope().unwrap().msg;
    assert!(msg.starts_with("`preprocessor`: ") && msg.contains("softedge") && msg.contains("canny"), "{msg}");
    let described = world.call("describe_server", json!({})).await;
    let support = described["data"]["operations"].as_array().unwrap();
    let preview = support.iter().find(|one| one["operation"] == "preview_controlnet").unwrap();
    let values: &Value = &preview["engines"][0]["values"][0];
    assert_eq!(values["field"], "preprocessor");
    let listed = values["values"].as_array().unwrap();
    assert!(listed.iter().all(|value| msg.contains(value.as_str().unwrap())), "{msg} {listed:?}");
}
