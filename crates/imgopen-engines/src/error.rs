//! How a job can end without a result.

/// Why a job has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// An input picture cannot be used.
    #[error("`{field}`: the picture at {url} {problem}")]
    Input {
        /// The request's field that names it, such as `sourceImage`.
        field: String,
        /// Its address.
        url: String,
        /// What is wrong with it, as the rest of a sentence, with the limit that it breaks.
        problem: String,
    },
    /// A field asks for more than the engine gives.
    #[error("`{field}`: {problem}")]
    Request {
        /// The field, such as `alwayson_scripts.output_image_format`.
        field: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// A directive for the sandbox cannot be read.
    #[error(transparent)]
    Directive(#[from] crate::sandbox::DirectiveError),
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// The engine failed, through no fault of the request.
    #[error("the engine failed: {0}")]
    Failed(String),
}

impl EngineError {
    pub(crate) fn request(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Request { field: field.into(), problem: problem.into() }
    }
}
