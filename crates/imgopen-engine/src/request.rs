//! The request of a job, and what travels with it.

use imgopen_types::{Operation, Request, read};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::EngineError;
use crate::preprocessing::Preprocessing;

/// The request that a task was submitted with. An engine checks it before the task is accepted, and gets it again within
/// each [`Job`](crate::Job).
#[derive(Debug, Clone, PartialEq)]
pub struct JobRequest {
    task_id: String,
    operation: &'static Operation,
    body: Value,
    options: TaskOptions,
    key: String,
    preprocessing: Option<Preprocessing>,
}

/// What travels with a task beside its request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOptions {
    /// Directives for the sandbox, such as `delay=2s`, from the header `x-sandbox`. No other engine reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
}

impl JobRequest {
    /// Creates the request of a task. `body` is canonical, as [`read_value`](imgopen_types::read_value) and the
    /// `Serialize` of typed requests write it.
    pub fn new(task_id: impl Into<String>, operation: &'static Operation, body: Value) -> Self {
        let (options, key) = (TaskOptions::default(), String::new());
        Self { task_id: task_id.into(), operation, body, options, key, preprocessing: None }
    }

    /// Sets the id of the access key that submitted the task.
    pub fn with_key(self, key: impl Into<String>) -> Self {
        Self { key: key.into(), ..self }
    }

    /// Returns the id of the access key that submitted the task; empty if the caller of the engine has none.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Sets how a control picture is made, for a request of `preview_controlnet` that an engine makes for a job of its own.
    pub fn with_preprocessing(self, preprocessing: Preprocessing) -> Self {
        Self { preprocessing: Some(preprocessing), ..self }
    }

    /// Returns how a control picture is made for the job of another engine; `None` for requests of callers.
    pub fn preprocessing(&self) -> Option<Preprocessing> {
        self.preprocessing
    }

    /// Sets the options.
    pub fn with_options(self, options: TaskOptions) -> Self {
        Self { options, ..self }
    }

    /// Returns the id of the task, which is also the id that the platform answers with.
    pub fn task_id(&self) -> &str {
        &self.task_id
    }

    /// Returns the operation.
    pub fn operation(&self) -> &'static Operation {
        self.operation
    }

    /// Returns the options.
    pub fn options(&self) -> &TaskOptions {
        &self.options
    }

    /// Returns the request as the type of its operation.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] if the body breaks the contract, which a task of an earlier version may do.
    /// [`EngineError::Failed`] if `T` belongs to another operation.
    ///
    /// ```
    /// use imgopen_engine::JobRequest;
    /// use imgopen_types::{EnlargeImageRequest, operations::ENLARGE_IMAGE};
    /// use serde_json::json;
    ///
    /// let body = json!({"businessTaskId": "1", "sourceImage": "https://example.com/a.png", "scale": 9});
    /// let error = JobRequest::new("1", &ENLARGE_IMAGE, body).typed::<EnlargeImageRequest>().unwrap_err();
    /// assert_eq!(error.to_string(), "`scale`: 9 given, a number from 1 to 8 expected");
    /// ```
    pub fn typed<T: Request>(&self) -> Result<T, EngineError> {
        if *self.operation != *T::operation() {
            let (own, other) = (self.operation.id, T::operation().id);
            return Err(EngineError::Failed(format!("a request of `{own}` was read as one of `{other}`")));
        }
        let text = self.body.to_string();
        read(text.as_bytes()).map_err(|error| match error {
            imgopen_types::ReadError::Violations(violations) => violations.into(),
            syntax => EngineError::Failed(syntax.to_string()),
        })
    }

    /// Reads the request into any serde type, for engines that serve operations they have no types for. Every field of
    /// `T` must be optional.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] if a field has another type than in `T`.
    pub fn view<T: DeserializeOwned>(&self) -> Result<T, EngineError> {
        T::deserialize(&self.body).map_err(|error| EngineError::Rejected { field: None, problem: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use imgopen_types::operations::ENLARGE_IMAGE;
    use imgopen_types::{EnlargeImageRequest, OutpaintRequest};
    use serde_json::json;

    use super::*;

    fn enlarge(body: Value) -> JobRequest {
        JobRequest::new("task", &ENLARGE_IMAGE, body)
    }

    #[test]
    fn a_request_is_read_as_the_type_of_its_operation() {
        let body = json!({"businessTaskId": "1", "sourceImage": "https://example.com/a.png", "scale": 2.5});
        let request: EnlargeImageRequest = enlarge(body.clone()).typed().unwrap();
        assert_eq!((request.scale, request.business_task_id.as_str()), (2.5, "1"));
        assert_eq!(serde_json::to_value(&request).unwrap(), body);
    }

    #[test]
    fn the_type_of_another_operation_is_a_failure_of_the_engine() {
        let error = enlarge(json!({})).typed::<OutpaintRequest>().unwrap_err();
        assert_eq!(error, EngineError::Failed("a request of `enlarge_image` was read as one of `outpaint`".to_owned()));
    }

    #[test]
    fn what_breaks_the_contract_is_rejected_by_field() {
        let error = enlarge(json!({"businessTaskId": "1", "sourceImage": "https://a.example", "scale": 9}));
        let error = error.typed::<EnlargeImageRequest>().unwrap_err();
        assert_eq!(error, EngineError::rejected("scale", "9 given, a number from 1 to 8 expected"));
        let error = enlarge(json!({"scale": 9})).typed::<EnlargeImageRequest>().unwrap_err();
        assert!(matches!(&error, EngineError::Rejected { field: None, .. }), "{error}");
        assert!(error.to_string().starts_with("`businessTaskId`: missing"), "{error}");
    }

    #[test]
    fn a_view_names_fields_of_any_operation() {
        #[derive(Deserialize)]
        struct View {
            scale: Option<f64>,
            prompt: Option<String>,
        }
        let view: View = enlarge(json!({"scale": 3, "other": [1]})).view().unwrap();
        assert_eq!((view.scale, view.prompt), (Some(3.0), None));
        assert!(matches!(enlarge(json!({"scale": "a"})).view::<View>(), Err(EngineError::Rejected { .. })));
    }

    #[test]
    fn options_are_written_without_what_is_not_set() {
        let options = TaskOptions { sandbox: Some("delay=2s".to_owned()) };
        let json = serde_json::to_string(&options).unwrap();
        assert_eq!(json, r#"{"sandbox":"delay=2s"}"#);
        assert_eq!(serde_json::from_str::<TaskOptions>(&json).unwrap(), options);
        assert_eq!(serde_json::to_string(&TaskOptions::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<TaskOptions>(r#"{"later": 1}"#).unwrap(), TaskOptions::default());
    }
}
