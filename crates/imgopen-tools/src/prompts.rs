//! Expands a short prompt into full ones, from a set of modifiers that are put behind it.
//!
//! It works as a language model would, with modifiers in place of tokens: they are drawn one after the other by their
//! likelihood, which `temperature` sharpens or flattens, `repetitionPenalty` lowers for those that repeat words, and
//! `topK` and `topP` cut off. The prompt itself is never changed. Prompts for SD are lists of tags, some with a weight in
//! brackets; those for SDXL are phrases.
//!
//! | field | default | range |
//! |---|---|---|
//! | `topK` | 50 | 0 to 250; 0 turns it off |
//! | `topP` | 0.95 | 0.01 to 1 |
//! | `temperature` | 0.8 | 0 to 10; 0 always takes the likeliest |
//! | `repetitionPenalty` | 1.1 | 0.1 to 10; 1 turns it off |
//! | `maxTokens` | 75, or 40 more than the prompt has | 1 to 1000 |
//! | `minTokens` | 0 | 0 to `maxTokens` |
//! | `sequencesNum` | 1 | 1 to 20 |
//!
//! - **Tokens** are estimated, as [`tokens`] tells.
//! - **The same request gives the same prompts.** The contract has no seed, so chance is drawn from the prompt and the settings;
//!   the id of the task does not count. Asking for more prompts leaves the first ones as they are.
//! - **Several prompts** all differ. One that comes out like an earlier one is drawn again without the modifier that it began with.
//! - **Languages**: a prompt may be in any. Its subject is recognised by English words and some Chinese ones; the modifiers
//!   are English, which is what these models were trained with.

mod draw;
mod set;
mod tokens;

use std::fmt::Display;
use std::ops::RangeInclusive;

use futures_util::future::BoxFuture;
use imgopen_types::{Operation, operations};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use tokens::tokens;

use imgopen_engine::{Engine, EngineError, Grade, Inputs, Job, Monitor, Offer, Output};

use crate::fields;
use set::Set;

/// The tokens that SD looks at at once.
const WINDOW: usize = 75;

/// How many tokens a prompt that leaves no room in the window is given nevertheless.
const ROOM: usize = 40;

/// The longest prompt that is taken, in characters.
const LONGEST: usize = 4000;

/// What the settings may be.
const TOP_K: RangeInclusive<u64> = 0..=250;
const TOP_P: RangeInclusive<f64> = 0.01..=1.0;
const TEMPERATURE: RangeInclusive<f64> = 0.0..=10.0;
const PENALTY: RangeInclusive<f64> = 0.1..=10.0;
const MAX_TOKENS: RangeInclusive<u64> = 1..=1000;
const MIN_TOKENS: RangeInclusive<u64> = 0..=1000;
const COUNT: RangeInclusive<u64> = 1..=20;

/// The engine that expands prompts without a language model.
#[derive(Debug, Clone, Default)]
pub struct Prompts {}

/// What models a prompt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Stable Diffusion 1 and 2, which read tags.
    Sd,
    /// Stable Diffusion XL, which reads phrases.
    Sdxl,
}

/// How modifiers are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Among how many of the likeliest, from 0 to 250; 0 for all.
    pub top_k: usize,
    /// Among the likeliest that add up to this probability, from 0.01 to 1.
    pub top_p: f64,
    /// How freely, from 0, which always takes the likeliest, to 10.
    pub temperature: f64,
    /// How strongly words that occurred already are avoided, from 0.1 to 10; 1 for not at all.
    pub repetition_penalty: f64,
    /// The most tokens of a prompt, from 1 to 1000.
    pub max_tokens: usize,
    /// The fewest tokens of a prompt, from 0 to `max_tokens`.
    pub min_tokens: usize,
}

/// A request as it was understood.
#[derive(Debug, Clone, PartialEq)]
struct Wish {
    mode: Mode,
    source: String,
    sampling: Sampling,
    count: usize,
}

impl Prompts {
    /// The engine.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Engine for Prompts {
    fn name(&self) -> &'static str {
        "prompts"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer { inputs: Inputs::Unused, ..Offer::new(&operations::EXPAND_PROMPT, Grade::Classical) }]
    }

    /// Expands the prompt, for only that tells whether so many and so long ones can be made. It takes about a
    /// millisecond, and at most 25 for twenty prompts.
    fn check(&self, _: &Operation, request: &Value, _: Option<&str>) -> Result<(), EngineError> {
        serve(request, &Monitor::new().0).map(drop)
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        crate::tool::run(job, monitor, |job, monitor| {
            let prompts = serve(&job.request, monitor)?;
            monitor.stage(1.0)?;
            Ok(Output { prompts, ..Output::default() })
        })
    }
}

