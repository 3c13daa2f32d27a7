//! Fills the placeholders of a workflow.

use std::collections::BTreeMap;

use imgopen_engine::{EngineError, Format, JobRequest, UnknownFormat};
use imgopen_types::Operation;
use serde_json::Value;

use super::fields::{self, FORMAT, MODEL, Source, VARIANT, asks_nothing, given, value};
use super::{Placeholder, Template};
use crate::comfyui::graph::PREFIX;
use crate::comfyui::lists::{Lists, find};
use crate::comfyui::parameters::{self, Settings};
use crate::comfyui::sampling::Sampler;
use crate::comfyui::text::Text;
use crate::generation::{Prompt, Sampling};
use crate::names::choice;

/// A request for a workflow.
#[derive(Debug, Clone)]
pub(in crate::comfyui) struct Filling {
    body: Value,
    /// How many pictures it asks for.
    pub pictures: u32,
    /// The seed that it names.
    pub seed: Option<i64>,
    /// The format of the result files.
    pub format: Format,
}

/// A picture that a workflow reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::comfyui) struct Wanted {
    /// The field that names it.
    pub field: String,
    pub is_mask: bool,
}

impl Template {
    /// Reads a request, and refuses what the workflow has no place for.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] names the field.
    pub(in crate::comfyui) fn request(&self, request: &JobRequest, name: &str) -> Result<Filling, EngineError> {
        let body: Value = request.view()?;
        for (path, given) in given(&body, "") {
            if path == VARIANT && !self.stands_for(VARIANT) {
                self.check_variant(given, name)?;
                continue;
            }
            if path == MODEL || self.stands_for(&path) || asks_nothing(&path, given, &body, self.operation) {
                continue;
            }
            return Err(self.unplaced(path, "it", name));
        }
        self.check_sampling(&body, name)?;
        let pictures = fields::pictures(&body)?;
        let seed = match value(&body, "seed") {
            None => None,
            Some(seed) => {
                let number = seed.as_str().map_or_else(|| seed.as_i64(), |text| text.trim().parse().ok());
                let last = i64::MAX - i64::from(pictures);
                match number {
                    Some(-1) => None,
                    Some(seed) if (0..=last).contains(&seed) => Some(seed),
                    _ => {
                        let problem =
                            format!("{seed} given; give a whole number from 0 to {last}, or -1 for a random seed");
                        return Err(EngineError::rejected("seed", problem));
                    }
                }
            }
        };
        let format = match value(&body, FORMAT).and_then(Value::as_str) {
            Some(format) => {
                format.parse().map_err(|error: UnknownFormat| EngineError::rejected(FORMAT, error.to_string()))?
            }
            None => Format::Png,
        };
        Ok(Filling { body, pictures, seed, format })
    }

    /// Refuses a sampler or a schedule of a request if the workflow has no place for just that part of the name.
    fn check_sampling(&self, body: &Value, name: &str) -> Result<(), EngineError> {
        let places: Vec<&Source> = self.placeholders.iter().map(|placeholder| &placeholder.source).collect();
        let path = places.iter().find_map(|source| match source {
            Source::Sampler(path) | Source::Scheduler(path) => path.as_deref(),
            _ => None,
        });
        let Some(path) = path else { return Ok(()) };
        let Some(asked) = value(body, path).and_then(Value::as_str).map(Sampling::parse) else { return Ok(()) };
        if !places.iter().any(|source| matches!(source, Source::Sampler(_))) {
            return Err(self.unplaced(path.to_owned(), "a sampler", name));
        }
        if asked.schedule.is_some() && !places.iter().any(|source| matches!(source, Source::Scheduler(_))) {
            return Err(self.unplaced(path.to_owned(), "a schedule", name));
        }
        Ok(())
    }

    fn check_variant(&self, asked: &Value, name: &str) -> Result<(), EngineError> {
        match self.variant() {
            Some(variant) if *asked != variant.wire_name() => {
                let own = variant.wire_name();
                let problem = format!("the workflow of the back end `{name}` (ComfyUI) is made for {own}; give that");
                Err(EngineError::rejected(VARIANT, problem))
            }
            _ => Ok(()),
        }
    }

