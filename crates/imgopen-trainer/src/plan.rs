//! The training plan: the directory and the command line for sd-scripts of kohya-ss, worked out from the request and from
//! what is known of its base model.
//!
//! The flags are those of `train_network.py` and `sdxl_train_network.py`. Every word with a value is written as
//! `--flag=value`, so that no text of a caller can be taken for a flag. Paths are relative to the directory of the training;
//! the path of the script is added when it is run.

use std::fmt::Display;
use std::path::PathBuf;

use imgopen_types::SubmitTrainingRequest;
use serde::{Deserialize, Serialize};

use crate::base_model::{BaseModel, Family};
use crate::rules::{self, largest_bucket, resolution, smallest_bucket};
use crate::settings::{has_buckets, is_on};

/// The directory of the data sets, below the data directory.
pub(crate) const DATASETS: &str = "datasets";
/// The pictures, in a directory whose name says how many times each is shown.
pub(crate) const IMAGES: &str = "img";
/// The base model.
pub(crate) const BASE: &str = "base";
/// What is trained.
pub(crate) const OUTPUT: &str = "output";
/// The trainer's logs.
pub(crate) const LOGS: &str = "logs";

/// The most characters of a caller's id in names of files.
const MAX_NAME: usize = 40;

/// How a training is run. It is worked out when the training is submitted, and kept with the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingPlan {
    /// The directory below the data directory, with `/` between its parts. It exists once the data set is complete.
    pub folder: String,
    /// The words of the command line, to be run in the directory. The first that ends in `.py` is the trainer's script,
    /// without its directory.
    pub command: Vec<String>,
    /// The file of the base model, which a link in the directory points to; `None` if the models directory does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<PathBuf>,
    /// The name that the LoRA gets, without an extension; `None` if the training is only prepared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The value of a flag, or `None` to leave it to the trainer.
type Value = fn(&SubmitTrainingRequest, &BaseModel) -> Option<String>;

/// Whether a flag without a value is set.
type Switch = fn(&SubmitTrainingRequest) -> bool;

/// Flags with a value.
const VALUES: &[(&str, Value)] = &[
    ("max_train_epochs", |request, _| word(Some(request.max_epochs_or_default()))),
    ("train_batch_size", |request, _| word(Some(request.batch_size_or_default()))),
    ("gradient_accumulation_steps", |request, _| word(request.gradient_accumulation_steps)),
    ("seed", |request, _| word(request.seed.filter(|seed| *seed != -1))),
    ("resolution", |request, base| Some(resolution(request, base).to_string())),
    ("min_bucket_reso", |request, base| word(smallest_bucket(request, base))),
    ("max_bucket_reso", |request, base| word(largest_bucket(request, base))),
    // 0 means 75 tokens, for which the flag has no value.
    ("max_token_length", |request, _| word(Some(request.max_token_length_or_default()).filter(|length| *length != 0))),
    ("clip_skip", clip_skip),
    ("noise_offset", |request, _| word(request.noise_offset)),
    ("learning_rate", |request, _| Some(request.learning_rate_or_default().trim().to_owned())),
    ("unet_lr", |request, _| text(&request.unet_lr)),
    ("text_encoder_lr", |request, _| text(&request.text_encoder_lr)),
    ("lr_scheduler", |request, _| request.lr_scheduler.as_ref().map(|name| name.as_str().to_owned())),
    ("lr_warmup_steps", |request, _| word(request.lr_warmup_steps)),
    ("optimizer_type", |request, _| request.optimizer_type.as_ref().map(|name| name.as_str().to_owned())),
    ("mixed_precision", |request, _| request.mixed_precision.as_ref().map(|name| name.as_str().to_owned())),
    ("save_precision", |request, _| request.save_precision.as_ref().map(|name| name.as_str().to_owned())),
    ("network_module", |request, _| text(&request.network_module).or_else(|| Some("networks.lora".to_owned()))),
    ("network_dim", |request, _| word(request.network_dim)),
    ("network_alpha", |request, _| word(request.network_alpha)),
    ("network_dropout", |request, _| word(request.network_dropout)),
];

