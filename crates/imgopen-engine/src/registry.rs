//! The engines of a server, and the choice among them.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::auditor::Auditor;
use crate::devices::Devices;
use crate::engine::Engine;
use crate::library::Library;
use crate::model::{Model, ModelKind};
use crate::named::NamedModel;
use crate::offer::{Grade, Models, Offer};
use crate::others::Others;

/// The engines of a server.
#[derive(Clone, Default)]
pub struct Registry {
    pub(crate) engines: Vec<Arc<dyn Engine>>,
    pub(crate) library: Option<Library>,
    pub(crate) devices: Devices,
    pub(crate) launcher: Option<PathBuf>,
    pub(crate) auditor: Option<Arc<dyn Auditor>>,
    /// The engines of other processes, in a view of a fleet.
    pub(crate) remote: Vec<Arc<dyn Engine>>,
    /// The models directories of other processes, in such a view.
    pub(crate) libraries: Vec<Arc<[Model]>>,
    /// What is known of other processes, if there are any.
    pub(crate) others: Option<Others>,
}

/// An engine with its offer for an operation.
#[derive(Clone)]
pub struct Choice {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// Its offer for the operation.
    pub offer: Offer,
}

/// Why no engine can serve a request now, and what would help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No engine offers the operation.
    #[error("no engine is configured for `{operation}`: it needs {}", need(operation))]
    Operation {
        /// The operation's id.
        operation: String,
    },
    /// Engines offer the operation, but none has the model.
    #[error("no engine for `{operation}` has the model \"{model}\"; {}", available(models))]
    Model {
        /// The operation's id.
        operation: String,
        /// The requested model.
        model: String,
        /// The names of the available models.
        models: Vec<String>,
    },
    /// The engine that would serve the request is away. It may come back, so the request can wait for it.
    #[error("the engine `{engine}` for `{operation}` is away: {reason}")]
    Away {
        /// The operation's id.
        operation: String,
        /// The name of the engine.
        engine: String,
        /// Why it is away.
        reason: String,
    },
}

impl Registry {
    /// Creates a registry. Among equally good engines, earlier ones are preferred.
    pub fn new(engines: Vec<Arc<dyn Engine>>) -> Self {
        Self { engines, ..Self::default() }
    }

    /// Sets the devices that its engines share.
    pub fn with_devices(self, devices: Devices) -> Self {
        Self { devices, ..self }
    }

    /// Returns the devices that its engines share.
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// Sets the program that starts others by its command `launch`, so that they end with this process.
    pub fn with_launcher(self, launcher: PathBuf) -> Self {
        Self { launcher: Some(launcher), ..self }
    }

    /// Returns the program that starts others. Without one, they are started directly.
    pub fn launcher(&self) -> Option<&Path> {
        self.launcher.as_deref()
    }

    /// Sets what audits the pictures of results, where a service is to do so.
    pub fn with_auditor(self, auditor: impl Auditor) -> Self {
        Self { auditor: Some(Arc::new(auditor)), ..self }
    }

    /// Returns what audits the pictures of results. Without it, none can be audited.
    pub fn auditor(&self) -> Option<&Arc<dyn Auditor>> {
        self.auditor.as_ref()
    }

    /// Also lists the models of a directory.
    pub fn with_library(self, library: Library) -> Self {
        Self { library: Some(library), ..self }
    }

    /// Returns the directory whose models it lists, if there is one.
    pub fn library(&self) -> Option<&Library> {
        self.library.as_ref()
    }

    /// Adds an engine after the others.
    pub fn with(mut self, engine: impl Engine) -> Self {
        self.engines.push(Arc::new(engine));
        self
    }

    /// Returns the engines, in the order given.
    pub fn engines(&self) -> &[Arc<dyn Engine>] {
        &self.engines
    }

    /// Returns the engine with that name.
    pub fn engine(&self, name: &str) -> Option<&Arc<dyn Engine>> {
        self.engines.iter().find(|engine| engine.name() == name)
    }

    /// Returns the best engine that offers the operation with the model; without a model, the best that offers the
    /// operation.
    ///
    /// The best is one of the highest grade. If it is away, another of the same grade that has the model is taken, but
    /// never one of a lower grade: a caller who was promised a result by a neural network does not get a test card. So the
    /// sandbox serves only operations that no other engine offers, whatever the model.
    ///
    /// # Errors
    ///
    /// Says whether the operation or only the model is missing, with what to install or configure, or which engine is away.
    pub fn pick(&self, operation_id: &str, model: Option<&str>) -> Result<Choice, Unavailable> {
        self.find(operation_id, model)?.there()
    }

