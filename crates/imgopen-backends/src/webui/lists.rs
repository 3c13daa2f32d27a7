//! What a server has: its models, samplers, scripts and so on, read all at once and kept until the next time.

use std::collections::BTreeSet;

use imgopen_engine::{Model, ModelKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::http::{CallError, Http};
use crate::names::stem;
use crate::watched::Snapshot;

/// ControlNet units that a server takes unless it says otherwise.
const CONTROL_UNITS: usize = 3;

/// The lists of a server.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Lists {
    /// Whether it is Forge, which replaced the list of VAEs by one of modules.
    pub is_forge: bool,
    pub checkpoints: Vec<Checkpoint>,
    pub samplers: Vec<Sampler>,
    /// Empty before version 1.9, in which samplers have joint names.
    pub schedulers: Vec<Scheduler>,
    /// Upscalers of the hi-res fix, those in the latent space included.
    pub upscalers: Vec<String>,
    pub loras: Vec<Lora>,
    pub embeddings: Vec<String>,
    /// VAEs; with Forge, text encoders as well.
    pub vaes: Vec<Vae>,
    pub face_restorers: Vec<String>,
    pub scripts: Scripts,
    /// The members that the requests of `txt2img` and `img2img` have.
    pub members: (BTreeSet<String>, BTreeSet<String>),
    /// `None` without ControlNet.
    pub control: Option<Control>,
    /// Whether pictures name the LoRAs that were applied.
    pub reports_loras: bool,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Checkpoint {
    title: String,
    pub model_name: String,
    #[serde(default)]
    sha256: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Sampler {
    pub name: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    #[serde(default)]
    options: serde_json::Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Scheduler {
    pub name: String,
    pub label: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Lora {
    pub name: String,
    #[serde(default)]
    alias: Option<String>,
    #[serde(default)]
    path: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Vae {
    pub model_name: String,
    #[serde(default)]
    pub filename: String,
}

/// The names of scripts in lower case, as the server lists them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Scripts {
    #[serde(default)]
    pub txt2img: Vec<String>,
    #[serde(default)]
    pub img2img: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Control {
    pub models: Vec<String>,
    pub modules: Vec<String>,
    pub units: usize,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

impl Snapshot for Lists {
    async fn read(http: &Http) -> Result<Self, CallError> {
        let checkpoints: Vec<Checkpoint> = http.get("sdapi/v1/sd-models").await?;
        let samplers: Vec<Sampler> = http.get("sdapi/v1/samplers").await?;
        let modules: Option<Vec<Vae>> = optional(http, "sdapi/v1/sd-modules").await?;
        let is_forge = modules.is_some();
        let vaes = match modules {
            Some(modules) => modules,
            None => optional(http, "sdapi/v1/sd-vae").await?.unwrap_or_default(),
        };
        let embeddings: Option<Value> = optional(http, "sdapi/v1/embeddings").await?;
        let options: Value = http.get("sdapi/v1/options").await?;
        let mut upscalers = names(http, "sdapi/v1/latent-upscale-modes").await?;
        upscalers.extend(names(http, "sdapi/v1/upscalers").await?);
        let description: Option<Value> = optional(http, "openapi.json").await?;
        let description = description.unwrap_or_default();
        Ok(Self {
            is_forge,
            checkpoints,
            samplers,
            schedulers: optional(http, "sdapi/v1/schedulers").await?.unwrap_or_default(),
            upscalers,
            loras: optional(http, "sdapi/v1/loras").await?.unwrap_or_default(),
            embeddings: keys(embeddings.as_ref().and_then(|all| all.get("loaded"))),
            vaes,
            face_restorers: names(http, "sdapi/v1/face-restorers").await?,
            scripts: optional(http, "sdapi/v1/scripts").await?.unwrap_or_default(),
            members: (members(&description, "/sdapi/v1/txt2img"), members(&description, "/sdapi/v1/img2img")),
            control: Control::read(http, &options).await?,
            reports_loras: options.get("lora_add_hashes_to_infotext").and_then(Value::as_bool).unwrap_or(true),
        })
    }

    /// The server lists the LoRAs that it found when it started, until it is asked to look again. Versions before 1.3 cannot be
    /// asked.
    async fn rescan(http: &Http) -> Result<(), CallError> {
        match http.command("sdapi/v1/refresh-loras", &json!({})).await {
            Err(error) if error.is_missing() => Ok(()),
            looked => looked,
        }
    }
}

impl Lists {
    /// Returns the models of a kind as engines list them.
    pub(super) fn models(&self) -> (Vec<Model>, Vec<Model>) {
        let checkpoints = self.checkpoints.iter().map(|checkpoint| {
            let hash = checkpoint.sha256.as_ref().map(|hash| hash.to_ascii_uppercase());
            Model { hash, ..Model::new(ModelKind::Checkpoint, checkpoint.name(), checkpoint.model_name.clone()) }
        });
        let loras = self.loras.iter().map(|lora| {
            Model::new(ModelKind::Lora, lora.file(), lora.alias.clone().unwrap_or_else(|| lora.name.clone()))
        });
        let vaes =
            self.vaes.iter().map(|vae| Model::new(ModelKind::Vae, vae.model_name.clone(), vae.model_name.clone()));
        let embeddings =
            self.embeddings.iter().map(|name| Model::new(ModelKind::Embedding, name.clone(), name.clone()));
        (checkpoints.collect(), loras.chain(vaes).chain(embeddings).collect())
    }

    /// Returns the preprocessors of ControlNet.
    pub(super) fn preprocessors(&self) -> Vec<String> {
        self.control.as_ref().map(|control| control.modules.clone()).unwrap_or_default()
    }

    /// Returns the checkpoint of that name.
    pub(super) fn checkpoint(&self, name: &str) -> Option<&Checkpoint> {
        self.checkpoints.iter().find(|checkpoint| checkpoint.name() == name)
    }

    /// Returns whether there is a LoRA of that name, as prompts name it.
    pub(super) fn has_lora(&self, name: &str) -> bool {
        self.loras.iter().any(|lora| lora.name == name || lora.alias.as_deref() == Some(name))
    }

    /// Returns the VAE or module of that name, with the extension of a file or without.
    pub(super) fn vae(&self, name: &str) -> Option<&Vae> {
        self.vaes.iter().find(|vae| vae.model_name == name || stem(&vae.model_name) == name)
    }
}

impl Checkpoint {
    /// Returns the name of the file, without the short hash that the title ends with once it is known.
    pub(super) fn name(&self) -> String {
        let title = match self.title.rsplit_once(" [") {
            Some((name, hash)) if hash.ends_with(']') => name,
            _ => &self.title,
        };
        title.replace('\\', "/")
    }
}

impl Sampler {
    /// Returns whether that is its name or one of its aliases.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }

    /// Returns whether it has a schedule of its own, which is taken if none is named.
    pub(super) fn has_own_schedule(&self) -> bool {
        self.options.get("scheduler").is_some_and(Value::is_string)
    }
}

impl Lora {
    /// Returns the name of the file, with the extension.
    fn file(&self) -> String {
        let file = self.path.rsplit(['/', '\\']).next().unwrap_or_default();
        match file.rsplit_once('.') {
            Some((stem, extension)) if stem == self.name => format!("{}.{extension}", self.name),
            _ => self.name.clone(),
        }
    }
}

impl Control {
    async fn read(http: &Http, options: &Value) -> Result<Option<Self>, CallError> {
        let Some(models): Option<Value> = optional(http, "controlnet/model_list").await? else { return Ok(None) };
        let modules: Option<Value> = optional(http, "controlnet/module_list").await?;
        let settings: Option<Value> = optional(http, "controlnet/settings").await?;
        let units = settings.as_ref().unwrap_or(options).get("control_net_unit_count").and_then(Value::as_u64);
        let list = |value: &Value, name: &str| {
            let list = value.get(name).and_then(Value::as_array).into_iter().flatten();
            let texts = list.filter_map(Value::as_str).filter(|text| !text.eq_ignore_ascii_case("none"));
            texts.map(str::to_owned).collect::<Vec<_>>()
        };
        Ok(Some(Self {
            models: list(&models, "model_list"),
            modules: modules.map(|modules| list(&modules, "module_list")).unwrap_or_default(),
            units: units.and_then(|units| usize::try_from(units).ok()).unwrap_or(CONTROL_UNITS),
        }))
    }

    /// Returns the model of that name. A name without a hash is that of any.
    pub(super) fn model(&self, name: &str) -> Option<&str> {
        let plain = |known: &str| known.rsplit_once(" [").map_or(known, |(name, _)| name).to_owned();
        let found = self.models.iter().find(|known| *known == name || plain(known) == stem(name));
        found.map(String::as_str)
    }
}

/// Reads a list that some versions do not have.
async fn optional<T: DeserializeOwned>(http: &Http, path: &str) -> Result<Option<T>, CallError> {
    match http.get(path).await {
        Ok(list) => Ok(Some(list)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn names(http: &Http, path: &str) -> Result<Vec<String>, CallError> {
    let list: Option<Vec<Named>> = optional(http, path).await?;
    Ok(list.unwrap_or_default().into_iter().map(|named| named.name).collect())
}

fn keys(object: Option<&Value>) -> Vec<String> {
    object.and_then(Value::as_object).map(|object| object.keys().cloned().collect()).unwrap_or_default()
}

/// Returns the members of the request of a path, from the server's description of itself.
fn members(description: &Value, path: &str) -> BTreeSet<String> {
    let media = &description["paths"][path]["post"]["requestBody"]["content"]["application/json"];
    let name = media["schema"]["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    let properties = name.map(|name| &description["components"]["schemas"][name]["properties"]);
    keys(properties).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_requests_use() {
        let checkpoint = |title: &str| Checkpoint { title: title.to_owned(), model_name: String::new(), sha256: None };
        assert_eq!(checkpoint("sub\\a [b].safetensors [860760b08a]").name(), "sub/a [b].safetensors");
        assert_eq!(checkpoint("a.ckpt").name(), "a.ckpt");
        let lora = |name: &str, path: &str| Lora { name: name.to_owned(), alias: None, path: path.to_owned() };
        assert_eq!(lora("a_v1.5", "x/Lora/a_v1.5.safetensors").file(), "a_v1.5.safetensors");
        assert_eq!(lora("a", "C:\\Lora\\other.pt").file(), "a");
    }

    #[test]
    fn a_controlnet_model_is_found_with_its_hash_or_without() {
        let control = Control { models: vec!["random-cn [8bd0c0e4]".to_owned()], ..Control::default() };
        for name in ["random-cn", "random-cn [8bd0c0e4]", "random-cn.safetensors"] {
            assert_eq!(control.model(name), Some("random-cn [8bd0c0e4]"), "{name}");
        }
        assert_eq!((control.model("random"), control.model("random-cn [00000000]")), (None, None));
    }

    #[test]
    fn members_come_from_the_description() {
        let description = json!({
            "paths": {"/sdapi/v1/txt2img": {"post": {"requestBody": {"content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/T"}}
            }}}}},
            "components": {"schemas": {"T": {"properties": {"eta": {}, "tiling": {}}}}}
        });
        assert_eq!(members(&description, "/sdapi/v1/txt2img").into_iter().collect::<Vec<_>>(), ["eta", "tiling"]);
        assert!(members(&description, "/sdapi/v1/img2img").is_empty() && members(&Value::Null, "").is_empty());
    }
}
