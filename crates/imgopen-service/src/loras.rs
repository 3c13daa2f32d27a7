//! LoRAs that belong to one access key: which of them a request names, which names are taken, and how engines learn of new ones,
//! and of those that are withdrawn.

use std::time::Duration;

use futures_util::future::join_all;
use imgopen_engine::{Model, ModelKind, tags};
use imgopen_store::KeyId;
use imgopen_trainer::TrainingPlan;
use imgopen_types::{Operation, operations};
use serde_json::Value;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tracing::{error, warn};

use crate::context::Context;
use crate::fleet::offers;

/// How long the end of a training waits for engines to learn of its LoRA.
const LEARNING: Duration = Duration::from_secs(10);

/// Why a name cannot be used.
#[derive(Debug)]
pub enum NameError {
    /// For this reason, which is for the caller.
    Rejected(String),
    /// The list of LoRAs panicked; the log has the reason.
    Broken,
}

/// Rejects a request that names a LoRA of another key in any of its texts, in the words in which back ends reject a LoRA that is
/// not there. An engine may find another fault of such a request first, or take a name that it does not know, so a caller may
/// still guess that a name is taken, as from the rejection of a training of that name.
pub async fn check_named(context: &Context, key: &KeyId, request: &Value) -> Result<(), NameError> {
    let named = tagged(request);
    if named.is_empty() {
        return Ok(());
    }
    let mut others = all(context).await?;
    others.retain(|lora| !lora.is_for(key.as_str()));
    let hidden = named.into_iter().find(|(_, name)| others.iter().any(|lora| is_name_of(name, lora)));
    hidden.map_or(Ok(()), |(field, name)| Err(NameError::Rejected(format!("`{field}`: {}", tags::unknown_lora(name)))))
}

/// Returns the name of the LoRA that a task makes by its plan, without an extension.
pub fn made_by(operation: &Operation, plan: Option<&Value>) -> Option<String> {
    let plan = plan.filter(|_| *operation == operations::SUBMIT_TRAINING)?;
    serde_json::from_value::<TrainingPlan>(plan.clone()).ok()?.name
}

/// Rejects a training whose LoRA would have the name of another one, of any key.
pub async fn check_free(context: &Context, name: &str) -> Result<(), NameError> {
    let is_taken = all(context).await?.iter().any(|lora| lora.stem().to_lowercase() == name.to_lowercase());
    if is_taken { Err(taken(name)) } else { Ok(()) }
}

/// The rejection of a training for its name. It is the same for a LoRA that is there and for one that is being trained.
pub fn taken(name: &str) -> NameError {
    let name = name.to_lowercase();
    NameError::Rejected(format!("`taskId`: the LoRA would be named \"{name}\", which is taken; give another id"))
}

/// Has all engines learn of a LoRA that was put into the models directory, so that requests that name it are accepted as soon as
/// its training has ended. Those that take longer than `most` go on meanwhile.
pub async fn announce(context: &Context, most: Duration) {
    match timeout(LEARNING.min(most), rescan(context)).await {
        Ok(Ok(())) => offers::publish(context).await,
        Ok(Err(error)) => error!(%error, "an engine panicked while it looked for a new LoRA, which is a bug"),
        Err(_) => {
            warn!("an engine takes long to look for a new LoRA; requests that name it may be refused until it has")
        }
    }
}

/// Has all engines learn that the LoRA of a training without a result may have been removed from the models directory, so that
/// they do not list it any longer. Nobody waits for them.
pub fn withdraw(context: &Context) {
    drop(rescan(context));
}

/// Has all engines look for LoRAs, each in its own time.
fn rescan(context: &Context) -> JoinHandle<()> {
    let engines = context.engines.engines().to_vec();
    tokio::spawn(async move {
        join_all(engines.iter().map(|engine| engine.rescan())).await;
    })
}

async fn all(context: &Context) -> Result<Vec<Model>, NameError> {
    let engines = context.engines.everywhere();
    spawn_blocking(move || engines.models(ModelKind::Lora)).await.map_err(|error| {
        error!(%error, "the list of LoRAs panicked");
        NameError::Broken
    })
}

/// Returns the names in the tags of a request's texts, each with its field.
pub fn tagged(request: &Value) -> Vec<(String, &str)> {
    let mut named = Vec::new();
    collect(request, String::new(), &mut named);
    named
}

/// Finds the tags in the texts of a request, each with its field.
fn collect<'a>(value: &'a Value, field: String, named: &mut Vec<(String, &'a str)>) {
    match value {
        Value::String(text) => named.extend(tags::networks(text).into_iter().map(|name| (field.clone(), name))),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| collect(item, format!("{field}[{index}]"), named));
        }
        Value::Object(members) => {
            let path = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
            members.iter().for_each(|(name, value)| collect(value, path(name), named));
        }
        _ => {}
    }
}

/// Whether any program might take a name in a tag for a LoRA: with directories or without, with the extension or without, in
/// any case.
fn is_name_of(name: &str, lora: &Model) -> bool {
    let named = Model::new(ModelKind::Lora, name.to_lowercase(), "");
    let file = named.name.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = lora.stem().to_lowercase();
    file == stem || named.stem() == stem
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_are_found_in_every_text() {
        let request = json!({
            "prompt": "a cat <lora:ink:0.8>", "steps": 4, "alwayson_scripts": {"a": [{"p": "<lyco:te=1:two>"}, 1]},
        });
        let mut named = Vec::new();
        collect(&request, String::new(), &mut named);
        let place = "alwayson_scripts.a[0].p".to_owned();
        assert_eq!(named, [("prompt".to_owned(), "ink"), (place.clone(), "te=1"), (place, "two")]);
    }

    #[test]
    fn a_lora_is_known_by_every_name_that_a_program_may_give_it() {
        let lora = Model::new(ModelKind::Lora, "style/Ink.v2.safetensors", "");
        for name in ["ink.v2", "INK.V2", "style/ink.v2", "other\\ink.v2", "ink.v2.safetensors", "ink.v2.pt"] {
            assert!(is_name_of(name, &lora), "{name}");
        }
        for name in ["ink", "v2", "ink.v3", "style", ""] {
            assert!(!is_name_of(name, &lora), "{name}");
        }
    }
}
