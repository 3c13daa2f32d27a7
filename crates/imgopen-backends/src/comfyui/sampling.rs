//! Samplers and schedules: the names that the API and the web UI use, and those of ComfyUI.

use crate::generation::{Sampling, Schedule};

/// Names of the web UI with those of ComfyUI, and with the schedule that the sampler has by itself.
const SAMPLERS: &[(&str, &str, &str)] = &[
    ("Euler a", "euler_ancestral", NORMAL),
    ("Euler", "euler", NORMAL),
    ("LMS", "lms", NORMAL),
    ("Heun", "heun", NORMAL),
    ("DPM2", "dpm_2", NORMAL),
    ("DPM2 a", "dpm_2_ancestral", NORMAL),
    ("DPM++ 2S a", "dpmpp_2s_ancestral", NORMAL),
    ("DPM++ 2M", "dpmpp_2m", NORMAL),
    ("DPM++ SDE", "dpmpp_sde", NORMAL),
    ("DPM++ 2M SDE", "dpmpp_2m_sde", NORMAL),
    ("DPM++ 2M SDE Heun", "dpmpp_2m_sde_heun", NORMAL),
    ("DPM++ 3M SDE", "dpmpp_3m_sde", NORMAL),
    ("DPM fast", "dpm_fast", NORMAL),
    ("DPM adaptive", "dpm_adaptive", NORMAL),
    ("DDIM", "ddim", "ddim_uniform"),
    ("UniPC", "uni_pc", NORMAL),
    ("LCM", "lcm", "sgm_uniform"),
    ("DDPM", "ddpm", NORMAL),
    ("DEIS", "deis", NORMAL),
    ("ER SDE", "er_sde", NORMAL),
];

/// The model's own schedule.
const NORMAL: &str = "normal";
const SIMPLE: &str = "simple";
/// The sampler of requests that name none.
const DEFAULT: &str = "Euler";
/// It chooses how many steps it makes.
const ADAPTIVE: &str = "dpm_adaptive";

/// A sampler with its schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sampler {
    /// The name in ComfyUI.
    pub sampler: String,
    /// The name of the schedule in ComfyUI.
    pub scheduler: &'static str,
    /// The name in texts about pictures.
    pub label: String,
}

impl Sampler {
    /// Finds a sampler by either of its names. `listed` are those of the server.
    pub(super) fn find(asked: Option<&Sampling>, is_flux: bool, listed: &[String]) -> Option<Self> {
        let default = Sampling::parse(DEFAULT);
        let asked = asked.unwrap_or(&default);
        let known = SAMPLERS.iter().find(|(label, name, _)| {
            label.eq_ignore_ascii_case(&asked.method) || name.eq_ignore_ascii_case(&asked.method)
        });
        let (label, name, own) = match known {
            Some((label, name, own)) => ((*label).to_owned(), *name, *own),
            None => (asked.method.clone(), asked.method.as_str(), NORMAL),
        };
        let scheduler = match asked.schedule {
            Some(Schedule::Karras) => "karras",
            Some(Schedule::Exponential) => "exponential",
            None if is_flux => SIMPLE,
            None => own,
        };
        let sampler = listed.iter().find(|listed| listed.as_str() == name)?;
        Some(Self { sampler: sampler.clone(), scheduler, label })
    }

    /// Returns the names that requests may use.
    pub(super) fn names(listed: &[String]) -> Vec<String> {
        let label = |name: &String| {
            let known = SAMPLERS.iter().find(|(_, known, _)| known == name);
            known.map_or_else(|| name.clone(), |(label, ..)| (*label).to_owned())
        };
        listed.iter().map(label).collect()
    }

    /// Returns the name of the schedule as the web UI shows it.
    pub(super) fn schedule(&self) -> &'static str {
        match self.scheduler {
            "karras" => "Karras",
            "exponential" => "Exponential",
            "ddim_uniform" => "DDIM",
            "sgm_uniform" => "SGM Uniform",
            SIMPLE => "Simple",
            _ => "Normal",
        }
    }

    /// Returns whether it chooses its own steps.
    pub(super) fn is_adaptive(&self) -> bool {
        self.sampler == ADAPTIVE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_web_ui_are_translated() {
        let listed = ["euler", "euler_ancestral", "dpmpp_2m", "ddim", "res_multistep"].map(str::to_owned);
        for (asked, is_flux, expected) in [
            (Some("Euler a"), false, Some(("euler_ancestral", "normal", "Euler a"))),
            (Some("DPM++ 2M Karras"), false, Some(("dpmpp_2m", "karras", "DPM++ 2M"))),
            (Some("dpmpp_2m"), false, Some(("dpmpp_2m", "normal", "DPM++ 2M"))),
            (Some("DDIM"), false, Some(("ddim", "ddim_uniform", "DDIM"))),
            (Some("res_multistep"), false, Some(("res_multistep", "normal", "res_multistep"))),
            (None, false, Some(("euler", "normal", "Euler"))),
            (None, true, Some(("euler", "simple", "Euler"))),
            (Some("LMS"), false, None),
            (Some("PLMS"), false, None),
        ] {
            let found = Sampler::find(asked.map(Sampling::parse).as_ref(), is_flux, &listed);
            let found = found.as_ref().map(|found| (found.sampler.as_str(), found.scheduler, found.label.as_str()));
            assert_eq!(found, expected, "{asked:?}");
        }
        assert_eq!(Sampler::names(&listed)[1..3], ["Euler a", "DPM++ 2M"]);
    }
}
