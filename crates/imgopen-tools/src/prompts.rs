//! Expands a short prompt into full ones by appending modifiers from a curated set.
//!
//! It works like a language model with modifiers in place of tokens: they are sampled one after another by their
//! likelihood, which `temperature` sharpens or flattens, `repetitionPenalty` lowers for repeated words, and `topK` and
//! `topP` truncate. The prompt itself is never changed. Prompts for SD are lists of tags, some with a weight in brackets;
//! those for SDXL are phrases.
//!
//! | field | default | range |
//! |---|---|---|
//! | `topK` | 50 | 0 to 250; 0 turns it off |
//! | `topP` | 0.95 | 0.01 to 1 |
//! | `temperature` | 0.8 | 0 to 10; 0 always takes the likeliest |
//! | `repetitionPenalty` | 1.1 | 0.1 to 10; 1 turns it off |
//! | `maxTokens` | 75, or the prompt's plus 40 if that is more | 1 to 1000 |
//! | `minTokens` | 0 | 0 to `maxTokens` |
//! | `sequencesNum` | 1 | 1 to 20 |
//!
//! - **Tokens** are estimated by [`tokens`].
//! - **The same request gives the same prompts.** The contract has no seed, so the random numbers are seeded by the prompt and
//!   the settings, not by the task. Requesting more prompts does not change the first ones.
//! - **Several prompts** all differ. A duplicate is sampled again without the modifier that it began with.
//! - **Languages**: a prompt may be in any. Its subject is recognised by English words and some Chinese ones; the modifiers
//!   are English, which these models were trained on.

mod draw;
mod set;
mod tokens;

use std::ops::RangeInclusive;

use futures_util::future::BoxFuture;
use imgopen_types::{ExpandPromptRequest, operations};
use sha2::{Digest, Sha256};

pub use tokens::tokens;

use imgopen_engine::{Engine, EngineError, Grade, Inputs, Job, JobRequest, Monitor, Offer, Output};

use crate::{blocking, fields};
use set::Set;

/// The context window of SD in tokens.
const WINDOW: usize = 75;

/// The tokens for modifiers if the prompt leaves no room in the window.
const ROOM: usize = 40;

/// The longest prompt, in characters.
const LONGEST: usize = 4000;

// The ranges of the settings.
const TOP_K: RangeInclusive<u64> = 0..=250;
const TOP_P: RangeInclusive<f64> = 0.01..=1.0;
const TEMPERATURE: RangeInclusive<f64> = 0.0..=10.0;
const PENALTY: RangeInclusive<f64> = 0.1..=10.0;
const MAX_TOKENS: RangeInclusive<u64> = 1..=1000;
const MIN_TOKENS: RangeInclusive<u64> = 0..=1000;
const COUNT: RangeInclusive<u64> = 1..=20;

/// The engine `prompts`, which expands prompts without a language model. It offers `expand_prompt`.
#[derive(Debug, Clone, Default)]
pub struct Prompts {}

/// The models that a prompt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Stable Diffusion 1 and 2, which read tags.
    Sd,
    /// Stable Diffusion XL, which reads phrases.
    Sdxl,
}

/// Sampling settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// The number of likeliest modifiers to sample among, from 0 to 250; 0 for all.
    pub top_k: usize,
    /// The probability that the likeliest modifiers to sample among add up to, from 0.01 to 1.
    pub top_p: f64,
    /// The temperature, from 0, which always takes the likeliest, to 10.
    pub temperature: f64,
    /// The penalty on modifiers that repeat words, from 0.1 to 10; 1 for none.
    pub repetition_penalty: f64,
    /// The most tokens of a prompt, from 1 to 1000.
    pub max_tokens: usize,
    /// The fewest tokens of a prompt, from 0 to `max_tokens`.
    pub min_tokens: usize,
}

impl Prompts {
    /// Creates the engine.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Engine for Prompts {
    fn name(&self) -> &str {
        "prompts"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer { inputs: Inputs::Unused, ..Offer::new(&operations::EXPAND_PROMPT, Grade::Classical) }]
    }

    /// Expands the prompt, because only that shows whether enough prompts of the wanted length can be made. It takes about a
    /// millisecond, and at most 25 for twenty prompts.
    fn check(&self, request: &JobRequest) -> Result<(), EngineError> {
        serve(&request.typed()?, &Monitor::new().0)?;
        Ok(())
    }

    fn run(&self, job: Job, monitor: Monitor) -> BoxFuture<'static, Result<Output, EngineError>> {
        blocking::run(job, monitor, |job, monitor| {
            let prompts = serve(&job.request()?, monitor)?;
            monitor.stage(1.0)?;
            Ok(Output { prompts, ..Output::default() })
        })
    }
}

