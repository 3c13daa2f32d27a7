//! What the fields of a training request mean to the trainer where the contract leaves it open.

use imgopen_types::SubmitTrainingRequest;

/// Whether pictures are sorted into buckets of like proportions. On by default, because without buckets the trainer
/// accepts pictures of one size only.
pub(crate) fn has_buckets(request: &SubmitTrainingRequest) -> bool {
    request.enable_bucket.unwrap_or(true)
}

/// Whether pictures are encoded once and kept.
pub(crate) fn caches_latents(request: &SubmitTrainingRequest) -> bool {
    is_on(request.cache_latents) || is_on(request.cache_latents_to_disk)
}

/// Whether a switch is on. Left out, it is off.
pub(crate) fn is_on(switch: Option<bool>) -> bool {
    switch == Some(true)
}

/// A number that the contract carries in a string.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}
