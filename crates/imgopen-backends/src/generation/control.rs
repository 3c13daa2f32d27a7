//! ControlNet units.

use imgopen_engine::EngineError;
use serde_json::Value;

use super::fields::{self, Unit};
use super::fit::Fit;

/// A ControlNet with its control picture.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlUnit {
    /// The path of the unit in the request, such as `controlnet.args[0]`.
    pub path: String,
    /// The preprocessor that reads the picture; `None` takes the picture as it is.
    pub module: Option<String>,
    /// The model; `None` for preprocessors that work without one.
    pub model: Option<String>,
    /// The weight, from 0 to 2.
    pub weight: f64,
    /// The field that names the control picture; `None` takes the picture that the generation starts from.
    pub picture: Option<String>,
    /// How the picture is fitted to the size.
    pub fit: Fit,
    /// The share of the steps at which the unit begins, from 0 to 1.
    pub start: f64,
    /// The share of the steps at which the unit ends, from 0 to 1.
    pub end: f64,
    /// Whether the prompt or the picture counts for more.
    pub mode: ControlMode,
    /// Whether the preprocessor works at the size of the result.
    pub pixel_perfect: bool,
    /// The resolution that the preprocessor works at; `None` for its default.
    pub resolution: Option<u32>,
    /// The preprocessor's first parameter; `None` for its default.
    pub threshold_a: Option<f64>,
    /// The preprocessor's second parameter; `None` for its default.
    pub threshold_b: Option<f64>,
}

/// Whether the prompt or the control picture counts for more. The values of `control_mode` in the web UI.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ControlMode {
    /// 0 or `Balanced`.
    #[default]
    Balanced,
    /// 1 or `My prompt is more important`.
    Prompt,
    /// 2 or `ControlNet is more important`.
    Control,
}

impl ControlMode {
    /// Returns its name in the web UI.
    pub const fn name(self) -> &'static str {
        match self {
            ControlMode::Balanced => "Balanced",
            ControlMode::Prompt => "My prompt is more important",
            ControlMode::Control => "ControlNet is more important",
        }
    }
}

/// What stands for the default of the preprocessor's numbers in the web UI.
const BY_DEFAULT: i64 = -1;

impl ControlUnit {
    /// Returns the field that names the preprocessor.
    pub(crate) fn module_field(&self) -> String {
        format!("{}.module", self.path)
    }

    /// Reads the unit at a path. Returns `None` if it is not enabled.
    pub(super) fn read(unit: &Unit, path: String, fit: Fit, has_start: bool) -> Result<Option<Self>, EngineError> {
        if unit.enabled == Some(false) {
            return Ok(None);
        }
        let at = |name: &str| format!("{path}.{name}");
        let text = |text: &Option<String>| {
            let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty() && !is_none(text));
            text.map(str::to_owned)
        };
        let (module, model) = (text(&unit.module), text(&unit.model));
        if module.is_none() && model.is_none() {
            return Err(EngineError::rejected(&path, "neither `module` nor `model` given; name the ControlNet model"));
        }
        if unit.image_link.is_none() && !has_start {
            return Err(EngineError::rejected(at("image_link"), "missing; give the URL of the control picture"));
        }
        let threshold = |given: Option<f64>| given.filter(|given| *given != BY_DEFAULT as f64);
        let share = |name: &str, given: Option<f64>, default: f64| {
            fields::number(&at(name), given.unwrap_or(default), 0.0, 1.0)
        };
        let (start, end) =
            (share("guidance_start", unit.guidance_start, 0.0)?, share("guidance_end", unit.guidance_end, 1.0)?);
        if start >= end {
            let problem = format!("{start} given, which is not below the `guidance_end` of {end}");
            return Err(EngineError::rejected(at("guidance_start"), problem));
        }
        let fit = match &unit.resize_mode {
            Some(given) => fit_of(&at("resize_mode"), given)?,
            None => fit,
        };
        Ok(Some(Self {
            module,
            model,
            weight: fields::number(&at("weight"), unit.weight.unwrap_or(1.0), 0.0, 2.0)?,
            picture: unit.image_link.as_ref().map(|_| at("image_link")),
            fit,
            start,
            end,
            mode: mode(&at("control_mode"), unit.control_mode.as_ref())?,
            pixel_perfect: unit.pixel_perfect.unwrap_or(false),
            resolution: unit
                .processor_res
                .filter(|given| *given != BY_DEFAULT)
                .map(|given| fields::whole(&at("processor_res"), given, 64, 2048))
                .transpose()?,
            threshold_a: threshold(unit.threshold_a),
            threshold_b: threshold(unit.threshold_b),
            path,
        }))
    }
}

fn is_none(text: &str) -> bool {
    text.eq_ignore_ascii_case("none")
}

fn fit_of(field: &str, given: &Value) -> Result<Fit, EngineError> {
    match given.as_str() {
        Some("Just Resize") => Ok(Fit::Stretch),
        Some("Crop and Resize") => Ok(Fit::Crop),
        Some("Resize and Fill") => Ok(Fit::Pad),
        _ => fields::fit(field, given.as_f64(), 2),
    }
}

fn mode(field: &str, given: Option<&Value>) -> Result<ControlMode, EngineError> {
    let Some(given) = given else { return Ok(ControlMode::default()) };
    let modes = [ControlMode::Balanced, ControlMode::Prompt, ControlMode::Control];
    let found = match given.as_str() {
        Some(name) => modes.into_iter().find(|mode| mode.name() == name),
        None => given.as_u64().and_then(|number| modes.get(usize::try_from(number).ok()?).copied()),
    };
    let names = || modes.map(|mode| format!("\"{}\"", mode.name())).join(", ");
    found.ok_or_else(|| EngineError::rejected(field, format!("{given} given; give one of {}", names())))
}
