//! Checks a generation against what the server has, and finds the server's names for it.
//!
//! The server takes any name and replaces those that it does not know, so nothing is sent that is not in its lists.

use imgopen_engine::{EngineError, tags};

use super::lists::{Control, Lists};
use crate::generation::{Checkpoint, ControlUnit, Generation, Sampling};
use crate::refusals::{CHECKPOINT, FLUX, HIRES_OF_PICTURES, Refusals, Sides, schnell_note};
use crate::settings::BackendSettings;

/// The sampler of requests that name none.
const DEFAULT_SAMPLER: &str = "Euler";
/// The schedule that a sampler chooses for itself.
const AUTOMATIC: &str = "Automatic";
/// The model's own schedule.
const UNIFORM: &str = "Uniform";
const FLUX_SCHEDULE: &str = "Simple";
/// It chooses how many steps it makes.
const ADAPTIVE: &str = "DPM adaptive";
/// The name of ADetailer in the list of scripts.
const ADETAILER: &str = "adetailer";
const SIDES: Sides = Sides { multiple: 8, flux_multiple: 16, least: 64, most: None };

/// The server's names for what a generation asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resolved {
    /// The checkpoint for `override_settings`.
    pub checkpoint: String,
    /// Its name in reports.
    pub model_name: String,
    pub sampler: String,
    /// `None` for servers whose samplers have joint names.
    pub schedule: Option<String>,
    pub vae: Option<String>,
    /// Modules of Forge, by their paths on the server; `None` leaves those that are set there.
    pub modules: Option<Vec<String>>,
    pub units: Vec<Unit>,
    /// What the caller should know.
    pub notes: Vec<String>,
}

/// The server's names for a ControlNet unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub module: String,
    pub model: String,
}

/// Looks up what a generation asks for.
pub(super) fn resolve(
    generation: &Generation,
    lists: &Lists,
    settings: &BackendSettings,
    name: &str,
) -> Result<Resolved, EngineError> {
    let program = if lists.is_forge { "Forge" } else { "A1111" };
    Resolver { generation, lists, settings, backend: Refusals { name, program }, notes: Vec::new() }.resolve()
}

struct Resolver<'a> {
    generation: &'a Generation,
    lists: &'a Lists,
    settings: &'a BackendSettings,
    backend: Refusals<'a>,
    notes: Vec<String>,
}

