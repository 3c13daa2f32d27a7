//! Runs the job of any operation: submits it by the typed client, waits by its query, asks by both ids.

use std::time::Duration;

use imgopen_client::types::*;
use imgopen_client::{Client, Error, Job};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::common::PATIENCE;
use crate::common::rows::{task, text};

/// A job that has ended.
#[derive(Debug)]
pub struct Ended {
    pub operation: &'static str,
    /// The id in its request.
    pub caller_id: String,
    /// The id that the service gave it.
    pub platform_id: String,
    /// What its query tells in the end.
    pub report: Value,
    /// Why there is no result, if there is none.
    pub failure: Option<String>,
    /// It as the list of tasks has it.
    pub row: Value,
}

macro_rules! jobs {
    ($($operation:ident $request:ident;)*) => {
        /// Runs the job of an operation to its end.
        pub async fn run(client: &Client, operation: &str, request: Value) -> Ended {
            match operation {
                $(stringify!($operation) => finish::<$request>(client, request).await,)*
                other => panic!("{other} starts no job that is known here"),
            }
        }
    };
}

jobs! {
    text_to_image TextToImageRequest;
    image_to_image ImageToImageRequest;
    controlnet ControlnetRequest;
    submit_training SubmitTrainingRequest;
    flux_text_to_image FluxTextToImageRequest;
    swap_face SwapFaceRequest;
    swap_face_v2 SwapFaceV2Request;
    instant_id InstantIdRequest;
    restore_face RestoreFaceRequest;
    super_resolution SuperResolutionRequest;
    describe_image DescribeImageRequest;
    swap_faces SwapFacesRequest;
    detect_faces DetectFacesRequest;
    change_hairstyle ChangeHairstyleRequest;
    remove_object RemoveObjectRequest;
    recognize_style RecognizeStyleRequest;
    outpaint OutpaintRequest;
    preview_controlnet PreviewControlnetRequest;
    remove_background RemoveBackgroundRequest;
    enlarge_image EnlargeImageRequest;
    watermark_image WatermarkImageRequest;
}

async fn finish<J>(client: &Client, request: Value) -> Ended
where
    J: Job<Response: Serialize, Report: Serialize> + DeserializeOwned,
{
    let caller_id = caller_id(&request);
    let request: J = serde_json::from_value(request).unwrap();
    let submitted = client.submit(&request).await.unwrap();
    let accepted = serde_json::to_value(submitted.response()).unwrap();
    let wait = client.wait(&submitted).first_pause(Duration::from_millis(50)).longest_pause(Duration::from_millis(200));
    let failure = match wait.deadline(PATIENCE).await {
        Ok(_) => None,
        Err(Error::JobEnded { desc, .. }) => Some(desc.unwrap()),
        Err(error) => panic!("{}: {error}", J::operation().id),
    };
    let row = task(client, &caller_id).await;
    let platform_id = text(&row, "taskId").to_owned();
    let by = async |id: &str| serde_json::to_value(J::query(client, id).await.unwrap()).unwrap();
    let (report, other) = (by(&caller_id).await, by(&platform_id).await);
    assert_eq!(without_id(&report), without_id(&other), "{}", J::operation().id);
    check_accepted(&accepted, &platform_id);
    Ended { operation: J::operation().id, caller_id, platform_id, report, failure, row }
}

/// The id that a request gives its job.
fn caller_id(request: &Value) -> String {
    let places = ["/businessTaskId", "/taskId", "/alwayson_scripts/id_task"];
    places.iter().find_map(|place| request.pointer(place)?.as_str()).unwrap().to_owned()
}

/// Generation jobs echo the id that they are asked for by; all else must be the same.
fn without_id(report: &Value) -> Value {
    let mut report = report.clone();
    report.as_object_mut().unwrap().remove("id_task");
    report
}

/// The answer to a submit tells the service's id, except a training's, which has no data.
fn check_accepted(accepted: &Value, platform_id: &str) {
    assert_eq!((&accepted["code"], &accepted["msg"]), (&json!("200"), &json!("success")));
    let data = &accepted["data"];
    let told = data["task_id"].as_str().or(data["taskId"].as_str());
    assert!(told == Some(platform_id) || data.is_null(), "{accepted}");
    // It is not done yet, so it tells no result.
    assert_eq!((data.get("outputImageUrl"), data.get("caption")), (None, None), "{accepted}");
}

impl Ended {
    /// What was pushed says the same as the query.
    pub fn check_push(&self, body: &Value) {
        let data = &body["data"];
        assert_eq!(body["code"], "200", "{body}");
        let id = data["taskId"].as_str().or(data["task_id"].as_str()).unwrap();
        assert!(id == self.platform_id || (self.operation == "submit_training" && id == self.caller_id), "{body}");
        for name in ["status", "desc", "outputImageUrl", "outputImageUrlList", "caption", "styleLabels", "faces"] {
            if let Some(pushed) = data.get(name) {
                assert_eq!(pushed, &self.report[name], "`{name}` of {}", self.operation);
            }
        }
        let result = ["outputImageUrl", "caption", "styleLabels", "faces"];
        let told = result.iter().filter(|name| data.get(**name).is_some()).count();
        assert_eq!(told, usize::from(self.failure.is_none()), "{body}");
    }
}
