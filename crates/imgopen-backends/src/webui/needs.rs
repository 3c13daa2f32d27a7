//! What a server lacks for an operation, in words that say what to install or to configure.

use imgopen_types::Operation;

use super::lists::Lists;
use crate::generation::FluxVariant;
use crate::report::{UNANSWERED, WITHHELD};
use crate::settings::BackendSettings;

/// Returns what an operation lacks, if anything. `lists` is `None` if the server has not answered yet.
pub(super) fn missing(operation: &Operation, settings: &BackendSettings, lists: Option<&Lists>) -> Option<String> {
    if !settings.has_operation(operation.id) {
        return Some(WITHHELD.to_owned());
    }
    if let Some(missing) = setting(operation, settings) {
        return Some(missing.to_owned());
    }
    let Some(lists) = lists else { return Some(UNANSWERED.to_owned()) };
    match operation.id {
        "flux_text_to_image" => flux(settings, lists),
        "super_resolution" => unlisted(settings.upscaler.iter(), &lists.upscalers, "upscaler"),
        "restore_face" => unlisted(settings.face_restorer.iter(), &lists.face_restorers, "face restorer"),
        "describe_image" => None,
        "preview_controlnet" => lists.control.is_none().then(|| CONTROLNET.to_owned()),
        _ if lists.checkpoints.is_empty() => {
            Some("a model; put one into the server's `models/Stable-diffusion`".to_owned())
        }
        "controlnet" => match &lists.control {
            None => Some(CONTROLNET.to_owned()),
            Some(control) if control.models.is_empty() => {
                Some("a ControlNet model; put one into the server's `models/ControlNet`".to_owned())
            }
            Some(_) => None,
        },
        _ => None,
    }
}

const CONTROLNET: &str = "the extension sd-webui-controlnet; install it in the server";

/// Returns whether the operator wants an operation to be served.
pub(super) fn is_chosen(operation: &Operation, settings: &BackendSettings) -> bool {
    settings.has_operation(operation.id) && setting(operation, settings).is_none()
}

/// Returns the setting that an operation needs and that is not there.
pub(super) fn setting(operation: &Operation, settings: &BackendSettings) -> Option<&'static str> {
    let (is_there, missing) = match operation.id {
        "flux_text_to_image" => (
            settings.flux_dev.is_some() || settings.flux_schnell.is_some(),
            "its files; name them in the settings `flux_dev` and `flux_schnell`",
        ),
        "super_resolution" => (settings.upscaler.is_some(), "an upscaler; name one in the setting `upscaler`"),
        "restore_face" => {
            (settings.face_restorer.is_some(), "a face restorer; name one in the setting `face_restorer`")
        }
        "describe_image" => (!settings.interrogators.is_empty(), "a model; name some in the setting `interrogators`"),
        "preview_controlnet" => (settings.preprocessors, "the setting `preprocessors`"),
        _ => return None,
    };
    (!is_there).then_some(missing)
}

fn unlisted<'a>(mut names: impl Iterator<Item = &'a String>, listed: &[String], what: &str) -> Option<String> {
    let name = names.find(|name| !listed.contains(name))?;
    Some(format!("the {what} \"{name}\", which the settings name and the server does not list"))
}

fn flux(settings: &BackendSettings, lists: &Lists) -> Option<String> {
    if !lists.is_forge {
        return Some("Forge; A1111 cannot load FLUX.1".to_owned());
    }
    let variants = [FluxVariant::Dev, FluxVariant::Schnell];
    let files = variants.into_iter().filter_map(|variant| settings.flux_files(variant));
    let mut absent = files.flat_map(|files| {
        let checkpoint = lists.checkpoint(&files.checkpoint).is_none().then_some(&files.checkpoint);
        checkpoint.into_iter().chain(files.modules.iter().filter(|module| lists.vae(module).is_none()))
    });
    absent.next().map(|name| format!("the file \"{name}\", which the settings name and the server does not list"))
}
