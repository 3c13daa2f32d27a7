//! What a training asks the trainer to do: the folder and the command line for sd-scripts of kohya-ss, worked out of the
//! request and of what is known of its base model.
//!
//! The names of flags are those of `train_network.py` and `sdxl_train_network.py`. Every word with a value is written as
//! `--flag=value`, so that no text of a caller is taken for a flag. Paths are relative to the folder of the training; the
//! script's own is left to whoever runs it.

use std::path::PathBuf;

use imgopen_store::TaskId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::base::{Base, Family};
use super::order::Order;
use super::{DATASETS, rules};

/// The pictures, in a folder that tells how often each is shown.
pub(super) const IMAGES: &str = "img";
/// The base model.
pub(super) const BASE: &str = "base";
/// What is trained.
pub(super) const OUTPUT: &str = "output";
/// How the training goes.
pub(super) const LOGS: &str = "logs";

/// The most characters of a caller's id in names of files.
const LONGEST_NAME: usize = 40;

/// A training as a trainer takes it over. It is worked out when the training is submitted, and kept with the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingPlan {
    /// The folder within the data folder, with `/` between its parts. It is there once the data set is fetched.
    pub folder: String,
    /// The words of the command line, to be run in the folder. The first that ends in `.py` is the trainer's script,
    /// without its folder.
    pub command: Vec<String>,
    /// The file of the base model, to which a link in the folder leads; none if the models folder does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<PathBuf>,
}

/// Fields with a value, with the trainer's flags.
const VALUES: &[(&str, &str)] = &[
    ("maxEpochs", "max_train_epochs"),
    ("batchSize", "train_batch_size"),
    ("gradientAccumulationSteps", "gradient_accumulation_steps"),
    ("seed", "seed"),
    ("resolution", "resolution"),
    ("minBucketReso", "min_bucket_reso"),
    ("maxBucketReso", "max_bucket_reso"),
    ("maxTokenLength", "max_token_length"),
    ("clipSkip", "clip_skip"),
    ("noiseOffset", "noise_offset"),
    ("learningRate", "learning_rate"),
    ("unetLr", "unet_lr"),
    ("textEncoderLr", "text_encoder_lr"),
    ("lrScheduler", "lr_scheduler"),
    ("lrWarmupSteps", "lr_warmup_steps"),
    ("optimizerType", "optimizer_type"),
    ("mixedPrecision", "mixed_precision"),
    ("savePrecision", "save_precision"),
    ("networkModule", "network_module"),
    ("networkDim", "network_dim"),
    ("networkAlpha", "network_alpha"),
    ("networkDropout", "network_dropout"),
];

/// Fields that are on or off, with the trainer's flags.
const SWITCHES: &[(&str, &str)] = &[
    ("v2", "v2"),
    ("enableBucket", "enable_bucket"),
    ("cacheLatents", "cache_latents"),
    ("cacheLatentsToDisk", "cache_latents_to_disk"),
    ("randomCrop", "random_crop"),
    ("flipAug", "flip_aug"),
    ("colorAug", "color_aug"),
];

/// Fields that are arguments of the network, with their names.
const ARGUMENTS: &[(&str, &str)] = &[("rankDropout", "rank_dropout"), ("moduleDropout", "module_dropout")];

/// Works out the plan of a training.
///
/// # Errors
///
/// Names the fields that the trainer would break off on.
pub(super) fn plan(task: &TaskId, request: &Value, base: &Base) -> Result<TrainingPlan, String> {
    let order = Order(request);
    rules::check(&order, base)?;
    let folder = format!("{DATASETS}/{task}");
    Ok(TrainingPlan { folder, command: command(&order, base), base_model: base.file.clone() })
}

/// The folder of the pictures within that of the training. What stands before `_` is how often each is shown, what stands
/// behind it is the caption of pictures that have none.
pub(super) fn pictures(request: &Value) -> String {
    let order = Order(request);
    format!("{IMAGES}/{}_{}", order.text("repeats"), name(&order))
}

/// The size that pictures are trained in: where the caller does not say, the one that the base model was made for.
pub(super) fn resolution(order: &Order<'_>, base: &Base) -> i64 {
    order.whole("resolution").unwrap_or(if base.family == Family::Sdxl { 1024 } else { 512 })
}

fn command(order: &Order<'_>, base: &Base) -> Vec<String> {
    let mut words = vec!["accelerate".to_owned(), "launch".to_owned()];
    words.extend(order.word("numCpuThreadsPerProcess").map(|count| format!("--num_cpu_threads_per_process={count}")));
    words.push(if base.family == Family::Sdxl { "sdxl_train_network.py" } else { "train_network.py" }.to_owned());
    words.extend([
        format!("--pretrained_model_name_or_path={}", base_word(base)),
        format!("--train_data_dir={IMAGES}"),
        "--caption_extension=.txt".to_owned(),
        format!("--output_dir={OUTPUT}"),
        format!("--output_name={}", name(order)),
        format!("--logging_dir={LOGS}"),
    ]);
    words.extend(VALUES.iter().filter_map(|(field, flag)| Some(format!("--{flag}={}", value(order, base, field)?))));
    let on = |field: &str| if field == "enableBucket" { order.has_buckets() } else { order.is_on(field) };
    words.extend(SWITCHES.iter().filter(|(field, _)| on(field)).map(|(_, flag)| format!("--{flag}")));
    words.extend(network_arguments(order));
    words
}

/// How the command knows the base model: a link in the folder, or what the caller calls it.
fn base_word(base: &Base) -> String {
    let file = base.file.as_ref().and_then(|file| Some(file.file_name()?.to_string_lossy().into_owned()));
    file.map_or_else(|| base.name.clone(), |file| format!("{BASE}/{file}"))
}

/// The value of a flag, or `None` for the trainer's own.
fn value(order: &Order<'_>, base: &Base, field: &str) -> Option<String> {
    let size = resolution(order, base);
    let given = order.word(field);
    match field {
        // 75 tokens, for which the flag has no value.
        "maxTokenLength" => given.filter(|length| length != "0"),
        // The rules let 1 alone through, and there it means nothing.
        "clipSkip" if order.is_on("v2") || base.family == Family::Sdxl => None,
        "seed" => given.filter(|seed| seed != "-1"),
        "resolution" => Some(size.to_string()),
        "minBucketReso" => given.or_else(|| (order.has_buckets() && size < rules::BUCKETS.0).then(|| size.to_string())),
        "maxBucketReso" => given.or_else(|| (order.has_buckets() && size > rules::BUCKETS.1).then(|| size.to_string())),
        "networkModule" => given.or_else(|| Some("networks.lora".to_owned())),
        _ => given,
    }
}

fn network_arguments(order: &Order<'_>) -> Vec<String> {
    let mut words = vec!["--network_args".to_owned()];
    words.extend(order.text("networkArgs").split_whitespace().map(str::to_owned));
    words.extend(ARGUMENTS.iter().filter_map(|(field, name)| Some(format!("{name}={}", order.word(field)?))));
    if words.len() > 1 { words } else { Vec::new() }
}

/// The caller's id as it can stand in names of files: letters, digits, `-`, `_` and `.`.
fn name(order: &Order<'_>) -> String {
    let id = order.text("taskId");
    let safe = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let safe: String = id.chars().map(safe).take(LONGEST_NAME).collect();
    let name = safe.trim_matches(['_', '.', '-']);
    if name.is_empty() { "lora".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests;
