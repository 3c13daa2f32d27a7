//! Runs the job of any operation: submits it with the typed client, waits for it, and queries it by both ids.

use std::time::Duration;

use imgopen_client::types::*;
use imgopen_client::{Client, Error, Job};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::common::PATIENCE;
use crate::common::rows::{task, text};

/// An ended job.
#[derive(Debug)]
pub struct Ended {
    pub operation: &'static str,
    /// The caller id in its request.
    pub caller_id: String,
    /// The service's id.
    pub platform_id: String,
    /// The last answer to its query.
    pub report: Value,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// Its row in the list of tasks.
    pub row: Value,
}

macro_rules! jobs {
    ($($operation:ident($request:ident);)*) => {
        /// Runs the job of an operation to its end.
        pub async fn run(client: &Client, operation: &str, request: Value) -> Ended {
            match operation {
                $(stringify!($operation) => finish::<$request>(client, request).await,)*
                other => panic!("{other} does not start a job"),
            }
        }
    };
}

imgopen_tests::each_job!(jobs);

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

/// Returns the caller id in a request.
fn caller_id(request: &Value) -> String {
    let places = ["/businessTaskId", "/taskId", "/alwayson_scripts/id_task"];
    places.iter().find_map(|place| request.pointer(place)?.as_str()).unwrap().to_owned()
}

/// Removes the id from a report, because generation jobs echo the id of the query; the rest must be the same.
fn without_id(report: &Value) -> Value {
    let mut report = report.clone();
    report.as_object_mut().unwrap().remove("id_task");
    report
}

/// Checks that the answer to a submit contains the service's id, except a training's, which has no data.
fn check_accepted(accepted: &Value, platform_id: &str) {
    assert_eq!((&accepted["code"], &accepted["msg"]), (&json!("200"), &json!("success")));
    let data = &accepted["data"];
    let id = data["task_id"].as_str().or(data["taskId"].as_str());
    assert!(id == Some(platform_id) || data.is_null(), "{accepted}");
    // The job has not ended, so there is no result.
    assert_eq!((data.get("outputImageUrl"), data.get("caption")), (None, None), "{accepted}");
}

impl Ended {
    /// Checks that a pushed body agrees with the query.
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
        let results = result.iter().filter(|name| data.get(**name).is_some()).count();
        assert_eq!(results, usize::from(self.failure.is_none()), "{body}");
    }
}
