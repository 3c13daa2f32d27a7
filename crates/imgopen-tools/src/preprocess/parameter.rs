//! The numbers that preprocessors take, with the ranges and defaults of the web UI's sliders.

use imgopen_engine::EngineError;

/// A number that a preprocessor takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    /// The member of [`Preprocessing`](imgopen_engine::Preprocessing) that gives it.
    pub field: &'static str,
    pub least: f64,
    pub most: f64,
    pub default: f64,
}

impl Parameter {
    pub(super) const fn new(field: &'static str, (least, most): (f64, f64), default: f64) -> Self {
        Self { field, least, most, default }
    }

    /// Returns the number that is given, or the default. The web UI takes its default in place of one that is out of range.
    pub(super) fn value(&self, given: Option<f64>) -> Result<f64, EngineError> {
        let Self { field, least, most, default } = *self;
        let value = given.unwrap_or(default);
        match (least..=most).contains(&value) {
            true => Ok(value),
            false => {
                let problem =
                    format!("{value} given; give a number from {least} to {most}, or leave it out for {default}");
                Err(EngineError::rejected(field, problem))
            }
        }
    }
}
