//! What goes into an engine and what comes out.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use imgopen_types::{Face, Operation, Request, StyleLabel};
use serde_json::Value;

use crate::error::EngineError;
use crate::picture::{Picture, PictureLimits};
use crate::request::{JobRequest, TaskOptions};

/// One run of a task, as its engine gets it.
#[derive(Debug, Clone)]
pub struct Job {
    request: JobRequest,
    run_id: String,
    inputs: Vec<Input>,
    limits: PictureLimits,
    plan: Option<Value>,
    fetcher: Option<Arc<dyn FetchInput>>,
    notes: Vec<String>,
}

/// An input picture: fetched, but not decoded or checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The field that names it by its path on the wire, such as `sourceImage` or `fileUrlList[3]`.
    pub field: String,
    /// Its address as it may be shown, without a query that may be secret.
    pub url: String,
    /// The file.
    pub bytes: Bytes,
}

/// Fetches the pictures that a request names, for engines whose offers say [`Inputs::OnDemand`](crate::Inputs::OnDemand).
pub trait FetchInput: fmt::Debug + Send + Sync {
    /// Fetches the picture that a field names, such as `fileUrlList[3]`.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] names the field if it names no picture or the picture cannot be fetched.
    fn fetch<'a>(&'a self, field: &'a str) -> BoxFuture<'a, Result<Input, EngineError>>;
}

impl Job {
    /// Creates a job without inputs, with the default limits. `run_id` identifies this run among those of the task.
    pub fn new(request: JobRequest, run_id: impl Into<String>) -> Self {
        let limits = PictureLimits::default();
        let (inputs, notes) = (Vec::new(), Vec::new());
        Self { request, run_id: run_id.into(), inputs, limits, plan: None, fetcher: None, notes }
    }

    /// Sets the fetched input pictures.
    pub fn with_inputs(self, inputs: Vec<Input>) -> Self {
        Self { inputs, ..self }
    }

    /// Sets the limits on every picture that comes in or goes out.
    pub fn with_limits(self, limits: PictureLimits) -> Self {
        Self { limits, ..self }
    }

    /// Sets the plan that [`Engine::plan`](crate::Engine::plan) returned for the task.
    pub fn with_plan(self, plan: Option<Value>) -> Self {
        Self { plan, ..self }
    }

    /// Sets what [`fetch`](Job::fetch) uses.
    pub fn with_fetcher(self, fetcher: Arc<dyn FetchInput>) -> Self {
        Self { fetcher: Some(fetcher), ..self }
    }

    /// Sets what an engine has noted while it prepared the job, which the result is to say.
    pub fn with_notes(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }

    /// Returns the id of the task.
    pub fn task_id(&self) -> &str {
        self.request.task_id()
    }

