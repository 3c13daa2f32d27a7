//! Checks a training at submit for what the trainer would reject: combinations of fields, and values that the contract
//! leaves open.

use std::ops::RangeInclusive;

use imgopen_types::{LrScheduler, OptimizerType, SubmitTrainingRequest};

use crate::base_model::{BaseModel, Family};
use crate::settings::{has_buckets, is_on, number};

/// The network modules of sd-scripts, and LyCORIS. The trainer imports the module of that name whatever it is, so no
/// other name is let through.
const MODULES: [&str; 5] = ["networks.lora", "networks.lora_fa", "networks.dylora", "networks.oft", "lycoris.kohya"];

/// The edge lengths that pictures can be trained at, in pixels.
const SIZES: RangeInclusive<i64> = 64..=4096;

/// The trainer's own bounds of buckets, in pixels.
const BUCKETS: RangeInclusive<i64> = 256..=1024;

/// The largest seed that the trainer takes.
const MAX_SEED: i64 = u32::MAX as i64;

/// The longest name of a base model, in characters.
const MAX_NAME: usize = 255;

/// How much of a rejected value is shown, in characters.
const SHOWN: usize = 100;

type Rule = fn(&SubmitTrainingRequest, &BaseModel) -> Option<String>;

const RULES: &[Rule] = &[
    base_name,
    base_family,
    clip_skip,
    cached,
    warm_up,
    adafactor,
    one_rate,
    buckets,
    sizes,
    counts,
    dropouts,
    rates,
    seed,
    scheduler,
    module,
    arguments,
];