/// Flags without a value.
const SWITCHES: &[(&str, Switch)] = &[
    ("v2", |request| is_on(request.v2)),
    ("enable_bucket", has_buckets),
    ("cache_latents", |request| is_on(request.cache_latents)),
    ("cache_latents_to_disk", |request| is_on(request.cache_latents_to_disk)),
    ("random_crop", |request| is_on(request.random_crop)),
    ("flip_aug", |request| is_on(request.flip_aug)),
    ("color_aug", |request| is_on(request.color_aug)),
];

impl TrainingPlan {
    /// Works out the plan of a task.
    ///
    /// # Errors
    ///
    /// Names the fields that the trainer would reject, and why.
    pub(crate) fn new(task: &str, request: &SubmitTrainingRequest, base: &BaseModel) -> Result<Self, String> {
        rules::check(request, base)?;
        let folder = format!("{DATASETS}/{task}");
        Ok(Self { folder, command: command(request, base), base_model: base.file.clone(), name: None })
    }

    /// Returns the name that the trainer gives the LoRA, without an extension.
    pub(crate) fn output_name(&self) -> Option<&str> {
        self.command.iter().find_map(|word| word.strip_prefix("--output_name="))
    }
}

/// The directory of the pictures below that of the training. The number before `_` says how often each is shown; the rest
/// is the caption of pictures that have none.
pub(crate) fn pictures(request: &SubmitTrainingRequest) -> String {
    format!("{IMAGES}/{}_{}", request.repeats_or_default(), name(&request.task_id))
}

fn command(request: &SubmitTrainingRequest, base: &BaseModel) -> Vec<String> {
    let mut words = vec!["accelerate".to_owned(), "launch".to_owned()];
    let threads = request.num_cpu_threads_per_process;
    words.extend(threads.map(|count| format!("--num_cpu_threads_per_process={count}")));
    words.push(if base.family == Family::Sdxl { "sdxl_train_network.py" } else { "train_network.py" }.to_owned());
    words.extend([
        format!("--pretrained_model_name_or_path={}", base_path(base)),
        format!("--train_data_dir={IMAGES}"),
        "--caption_extension=.txt".to_owned(),
        format!("--output_dir={OUTPUT}"),
        format!("--output_name={}", name(&request.task_id)),
        format!("--logging_dir={LOGS}"),
    ]);
    words.extend(VALUES.iter().filter_map(|(flag, value)| Some(format!("--{flag}={}", value(request, base)?))));
    words.extend(SWITCHES.iter().filter(|(_, is_on)| is_on(request)).map(|(flag, _)| format!("--{flag}")));
    words.extend(network_arguments(request));
    words
}

/// How the command names the base model: a link in the directory, or the name in the request.
fn base_path(base: &BaseModel) -> String {
    let file = base.file.as_ref().and_then(|file| Some(file.file_name()?.to_string_lossy().into_owned()));
    file.map_or_else(|| base.name.clone(), |file| format!("{BASE}/{file}"))
}

/// Only models of SD 1 have it. For the others the rules let 1 through, where it means nothing.
fn clip_skip(request: &SubmitTrainingRequest, base: &BaseModel) -> Option<String> {
    let applies = !is_on(request.v2) && base.family != Family::Sdxl;
    word(Some(request.clip_skip_or_default()).filter(|_| applies))
}

fn network_arguments(request: &SubmitTrainingRequest) -> Vec<String> {
    let mut words = vec!["--network_args".to_owned()];
    words.extend(request.network_args.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned));
    words.extend(request.rank_dropout.map(|share| format!("rank_dropout={share}")));
    words.extend(request.module_dropout.map(|share| format!("module_dropout={share}")));
    if words.len() > 1 { words } else { Vec::new() }
}

/// The caller's id as a part of file names: letters, digits, `-`, `_` and `.`.
fn name(id: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let safe: String = id.trim().chars().map(safe).take(MAX_NAME).collect();
    let name = safe.trim_matches(['_', '.', '-']);
    if name.is_empty() { "lora".to_owned() } else { name.to_owned() }
}

fn word(value: Option<impl Display>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn text(value: &Option<String>) -> Option<String> {
    value.as_deref().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests;