fn serve(request: &Value, monitor: &Monitor) -> Result<Vec<String>, EngineError> {
    let Wish { mode, source, sampling, count } = Wish::read(request)?;
    make(&source, mode, &sampling, count, monitor)
}

/// Expands a prompt into `count` different ones, from 1 to 20, each of which begins with it or, for SD, with marks of
/// quality before it.
///
/// # Errors
///
/// [`EngineError::Rejected`] when there is nothing to expand, when a setting is out of its range, or when not so many or
/// none so long can be made; it names the field of the contract.
///
/// ```
/// use imgopen_tools::prompts::{Mode, Sampling, expand};
///
/// let greedy = Sampling { temperature: 0.0, max_tokens: 24, ..Sampling::default() };
/// let prompts = expand("a girl", Mode::Sd, &greedy, 1)?;
/// assert!(prompts[0].starts_with("masterpiece, "));
/// assert!(prompts[0].contains(", a girl, (detailed face:1.2), "));
/// # Ok::<(), imgopen_engine::EngineError>(())
/// ```
pub fn expand(source: &str, mode: Mode, sampling: &Sampling, count: usize) -> Result<Vec<String>, EngineError> {
    sampling.check()?;
    check_whole("sequencesNum", count, COUNT)?;
    make(source, mode, sampling, count, &Monitor::new().0)
}

/// The prompt as it is expanded, if there is one and it is short enough.
fn prompt_of<'a>(source: &'a str, sampling: &Sampling) -> Result<&'a str, EngineError> {
    let source = source.trim().trim_end_matches(',').trim_end();
    if source.is_empty() {
        return Err(EngineError::rejected("sourcePrompt", "empty; give a prompt to expand, such as \"a girl\""));
    }
    let (own, most) = (tokens(source), sampling.max_tokens);
    if own > most {
        let problem =
            format!("{most} given, but the prompt of `sourcePrompt` alone has about {own}; give at least {own}");
        return Err(EngineError::rejected("maxTokens", problem));
    }
    Ok(source)
}

fn make(
    source: &str,
    mode: Mode,
    sampling: &Sampling,
    count: usize,
    monitor: &Monitor,
) -> Result<Vec<String>, EngineError> {
    let source = prompt_of(source, sampling)?;
    let set = Set::get();
    let topic = set.topic(source);
    let fitting = set.fitting(&topic, mode);
    let mut chance = fastrand::Rng::with_seed(seed(source, mode, sampling));
    let (mut prompts, mut barred) = (Vec::new(), Vec::new());
    while prompts.len() < count {
        monitor.go_on()?;
        let drawn = draw::draw((set, &fitting), &topic, mode, sampling, &barred, &mut chance);
        let prompt = set.written(source, &drawn, mode);
        if tokens(&prompt) < sampling.min_tokens {
            return Err(match prompts.len() {
                0 => too_short(&prompt, sampling),
                made => too_many(count, made),
            });
        }
        match drawn.first() {
            _ if !prompts.contains(&prompt) => prompts.push(prompt),
            Some(first) => barred.push(*first),
            None => return Err(too_many(count, prompts.len())),
        }
    }
    Ok(prompts)
}

fn too_short(prompt: &str, sampling: &Sampling) -> EngineError {
    let (made, least) = (tokens(prompt), sampling.min_tokens);
    let problem = format!("{least} given, but about {made} is the longest that can be made; give at most {made}");
    EngineError::rejected("minTokens", problem)
}

fn too_many(count: usize, made: usize) -> EngineError {
    let problem =
        format!("{count} given, but only {made} different ones can be made; give at most {made}, or more `maxTokens`");
    EngineError::rejected("sequencesNum", problem)
}