    /// Returns the id of this run. A task that is run again gets another.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Returns the operation to carry out.
    pub fn operation(&self) -> &'static Operation {
        self.request.operation()
    }

    /// Returns what travels with the task beside its request.
    pub fn options(&self) -> &TaskOptions {
        self.request.options()
    }

    /// Returns the request with what came along with it, as [`Engine::check`](crate::Engine::check) saw it.
    pub fn checked_request(&self) -> &JobRequest {
        &self.request
    }

    /// Returns the limits on every picture that comes in or goes out.
    pub fn limits(&self) -> &PictureLimits {
        &self.limits
    }

    /// Returns the plan that [`Engine::plan`](crate::Engine::plan) returned; a task of an earlier version has none.
    pub fn plan(&self) -> Option<&Value> {
        self.plan.as_ref()
    }

    /// Returns what an engine has noted while it prepared the job.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the request as the type of its operation.
    ///
    /// # Errors
    ///
    /// See [`JobRequest::typed`].
    ///
    /// ```
    /// use imgopen_engine::{Job, JobRequest};
    /// use imgopen_types::{EnlargeImageRequest, operations::ENLARGE_IMAGE};
    /// use serde_json::json;
    ///
    /// let body = json!({"businessTaskId": "1", "sourceImage": "https://example.com/a.png", "scale": 2});
    /// let job = Job::new(JobRequest::new("1", &ENLARGE_IMAGE, body), "run");
    /// assert_eq!(job.request::<EnlargeImageRequest>()?.scale, 2.0);
    /// # Ok::<(), imgopen_engine::EngineError>(())
    /// ```
    pub fn request<T: Request>(&self) -> Result<T, EngineError> {
        self.request.typed()
    }

    /// Returns the fetched pictures.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Returns the fetched picture that a field names.
    ///
    /// # Errors
    ///
    /// [`EngineError::Failed`] if it was not fetched; [`Inputs::Fetched`](crate::Inputs::Fetched) guarantees that it
    /// is.
    pub fn input(&self, field: &str) -> Result<&Input, EngineError> {
        let missing = || EngineError::Failed(format!("the picture of `{field}` was not fetched"));
        self.inputs.iter().find(|input| input.field == field).ok_or_else(missing)
    }

    /// Fetches the picture that a field names, such as `fileUrlList[3]`.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] if the field names no picture or it cannot be fetched. [`EngineError::Failed`] if the job
    /// has no fetcher; [`Inputs::OnDemand`](crate::Inputs::OnDemand) guarantees that it has one.
    pub async fn fetch(&self, field: &str) -> Result<Input, EngineError> {
        match &self.fetcher {
            Some(fetcher) => fetcher.fetch(field).await,
            None => Err(EngineError::Failed(format!("the picture of `{field}` cannot be fetched by this job"))),
        }
    }
}

/// What a job made. Each operation fills its part.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Output {
    /// The pictures, in order.
    pub pictures: Vec<Picture>,
    /// The text about a picture, for `describe_image`.
    pub caption: Option<String>,
    /// The expanded prompts, for `expand_prompt`.
    pub prompts: Vec<String>,
    /// The styles, for `recognize_style`.
    pub style_labels: Vec<StyleLabel>,
    /// The faces from left to right, for `detect_faces`.
    pub faces: Vec<Face>,
    /// What differs from the request, or could not be verified, in sentences for the caller, such as "`module`: `canny` was
    /// made by the preprocessor `canny_v2` of the back end".
    pub notes: Vec<String>,
    /// The files beside pictures, for `submit_training`.
    pub files: Vec<OutputFile>,
}

/// A file of a result that is not a picture, such as a trained LoRA. It is on this machine, because it may be large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// The name for those who download it, such as `my-style.safetensors`.
    pub name: String,
    /// Where it is. What takes the output copies it and leaves it there.
    pub path: PathBuf,
}

#[cfg(test)]
mod tests {
    use imgopen_types::operations::SUBMIT_TRAINING;
    use serde_json::json;

    use super::*;

    #[derive(Debug)]
    struct Fetcher;

    impl FetchInput for Fetcher {
        fn fetch<'a>(&'a self, field: &'a str) -> BoxFuture<'a, Result<Input, EngineError>> {
            Box::pin(async move {
                match field {
                    "fileUrlList[0]" => Ok(Input { field: field.to_owned(), url: String::new(), bytes: Bytes::new() }),
                    _ => Err(EngineError::rejected(field, "not a picture of this request")),
                }
            })
        }
    }

    #[tokio::test]
    async fn pictures_are_fetched_on_demand_by_field() {
        let job = Job::new(JobRequest::new("task", &SUBMIT_TRAINING, json!({})), "run");
        assert!(matches!(job.fetch("fileUrlList[0]").await, Err(EngineError::Failed(_))));
        let job = job.with_fetcher(Arc::new(Fetcher));
        assert_eq!(job.fetch("fileUrlList[0]").await.unwrap().field, "fileUrlList[0]");
        let error = job.fetch("fileUrlList[1]").await.unwrap_err();
        assert_eq!(error.to_string(), "`fileUrlList[1]`: not a picture of this request");
    }

    #[test]
    fn an_input_that_was_not_fetched_is_a_failure_of_the_engine() {
        let job = Job::new(JobRequest::new("task", &SUBMIT_TRAINING, json!({})), "run");
        assert!(matches!(job.input("image"), Err(EngineError::Failed(_))));
    }
}