    /// As [`pick`](Self::pick), but returns an engine that is away if no other may take its place: one that is
    /// [known](Offer::is_known) to serve the request, if there is one.
    ///
    /// # Errors
    ///
    /// Says whether the operation or only the model is missing, with what to install or configure.
    pub fn find(&self, operation_id: &str, model: Option<&str>) -> Result<Choice, Unavailable> {
        self.find_with(operation_id, model, &[])
    }

    /// As [`find`](Self::find), for a request that names these models beside its checkpoint. Among equally good engines, one that
    /// lists more of them is preferred.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn find_with(
        &self,
        operation_id: &str,
        model: Option<&str>,
        named: &[NamedModel],
    ) -> Result<Choice, Unavailable> {
        let mut offers = self.offers(operation_id);
        if offers.first().is_some_and(|best| best.offer.grade > Grade::Sandbox) {
            offers.retain(|choice| choice.offer.grade > Grade::Sandbox);
        }
        if offers.is_empty() {
            return Err(Unavailable::Operation { operation: operation_id.to_owned() });
        }
        let mut fitting = offers.iter().filter(|choice| model.is_none_or(|model| choice.offer.models.has(model)));
        let Some(best) = fitting.next() else {
            return Err(Unavailable::Model {
                operation: operation_id.to_owned(),
                model: model.unwrap_or_default().to_owned(),
                models: distinct(offers.iter().flat_map(|choice| choice.offer.models.names())),
            });
        };
        let equals = fitting.take_while(|choice| choice.offer.grade == best.offer.grade);
        let rank = |choice: &&Choice| {
            let lacking = named.iter().filter(|named| !self.has(choice, named)).count();
            (lacking, choice.offer.away.is_some(), choice.offer.prepares_only, !choice.offer.is_known)
        };
        // The first of several with the same rank.
        Ok(std::iter::once(best).chain(equals).min_by_key(rank).unwrap_or(best).clone())
    }

    /// Returns whether a choice lists a model that a request names beside its checkpoint: its engine, or the models directory of
    /// its process, which for this one is that of the last [`own_offers`](Self::own_offers).
    pub fn has(&self, choice: &Choice, named: &NamedModel) -> bool {
        let has_own = || self.others.as_ref().is_some_and(|others| others.has_own(named));
        choice.engine.has(named) || (!choice.engine.is_elsewhere() && has_own())
    }

    /// Returns all engines that offer the operation, the best first, those that are away included.
    pub fn offers(&self, operation_id: &str) -> Vec<Choice> {
        let of = |engine: &Arc<dyn Engine>| {
            let offers = engine.offers_for(operation_id).into_iter();
            offers.map(|offer| Choice { engine: engine.clone(), offer }).collect::<Vec<_>>()
        };
        let mut choices: Vec<Choice> = self.engines.iter().chain(&self.remote).flat_map(of).collect();
        choices.sort_by_key(|choice| Reverse(choice.offer.grade));
        choices
    }

    /// Returns all models of a kind: those of the engines in their order, then those of the library. Of several with the
    /// same name, the first is listed. A LoRA that has an owner in the library has it in the lists of engines, too, whatever
    /// directory they name it in. Reading the library blocks.
    ///
    /// Of a whole fleet, models of the same name with different owners are all listed.
    pub fn models(&self, kind: ModelKind) -> Vec<Model> {
        let library: Vec<Model> = self.library.iter().flat_map(Library::models).collect();
        let with_owner = with_owners(&library);
        let own = self.engines.iter().flat_map(|engine| listed(&**engine)).map(with_owner).chain(library);
        let mut names = HashSet::new();
        let own = own.filter(|model| model.kind == kind && names.insert(model.name.clone()));
        let mut models: Vec<Model> = own.collect();
        let mut known: HashSet<_> = models.iter().map(|model| (model.name.clone(), model.owner.clone())).collect();
        let remote = self.remote.iter().flat_map(|engine| listed(&**engine));
        let remote = remote.chain(self.libraries.iter().flat_map(|models| models.iter().cloned()));
        let is_new = |model: &Model| model.kind == kind && known.insert((model.name.clone(), model.owner.clone()));
        models.extend(remote.filter(is_new));
        models
    }
}

/// Returns the models that an engine lists.
fn listed(engine: &dyn Engine) -> Vec<Model> {
    let of_offers = engine.offers().into_iter().flat_map(|offer| match offer.models {
        Models::Any => Vec::new(),
        Models::Listed(models) => models,
    });
    of_offers.chain(engine.models()).collect()
}

