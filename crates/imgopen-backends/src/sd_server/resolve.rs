//! Checks a generation against what the server has, and finds the server's names for it.
//!
//! The server takes any name with status 202 and uses a default in place of one that it does not know, so nothing is sent
//! that is not in its lists.

use imgopen_engine::{EngineError, tags};

use super::capabilities::{self, Capabilities, Limits, Lora};
use super::served::Served;
use crate::generation::{ControlUnit, Generation, Sampling, Schedule};
use crate::names::stem;
use crate::refusals::{Refusals, Sides, schnell_note};

/// The sampler of requests that name none.
const DEFAULT_SAMPLER: &str = "Euler";
/// What the web UI calls samplers, and what the server does.
const SAMPLERS: [(&str, &str); 9] = [
    ("Euler a", "euler_a"),
    ("Euler", "euler"),
    ("Heun", "heun"),
    ("DPM2", "dpm2"),
    ("DPM++ 2S a", "dpm++2s_a"),
    ("DPM++ 2M", "dpm++2m"),
    ("LCM", "lcm"),
    ("LMS", "lms"),
    ("DDIM", DDIM),
];
const DDIM: &str = "ddim_trailing";
const KARRAS: &str = "karras";
/// The model's own schedule.
const DISCRETE: &str = "discrete";
const SIMPLE: &str = "simple";
/// The server makes no more steps.
const MOST_STEPS: u32 = 100;
/// The only base model whose ControlNets it can load.
const CONTROL_BASE: &str = "SD 1.5";

/// The server's names for what a generation asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Resolved {
    pub sampler: String,
    pub schedule: String,
    /// LoRAs by their paths in the server's directory, with their weights.
    pub loras: Vec<(String, f64)>,
    /// What the caller should know.
    pub notes: Vec<String>,
}

/// What a generation is checked against.
pub(super) struct Resolver<'a> {
    pub generation: &'a Generation,
    pub served: &'a Served,
    /// `None` before the program has run for the first time; then only what every version lacks is refused.
    pub capabilities: Option<&'a Capabilities>,
    /// The LoRAs that are there for a program, which stand for what it has not said yet. `None` if the disk was not looked at.
    pub on_disk: Option<&'a [Lora]>,
    /// Returns the base model of a LoRA by its path, if it is known.
    pub base_of_lora: &'a dyn Fn(&str) -> Option<String>,
    pub backend: Refusals<'a>,
}