fn serve(request: &ExpandPromptRequest, monitor: &Monitor) -> Result<Vec<String>, EngineError> {
    let length = request.source_prompt.chars().count();
    if length > LONGEST {
        let problem = format!("{length} characters given; at most {LONGEST} are taken");
        return Err(EngineError::rejected("sourcePrompt", problem));
    }
    let mode = if request.mode == 0 { Mode::Sd } else { Mode::Sdxl };
    let sampling = Sampling::of(request)?;
    let count = request.sequences_num.map_or(Ok(1), |count| whole("sequencesNum", count, &COUNT))?;
    make(&request.source_prompt, mode, &sampling, count, monitor)
}

/// Expands a prompt into `count` different ones, from 1 to 20. Each begins with it or, for SD, with quality tags before it.
///
/// # Errors
///
/// [`EngineError::Rejected`] if the prompt is empty, a setting is out of range, or not enough prompts, or none of that length,
/// can be made. It names the field of the contract.
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
    check_whole("sequencesNum", count, &COUNT)?;
    make(source, mode, sampling, count, &Monitor::new().0)
}

/// Returns the trimmed prompt, unless it is empty or too long.
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
        monitor.check_cancelled()?;
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

/// Returns a seed derived from the prompt and the settings only.
fn seed(source: &str, mode: Mode, sampling: &Sampling) -> u64 {
    let hash = Sha256::digest(format!("{mode:?}\n{sampling:?}\n{source}"));
    hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Default for Sampling {
    fn default() -> Self {
        Self { top_k: 50, top_p: 0.95, temperature: 0.8, repetition_penalty: 1.1, max_tokens: WINDOW, min_tokens: 0 }
    }
}

impl Sampling {
    fn of(request: &ExpandPromptRequest) -> Result<Self, EngineError> {
        let default = Self { max_tokens: WINDOW.max(tokens(&request.source_prompt) + ROOM), ..Self::default() };
        let sampling = Self {
            top_k: request.top_k.map_or(Ok(default.top_k), |given| whole("topK", given, &TOP_K))?,
            top_p: number("topP", request.top_p.unwrap_or(default.top_p), &TOP_P)?,
            temperature: number("temperature", request.temperature.unwrap_or(default.temperature), &TEMPERATURE)?,
            repetition_penalty: number(
                "repetitionPenalty",
                request.repetition_penalty.unwrap_or(default.repetition_penalty),
                &PENALTY,
            )?,
            max_tokens: request
                .max_tokens
                .map_or(Ok(default.max_tokens), |given| whole("maxTokens", given, &MAX_TOKENS))?,
            min_tokens: request
                .min_tokens
                .map_or(Ok(default.min_tokens), |given| whole("minTokens", given, &MIN_TOKENS))?,
        };
        let Self { min_tokens, max_tokens, .. } = sampling;
        match request.max_tokens.is_none() {
            // Only the least length was given, so the default for the most gives way.
            true => Ok(Self { max_tokens: max_tokens.max(min_tokens), ..sampling }),
            false => sampling.check_order().map(|()| sampling),
        }
    }

    fn check(&self) -> Result<(), EngineError> {
        check_whole("topK", self.top_k, &TOP_K)?;
        check_number("topP", self.top_p, &TOP_P)?;
        check_number("temperature", self.temperature, &TEMPERATURE)?;
        check_number("repetitionPenalty", self.repetition_penalty, &PENALTY)?;
        check_whole("maxTokens", self.max_tokens, &MAX_TOKENS)?;
        check_whole("minTokens", self.min_tokens, &MIN_TOKENS)?;
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

fn whole(field: &str, given: i64, range: &RangeInclusive<u64>) -> Result<usize, EngineError> {
    fields::whole(field, given.into(), range, "the engine").map(|number| number as usize)
}

fn number(field: &str, given: f64, range: &RangeInclusive<f64>) -> Result<f64, EngineError> {
    check_number(field, given, range).map(|()| given)
}

fn check_whole(field: &str, number: usize, range: &RangeInclusive<u64>) -> Result<(), EngineError> {
    fields::whole(field, number as i128, range, "the engine").map(drop)
}

fn check_number(field: &str, number: f64, range: &RangeInclusive<f64>) -> Result<(), EngineError> {
    if range.contains(&number) {
        return Ok(());
    }
    let (first, last) = (range.start(), range.end());
    Err(EngineError::rejected(field, format!("{number} given, a number from {first} to {last} expected")))
}
