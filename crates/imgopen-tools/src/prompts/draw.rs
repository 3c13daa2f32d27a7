//! Samples modifiers one after another, as a language model samples tokens.

use std::collections::{BTreeMap, HashSet};

use super::set::{Modifier, Set, Topic};
use super::{Mode, Sampling};

/// The state of sampling.
struct State<'a> {
    set: &'a Set,
    /// The indices of the modifiers that fit the topic.
    fitting: &'a [usize],
    mode: Mode,
    sampling: &'a Sampling,
    drawn: Vec<usize>,
    axes: BTreeMap<String, String>,
    words: HashSet<String>,
    tokens: usize,
}

/// Samples modifiers of a set until no more fit, and returns their indices. If the prompt is still too short then, the
/// limits of categories are ignored.
pub(super) fn draw(
    (set, fitting): (&Set, &[usize]),
    topic: &Topic,
    mode: Mode,
    sampling: &Sampling,
    barred: &[usize],
    chance: &mut fastrand::Rng,
) -> Vec<usize> {
    let (axes, words, tokens) = (topic.axes.clone(), topic.words.clone(), topic.tokens);
    let mut state = State { set, fitting, mode, sampling, drawn: Vec::new(), axes, words, tokens };
    for is_overfull in [false, true] {
        while !is_overfull || state.tokens < sampling.min_tokens {
            let candidates = state.candidates(barred, is_overfull);
            let Some(index) = sample(candidates, sampling, chance) else { break };
            state.take(index);
        }
    }
    state.drawn
}

impl State<'_> {
    /// Returns the possible next modifiers with the logarithm of their likelihood.
    fn candidates(&self, barred: &[usize], is_overfull: bool) -> Vec<(usize, f64)> {
        let fits = |(index, modifier): &(usize, &Modifier)| {
            !barred.contains(index)
                && !self.drawn.contains(index)
                && self.tokens + modifier.tokens(self.mode) <= self.sampling.max_tokens
                && (is_overfull || self.is_room(modifier))
                && modifier.axes.iter().all(|(axis, value)| self.axes.get(axis).is_none_or(|decided| decided == value))
        };
        let modifiers = self.fitting.iter().filter_map(|index| Some((*index, self.set.modifiers.get(*index)?)));
        let fitting: Vec<_> = modifiers.filter(fits).collect();
        let all: f64 = fitting.iter().map(|(_, modifier)| modifier.weight).sum();
        fitting.into_iter().map(|(index, modifier)| (index, self.score(modifier, all))).collect()
    }

    fn is_room(&self, modifier: &Modifier) -> bool {
        let of_category =
            |index: &&usize| self.set.modifiers.get(**index).is_some_and(|drawn| drawn.category == modifier.category);
        self.drawn.iter().filter(of_category).count() < self.set.most(modifier.category, self.mode)
    }

    /// The penalty multiplies a logarithm, which is negative: above 1 it lowers the likelihood, below 1 it raises it.
    fn score(&self, modifier: &Modifier, all: f64) -> f64 {
        let score = (modifier.weight / all).ln();
        let is_repeated = modifier.words(self.mode).any(|word| self.words.contains(word));
        if is_repeated { score * self.sampling.repetition_penalty } else { score }
    }

    fn take(&mut self, index: usize) {
        let Some(modifier) = self.set.modifiers.get(index) else { return };
        self.drawn.push(index);
        self.tokens += modifier.tokens(self.mode);
        self.words.extend(modifier.words(self.mode).cloned());
        for (axis, value) in &modifier.axes {
            self.axes.entry(axis.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// Samples one among the likeliest that `top_k` and `top_p` leave.
fn sample(mut candidates: Vec<(usize, f64)>, sampling: &Sampling, chance: &mut fastrand::Rng) -> Option<usize> {
    candidates.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let (likeliest, best) = *candidates.first()?;
    if sampling.temperature == 0.0 {
        return Some(likeliest);
    }
    if sampling.top_k > 0 {
        candidates.truncate(sampling.top_k);
    }
    // Relative to the best, so that a low temperature does not underflow all of them.
    let likelihood = |score: f64| ((score - best) / sampling.temperature).exp();
    let mut likely: Vec<_> = candidates.into_iter().map(|(index, score)| (index, likelihood(score))).collect();
    let all: f64 = likely.iter().map(|(_, likelihood)| likelihood).sum();
    let mut sum = 0.0;
    // The one that crosses the bound is included, so there is always one.
    let kept = likely.iter().take_while(|(_, likelihood)| {
        let is_within = sum < sampling.top_p * all;
        sum += likelihood;
        is_within
    });
    let kept = kept.count();
    likely.truncate(kept.max(1));
    let mut point = chance.f64() * likely.iter().map(|(_, likelihood)| likelihood).sum::<f64>();
    let hit = likely.iter().find(|(_, likelihood)| {
        point -= likelihood;
        point < 0.0
    });
    hit.or(likely.last()).map(|(index, _)| *index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(candidates: &[(usize, f64)], sampling: &Sampling) -> Vec<usize> {
        let mut chance = fastrand::Rng::with_seed(7);
        let candidates: Vec<_> = candidates.iter().map(|(index, share)| (*index, share.ln())).collect();
        let mut seen: Vec<_> = (0..2000).filter_map(|_| sample(candidates.clone(), sampling, &mut chance)).collect();
        seen.sort_unstable();
        seen
    }

    fn distinct(candidates: &[(usize, f64)], sampling: &Sampling) -> Vec<usize> {
        let mut seen = drawn(candidates, sampling);
        seen.dedup();
        seen
    }

    const ALL: Sampling =
        Sampling { top_k: 0, top_p: 1.0, temperature: 1.0, repetition_penalty: 1.0, max_tokens: 75, min_tokens: 0 };
    const FOUR: [(usize, f64); 4] = [(0, 0.1), (1, 0.4), (2, 0.3), (3, 0.2)];

    #[test]
    fn each_bound_cuts_off_the_unlikely() {
        assert_eq!(distinct(&FOUR, &ALL), [0, 1, 2, 3]);
        assert_eq!(distinct(&FOUR, &Sampling { top_k: 2, ..ALL }), [1, 2]);
        assert_eq!(distinct(&FOUR, &Sampling { top_k: 1, ..ALL }), [1]);
        assert_eq!(distinct(&FOUR, &Sampling { top_p: 0.4, ..ALL }), [1]);
        assert_eq!(distinct(&FOUR, &Sampling { top_p: 0.5, ..ALL }), [1, 2]);
        assert_eq!(distinct(&FOUR, &Sampling { top_p: 0.01, ..ALL }), [1]);
        assert_eq!(distinct(&FOUR, &Sampling { top_k: 3, top_p: 0.6, ..ALL }), [1, 2]);
        assert_eq!(distinct(&FOUR, &Sampling { temperature: 0.0, ..ALL }), [1]);
        assert_eq!(distinct(&FOUR, &Sampling { temperature: 1e-6, ..ALL }), [1]);
        assert_eq!(distinct(&[], &ALL), [] as [usize; 0]);
    }

    #[test]
    fn the_likely_come_more_often_the_colder_it_is() {
        let count = |temperature: f64| {
            let seen = drawn(&FOUR, &Sampling { temperature, ..ALL });
            seen.iter().filter(|index| **index == 1).count()
        };
        // 0.4 of 2000; of squares 0.16 / 0.3; of roots 0.63 / 1.94.
        for (temperature, expected) in [(1.0, 800), (0.5, 1067), (2.0, 651)] {
            assert!(count(temperature).abs_diff(expected) < 100, "{temperature}: {}", count(temperature));
        }
    }
}
