//! What the trainer would break off on, found before a training is accepted: mixes of fields, and values that the contract
//! leaves open.

use super::base::{Base, Family};
use super::order::Order;

/// The modules that define a network for the families that are trained: those of sd-scripts, and LyCORIS. The trainer
/// loads the module of that name whatever it is, so no other is let through.
const MODULES: [&str; 5] = ["networks.lora", "networks.lora_fa", "networks.dylora", "networks.oft", "lycoris.kohya"];

/// The sizes that pictures can be trained in, in pixels.
const SIZES: std::ops::RangeInclusive<i64> = 64..=4096;

/// The bounds of groups of pictures where the caller gives none, as the trainer has them.
pub(super) const BUCKETS: (i64, i64) = (256, 1024);

/// The largest seed that the trainer takes.
const LAST_SEED: i64 = u32::MAX as i64;

/// The longest name of a base model.
const LONGEST_NAME: usize = 255;

type Rule = fn(&Order<'_>, &Base) -> Option<String>;

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
    dropped,
    rates,
    seed,
    scheduler,
    module,
    arguments,
];

/// Tells everything that the trainer would break off on.
pub(super) fn check(order: &Order<'_>, base: &Base) -> Result<(), String> {
    let problems: Vec<_> = RULES.iter().filter_map(|rule| rule(order, base)).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

fn base_name(_: &Order<'_>, base: &Base) -> Option<String> {
    let name = &base.name;
    let parts = || name.split(['/', '\\']);
    let is_plain = !name.is_empty()
        && name.chars().count() <= LONGEST_NAME
        && !name.contains(|c: char| c.is_control() || c == ':')
        && !name.starts_with(['/', '\\', '~', '-'])
        && parts().all(|part| part != "..");
    (!is_plain).then(|| {
        let shown: String = name.chars().take(100).collect();
        format!("`pretrainedModel`: {shown:?} is no name of a model; give one that `list_models` names, without a path")
    })
}

fn base_family(order: &Order<'_>, base: &Base) -> Option<String> {
    let (name, v2) = (&base.name, order.is_on("v2"));
    match &base.family {
        Family::Other(family) => {
            Some(format!("`pretrainedModel`: {name:?} is a model of {family}; give one of SD 1.5, SD 2 or SDXL"))
        }
        Family::Sdxl if v2 => Some(format!("`v2`, `pretrainedModel`: {name:?} is a model of SDXL; leave `v2` out")),
        Family::Sd2 if base.is_sure && !v2 => {
            Some(format!("`v2`, `pretrainedModel`: {name:?} is a model of SD 2; give `v2` as true"))
        }
        Family::Sd1 if base.is_sure && v2 => {
            Some(format!("`v2`, `pretrainedModel`: {name:?} is a model of SD 1.5; leave `v2` out"))
        }
        _ => None,
    }
}

fn clip_skip(order: &Order<'_>, base: &Base) -> Option<String> {
    let skip = order.whole("clipSkip").filter(|skip| *skip > 1)?;
    let other = match base.family {
        _ if order.is_on("v2") => "v2",
        Family::Sdxl => "pretrainedModel",
        _ => return None,
    };
    Some(format!("`clipSkip`, `{other}`: {skip} given, which works with models of SD 1.5 only; leave `clipSkip` out"))
}

fn cached(order: &Order<'_>, _: &Base) -> Option<String> {
    let on = |fields: [&'static str; 2]| fields.into_iter().find(|field| order.is_on(field));
    let (kept, varied) = (on(["cacheLatents", "cacheLatentsToDisk"])?, on(["colorAug", "randomCrop"])?);
    Some(format!("`{kept}`, `{varied}`: both true, but what is kept cannot be varied; leave one of them out"))
}

fn warm_up(order: &Order<'_>, _: &Base) -> Option<String> {
    let steps = order.whole("lrWarmupSteps").filter(|steps| *steps > 0)?;
    if order.text("optimizerType") == "AdaFactor" {
        return Some(format!("`lrWarmupSteps`, `optimizerType`: {steps} given, but AdaFactor has no warm-up; give 0"));
    }
    let scheduler = order.word("lrScheduler").unwrap_or_else(|| "constant".to_owned());
    ["constant", "adafactor"].contains(&scheduler.as_str()).then(|| {
        format!(
            "`lrWarmupSteps`, `lrScheduler`: {steps} given, but \"{scheduler}\" has no warm-up; give 0, or another \
             scheduler such as \"constant_with_warmup\""
        )
    })
}

fn adafactor(order: &Order<'_>, _: &Base) -> Option<String> {
    let optimizer = order.word("optimizerType").unwrap_or_else(|| "AdamW".to_owned());
    (order.text("lrScheduler") == "adafactor" && optimizer != "AdaFactor").then(|| {
        format!(
            "`lrScheduler`, `optimizerType`: the scheduler \"adafactor\" is for the optimiser AdaFactor, not for {optimizer}"
        )
    })
}

/// D-Adaptation finds its rate by itself, one for all; a rate of 0 leaves a part out.
fn one_rate(order: &Order<'_>, _: &Base) -> Option<String> {
    let optimizer = order.word("optimizerType").filter(|name| name.starts_with("DAdapt"))?;
    let rate = |field: &str| order.number(field).or_else(|| order.number("learningRate")).unwrap_or_default();
    let (unet, text) = (rate("unetLr"), rate("textEncoderLr"));
    (unet != text && unet != 0.0 && text != 0.0).then(|| {
        format!("`unetLr`, `textEncoderLr`, `optimizerType`: {optimizer} takes one rate for all; give {unet} for both")
    })
}

/// The bounds must hold the size that is trained in. Bounds that the caller leaves out are made to fit.
fn buckets(order: &Order<'_>, base: &Base) -> Option<String> {
    if !order.has_buckets() {
        return None;
    }
    let size = super::plan::resolution(order, base);
    let least = order.whole("minBucketReso").filter(|least| *least > size);
    let most = order.whole("maxBucketReso").filter(|most| *most < size);
    let told = |field: &str, word: &str, bound: i64| {
        let side = if order.given("resolution").is_some() { "given" } else { "taken, since it is left out" };
        format!("`{field}`, `resolution`: {bound} given with a resolution of {size} ({side}); give at {word} {size}")
    };
    let least = least.map(|least| told("minBucketReso", "most", least));
    least.or_else(|| most.map(|most| told("maxBucketReso", "least", most)))
}

fn sizes(order: &Order<'_>, _: &Base) -> Option<String> {
    within(order, &["resolution", "minBucketReso", "maxBucketReso"], SIZES)
}

fn counts(order: &Order<'_>, _: &Base) -> Option<String> {
    within(order, &["networkDim", "gradientAccumulationSteps"], 1..=4096)
        .or_else(|| within(order, &["networkAlpha"], 0..=4096))
}

fn within(order: &Order<'_>, fields: &[&str], range: std::ops::RangeInclusive<i64>) -> Option<String> {
    fields.iter().find_map(|field| {
        let value = order.whole(field).filter(|value| !range.contains(value))?;
        let (first, last) = (range.start(), range.end());
        Some(format!("`{field}`: {value} given, a whole number from {first} to {last} expected"))
    })
}

fn dropped(order: &Order<'_>, _: &Base) -> Option<String> {
    let all = |field: &&str| order.number(field).is_some_and(|share| share >= 1.0);
    let field = ["networkDropout", "rankDropout", "moduleDropout"].into_iter().find(all)?;
    Some(format!("`{field}`: 1 given, which leaves nothing to train; give less"))
}

fn rates(order: &Order<'_>, _: &Base) -> Option<String> {
    let wrong = |field: &&str| {
        order.given(field).is_some() && !order.number(field).is_some_and(|rate| (0.0..=10.0).contains(&rate))
    };
    let field = ["unetLr", "textEncoderLr"].into_iter().find(wrong)?;
    Some(format!("`{field}`: {} given, a number from 0 to 10 expected", order.text(field)))
}

/// -1 leaves the choice to the trainer, as elsewhere.
fn seed(order: &Order<'_>, _: &Base) -> Option<String> {
    let seed = order.whole("seed").filter(|seed| !(-1..=LAST_SEED).contains(seed))?;
    Some(format!("`seed`: {seed} given, a whole number from 0 to {LAST_SEED} expected, or -1 for any"))
}

/// Names that the contract does not list are passed on, as it says, if they are names.
fn scheduler(order: &Order<'_>, _: &Base) -> Option<String> {
    let name = order.word("lrScheduler").filter(|name| !is_name(name))?;
    let shown: String = name.chars().take(100).collect();
    Some(format!("`lrScheduler`: {shown:?} is no name; give one such as \"cosine\""))
}

fn module(order: &Order<'_>, _: &Base) -> Option<String> {
    let name = order.word("networkModule").filter(|name| !MODULES.contains(&name.as_str()))?;
    let shown: String = name.chars().take(100).collect();
    Some(format!("`networkModule`: {shown:?} is not known; give one of {}", MODULES.join(", ")))
}

fn arguments(order: &Order<'_>, _: &Base) -> Option<String> {
    order.text("networkArgs").split_whitespace().find_map(|word| {
        let shown: String = word.chars().take(100).collect();
        let name = match word.split_once('=') {
            Some((name, value)) if is_name(name) && !value.is_empty() && !word.contains(char::is_control) => name,
            _ => return Some(format!("`networkArgs`: {shown:?} is no argument; give words such as \"conv_dim=4\"")),
        };
        let field = match name {
            "rank_dropout" => "rankDropout",
            "module_dropout" => "moduleDropout",
            _ => return None,
        };
        order.given(field).map(|_| format!("`networkArgs`, `{field}`: {name} is given twice; leave one of them out"))
    })
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
