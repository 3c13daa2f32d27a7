//! Which fields of an operation the placeholders of a workflow stand for.

use imgopen_engine::EngineError;
use imgopen_types::Operation;
use imgopen_types::schema::{Field, Object, Shape};
use serde_json::Value;

use crate::generation::MOST_PICTURES;

/// A field of an operation that has no members of its own.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// The path on the wire, such as `alwayson_scripts.sd_vae`.
    pub path: String,
    pub field: &'static Field,
    /// Whether every request has it.
    pub is_required: bool,
}

/// What a placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// The seed, which is drawn if the request has none.
    Seed,
    /// The sampler that a field names, as ComfyUI calls it.
    Sampler(Option<String>),
    /// The schedule that the same field names.
    Scheduler(Option<String>),
    /// A prompt.
    Prompt(String),
    /// A picture.
    Picture(String),
    /// A picture that marks what to redraw.
    Mask(String),
    /// The value of any other field.
    Field(String),
}

/// Short names of fields, which differ among operations.
const NAMES: &[(&str, &[&str])] = &[
    ("prompt", &["prompt"]),
    ("negative_prompt", &["negative_prompt", "negativePrompt"]),
    ("width", &["width"]),
    ("height", &["height"]),
    ("steps", &["steps", "sampleStep"]),
    ("guidance", &["cfg_scale", "fluxGuidance", "guidanceScale", "promptGuideFactor"]),
    ("sampler", SAMPLERS),
    ("scheduler", SAMPLERS),
    ("strength", &["denoising_strength"]),
    ("image", &["alwayson_scripts.image_link", "image", "sourceImage", "sourceUrl"]),
    ("mask", &["alwayson_scripts.mask_link", "maskImage"]),
    ("model", &[MODEL]),
    ("vae", &["alwayson_scripts.sd_vae"]),
    ("clip_skip", &["alwayson_scripts.override_settings.CLIP_stop_at_last_layers"]),
    ("scale", &["scale"]),
];
const SAMPLERS: &[&str] = &["sampler_index", "sampler"];
/// The field that names the model.
pub(super) const MODEL: &str = "alwayson_scripts.sd_model_checkpoint";
/// The field that names the variant of FLUX.1.
pub(super) const VARIANT: &str = "comfyTaskType";
/// The field that names the format of the results.
pub(super) const FORMAT: &str = "alwayson_scripts.output_image_format";
/// Fields that the service or the driver itself obeys.
const OURS: &[&str] = &[FORMAT, "n_iter", "batch_size", "imageCount", "businessTaskId", "callbackUrl"];
/// Those of the hi-res fix, which have no effect without it.
const HIRES: &[&str] = &["hr_scale", "hr_upscaler", "hr_second_pass_steps", "hr_resize_x", "hr_resize_y"];

/// Returns the fields of an operation, down to those that have no members.
pub(super) fn leaves(operation: &Operation) -> Vec<Leaf> {
    let mut found = Vec::new();
    collect(operation.request, "", true, &mut found);
    found
}

fn collect(object: &'static Object, path: &str, is_required: bool, found: &mut Vec<Leaf>) {
    for field in object.fields {
        let path = if path.is_empty() { field.name.to_owned() } else { format!("{path}.{}", field.name) };
        let is_required = is_required && field.required;
        match field.shape {
            Shape::Object(inner) if !inner.fields.is_empty() => collect(inner, &path, is_required, found),
            _ => found.push(Leaf { path, field, is_required }),
        }
    }
}

