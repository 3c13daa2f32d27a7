//! The audit of results: what a picture shows that an operator may not want to give out.

use crate::error::EngineError;
use crate::monitor::Monitor;
use crate::picture::{Picture, PictureLimits};

/// Finds out what the pictures of results show, such as nudity. A service that audits its results asks the one of its
/// [`Registry`](crate::Registry) about every picture, before it is given out.
pub trait Auditor: Send + Sync + 'static {
    /// Finds out whether pictures can be audited now. Cheap: it is called for every run.
    ///
    /// # Errors
    ///
    /// Says what is missing, and how to get it.
    fn ready(&self) -> Result<(), String>;

    /// Returns how many bytes the audit of a picture takes beside its file and its pixels, such as for the weights of a network.
    fn memory(&self) -> u64 {
        0
    }

    /// Returns what a picture may show, each with how likely it does, whatever is too little to matter included. Blocks. Soon
    /// after `monitor` is cancelled, it ends with [`EngineError::Cancelled`], but for what cannot be stopped.
    ///
    /// # Errors
    ///
    /// [`EngineError::Unavailable`] if no picture can be audited now. Any other error says why this one cannot be, such as that
    /// it cannot be read.
    fn audit(
        &self,
        picture: &Picture,
        limits: &PictureLimits,
        monitor: &Monitor,
    ) -> Result<Vec<AuditLabel>, EngineError>;
}

/// Something that a picture may show.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditLabel {
    /// The name, such as `nsfw`.
    pub name: String,
    /// How likely the picture shows it, from 0 to 1.
    pub confidence: f64,
}