    fn unplaced(&self, path: String, what: &str, name: &str) -> EngineError {
        let operation = self.operation.id;
        let problem = format!(
            "the workflow of the back end `{name}` (ComfyUI) for `{operation}` has no place for {what}; leave it out"
        );
        EngineError::rejected(path, problem)
    }

    /// Returns the pictures that the workflow reads.
    pub(in crate::comfyui) fn pictures(&self) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for placeholder in &self.placeholders {
            let (field, is_mask) = match &placeholder.source {
                Source::Picture(field) => (field.clone(), false),
                Source::Mask(field) => (field.clone(), true),
                _ => continue,
            };
            if !wanted.iter().any(|known| known.field == field) {
                wanted.push(Wanted { field, is_mask });
            }
        }
        wanted
    }

    /// Returns the graph for a picture. `uploads` are the server's names of pictures by their fields.
    ///
    /// # Errors
    ///
    /// [`EngineError::Rejected`] names the field whose value the server does not take.
    pub(in crate::comfyui) fn fill(
        &self,
        filling: &Filling,
        (lists, name): (&Lists, &str),
        uploads: &BTreeMap<String, String>,
        seed: i64,
        prefix: &str,
    ) -> Result<Value, EngineError> {
        let mut graph = self.graph.clone();
        if let Some(model) = value(&filling.body, MODEL).and_then(Value::as_str)
            && !self.stands_for(MODEL)
            && !self.is_made_for(model, lists)
        {
            let known = choice(&self.models(lists));
            let problem =
                format!("the workflow of the back end `{name}` (ComfyUI) is not made for \"{model}\"; {known}");
            return Err(EngineError::rejected(MODEL, problem));
        }
        let filler = Filler { template: self, filling, lists, name, uploads, seed };
        let same = |one: &Placeholder, other: &Placeholder| (&one.node, &one.input) == (&other.node, &other.input);
        for placeholders in self.placeholders.chunk_by(same) {
            let [Placeholder { node, input, .. }, ..] = placeholders else { continue };
            filler.put(placeholders, &mut graph[node]["inputs"][input])?;
        }
        for id in self.saving() {
            graph[id]["inputs"][PREFIX] = prefix.into();
        }
        for placeholder in &self.placeholders {
            filler.check(placeholder, &mut graph[&placeholder.node])?;
        }
        Ok(graph)
    }
}

impl Filling {
    /// Returns the size that it asks for, if it names one.
    pub(in crate::comfyui) fn size(&self) -> Option<(u32, u32)> {
        let side = |name: &str| u32::try_from(value(&self.body, name)?.as_u64()?).ok();
        Some((side("width")?, side("height")?))
    }

    /// Returns the model that it names.
    pub(in crate::comfyui) fn model(&self) -> Option<&str> {
        value(&self.body, MODEL).and_then(Value::as_str)
    }

    /// Describes a picture, if it was made from a prompt.
    pub(in crate::comfyui) fn parameters(&self, operation: &Operation, seed: i64) -> Option<String> {
        let text = |name: &str| value(&self.body, name).and_then(Value::as_str);
        let prompt = text("prompt")?;
        let mut settings = Settings::default();
        for (name, field) in [("Steps", "steps"), ("Sampler", "sampler_index"), ("CFG scale", "cfg_scale")] {
            if let Some(value) = value(&self.body, field) {
                settings.add(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            }
        }
        settings.add("Seed", seed);
        if let Some((width, height)) = self.size() {
            settings.add("Size", format!("{width}x{height}"));
        }
        settings.add("Workflow", operation.id);
        Some(parameters::text(
            prompt,
            text("negative_prompt").or_else(|| text("negativePrompt")).unwrap_or_default(),
            &settings,
        ))
    }
}

struct Filler<'a> {
    template: &'a Template,
    filling: &'a Filling,
    lists: &'a Lists,
    name: &'a str,
    uploads: &'a BTreeMap<String, String>,
    seed: i64,
}