/// Finds what a placeholder stands for.
///
/// # Errors
///
/// Names the placeholders that there are.
pub(super) fn source(name: &str, operation: &Operation) -> Result<Source, String> {
    let leaves = leaves(operation);
    let has = |path: &str| leaves.iter().any(|leaf| leaf.path == path);
    let short = NAMES.iter().find(|(short, _)| *short == name);
    let path = match short {
        Some((_, paths)) => paths.iter().copied().find(|path| has(path)),
        None => Some(name).filter(|name| has(name)),
    };
    let is_known = path.is_some();
    let path = path.unwrap_or(name).to_owned();
    let leaf = leaves.iter().find(|leaf| leaf.path == path);
    let is_list = leaf.is_some_and(|leaf| matches!(leaf.field.shape, Shape::List(_) | Shape::Object(_)));
    match name {
        "seed" => Ok(Source::Seed),
        // Any workflow may have them; what the request does not say has a default.
        "sampler" => Ok(Source::Sampler(is_known.then_some(path))),
        "scheduler" => Ok(Source::Scheduler(is_known.then_some(path))),
        _ if !is_known || is_list => {
            let short = NAMES.iter().filter(|(_, paths)| paths.iter().any(|path| has(path)));
            let names: Vec<String> = short.map(|(name, _)| format!("`{{{{{name}}}}}`")).collect();
            Err(format!(
                "stands for a field that `{}` does not have; there are `{{{{seed}}}}`, {}, and the other fields by their \
                 paths",
                operation.id,
                names.join(", ")
            ))
        }
        "prompt" | "negative_prompt" => Ok(Source::Prompt(path)),
        "mask" => Ok(Source::Mask(path)),
        _ if leaf.is_some_and(|leaf| leaf.field.picture) => match path.ends_with("mask_link") || path == "maskImage" {
            true => Ok(Source::Mask(path)),
            false => Ok(Source::Picture(path)),
        },
        _ => Ok(Source::Field(path)),
    }
}

/// Returns the value of a field in a request.
pub(super) fn value<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    let value = path.split('.').try_fold(body, |value, name| value.get(name))?;
    (!value.is_null()).then_some(value)
}

/// Returns the value that a field has when a request leaves it out.
pub(super) fn default(path: &str, operation: &Operation) -> Option<Value> {
    let declared = leaves(operation).into_iter().find(|leaf| leaf.path == path).and_then(|leaf| leaf.field.default);
    let declared = declared.and_then(|text| serde_json::from_str(text).ok());
    declared.or_else(|| match path {
        "negative_prompt" | "negativePrompt" | "prompt" => Some("".into()),
        "steps" | "sampleStep" => Some(20.into()),
        "cfg_scale" => Some(7.into()),
        "fluxGuidance" => Some(3.5.into()),
        "denoising_strength" => Some(0.75.into()),
        "width" | "height" if operation.id == "instant_id" => Some(960.into()),
        "width" | "height" => Some(512.into()),
        _ => None,
    })
}

/// Returns whether a field asks the workflow for nothing: it is obeyed elsewhere, or it has the value that means
/// nothing.
pub(super) fn asks_nothing(path: &str, value: &Value, body: &Value, operation: &Operation) -> bool {
    let is_caller_id = operation.caller_id.is_some_and(|id| id.path.join(".") == path);
    let has_hires = body.get("enable_hr") == Some(&true.into());
    let is_idle =
        !has_hires && (HIRES.contains(&path) || operation.id == "text_to_image" && path == "denoising_strength");
    let is_random = path == "seed" && (*value == -1 || *value == "-1");
    let is_neutral = match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    let declared = leaves(operation).into_iter().find(|leaf| leaf.path == path).and_then(|leaf| leaf.field.default);
    let is_default =
        declared.is_some_and(|text| serde_json::from_str::<Value>(text).is_ok_and(|default| default == *value));
    is_caller_id || OURS.contains(&path) || is_idle || is_random || is_neutral || is_default
}

/// Returns the fields that a request gives, down to those that have no members, with their values.
pub(super) fn given<'a>(body: &'a Value, path: &str) -> Vec<(String, &'a Value)> {
    match body {
        Value::Object(members) if path.is_empty() || !members.is_empty() => {
            let each = members.iter().flat_map(|(name, value)| {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                given(value, &path)
            });
            each.collect()
        }
        value => vec![(path.to_owned(), value)],
    }
}

/// Returns how many pictures a request asks for.
pub(super) fn pictures(body: &Value) -> Result<u32, EngineError> {
    let count = |name: &str| body.get(name).and_then(Value::as_u64).unwrap_or(1).max(1);
    let all = count("n_iter").saturating_mul(count("batch_size")).saturating_mul(count("imageCount"));
    let fitting = u32::try_from(all).ok().filter(|all| *all <= MOST_PICTURES);
    fitting.ok_or_else(|| {
        let field = ["n_iter", "batch_size", "imageCount"].into_iter().max_by_key(|name| count(name));
        let problem = format!("{all} pictures asked for; at most {MOST_PICTURES} are made for one request");
        EngineError::rejected(field.unwrap_or("batch_size"), problem)
    })
}