impl Resolver<'_> {
    fn resolve(mut self) -> Result<Resolved, EngineError> {
        self.backend.check_sides(self.generation, SIDES, SIDES)?;
        self.check_prompt()?;
        self.check_extras()?;
        let (checkpoint, modules) = self.checkpoint()?;
        let Some(found) = self.lists.checkpoint(&checkpoint) else {
            let names: Vec<String> = self.lists.checkpoints.iter().map(super::lists::Checkpoint::name).collect();
            return Err(self.backend.missing(self.checkpoint_field(), "model", &checkpoint, &names));
        };
        let model_name = found.model_name.clone();
        let (sampler, schedule) = self.sampling()?;
        let (vae, vae_modules) = self.vae()?;
        let units = self.generation.control.iter().map(|unit| self.unit(unit)).collect::<Result<Vec<_>, _>>()?;
        self.note(&sampler, &units);
        let notes = self.notes;
        Ok(Resolved { checkpoint, model_name, sampler, schedule, vae, modules: vae_modules.or(modules), units, notes })
    }

    fn check_prompt(&self) -> Result<(), EngineError> {
        let unknown = self.generation.prompt.loras.iter().find(|lora| !self.lists.has_lora(&lora.name));
        unknown.map_or(Ok(()), |lora| Err(EngineError::rejected("prompt", tags::unknown_lora(&lora.name))))
    }

    fn check_extras(&self) -> Result<(), EngineError> {
        let Generation { start, hires, restore_faces, scripts, members, detailer, .. } = self.generation;
        let lists = self.lists;
        if *restore_faces && lists.face_restorers.is_empty() {
            return Err(self.backend.refused("restore_faces", "face restoration; send the result to `restore_face`"));
        }
        if let Some(hires) = hires {
            if start.is_some() {
                return Err(self.backend.refused("enable_hr", HIRES_OF_PICTURES));
            }
            if !lists.upscalers.contains(&hires.upscaler) {
                return Err(self.backend.missing("hr_upscaler", "upscaler", &hires.upscaler, &lists.upscalers));
            }
        }
        let (known, available) = match start {
            Some(_) => (&lists.members.1, &lists.scripts.img2img),
            None => (&lists.members.0, &lists.scripts.txt2img),
        };
        if let Some(member) = members.keys().find(|member| !known.contains(*member)) {
            return Err(self.backend.refused(member, "this member; remove it"));
        }
        let has = |script: &str| available.iter().any(|known| known.eq_ignore_ascii_case(script));
        if detailer.is_some() && !has(ADETAILER) {
            let problem = "the plug-in ADetailer; its operator can install it there";
            return Err(self.backend.refused("alwayson_scripts.ADetailer", problem));
        }
        for script in scripts.keys() {
            let field = format!("alwayson_scripts.{script}");
            if script.eq_ignore_ascii_case("controlnet") {
                return Err(self.backend.refused(&field, "units there; give them in `controlnet`"));
            }
            if !self.settings.scripts.iter().any(|allowed| allowed.eq_ignore_ascii_case(script)) {
                return Err(self
                    .backend
                    .refused(&field, "this script for requests; its operator can allow it by `scripts`"));
            }
            if !has(script) {
                return Err(self.backend.missing(&field, "script", script, available));
            }
        }
        Ok(())
    }

    fn checkpoint_field(&self) -> &'static str {
        if self.generation.is_flux() { FLUX } else { CHECKPOINT }
    }

    /// Returns the name of the checkpoint, and the modules that FLUX.1 needs. Modules stay set in the server, so those of
    /// Stable Diffusion are set to none wherever those of FLUX.1 may have been set.
    fn checkpoint(&self) -> Result<(String, Option<Vec<String>>), EngineError> {
        match &self.generation.checkpoint {
            Checkpoint::Named(name) => {
                let has_flux = self.settings.flux_dev.is_some() || self.settings.flux_schnell.is_some();
                Ok((name.clone(), (has_flux && self.lists.is_forge).then(Vec::new)))
            }
            Checkpoint::Flux(variant) => {
                let files = self.settings.flux_files(*variant).ok_or_else(|| self.backend.without_files(*variant))?;
                if !self.lists.is_forge {
                    return Err(self.backend.refused(FLUX, "FLUX.1, which takes Forge"));
                }
                let modules = files.modules.iter().map(|module| self.module(FLUX, module));
                Ok((files.checkpoint.clone(), Some(modules.collect::<Result<Vec<_>, _>>()?)))
            }
        }
    }

    fn module(&self, field: &str, name: &str) -> Result<String, EngineError> {
        let names = || self.lists.vaes.iter().map(|vae| vae.model_name.clone()).collect::<Vec<_>>();
        let found =
            self.lists.vae(name).ok_or_else(|| self.backend.missing(field, "VAE or text encoder", name, &names()))?;
        Ok(found.filename.clone())
    }

    /// Returns the VAE by its name for A1111, and as a module for Forge.
    fn vae(&self) -> Result<(Option<String>, Option<Vec<String>>), EngineError> {
        const FIELD: &str = "alwayson_scripts.sd_vae";
        let Some(name) = &self.generation.vae else { return Ok((None, None)) };
        let path = self.module(FIELD, name)?;
        match self.lists.is_forge {
            true => Ok((None, Some(vec![path]))),
            false => Ok((self.lists.vae(name).map(|vae| vae.model_name.clone()), None)),
        }
    }

    fn sampling(&self) -> Result<(String, Option<String>), EngineError> {
        let default = || Sampling::parse(DEFAULT_SAMPLER);
        let sampling = self.generation.sampling.clone().unwrap_or_else(default);
        let missing = || {
            let names: Vec<String> = self.lists.samplers.iter().map(|sampler| sampler.name.clone()).collect();
            self.backend.missing("sampler_index", "sampler", &sampling.joint, &names)
        };
        let find = |name: &str| self.lists.samplers.iter().find(|sampler| sampler.is(name));
        if self.lists.schedulers.is_empty() {
            return Ok((find(&sampling.joint).ok_or_else(missing)?.name.clone(), None));
        }
        let sampler = find(&sampling.method).ok_or_else(missing)?;
        let label = match sampling.schedule {
            Some(schedule) => schedule.name(),
            None if self.generation.is_flux() => FLUX_SCHEDULE,
            // A plain name used to mean the model's own schedule; since 1.9 some samplers choose another by themselves.
            None if sampler.has_own_schedule() => UNIFORM,
            None => AUTOMATIC,
        };
        let known = self.lists.schedulers.iter().find(|known| known.label == label || known.name == label);
        known.map(|known| (sampler.name.clone(), Some(known.label.clone()))).ok_or_else(missing)
    }

    fn unit(&mut self, unit: &ControlUnit) -> Result<Unit, EngineError> {
        let Some(control) = &self.lists.control else { return Err(self.backend.refused(&unit.path, "ControlNet")) };
        if self.generation.control.len() > control.units {
            let problem = format!("more than {} ControlNet units; enable fewer", control.units);
            return Err(self.backend.refused(&unit.path, &problem));
        }
        let module = match &unit.module {
            None => NONE.to_owned(),
            Some(module) => self.preprocessor(control, unit, module)?,
        };
        let model = match &unit.model {
            // Such preprocessors steer the model itself.
            None if module.starts_with("reference") => NONE.to_owned(),
            None => {
                let problem = format!("missing; the preprocessor `{module}` needs a ControlNet model");
                return Err(EngineError::rejected(format!("{}.model", unit.path), problem));
            }
            Some(model) => {
                let found = control.model(model).map(str::to_owned);
                let field = format!("{}.model", unit.path);
                found.ok_or_else(|| self.backend.missing(&field, "ControlNet model", model, &control.models))?
            }
        };
        Ok(Unit { module, model })
    }

    /// Finds a preprocessor by its name, or the first of the kind that the API names.
    fn preprocessor(&mut self, control: &Control, unit: &ControlUnit, asked: &str) -> Result<String, EngineError> {
        let find = |name: &str| control.modules.iter().find(|known| known.eq_ignore_ascii_case(name));
        if let Some(found) = find(asked) {
            return Ok(found.clone());
        }
        let field = format!("{}.module", unit.path);
        let of_kind = KINDS.iter().find(|(kind, _)| *kind == asked).into_iter().flat_map(|(_, names)| *names);
        let Some(found) = of_kind.copied().find_map(find) else {
            return Err(self.backend.missing(&field, "preprocessor", asked, &control.modules));
        };
        self.notes.push(format!("`{field}`: `{asked}` was made by the preprocessor `{found}` of the back end"));
        Ok(found.clone())
    }

    /// Collects what the caller should know about the result.
    fn note(&mut self, sampler: &str, units: &[Unit]) {
        if sampler == ADAPTIVE {
            self.notes.push(format!("`steps`: the sampler {ADAPTIVE} chooses its own steps"));
        }
        self.notes.extend(schnell_note(self.generation));
        if !units.is_empty() {
            self.notes.push(
                "`controlnet`: the back end reports what it was sent, which does not prove that it was applied"
                    .to_owned(),
            );
        }
        if !self.generation.prompt.loras.is_empty() && !self.lists.reports_loras {
            self.notes.push("`prompt`: the back end does not report which LoRAs were applied".to_owned());
        }
        if !self.generation.scripts.is_empty() {
            self.notes.push("`alwayson_scripts`: what scripts did to the pictures cannot be verified".to_owned());
        }
    }
}

/// What units without a preprocessor or model are sent as.
const NONE: &str = "None";

/// Preprocessors of each kind that the API names, the best first.
const KINDS: &[(&str, &[&str])] = &[
    ("canny", &["canny"]),
    ("depth", &["depth_anything_v2", "depth_anything", "depth_midas"]),
    ("inpaint", &["inpaint_only", "inpaint_global_harmonious"]),
    ("lineart", &["lineart_realistic", "lineart_standard (from white bg & black line)"]),
    ("mlsd", &["mlsd"]),
    ("normalmap", &["normal_bae", "normalbae", "normal_midas"]),
    ("openpose", &["openpose_full", "openpose"]),
    ("reference", &["reference_only"]),
    ("scribble", &["scribble_pidinet", "scribble_hed"]),
    ("segmentation", &["seg_ofade20k", "seg_ufade20k"]),
    ("shuffle", &["shuffle"]),
    ("softedge", &["softedge_pidinet", "softedge_hed"]),
    ("tile", &["tile_resample"]),
    ("recolor", &["recolor_luminance"]),
];
