//! What is wrong with a setting.

/// A setting that is invalid, or contradicts another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}`: {problem}")]
pub struct InvalidSetting {
    /// The setting as it is written in the file, such as `queue.length`.
    pub setting: String,
    /// What is wrong and how to fix it.
    pub problem: String,
}
