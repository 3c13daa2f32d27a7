//! How loading or running a net fails.

use imgopen_engine::EngineError;

/// Why a net cannot be used, or a run has no result.
///
/// Messages name a model file by its name without directories, so that they can be shown to callers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The model file cannot be read, is broken, is not supported by the runtime, or exceeds a limit. It has to be replaced.
    #[error("the model file \"{file}\" cannot be used: {problem}")]
    File {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The net was given what it does not take, or asked for what it does not return. The code that uses it does not fit it.
    #[error("the net in \"{file}\" does not fit its use: {problem}")]
    Use {
        /// The file's name.
        file: String,
        /// What does not fit.
        problem: String,
    },
    /// The runtime failed within a run.
    #[error("the net in \"{file}\" failed: {problem}")]
    Run {
        /// The file's name.
        file: String,
        /// What the runtime says.
        problem: String,
    },
    /// The process that loaded or ran the net was ended from outside, as by a system that is short of memory. That says little
    /// about the net.
    #[error("the net in \"{file}\" was interrupted: {problem}")]
    Killed {
        /// The file's name.
        file: String,
        /// How the process ended.
        problem: String,
    },
    /// A runtime cannot be used: its library is missing or does not fit, a provider is not there, or the process of a net has
    /// ended.
    #[error("{runtime} cannot be used: {problem}")]
    Runtime {
        /// The name of the runtime.
        runtime: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
}

/// A model file or a runtime that cannot be used makes the engine unavailable, because the operator can replace it. A run that was
/// ended from outside is an interruption, and everything else is a failure.
impl From<NetError> for EngineError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::File { .. } | NetError::Runtime { .. } => {
                EngineError::Unavailable { reason: error.to_string(), retry_after: None }
            }
            NetError::Killed { .. } => EngineError::Interrupted(error.to_string()),
            NetError::Use { .. } | NetError::Run { .. } => EngineError::Failed(error.to_string()),
        }
    }
}
