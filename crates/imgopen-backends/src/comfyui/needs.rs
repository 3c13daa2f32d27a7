//! What a server lacks for an operation, in words that say what to install or to configure.

use imgopen_types::Operation;

use super::lists::Lists;
use super::resolve::flux;
use super::template::Template;
use crate::generation::FluxVariant;
use crate::report::{UNANSWERED, WITHHELD};
use crate::settings::BackendSettings;

/// The nodes of every graph that is made here.
const ALL: &[&str] = &["CLIPTextEncode", "KSampler", "VAEDecode", "SaveImage"];
const CHECKPOINTS: &[&str] = &["CheckpointLoaderSimple", "EmptyLatentImage"];
const PICTURES: &[&str] = &["LoadImage", "LoadImageMask", "VAEEncode", "SetLatentNoiseMask"];

/// Returns what an operation lacks, if anything. `lists` is `None` if the server has not answered yet.
pub(super) fn missing(
    operation: &Operation,
    template: Option<&Template>,
    settings: &BackendSettings,
    lists: Option<&Lists>,
) -> Option<String> {
    if !settings.has_operation(operation.id) {
        return Some(WITHHELD.to_owned());
    }
    if let Some(missing) = setting(operation, template, settings) {
        return Some(missing.to_owned());
    }
    let Some(lists) = lists else { return Some(UNANSWERED.to_owned()) };
    if let Some(template) = template {
        return template.problem(lists);
    }
    let lacking = |classes: &[&str]| {
        lists
            .lacking(classes)
            .map(|class| format!("the node {class}, which this version does not have; update ComfyUI"))
    };
    let model = |class: &str, input: &str, what: &str, folder: &str| {
        let is_empty = lists.listed(class, input).is_empty();
        is_empty.then(|| format!("{what}; put one into the server's `models/{folder}`"))
    };
    let checkpoint = || model("CheckpointLoaderSimple", "ckpt_name", "a model", "checkpoints");
    lacking(ALL).or_else(|| match operation.id {
        "flux_text_to_image" => of_flux(settings, lists),
        "image_to_image" => lacking(CHECKPOINTS).or_else(|| lacking(PICTURES)).or_else(checkpoint),
        "controlnet" => {
            let net = || model("ControlNetLoader", "control_net_name", "a ControlNet model", "controlnet");
            lacking(CHECKPOINTS).or_else(|| lacking(PICTURES)).or_else(checkpoint).or_else(net)
        }
        _ => lacking(CHECKPOINTS).or_else(checkpoint),
    })
}

/// Returns whether the operator wants an operation to be served.
pub(super) fn is_chosen(operation: &Operation, template: Option<&Template>, settings: &BackendSettings) -> bool {
    settings.has_operation(operation.id) && setting(operation, template, settings).is_none()
}

/// Returns the setting that an operation needs and that is not there.
pub(super) fn setting(
    operation: &Operation,
    template: Option<&Template>,
    settings: &BackendSettings,
) -> Option<&'static str> {
    let is_there = settings.flux_dev.is_some() || settings.flux_schnell.is_some();
    let needs_files = operation.id == "flux_text_to_image" && template.is_none() && !is_there;
    needs_files
        .then_some("its files; name them in the settings `flux_dev` and `flux_schnell`, or a workflow in `workflows`")
}

fn of_flux(settings: &BackendSettings, lists: &Lists) -> Option<String> {
    if settings.flux_dev.is_some() && lists.class("FluxGuidance").is_none() {
        return Some("a newer ComfyUI, of August 2024 or later".to_owned());
    }
    let variants = [FluxVariant::Dev, FluxVariant::Schnell];
    let mut files = variants.into_iter().filter_map(|variant| settings.flux_files(variant));
    files.find_map(|files| flux(files, lists).err())
}
