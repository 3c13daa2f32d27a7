//! Files of data sets, with errors that callers may see.

use std::path::Path;

use imgopen_engine::EngineError;

/// Creates a directory with its parents, unless it exists.
pub(crate) async fn create(directory: &Path) -> Result<(), EngineError> {
    tokio::fs::create_dir_all(directory).await.map_err(|error| failed(directory, &error))
}

/// Writes a file.
pub(crate) async fn write(file: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    tokio::fs::write(file, bytes).await.map_err(|error| failed(file, &error))
}

/// Removes a directory with everything in it. If it does not exist, does nothing.
pub(crate) async fn remove(directory: &Path) -> Result<(), EngineError> {
    match tokio::fs::remove_dir_all(directory).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(directory, &error)),
        _ => Ok(()),
    }
}

/// Returns an error with only the last part of the path, because callers see the message.
pub(crate) fn failed(path: &Path, error: &std::io::Error) -> EngineError {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if error.kind() == std::io::ErrorKind::NotFound {
        // Such as a base model that was removed since the submit.
        return EngineError::Failed(format!("`{name}` of the data set cannot be written: {error}"));
    }
    // A fault of the disk, not of the training.
    EngineError::Unavailable {
        reason: format!("`{name}` of the data set cannot be written: {error}"),
        retry_after: None,
    }
}