impl Filler<'_> {
    /// Puts the values of placeholders into a text, or a value in its place if it is all of the text. What a value
    /// holds is not looked at again.
    fn put(&self, placeholders: &[Placeholder], into: &mut Value) -> Result<(), EngineError> {
        let text = into.as_str().unwrap_or_default().to_owned();
        if let [placeholder] = placeholders
            && text.trim() == placeholder.text
        {
            *into = self.value(placeholder)?;
            return Ok(());
        }
        let (mut filled, mut rest) = (String::new(), text.as_str());
        for placeholder in placeholders {
            let value = self.value(placeholder)?;
            let (before, after) = rest.split_once(&placeholder.text).unwrap_or((rest, ""));
            filled.push_str(before);
            filled.push_str(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            rest = after;
        }
        filled.push_str(rest);
        *into = filled.into();
        Ok(())
    }

    fn value(&self, placeholder: &Placeholder) -> Result<Value, EngineError> {
        let body = &self.filling.body;
        let asked = |path: &str| {
            let default = || placeholder.default.clone().or_else(|| fields::default(path, self.template.operation));
            let asked = value(body, path).cloned().or_else(default);
            asked.ok_or_else(|| {
                let problem = format!("missing; the workflow of the back end `{}` (ComfyUI) needs it", self.name);
                EngineError::rejected(path, problem)
            })
        };
        match &placeholder.source {
            Source::Seed => Ok(self.seed.into()),
            Source::Sampler(path) => Ok(self.sampler(path.as_deref(), placeholder)?.sampler.into()),
            Source::Scheduler(path) => Ok(self.sampler(path.as_deref(), placeholder)?.scheduler.into()),
            Source::Prompt(path) => self.prompt(path, asked(path)?.as_str().unwrap_or_default()),
            Source::Picture(path) | Source::Mask(path) => match self.uploads.get(path) {
                Some(file) => Ok(file.as_str().into()),
                None => asked(path),
            },
            Source::Field(path) => asked(path),
        }
    }

    fn sampler(&self, path: Option<&str>, placeholder: &Placeholder) -> Result<Sampler, EngineError> {
        let asked = path.and_then(|path| value(&self.filling.body, path)).and_then(Value::as_str);
        let own = placeholder.default.as_ref().and_then(Value::as_str);
        let listed = self.lists.listed("KSampler", "sampler_name");
        let sampling = asked.or(own).map(Sampling::parse);
        Sampler::find(sampling.as_ref(), false, &listed).ok_or_else(|| {
            let known = choice(&Sampler::names(&listed));
            let asked = asked.unwrap_or_default();
            let problem =
                format!("the back end `{}` (ComfyUI) does not offer the sampler \"{asked}\"; {known}", self.name);
            EngineError::rejected(path.unwrap_or("sampler"), problem)
        })
    }

    /// A workflow loads the LoRAs that it is made with.
    fn prompt(&self, path: &str, given: &str) -> Result<Value, EngineError> {
        let prompt = Prompt::parse(given).map_err(|problem| EngineError::rejected(path, problem))?;
        let foreign = prompt.loras.first().map(|lora| format!("<lora:{}>", lora.name));
        if let Some(foreign) = foreign.or_else(|| prompt.web_ui_syntax().map(str::to_owned)) {
            let problem =
                format!("the workflow of the back end `{}` (ComfyUI) takes `{foreign}` as words; remove it", self.name);
            return Err(EngineError::rejected(path, problem));
        }
        Ok(Text::translate(given, path, &self.lists.embeddings, self.name)?.text.into())
    }

    /// Takes the server's own spelling of a name, and refuses a value that the node does not take.
    fn check(&self, placeholder: &Placeholder, node: &mut Value) -> Result<(), EngineError> {
        let class = node["class_type"].as_str().unwrap_or_default().to_owned();
        let value = &mut node["inputs"][&placeholder.input];
        if let Some(text) = value.as_str()
            && let Some(found) = find(&self.lists.listed(&class, &placeholder.input), text)
        {
            *value = found.as_str().into();
        }
        let problem = self.lists.class(&class).and_then(|known| known.problem(&placeholder.input, value));
        let Some(problem) = problem else { return Ok(()) };
        let problem = format!("the back end `{}` (ComfyUI) does not take it: {problem}", self.name);
        Err(match placeholder.source.path() {
            Some(path) => EngineError::rejected(path, problem),
            None => EngineError::Rejected { field: None, problem },
        })
    }
}
