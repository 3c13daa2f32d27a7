//! What goes into an engine and what comes out.

use bytes::Bytes;
use imgopen_types::{Face, Operation, StyleLabel};
use serde_json::Value;

use crate::{EngineError, Picture, PictureLimits};

/// One piece of work.
#[derive(Debug, Clone)]
pub struct Job {
    /// The platform's id of the task.
    pub task_id: String,
    /// What to do.
    pub operation: &'static Operation,
    /// The request as it is written canonically.
    pub request: Value,
    /// The input pictures, if the engine wants them.
    pub inputs: Vec<Input>,
    /// The value of the header `x-sandbox`, if it was sent.
    pub directives: Option<String>,
    /// The limits on every picture that comes in or goes out.
    pub limits: PictureLimits,
}

/// An input picture, fetched but not looked at.
#[derive(Debug, Clone)]
pub struct Input {
    /// The request's field that names it, such as `sourceImage` or `alwayson_scripts.image_link`.
    pub field: String,
    /// Its address.
    pub url: String,
    /// The file.
    pub bytes: Bytes,
}

impl Job {
    /// The input picture that a field names.
    ///
    /// # Errors
    ///
    /// [`EngineError::Failed`] when it was not fetched, which the caller of the engine has to do.
    pub fn input(&self, field: &str) -> Result<&Input, EngineError> {
        let missing = || EngineError::Failed(format!("the picture of `{field}` was not fetched"));
        self.inputs.iter().find(|input| input.field == field).ok_or_else(missing)
    }
}

/// What a job made. Each operation fills its own part.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Output {
    /// The pictures, in order.
    pub pictures: Vec<Picture>,
    /// Text about the picture, for `describe_image`.
    pub caption: Option<String>,
    /// Expanded prompts, for `expand_prompt`.
    pub prompts: Vec<String>,
    /// Styles, for `recognize_style`.
    pub style_labels: Vec<StyleLabel>,
    /// Faces from left to right, for `detect_faces`.
    pub faces: Vec<Face>,
}