/// Reports everything that the trainer would reject.
pub(crate) fn check(request: &SubmitTrainingRequest, base: &BaseModel) -> Result<(), String> {
    let problems: Vec<_> = RULES.iter().filter_map(|rule| rule(request, base)).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

/// The edge length to train at: where the caller does not say, the one that the base model was made for.
pub(crate) fn resolution(request: &SubmitTrainingRequest, base: &BaseModel) -> i64 {
    request.resolution.unwrap_or(if base.family == Family::Sdxl { 1024 } else { 512 })
}

/// The smallest edge of a bucket, where the trainer's own bound would exclude the resolution.
pub(crate) fn smallest_bucket(request: &SubmitTrainingRequest, base: &BaseModel) -> Option<i64> {
    let size = resolution(request, base);
    let widened = (has_buckets(request) && size < *BUCKETS.start()).then_some(size);
    request.min_bucket_reso.or(widened)
}

/// The largest edge of a bucket, where the trainer's own bound would exclude the resolution.
pub(crate) fn largest_bucket(request: &SubmitTrainingRequest, base: &BaseModel) -> Option<i64> {
    let size = resolution(request, base);
    let widened = (has_buckets(request) && size > *BUCKETS.end()).then_some(size);
    request.max_bucket_reso.or(widened)
}

fn base_name(_: &SubmitTrainingRequest, base: &BaseModel) -> Option<String> {
    let name = &base.name;
    let is_plain = !name.is_empty()
        && name.chars().count() <= MAX_NAME
        && !name.contains(|c: char| c.is_control() || c == ':')
        && !name.starts_with(['/', '\\', '~', '-'])
        && name.split(['/', '\\']).all(|part| part != "..");
    let shown = shortened(name);
    (!is_plain).then(|| {
        format!(
            "`pretrainedModel`: {shown:?} is not the name of a model; give one that `list_models` names, without a path"
        )
    })
}

fn base_family(request: &SubmitTrainingRequest, base: &BaseModel) -> Option<String> {
    let (name, v2) = (&base.name, is_on(request.v2));
    match &base.family {
        Family::Other(family) => {
            Some(format!("`pretrainedModel`: {name:?} is a model of {family}; give one of SD 1.5, SD 2 or SDXL"))
        }
        Family::Sdxl if v2 => Some(format!("`v2`, `pretrainedModel`: {name:?} is a model of SDXL; leave `v2` out")),
        Family::Sd2 if base.is_certain && !v2 => {
            Some(format!("`v2`, `pretrainedModel`: {name:?} is a model of SD 2; give `v2` as true"))
        }
        Family::Sd1 if base.is_certain && v2 => {
            Some(format!("`v2`, `pretrainedModel`: {name:?} is a model of SD 1.5; leave `v2` out"))
        }
        _ => None,
    }
}

fn clip_skip(request: &SubmitTrainingRequest, base: &BaseModel) -> Option<String> {
    let skip = Some(request.clip_skip_or_default()).filter(|skip| *skip > 1)?;
    let other = match base.family {
        _ if is_on(request.v2) => "v2",
        Family::Sdxl => "pretrainedModel",
        _ => return None,
    };
    Some(format!("`clipSkip`, `{other}`: {skip} given, which works with models of SD 1.5 only; leave `clipSkip` out"))
}

fn cached(request: &SubmitTrainingRequest, _: &BaseModel) -> Option<String> {
    let caches = [("cacheLatents", request.cache_latents), ("cacheLatentsToDisk", request.cache_latents_to_disk)];
    let variations = [("colorAug", request.color_aug), ("randomCrop", request.random_crop)];
    let first_on = |switches: [(&'static str, Option<bool>); 2]| {
        switches.into_iter().find(|(_, switch)| is_on(*switch)).map(|(field, _)| field)
    };
    let (cache, variation) = (first_on(caches)?, first_on(variations)?);
    Some(format!("`{cache}`, `{variation}`: both true, but cached pictures cannot be varied; leave one of them out"))
}

fn warm_up(request: &SubmitTrainingRequest, _: &BaseModel) -> Option<String> {
    let steps = request.lr_warmup_steps.filter(|steps| *steps > 0)?;
    if request.optimizer_type == Some(OptimizerType::AdaFactor) {
        return Some(format!("`lrWarmupSteps`, `optimizerType`: {steps} given, but AdaFactor has no warm-up; give 0"));
    }
    let scheduler = request.lr_scheduler.clone().unwrap_or(LrScheduler::Constant);
    matches!(scheduler, LrScheduler::Constant | LrScheduler::Adafactor).then(|| {
        format!(
            "`lrWarmupSteps`, `lrScheduler`: {steps} given, but \"{}\" has no warm-up; give 0, or another scheduler such \
             as \"constant_with_warmup\"",
            scheduler.as_str()
        )
    })
}

fn adafactor(request: &SubmitTrainingRequest, _: &BaseModel) -> Option<String> {
    let optimizer = request.optimizer_type.as_ref().map_or("AdamW", |optimizer| optimizer.as_str());
    (request.lr_scheduler == Some(LrScheduler::Adafactor) && optimizer != OptimizerType::AdaFactor.as_str()).then(|| {
        format!(
            "`lrScheduler`, `optimizerType`: the scheduler \"adafactor\" works with the optimizer AdaFactor only, not with \
             {optimizer}"
        )
    })
}

/// D-Adaptation finds its rate by itself, one for all parts; a rate of 0 excludes a part.
fn one_rate(request: &SubmitTrainingRequest, _: &BaseModel) -> Option<String> {
    let optimizer = request.optimizer_type.as_ref().map(|optimizer| optimizer.as_str())?;
    if !optimizer.starts_with("DAdapt") {
        return None;
    }
    let common = number(request.learning_rate_or_default());
    let rate = |own: &Option<String>| own.as_deref().and_then(number).or(common).unwrap_or_default();
    let (unet, text) = (rate(&request.unet_lr), rate(&request.text_encoder_lr));
    (unet != text && unet != 0.0 && text != 0.0).then(|| {
        format!("`unetLr`, `textEncoderLr`, `optimizerType`: {optimizer} takes one rate for all; give {unet} for both")
    })
}

/// The bounds must include the resolution. Bounds that the caller leaves out are widened.
fn buckets(request: &SubmitTrainingRequest, base: &BaseModel) -> Option<String> {
    if !has_buckets(request) {
        return None;
    }
    let size = resolution(request, base);
    let source = if request.resolution.is_some() { "given" } else { "the default of the base model" };
    let problem = |field: &str, word: &str, bound: i64| {
        format!("`{field}`, `resolution`: {bound} given with a resolution of {size} ({source}); give at {word} {size}")
    };
    let smallest = request.min_bucket_reso.filter(|bound| *bound > size);
    let largest = request.max_bucket_reso.filter(|bound| *bound < size);
    let smallest = smallest.map(|bound| problem("minBucketReso", "most", bound));
    smallest.or_else(|| largest.map(|bound| problem("maxBucketReso", "least", bound)))
}

fn sizes(request: &SubmitTrainingRequest, _: &BaseModel) -> Option<String> {
    let values = [
        ("resolution", request.resolution),
        ("minBucketReso", request.min_bucket_reso),
        ("maxBucketReso", request.max_bucket_reso),
    ];
    outside(&values, SIZES)
}

fn counts(request: &SubmitTrainingRequest, _: &BaseModel) -> Option<String> {
    let counts =
        [("networkDim", request.network_dim), ("gradientAccumulationSteps", request.gradient_accumulation_steps)];
    outside(&counts, 1..=4096).or_else(|| outside(&[("networkAlpha", request.network_alpha)], 0..=4096))
}

/// Reports the first value outside of a range.
fn outside(values: &[(&str, Option<i64>)], range: RangeInclusive<i64>) -> Option<String> {
    values.iter().find_map(|(field, value)| {
        let value = value.filter(|value| !range.contains(value))?;
        let (first, last) = (range.start(), range.end());
        Some(format!("`{field}`: {value} given, a whole number from {first} to {last} expected"))
    })
}

fn dropouts(request: &SubmitTrainingRequest, _: &BaseModel) -> Option<String> {
    let shares = [
        ("networkDropout", request.network_dropout),
        ("rankDropout", request.rank_dropout),
        ("moduleDropout", request.module_dropout),
    ];
    let (field, _) = shares.into_iter().find(|(_, share)| share.is_some_and(|share| share >= 1.0))?;
    Some(format!("`{field}`: 1 given, which leaves nothing to train; give less"))
}

fn rates(request: &SubmitTrainingRequest, _: &BaseModel) -> Option<String> {
    let rates = [("unetLr", &request.unet_lr), ("textEncoderLr", &request.text_encoder_lr)];
    rates.into_iter().find_map(|(field, rate)| {
        let text = rate.as_deref()?.trim();
        let is_valid = number(text).is_some_and(|rate| (0.0..=10.0).contains(&rate));
        (!is_valid).then(|| format!("`{field}`: {text} given, a number from 0 to 10 expected"))
    })
}

/// -1 leaves the choice to the trainer, as in other operations.
fn seed(request: &SubmitTrainingRequest, _: &BaseModel) -> Option<String> {
    let seed = request.seed.filter(|seed| !(-1..=MAX_SEED).contains(seed))?;
    Some(format!("`seed`: {seed} given, a whole number from 0 to {MAX_SEED} expected, or -1 for any"))
}

/// Names that the contract does not list are passed on, as it says, if they are names.
fn scheduler(request: &SubmitTrainingRequest, _: &BaseModel) -> Option<String> {
    let name = request.lr_scheduler.as_ref()?.as_str();
    let shown = shortened(name);
    (!is_name(name)).then(|| format!("`lrScheduler`: {shown:?} is not a name; give one such as \"cosine\""))
}

fn module(request: &SubmitTrainingRequest, _: &BaseModel) -> Option<String> {
    let name = request.network_module.as_deref()?.trim();
    let shown = shortened(name);
    (!MODULES.contains(&name))
        .then(|| format!("`networkModule`: {shown:?} is not supported; give one of {}", MODULES.join(", ")))
}

fn arguments(request: &SubmitTrainingRequest, _: &BaseModel) -> Option<String> {
    request.network_args.as_deref()?.split_whitespace().find_map(|word| {
        let shown = shortened(word);
        let name = match word.split_once('=') {
            Some((name, value)) if is_name(name) && !value.is_empty() && !word.contains(char::is_control) => name,
            _ => {
                return Some(format!("`networkArgs`: {shown:?} is not an argument; give words such as \"conv_dim=4\""));
            }
        };
        let (field, given) = match name {
            "rank_dropout" => ("rankDropout", request.rank_dropout.is_some()),
            "module_dropout" => ("moduleDropout", request.module_dropout.is_some()),
            _ => return None,
        };
        given.then(|| format!("`networkArgs`, `{field}`: {name} is given twice; leave one of them out"))
    })
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn shortened(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}