impl Resolver<'_> {
    /// Looks up what the generation asks for.
    pub(super) fn resolve(&self) -> Result<Resolved, EngineError> {
        self.check_sides()?;
        self.check_steps()?;
        self.check_extras()?;
        self.generation.control.iter().try_for_each(|unit| self.check_unit(unit))?;
        let (sampler, schedule) = self.sampling()?;
        self.check_schedule(&schedule)?;
        let loras = self.loras()?;
        let notes = self.notes(&sampler, &loras);
        Ok(Resolved { sampler, schedule, loras, notes })
    }

    fn check_sides(&self) -> Result<(), EngineError> {
        let limits = self.capabilities.map_or_else(Limits::default, |capabilities| capabilities.limits);
        let sides = |least: u32, most: u32| Sides { multiple: 64, flux_multiple: 8, least, most: Some(most) };
        let across = sides(limits.min_width, limits.max_width);
        let down = sides(limits.min_height, limits.max_height);
        self.backend.check_sides(self.generation, across, down)
    }

    fn check_steps(&self) -> Result<(), EngineError> {
        let second = self.generation.hires.as_ref().map_or(1, |hires| hires.steps);
        for (field, steps) in [("steps", self.generation.steps), ("hr_second_pass_steps", second)] {
            if steps > MOST_STEPS {
                return Err(self.backend.refused(field, &format!("{steps} steps; it makes at most {MOST_STEPS}")));
            }
        }
        if self.generation.start.is_some() && self.first_pass() == 0 {
            let (steps, strength) = (self.generation.steps, self.strength());
            let problem = format!("{strength} of {steps} steps, which is less than one; give more of either");
            return Err(self.backend.refused("denoising_strength", &problem));
        }
        Ok(())
    }

    /// Returns the strength with which a picture is redrawn.
    fn strength(&self) -> f64 {
        self.generation.start.as_ref().map_or(1.0, |start| start.strength)
    }

    /// Returns how many steps the first pass makes of each picture.
    fn first_pass(&self) -> u32 {
        first_pass(self.generation)
    }

    fn check_extras(&self) -> Result<(), EngineError> {
        let Generation { hires, vae, control, .. } = self.generation;
        self.backend.check_syntax(self.generation)?;
        self.backend.check_fit(self.generation)?;
        if let Some(hires) = hires {
            if self.generation.start.is_some() || !control.is_empty() {
                let problem = "a hi-res fix with ControlNet or for a picture that is given; enlarge the result with \
                               `super_resolution`";
                return Err(self.backend.refused("enable_hr", problem));
            }
            if hires.strength == 0.0 {
                let problem = "a hi-res fix of strength 0; give more, or enlarge the result with `super_resolution`";
                return Err(self.backend.refused("denoising_strength", problem));
            }
            let upscalers = self.capabilities.map(Capabilities::upscalers);
            if let Some(known) = upscalers.filter(|known| !known.contains(&hires.upscaler)) {
                return Err(self.backend.missing("hr_upscaler", "upscaler", &hires.upscaler, &known));
            }
        }
        let Some(vae) = vae else { return Ok(()) };
        const FIELD: &str = "alwayson_scripts.sd_vae";
        match self.served.parts.as_ref().map(|parts| &parts.vae) {
            Some(Some(loaded)) if is_file(loaded, vae) => Ok(()),
            Some(loaded) => Err(self.backend.missing(FIELD, "VAE", vae, loaded.as_slice())),
            None => {
                let problem = "a choice of VAEs; it has the one that it was started with, so leave it out";
                Err(self.backend.refused(FIELD, problem))
            }
        }
    }

    fn check_unit(&self, unit: &ControlUnit) -> Result<(), EngineError> {
        if self.generation.control.len() > 1 {
            return Err(self.backend.refused(&unit.path, "more than one ControlNet unit; enable one"));
        }
        let field = format!("{}.model", unit.path);
        let base = self.served.model.base_model.as_deref();
        if let Some(base) = base.filter(|base| *base != CONTROL_BASE) {
            let problem = format!("ControlNet for {base}; choose a model of {CONTROL_BASE}");
            return Err(self.backend.refused(&field, &problem));
        }
        let asked = self.backend.control_model(unit)?;
        let Some(parts) = &self.served.parts else { return Ok(()) };
        match &parts.control_net {
            Some(loaded) if is_file(loaded, asked) => Ok(()),
            loaded => Err(self.backend.missing(&field, "ControlNet model", asked, loaded.as_slice())),
        }
    }

    fn sampling(&self) -> Result<(String, String), EngineError> {
        const FIELD: &str = "sampler_index";
        let sampling = self.generation.sampling.clone().unwrap_or_else(|| Sampling::parse(DEFAULT_SAMPLER));
        let method = sampling.method.as_str();
        let known = SAMPLERS.iter().find(|(name, _)| name.eq_ignore_ascii_case(method));
        let own = known.map_or(method, |(_, own)| own);
        let lists = self.capabilities.map(|capabilities| (&capabilities.samplers, &capabilities.schedulers));
        if let Some((samplers, _)) = lists.filter(|(samplers, _)| !samplers.iter().any(|sampler| sampler == own)) {
            let is_listed = |own: &&str| samplers.iter().any(|sampler| sampler == own);
            let names: Vec<String> =
                SAMPLERS.iter().filter(|(_, own)| is_listed(own)).map(|(name, _)| (*name).to_owned()).collect();
            return Err(self.backend.missing(FIELD, "sampler", &sampling.joint, &names));
        }
        let schedule = match sampling.schedule {
            Some(Schedule::Karras) => KARRAS,
            Some(Schedule::Exponential) => "exponential",
            None if self.generation.is_flux() || own == DDIM => SIMPLE,
            None if own == "lcm" => "lcm",
            None => DISCRETE,
        };
        if let Some((_, schedules)) = lists.filter(|(_, schedules)| !schedules.iter().any(|known| known == schedule)) {
            return Err(self.backend.missing(FIELD, "schedule", schedule, schedules));
        }
        Ok((own.to_owned(), schedule.to_owned()))
    }

    /// With this schedule, the server divides by zero for a single step, and makes a black picture.
    fn check_schedule(&self, schedule: &str) -> Result<(), EngineError> {
        let second = self.generation.hires.as_ref().map(|hires| (f64::from(hires.steps) / hires.strength) as u32);
        if schedule == KARRAS && (self.generation.steps == 1 || second == Some(1)) {
            return Err(self
                .backend
                .refused("steps", "a single step with the schedule Karras; give 2, or a sampler without it"));
        }
        Ok(())
    }

    fn loras(&self) -> Result<Vec<(String, f64)>, EngineError> {
        let mut loras: Vec<(String, f64)> = Vec::new();
        for lora in &self.generation.prompt.loras {
            if lora.weight != lora.text_weight {
                let problem =
                    format!("the two weights of the LoRA \"{}\"; it has one for both, so give one", lora.name);
                return Err(self.backend.refused("prompt", &problem));
            }
            let Some(known) = self.capabilities.map(|known| known.loras.as_slice()).or(self.on_disk) else { continue };
            let Some(found) = capabilities::lora(known, &lora.name) else {
                return Err(EngineError::rejected("prompt", tags::unknown_lora(&lora.name)));
            };
            self.check_base(&lora.name, &found.path)?;
            if lora.weight == 0.0 {
                continue;
            }
            match loras.iter_mut().find(|(path, _)| *path == found.path) {
                Some((_, weight)) => *weight += lora.weight,
                None => loras.push((found.path.clone(), lora.weight)),
            }
        }
        Ok(loras)
    }

    /// A LoRA with other shapes than the model's aborts the program. One whose base model is not known is tried.
    fn check_base(&self, lora: &str, path: &str) -> Result<(), EngineError> {
        let (model, own) = (self.served.model.base_model.as_ref(), (self.base_of_lora)(path));
        match (model, own) {
            (Some(model), Some(own)) if *model != own => {
                let problem =
                    format!("the LoRA \"{lora}\" with this model; it was made for {own}, and the model is {model}");
                Err(self.backend.refused("prompt", &problem))
            }
            _ => Ok(()),
        }
    }

    /// Collects what the caller should know about the result.
    fn notes(&self, sampler: &str, loras: &[(String, f64)]) -> Vec<String> {
        let mut notes = Vec::new();
        if sampler == DDIM {
            notes.push(format!("`sampler_index`: DDIM was approximated by the sampler `{DDIM}` of the back end"));
        }
        notes.extend(schnell_note(self.generation));
        // What a program prints about them is read; an address does not say it.
        if !loras.is_empty() && self.served.parts.is_none() {
            notes.push(
                "`prompt`: the back end reports the LoRAs that it was sent, which does not prove that they fit the model"
                    .to_owned(),
            );
        }
        notes
    }
}

/// Returns how many steps the first pass makes of each picture.
pub(super) fn first_pass(generation: &Generation) -> u32 {
    match &generation.start {
        Some(start) if start.strength < 1.0 => (f64::from(generation.steps) * start.strength) as u32,
        _ => generation.steps,
    }
}

/// Returns whether a request means a file by this name.
pub(super) fn is_file(file: &str, asked: &str) -> bool {
    file == asked || stem(file) == stem(asked)
}
