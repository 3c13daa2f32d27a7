//! The fake answers what was recorded to the requests that were recorded.

use serde_json::{Value, json};

use crate::comfy_fake::{Behaviour, ComfyFake, Year};
use crate::recordings::recording;
use crate::replay::{again, keys};
use crate::targets::until;

async fn start(year: Year) -> ComfyFake {
    // The recording knows no files that were added later.
    ComfyFake::start(Behaviour { year, ..Behaviour::default() }).await
}

#[tokio::test]
async fn refusals_are_those_recorded() {
    for year in [Year::Old, Year::New] {
        let fake = start(year).await;
        for name in [
            "prompt_bad_json",
            "prompt_bad_none",
            "prompt_bad_class",
            "prompt_bad_no_output",
            "prompt_bad_sampler",
            "prompt_bad_checkpoint",
            "prompt_bad_steps",
            "prompt_bad_missing_input",
            "prompt_bad_image",
        ] {
            let recording = recording(&format!("{}/{name}", year.folder()));
            let (status, mut answer) = again(&fake.url, &recording).await;
            let mut expected = recording.answer;
            // Tooltips of classes that were recorded at another time.
            for answer in [&mut answer, &mut expected] {
                let nodes = answer.get_mut("node_errors").and_then(Value::as_object_mut);
                for node in nodes.into_iter().flatten() {
                    for error in node.1["errors"].as_array_mut().unwrap() {
                        if let Some(config) = error["extra_info"].get_mut("input_config") {
                            *config = Value::Null;
                        }
                    }
                }
            }
            assert_eq!((status, answer), (recording.status, expected), "{name} of {year:?}");
        }
    }
}

#[tokio::test]
async fn half_a_graph_is_taken_as_recorded() {
    for year in [Year::Old, Year::New] {
        let fake = start(year).await;
        let recording = recording(&format!("{}/prompt_bad_partly", year.folder()));
        let (status, answer) = again(&fake.url, &recording).await;
        assert_eq!(status, 200);
        let kinds = |answer: &Value| answer["node_errors"]["3"]["errors"][0]["type"].clone();
        assert_eq!(kinds(&answer), kinds(&recording.answer));
        assert_eq!(answer["node_errors"]["3"]["dependent_outputs"], json!(["4"]));
    }
}

#[tokio::test]
async fn a_finished_prompt_is_reported_as_recorded() {
    for year in [Year::Old, Year::New] {
        let fake = start(year).await;
        let (accepted, done) =
            (recording(&format!("{}/prompt_accepted", year.folder())), format!("{}/history_success", year.folder()));
        for attempt in 0..2 {
            let mut sent = recording(&format!("{}/prompt_accepted", year.folder()));
            sent.sent["prompt_id"] = "c0ffee00-0000-4000-8000-000000000001".into();
            let (status, answer) = again(&fake.url, &sent).await;
            assert_eq!((status, answer["number"].as_u64()), (200, Some(attempt)));
            assert_eq!(keys(&answer), keys(&accepted.answer));
            let id = answer["prompt_id"].as_str().unwrap().to_owned();
            assert_eq!(id == "c0ffee00-0000-4000-8000-000000000001", year == Year::New);
            let entry = async || -> Value {
                let url = format!("{}/history/{id}", fake.url);
                reqwest::get(url).await.unwrap().json::<Value>().await.unwrap()[&id].take()
            };
            until("the prompt has ended", async || fake.current().is_none() && !entry().await.is_null()).await;
            let (entry, expected) = (entry().await, recording(&done).answer);
            let expected = expected.as_object().unwrap().values().next().unwrap();
            // The second time, it is the first file.
            assert_eq!(entry["outputs"], expected["outputs"], "{attempt}");
            let messages = |entry: &Value| -> Vec<Value> {
                entry["status"]["messages"].as_array().unwrap().iter().map(|message| message[0].clone()).collect()
            };
            assert_eq!(messages(&entry), messages(expected));
            assert_eq!(entry["status"]["completed"], true);
            assert_eq!(entry["meta"], expected["meta"]);
        }
    }
}

#[tokio::test]
async fn lists_are_those_recorded() {
    for year in [Year::Old, Year::New] {
        let fake = start(year).await;
        for name in ["KSampler", "CheckpointLoaderSimple", "FluxGuidance", "SaveImage", "unknown"] {
            let recording = recording(&format!("{}/object_info_{name}", year.folder()));
            assert_eq!(again(&fake.url, &recording).await, (recording.status, recording.answer), "{name} of {year:?}");
        }
        let recording = recording(&format!("{}/history_unknown", year.folder()));
        assert_eq!(again(&fake.url, &recording).await, (200, json!({})));
    }
}

#[tokio::test]
async fn uploads_are_renamed_as_recorded() {
    for year in [Year::Old, Year::New] {
        let fake = start(year).await;
        let upload = async |name: &str, file: &str| {
            let recording = recording(&format!("{}/{name}", year.folder()));
            let sent = recording.sent.as_str().unwrap().replace("<cut: the picture>", file);
            let boundary = "imgopen0boundary";
            let response = reqwest::Client::new()
                .post(format!("{}/upload/image", fake.url))
                .header("content-type", format!("multipart/form-data; boundary={boundary}"))
                .body(format!("{sent}\r\n--{boundary}--\r\n"))
                .send();
            let response = response.await.unwrap();
            let status = response.status().as_u16();
            assert_eq!(status, recording.status, "{name} of {year:?}");
            if status == 200 {
                assert_eq!(response.json::<Value>().await.unwrap(), recording.answer, "{name} of {year:?}");
            }
        };
        upload("upload_image", "one").await;
        upload("upload_image_same", "one").await;
        upload("upload_image_other_content", "two").await;
        upload("upload_image_overwrite", "three").await;
        upload("upload_image_outside", "one").await;
        upload("upload_image_no_file", "").await;
    }
}