/// Chance by the prompt and the settings alone.
fn seed(source: &str, mode: Mode, sampling: &Sampling) -> u64 {
    let hash = Sha256::digest(format!("{mode:?}\n{sampling:?}\n{source}"));
    hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Default for Sampling {
    fn default() -> Self {
        Self { top_k: 50, top_p: 0.95, temperature: 0.8, repetition_penalty: 1.1, max_tokens: WINDOW, min_tokens: 0 }
    }
}

impl Wish {
    fn read(request: &Value) -> Result<Self, EngineError> {
        let source = request.get("sourcePrompt").and_then(Value::as_str).unwrap_or_default().to_owned();
        let length = source.chars().count();
        if length > LONGEST {
            let problem = format!("{length} characters given; at most {LONGEST} are taken");
            return Err(EngineError::rejected("sourcePrompt", problem));
        }
        let mode = match whole(request, "mode", &(0..=1))? {
            Some(0) => Mode::Sd,
            Some(_) => Mode::Sdxl,
            None => return Err(EngineError::rejected("mode", "missing; give 0 for SD or 1 for SDXL")),
        };
        Ok(Self {
            mode,
            sampling: Sampling::read(request, &source)?,
            source,
            count: whole(request, "sequencesNum", &COUNT)?.unwrap_or(1),
        })
    }
}

impl Sampling {
    fn read(request: &Value, source: &str) -> Result<Self, EngineError> {
        let default = Self { max_tokens: WINDOW.max(tokens(source) + ROOM), ..Self::default() };
        let sampling = Self {
            top_k: whole(request, "topK", &TOP_K)?.unwrap_or(default.top_k),
            top_p: number(request, "topP", &TOP_P)?.unwrap_or(default.top_p),
            temperature: number(request, "temperature", &TEMPERATURE)?.unwrap_or(default.temperature),
            repetition_penalty: number(request, "repetitionPenalty", &PENALTY)?.unwrap_or(default.repetition_penalty),
            max_tokens: whole(request, "maxTokens", &MAX_TOKENS)?.unwrap_or(default.max_tokens),
            min_tokens: whole(request, "minTokens", &MIN_TOKENS)?.unwrap_or(default.min_tokens),
        };
        let Self { min_tokens, max_tokens, .. } = sampling;
        match request.get("maxTokens").is_none() {
            // The caller did not say how long it may be, but how long it has to be.
            true => Ok(Self { max_tokens: max_tokens.max(min_tokens), ..sampling }),
            false => sampling.check_order().map(|()| sampling),
        }
    }

    fn check(&self) -> Result<(), EngineError> {
        check_whole("topK", self.top_k, TOP_K)?;
        check_number("topP", self.top_p, &TOP_P)?;
        check_number("temperature", self.temperature, &TEMPERATURE)?;
        check_number("repetitionPenalty", self.repetition_penalty, &PENALTY)?;
        check_whole("maxTokens", self.max_tokens, MAX_TOKENS)?;
        check_whole("minTokens", self.min_tokens, MIN_TOKENS)?;
        self.check_order()
    }

    fn check_order(&self) -> Result<(), EngineError> {
        let Self { min_tokens, max_tokens, .. } = self;
        if min_tokens > max_tokens {
            let problem = format!("{min_tokens} given, but `maxTokens` is {max_tokens}; give at most as many");
            return Err(EngineError::rejected("minTokens", problem));
        }
        Ok(())
    }
}

fn whole(request: &Value, field: &str, range: &RangeInclusive<u64>) -> Result<Option<usize>, EngineError> {
    Ok(fields::whole(request, field, range.clone(), "the engine")?.map(|number| number as usize))
}

fn number(request: &Value, field: &str, range: &RangeInclusive<f64>) -> Result<Option<f64>, EngineError> {
    let Some(value) = request.get(field) else { return Ok(None) };
    let number = value.as_f64().filter(|number| range.contains(number));
    number.map(Some).ok_or_else(|| no_number(field, value, range))
}

fn check_whole(field: &str, number: usize, range: RangeInclusive<u64>) -> Result<(), EngineError> {
    fields::whole(&json!({ field: number }), field, range, "the engine").map(drop)
}

fn check_number(field: &str, number: f64, range: &RangeInclusive<f64>) -> Result<(), EngineError> {
    if range.contains(&number) { Ok(()) } else { Err(no_number(field, number, range)) }
}

fn no_number(field: &str, given: impl Display, range: &RangeInclusive<f64>) -> EngineError {
    let (first, last) = (range.start(), range.end());
    EngineError::rejected(field, format!("{given} given, a number from {first} to {last} expected"))
}
