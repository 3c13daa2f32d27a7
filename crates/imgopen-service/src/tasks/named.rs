//! The models that a request names beside its checkpoint: those that only some of several processes may have.

use imgopen_engine::{Choice, ModelKind, NamedKind, NamedModel, Registry, tags};
use imgopen_types::{Operation, SubmitTrainingRequest, operations, read};
use serde_json::Value;

use crate::loras;

/// A model that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The field that names it, by its path.
    pub field: String,
    /// The model.
    pub model: NamedModel,
}

/// Names that stand for no model of their own.
const NONE: [&str; 3] = ["", "automatic", "none"];

/// Returns the models that a request names.
pub fn of(operation: &Operation, request: &Value) -> Vec<Named> {
    let mut named: Vec<_> = loras::tagged(request)
        .into_iter()
        .map(|(field, name)| Named { field, model: NamedModel { kind: NamedKind::Lora, name: name.to_owned() } })
        .collect();
    let vae = request.pointer("/alwayson_scripts/sd_vae").and_then(Value::as_str);
    named.extend(text(NamedKind::Vae, "alwayson_scripts.sd_vae", vae));
    for prefix in ["controlnet", "alwayson_scripts.controlnet"] {
        let units = request.pointer(&format!("/{}/args", prefix.replace('.', "/"))).and_then(Value::as_array);
        for (index, unit) in units.into_iter().flatten().enumerate() {
            let is_enabled = unit.get("enabled").and_then(Value::as_bool).unwrap_or(true);
            let model = unit.get("model").and_then(Value::as_str).filter(|_| is_enabled);
            named.extend(text(NamedKind::Control, &format!("{prefix}.args[{index}].model"), model));
        }
    }
    if *operation == operations::SUBMIT_TRAINING {
        named.extend(text(NamedKind::Base, "pretrainedModel", base_model(request).as_deref()));
    }
    named
}

/// Returns the base model of a training, which may be the default.
fn base_model(request: &Value) -> Option<String> {
    if let Some(name) = request.get("pretrainedModel").and_then(Value::as_str) {
        return Some(name.to_owned());
    }
    let request: SubmitTrainingRequest = read(request.to_string().as_bytes()).ok()?;
    Some(request.pretrained_model_or_default().to_owned())
}

fn text(kind: NamedKind, field: &str, value: Option<&str>) -> Option<Named> {
    let name = value?.trim();
    let is_none = NONE.iter().any(|none| name.eq_ignore_ascii_case(none));
    (!is_none).then(|| Named { field: field.to_owned(), model: NamedModel { kind, name: name.to_owned() } })
}

/// Refuses a request for an engine of another process that lacks what the request names. That engine cannot be asked; one of this
/// process checks for itself.
pub fn check(engines: &Registry, choice: &Choice, named: &[Named]) -> Result<(), String> {
    if !choice.engine.is_elsewhere() || !choice.engine.lists_models() {
        return Ok(());
    }
    let offers = engines.offers(choice.offer.operation.id);
    for Named { field, model } in named.iter().filter(|named| !engines.has(choice, &named.model)) {
        if offers.iter().any(|other| engines.has(other, model)) {
            return Err(format!(
                "`{field}`: no machine has \"{}\" and all else that the request names; leave one of them out",
                model.name
            ));
        }
        let problem = match model.kind {
            NamedKind::Lora => tags::unknown_lora(&model.name),
            NamedKind::Vae => format!("there is no VAE \"{}\"; give one that `list_vaes` names", model.name),
            NamedKind::Control => format!("there is no ControlNet model \"{}\"; give another", model.name),
            // The plan of the training says so.
            NamedKind::Base => continue,
        };
        // Some programs do not list all.
        if model.kind == NamedKind::Lora || lists(choice, model.kind) {
            return Err(format!("`{field}`: {problem}"));
        }
    }
    Ok(())
}

/// Whether an engine lists any model of a kind.
fn lists(choice: &Choice, kind: NamedKind) -> bool {
    match kind {
        NamedKind::Control => !choice.engine.controls().is_empty(),
        NamedKind::Vae => choice.engine.models().iter().any(|model| model.kind == ModelKind::Vae),
        NamedKind::Lora | NamedKind::Base => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn named_models_are_found_where_they_count() {
        let request = json!({
            "prompt": "a cat <lora:ink:0.8>",
            "alwayson_scripts": {"sd_vae": "b.pt", "controlnet": {"args": [{"model": "canny"}, {"enabled": false, "model": "x"}]}},
            "controlnet": {"args": [{"model": "None"}, {"module": "depth"}, {"enabled": true, "model": " depth "}]},
            "pretrainedModel": "base",
        });
        let found = |operation| {
            of(operation, &request).into_iter().map(|named| (named.field, named.model.kind, named.model.name))
        };
        let expected = [
            ("prompt", NamedKind::Lora, "ink"),
            ("alwayson_scripts.sd_vae", NamedKind::Vae, "b.pt"),
            ("controlnet.args[2].model", NamedKind::Control, "depth"),
            ("alwayson_scripts.controlnet.args[0].model", NamedKind::Control, "canny"),
            ("pretrainedModel", NamedKind::Base, "base"),
        ];
        let expected = expected.map(|(field, kind, name)| (field.to_owned(), kind, name.to_owned()));
        assert_eq!(found(&operations::SUBMIT_TRAINING).collect::<Vec<_>>(), expected);
        assert_eq!(found(&operations::CONTROLNET).collect::<Vec<_>>(), expected[..4]);
        assert_eq!(of(&operations::TEXT_TO_IMAGE, &json!({"alwayson_scripts": {"sd_vae": "Automatic"}})), []);
    }
}
