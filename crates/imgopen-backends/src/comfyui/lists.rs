//! What a server has: the classes of nodes that are used, with the files in their lists, read all at once.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join_all;
use imgopen_engine::{Model, ModelKind};
use serde_json::Value;

use super::class::{Class, LORA};
use crate::http::{CallError, Http, shown};
use crate::names::stem;
use crate::watched::{Snapshot, Watched};

/// The classes that graphs for the operations are made of. All of `/object_info` has many megabytes where plug-ins are.
const CLASSES: [&str; 26] = [
    "CheckpointLoaderSimple",
    "UNETLoader",
    "DualCLIPLoader",
    "VAELoader",
    "LoraLoader",
    "ControlNetLoader",
    "UpscaleModelLoader",
    "CLIPSetLastLayer",
    "CLIPTextEncode",
    "FluxGuidance",
    "ControlNetApply",
    "ControlNetApplyAdvanced",
    "EmptyLatentImage",
    "EmptySD3LatentImage",
    "LatentUpscale",
    "LatentUpscaleBy",
    "SetLatentNoiseMask",
    "KSampler",
    "VAEDecode",
    "VAEEncode",
    "LoadImage",
    "LoadImageMask",
    "ImageScale",
    "ImageUpscaleWithModel",
    "SaveImage",
    "PreviewImage",
];

/// How long programs of 2024 repeat a list of files without a look at its directory.
const REPEATED: Duration = Duration::from_millis(500);

/// A server that is asked for its lists.
pub(super) type Server = Watched<Lists>;

/// The lists of a server.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Lists {
    /// By their names; those that the server does not have are missing.
    classes: BTreeMap<String, Class>,
    /// Without the extensions of files.
    pub embeddings: Vec<String>,
    /// The version, which programs of 2024 do not say.
    pub version: Option<String>,
}

impl Snapshot for Lists {
    async fn read(http: &Http) -> Result<Self, CallError> {
        Self::read_with(http, &[]).await
    }

    async fn read_with(http: &Http, further: &[String]) -> Result<Self, CallError> {
        let names = CLASSES.iter().copied().chain(further.iter().map(String::as_str));
        let classes = try_join_all(names.map(|name| class(http, name))).await?;
        let stats: Value = http.get("system_stats").await?;
        let version = stats.pointer("/system/comfyui_version").and_then(Value::as_str).map(shown);
        Ok(Self {
            classes: classes.into_iter().flatten().collect(),
            embeddings: http.get("embeddings").await?,
            version,
        })
    }

    /// The server looks at the directories for each list, unless it did so a moment ago.
    async fn rescan(_: &Http) -> Result<(), CallError> {
        tokio::time::sleep(REPEATED).await;
        Ok(())
    }
}

/// Reads one class. One that is not there is answered with an empty object.
async fn class(http: &Http, name: &str) -> Result<Option<(String, Class)>, CallError> {
    let path = format!("object_info/{}", url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>());
    let answer: Value = http.get(&path.replace('+', "%20")).await?;
    Ok(answer.get(name).map(|description| (name.to_owned(), Class::read(description))))
}

impl Lists {
    /// Returns a class.
    pub(super) fn class(&self, name: &str) -> Option<&Class> {
        self.classes.get(name)
    }

    /// Returns the values that an input of a class takes.
    pub(super) fn listed(&self, class: &str, input: &str) -> Vec<String> {
        self.class(class).map(|class| class.listed(input)).unwrap_or_default()
    }

    /// Returns the first of these classes that the server lacks.
    pub(super) fn lacking<'a>(&self, classes: &[&'a str]) -> Option<&'a str> {
        classes.iter().copied().find(|class| !self.classes.contains_key(*class))
    }

    /// Returns the names of the checkpoints as requests use them.
    pub(super) fn checkpoints(&self) -> Vec<String> {
        self.listed("CheckpointLoaderSimple", "ckpt_name").iter().map(|name| portable(name)).collect()
    }

    /// Returns the models of a kind as engines list them: checkpoints, and all others.
    pub(super) fn models(&self) -> (Vec<Model>, Vec<Model>) {
        let of = |kind: ModelKind, names: Vec<String>| {
            let models = names.into_iter().map(move |name| {
                let name = portable(&name);
                let title = stem(name.rsplit('/').next().unwrap_or(&name)).to_owned();
                Model::new(kind, name, title)
            });
            models.collect::<Vec<_>>()
        };
        let mut others = of(ModelKind::Lora, self.listed("LoraLoader", LORA));
        // `pixel_space` and its like are no files.
        let vaes = self.listed("VAELoader", "vae_name").into_iter().filter(|name| stem(name) != name);
        others.extend(of(ModelKind::Vae, vaes.collect()));
        others.extend(of(ModelKind::Embedding, self.embeddings.clone()));
        (of(ModelKind::Checkpoint, self.listed("CheckpointLoaderSimple", "ckpt_name")), others)
    }
}

/// Returns a name with the slashes that requests use. On Windows, the server lists backslashes.
fn portable(name: &str) -> String {
    name.replace('\\', "/")
}

/// Finds the server's own spelling of a name: that of the file, with its folder or without, with its extension or
/// without.
pub(super) fn find<'a>(listed: &'a [String], name: &str) -> Option<&'a String> {
    let file = |listed: &str| portable(listed).rsplit('/').next().unwrap_or_default().to_owned();
    let tests: [&dyn Fn(&str) -> bool; 4] = [
        &|listed| portable(listed) == portable(name),
        &|listed| stem(&portable(listed)) == stem(&portable(name)),
        &|listed| file(listed) == name,
        &|listed| stem(&file(listed)) == stem(name),
    ];
    tests.iter().find_map(|is| listed.iter().find(|listed| is(listed)))
}

#[cfg(test)]
impl Lists {
    /// Lists with these classes.
    pub(super) fn with_classes(classes: &Value) -> Self {
        let classes = classes.as_object().into_iter().flatten();
        Self {
            classes: classes.map(|(name, description)| (name.clone(), Class::read(description))).collect(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_the_servers_spelling() {
        let listed = ["sub\\a.safetensors", "a.ckpt", "b.v1.safetensors"].map(str::to_owned);
        for (name, found) in [
            ("sub/a.safetensors", Some("sub\\a.safetensors")),
            ("sub/a", Some("sub\\a.safetensors")),
            ("a.ckpt", Some("a.ckpt")),
            ("a", Some("a.ckpt")),
            ("b.v1", Some("b.v1.safetensors")),
            ("b", None),
            ("", None),
        ] {
            assert_eq!(find(&listed, name).map(String::as_str), found, "{name}");
        }
    }
}