/// Returns what gives the LoRAs of engines the owners that they have in a models directory.
pub(crate) fn with_owners(library: &[Model]) -> impl Fn(Model) -> Model + use<> {
    let owned = library.iter().filter(|model| model.kind == ModelKind::Lora && model.owner.is_some());
    let owners: HashMap<_, _> = owned.map(|model| (model.stem().to_lowercase(), model.owner.clone())).collect();
    // A file of another kind may have the name of a LoRA.
    let open = library.iter().filter(|model| model.kind == ModelKind::Lora && model.owner.is_none());
    let open: HashSet<_> = open.map(|model| model.name.clone()).collect();
    move |mut model: Model| {
        if model.kind == ModelKind::Lora && model.owner.is_none() && !open.contains(&model.name) {
            model.owner = owners.get(&model.stem().to_lowercase()).cloned().flatten();
        }
        model
    }
}

impl Choice {
    /// Returns this if the engine is not away.
    ///
    /// # Errors
    ///
    /// Says that it is away, and why.
    pub fn there(self) -> Result<Self, Unavailable> {
        match &self.offer.away {
            None => Ok(self),
            Some(reason) => Err(Unavailable::Away {
                operation: self.offer.operation.id.to_owned(),
                engine: self.engine.name().to_owned(),
                reason: reason.clone(),
            }),
        }
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

/// Suggests models, the first few by name.
fn available(models: &[String]) -> String {
    const SHOWN: usize = 10;
    if models.is_empty() {
        return "none is installed; add one to the engine's models".to_owned();
    }
    let shown = models.iter().take(SHOWN).map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    match models.len().saturating_sub(SHOWN) {
        0 => format!("give one of {shown}"),
        more => format!("give one of {shown} or {more} more, which `list_models` lists"),
    }
}

/// The only operation with work to do that the sandbox does not imitate.
const NOT_IN_SANDBOX: &str = "submit_training";

/// Says what an operation needs, and what to do.
fn need(operation: &str) -> String {
    const SANDBOX: &str = "configure one, or start with `--sandbox` for labelled test cards in place of results";
    match NEEDS.iter().find(|(id, _)| *id == operation) {
        Some((_, need)) if operation != NOT_IN_SANDBOX => format!("{need}; {SANDBOX}"),
        Some((_, need)) => format!("{need}; configure one, the sandbox does not train"),
        None => "none, because the service answers it itself or it is not an operation of the API".to_owned(),
    }
}

/// What carries out each operation that the service does not answer itself.
const NEEDS: &[(&str, &str)] = &[
    ("text_to_image", "an engine with Stable Diffusion weights"),
    ("image_to_image", "an engine with Stable Diffusion weights"),
    ("controlnet", "an engine with Stable Diffusion and ControlNet weights"),
    ("submit_training", "an engine that trains LoRAs"),
    ("flux_text_to_image", "an engine with FLUX.1 weights"),
    ("swap_face", "an engine that swaps faces, such as that of `imgopen models pull faces`"),
    ("swap_face_v2", "an engine that swaps faces, such as that of `imgopen models pull faces`"),
    ("swap_faces", "an engine that swaps faces, such as that of `imgopen models pull faces`"),
    ("instant_id", "an engine with Stable Diffusion and InstantID weights"),
    (
        "restore_face",
        "an engine with a face restoration model, such as CodeFormer, or with that of `imgopen models pull upscale`, which \
         sharpens faces",
    ),
    (
        "super_resolution",
        "an engine with an upscaling model, such as Real-ESRGAN, or one that resamples, such as `lanczos`",
    ),
    (
        "describe_image",
        "an engine with an image captioning model, such as CLIP, or with that of `imgopen models pull tags`, or one that \
         measures, such as `describe`",
    ),
    ("detect_faces", "an engine with a face detector, such as `faces`, which has one built in"),
    ("expand_prompt", "an engine with a language model, or one that adds modifiers, such as `prompts`"),
    (
        "change_hairstyle",
        "an engine with a model that finds people, such as that of `imgopen models pull portrait`, with which hair gets another \
         colour, and for another style also a back end that inpaints",
    ),
    (
        "remove_object",
        "an engine that inpaints, or one that fills with texture, such as `patchmatch`, which needs no weights",
    ),
    ("recognize_style", "an engine with a style classifier, or one that measures, such as `statistics`"),
    ("preview_controlnet", "an engine with ControlNet preprocessors, such as `preprocessors`, which needs no weights"),
    ("outpaint", "an engine that outpaints, or one that fills with texture, such as `patchmatch`, for a draft"),
    (
        "remove_background",
        "an engine with a background removal model, such as that of `imgopen models pull portrait`, which finds people, or of \
         `imgopen models pull background`, which finds any object",
    ),
    ("enlarge_image", "an engine that enlarges pictures, such as `lanczos`, which needs no weights"),
    ("watermark_image", "an engine that prints marks onto pictures, such as `watermark`, which needs no weights"),
];
