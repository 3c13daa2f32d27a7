//! Work that blocks, such as on pictures.

use imgopen_engine::EngineError;
use tokio::task::spawn_blocking;

/// Runs work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    spawn_blocking(work).await.unwrap_or_else(|panic| Err(EngineError::Failed(panic.to_string())))
}
