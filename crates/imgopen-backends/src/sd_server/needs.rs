//! What a server lacks for an operation, in words that say what to load or to configure.

use imgopen_types::Operation;

use super::served::Served;
use crate::report::{UNANSWERED, WITHHELD};
use crate::settings::BackendSettings;

const CONTROLNET: &str = "controlnet";
const FLUX: &str = "flux_text_to_image";

/// Returns whether an operation may be asked of a model.
pub(super) fn serves(served: &Served, operation: &Operation) -> bool {
    match operation.id {
        FLUX => served.flux.is_some(),
        CONTROLNET => served.flux.is_none() && served.has_control_net(),
        _ => served.flux.is_none(),
    }
}

/// Returns what an operation lacks, if anything.
pub(super) fn missing(
    operation: &Operation,
    settings: &BackendSettings,
    served: &[Served],
    is_known: bool,
) -> Option<String> {
    if !settings.has_operation(operation.id) {
        return Some(WITHHELD.to_owned());
    }
    if let Some(missing) = setting(operation, settings) {
        return Some(missing.to_owned());
    }
    if !is_known {
        return Some(UNANSWERED.to_owned());
    }
    if served.iter().any(|served| serves(served, operation)) {
        return None;
    }
    let missing = match (operation.id, settings.program.is_some()) {
        (FLUX, true) => "a model of FLUX.1; name one in `models`, with `flux`",
        (FLUX, false) => "the file that `flux_dev` or `flux_schnell` names; start it with that",
        (CONTROLNET, true) => "a ControlNet; name one in `models`, as `control-net`",
        _ => "a model of Stable Diffusion; start it with one",
    };
    Some(missing.to_owned())
}

/// Returns whether the operator wants an operation to be served.
pub(super) fn is_chosen(operation: &Operation, settings: &BackendSettings) -> bool {
    settings.has_operation(operation.id) && setting(operation, settings).is_none()
}

/// Returns the setting that an operation needs of an address and that is not there. Every server says that it takes control
/// pictures, and ignores them unless a ControlNet is loaded.
pub(super) fn setting(operation: &Operation, settings: &BackendSettings) -> Option<&'static str> {
    if settings.program.is_some() {
        return None;
    }
    match operation.id {
        CONTROLNET if !settings.operations.iter().flatten().any(|id| id == CONTROLNET) => {
            Some("its name in `operations`, because a server does not say whether it has a ControlNet")
        }
        FLUX if settings.flux_dev.is_none() && settings.flux_schnell.is_none() => {
            Some("its file; name it in the setting `flux_dev` or `flux_schnell`")
        }
        _ => None,
    }
}
