//! The engines of a server, and which of them serves a request.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use crate::engine::{Engine, Model, ModelKind, Models, Offer};
use crate::library::Library;

/// The engines of a server.
#[derive(Clone, Default)]
pub struct Registry {
    engines: Vec<Arc<dyn Engine>>,
    library: Option<Library>,
}

/// An engine with its offer that fits a request.
#[derive(Clone)]
pub struct Choice {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// What it offers for the operation.
    pub offer: Offer,
}

/// Why no engine serves a request, and what would help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No engine offers the operation.
    #[error("no engine is configured for `{operation}`: it needs {}", need(operation))]
    Operation {
        /// The operation's id.
        operation: String,
    },
    /// Engines offer the operation, but none has the model.
    #[error("no engine for `{operation}` has the model \"{model}\"; {}", listed(models))]
    Model {
        /// The operation's id.
        operation: String,
        /// The model that was asked for.
        model: String,
        /// The names of the models that there are.
        models: Vec<String>,
    },
}

impl Registry {
    /// Holds these engines. Of several that are equally good for a request, the first is taken.
    pub fn new(engines: Vec<Arc<dyn Engine>>) -> Self {
        Self { engines, library: None }
    }

    /// Also lists the models of a folder.
    pub fn with_library(self, library: Library) -> Self {
        Self { library: Some(library), ..self }
    }

    /// Adds an engine behind those that there are.
    pub fn with(mut self, engine: impl Engine) -> Self {
        self.engines.push(Arc::new(engine));
        self
    }

    /// The engines, in the order given.
    pub fn engines(&self) -> &[Arc<dyn Engine>] {
        &self.engines
    }

    /// The best engine that offers the operation with that model; without a model, the best that offers the operation.
    ///
    /// # Errors
    ///
    /// Tells whether the operation or only the model is missing, and what to install or configure.
    pub fn pick(&self, operation_id: &str, model: Option<&str>) -> Result<Choice, Unavailable> {
        let offers = self.offers(operation_id);
        if offers.is_empty() {
            return Err(Unavailable::Operation { operation: operation_id.to_owned() });
        }
        let fits = |choice: &&Choice| model.is_none_or(|model| choice.offer.models.has(model));
        offers.iter().find(fits).cloned().ok_or_else(|| Unavailable::Model {
            operation: operation_id.to_owned(),
            model: model.unwrap_or_default().to_owned(),
            models: distinct(offers.iter().flat_map(|choice| choice.offer.models.names())),
        })
    }

    /// All engines that offer the operation, the best first.
    pub fn offers(&self, operation_id: &str) -> Vec<Choice> {
        let of = |engine: &Arc<dyn Engine>| {
            let offers = engine.offers().into_iter().filter(|offer| offer.operation.id == operation_id);
            offers.map(|offer| Choice { engine: engine.clone(), offer }).collect::<Vec<_>>()
        };
        let mut choices: Vec<Choice> = self.engines.iter().flat_map(of).collect();
        choices.sort_by_key(|choice| Reverse(choice.offer.grade));
        choices
    }

    /// All models of a kind: those of the engines in their order, then those of the library; of several with one name the
    /// first. Looking through a library blocks.
    pub fn models(&self, kind: ModelKind) -> Vec<Model> {
        let of = |engine: &Arc<dyn Engine>| {
            let listed = engine.offers().into_iter().flat_map(|offer| match offer.models {
                Models::Any => Vec::new(),
                Models::Listed(models) => models,
            });
            listed.chain(engine.models()).collect::<Vec<_>>()
        };
        let library = self.library.iter().flat_map(Library::models);
        let mut names = HashSet::new();
        let models = self.engines.iter().flat_map(of).chain(library);
        models.filter(|model| model.kind == kind && names.insert(model.name.clone())).collect()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.engines.iter().map(|engine| engine.name())).finish()
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choice").field("engine", &self.engine.name()).field("offer", &self.offer).finish()
    }
}

fn distinct(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}

/// Names the models that there are, without flooding the reader.
fn listed(models: &[String]) -> String {
    const SHOWN: usize = 10;
    if models.is_empty() {
        return "there is none at all; add one to the engine's models".to_owned();
    }
    let shown = models.iter().take(SHOWN).map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    match models.len().saturating_sub(SHOWN) {
        0 => format!("give one of {shown}"),
        more => format!("give one of {shown} or {more} more, which the lists of models name"),
    }
}

/// The only operation with work to do that the sandbox does not imitate.
const NOT_IN_SANDBOX: &str = "submit_training";

/// What an operation needs, and what to do.
fn need(operation: &str) -> String {
    const SANDBOX: &str = "configure one, or start with `--sandbox` for labelled test cards in place of results";
    match NEEDS.iter().find(|(id, _)| *id == operation) {
        Some((_, need)) if operation != NOT_IN_SANDBOX => format!("{need}; {SANDBOX}"),
        Some((_, need)) => format!("{need}; configure one, there is no sandbox for it"),
        None => "none: it is answered by the service itself, or is no operation of the API".to_owned(),
    }
}

/// What carries out each operation that is not answered by the service itself.
const NEEDS: &[(&str, &str)] = &[
    ("text_to_image", "an engine with Stable Diffusion weights"),
    ("image_to_image", "an engine with Stable Diffusion weights"),
    ("controlnet", "an engine with Stable Diffusion and ControlNet weights"),
    ("submit_training", "an engine that trains LoRAs"),
    ("flux_text_to_image", "an engine with FLUX.1 weights"),
    ("swap_face", "an engine that finds and swaps faces"),
    ("swap_face_v2", "an engine that finds and swaps faces"),
    ("swap_faces", "an engine that finds and swaps faces"),
    ("instant_id", "an engine with Stable Diffusion and InstantID weights"),
    ("restore_face", "an engine with a model that repairs faces, such as CodeFormer"),
    (
        "super_resolution",
        "an engine with an upscaling model, such as Real-ESRGAN, or one that enlarges, such as `lanczos`",
    ),
    ("describe_image", "an engine with a model that describes pictures, such as CLIP"),
    ("detect_faces", "an engine with a model that finds faces, such as `faces`, which brings its own"),
    ("expand_prompt", "an engine with a language model, or one that adds modifiers, such as `prompts`"),
    ("change_hairstyle", "an engine that repaints the parts of a picture, with a model that finds hair"),
    (
        "remove_object",
        "an engine that repaints the parts of a picture, or one that fills them, such as `patchmatch`, which needs no \
         weights",
    ),
    ("recognize_style", "an engine with a model that tells styles apart, or one that measures, such as `statistics`"),
    (
        "preview_controlnet",
        "an engine with the preprocessors of ControlNet, such as `preprocessors`, which needs no weights",
    ),
    (
        "outpaint",
        "an engine that paints beyond the edges of a picture, or one that fills them, such as `patchmatch`, for a draft",
    ),
    ("remove_background", "an engine with a model that tells background from foreground"),
    ("enlarge_image", "an engine that enlarges pictures, such as `lanczos`, which needs no weights"),
    ("watermark_image", "an engine that prints marks onto pictures, such as `watermark`, which needs no weights"),
];
