//! The classes of ImageNet: what a sentence calls them, and what may be said from their probabilities.
//!
//! A class is named if the net is sure. Where it hesitates between classes that look alike, such as breeds of dogs, their kind is
//! named instead, and where it is less sure, the wording says so. Below that, nothing is said: most pictures show something that
//! is not among the classes, and the net has to choose one nevertheless.

use std::collections::HashMap;
use std::sync::LazyLock;

/// How many classes there are.
pub(super) const COUNT: usize = 1000;

/// The probability from which something is named as it is.
const SURE: f32 = 0.7;

/// The probability from which something is named with a reservation.
const LIKELY: f32 = 0.45;

/// The probability from which a second thing is named, with a reservation.
const POSSIBLE: f32 = 0.2;

static CLASSES: LazyLock<Vec<Class>> = LazyLock::new(|| {
    include_str!("../../data/classes.txt")
        .lines()
        .map(|line| match line.split_once('\t') {
            Some((phrase, kind)) => Class { phrase, kind: Some(kind) },
            None => Class { phrase: line, kind: None },
        })
        .collect()
});

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Class {
    /// What a sentence calls it, with an article.
    phrase: &'static str,
    /// What it and classes that look alike are together.
    kind: Option<&'static str>,
}

impl Class {
    fn kind(self) -> &'static str {
        self.kind.unwrap_or(self.phrase)
    }
}

/// What a picture shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Things {
    /// The thing that it shows, with a reservation where the net is not sure.
    pub main: Option<String>,
    /// Something else that it may show, with a reservation.
    pub other: Option<String>,
}

impl Things {
    /// Reads the probabilities of all classes, in their order.
    pub fn of(probabilities: &[f32]) -> Self {
        let classes = || CLASSES.iter().copied().zip(probabilities.iter().copied());
        let class = largest(classes().map(|(class, probability)| (class.phrase, probability)));
        let kind = largest(classes().map(|(class, probability)| (class.kind(), probability)));
        let Some((named, is_sure)) = named(class, kind) else { return Self::default() };
        let main = if is_sure { named.to_owned() } else { format!("what looks like {named}") };
        let own = CLASSES.iter().find(|class| class.phrase == named || class.kind() == named).map(|class| class.kind());
        let others = classes().filter(|(class, _)| Some(class.kind()) != own);
        let (other, probability) = largest(others.map(|(class, probability)| (class.phrase, probability)));
        let other = (probability >= POSSIBLE).then(|| format!("possibly {other}"));
        Self { main: Some(main), other }
    }
}

/// Returns what to call the thing, and whether that is sure.
fn named(class: (&'static str, f32), kind: (&'static str, f32)) -> Option<(&'static str, bool)> {
    match (class.1, kind.1) {
        (probability, _) if probability >= SURE => Some((class.0, true)),
        (_, probability) if probability >= SURE => Some((kind.0, true)),
        (probability, _) if probability >= LIKELY => Some((class.0, false)),
        (_, probability) if probability >= LIKELY => Some((kind.0, false)),
        _ => None,
    }
}

/// Adds up the probabilities of each name, and returns the first of those with the largest sum.
fn largest(probabilities: impl Iterator<Item = (&'static str, f32)>) -> (&'static str, f32) {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut sums: Vec<(&str, f32)> = Vec::new();
    for (name, probability) in probabilities.filter(|(_, probability)| probability.is_finite()) {
        let place = *places.entry(name).or_insert(sums.len());
        match sums.get_mut(place) {
            Some((_, sum)) => *sum += probability,
            None => sums.push((name, probability)),
        }
    }
    sums.into_iter().fold(("", 0.0), |best, sum| if sum.1 > best.1 { sum } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probabilities of classes by their numbers, from 0; the rest is shared among all.
    fn things(some: &[(usize, f32)]) -> Things {
        let rest = 1.0 - some.iter().map(|(_, probability)| probability).sum::<f32>();
        let mut all = vec![rest / COUNT as f32; COUNT];
        some.iter().for_each(|(class, probability)| all[*class] += probability);
        Things::of(&all)
    }

    fn main(some: &[(usize, f32)]) -> Option<String> {
        things(some).main
    }

    #[test]
    fn there_are_a_thousand_classes() {
        assert_eq!(CLASSES.len(), COUNT);
        let named = |number: usize| (CLASSES[number].phrase, CLASSES[number].kind);
        assert_eq!(named(0), ("a tench", Some("a fish")));
        assert_eq!(named(281), ("a tabby cat", Some("a cat")));
        assert_eq!(named(967), ("espresso", None));
        assert_eq!(named(999), ("toilet paper", None));
        let is_plain = |text: &str| !text.is_empty() && text == text.trim() && !text.contains([',', '/', '(', '\t']);
        assert!(CLASSES.iter().all(|class| is_plain(class.phrase) && is_plain(class.kind())));
    }

    #[test]
    fn the_wording_follows_the_probability() {
        for (some, expected) in [
            (&[(967, 0.94)][..], Some("espresso")),
            (&[(967, 0.71)], Some("espresso")),
            (&[(967, 0.6)], Some("what looks like espresso")),
            (&[(967, 0.4)], None),
            // A photograph of a cat: neither breed is sure, and that it is a cat is.
            (&[(285, 0.39), (282, 0.36), (281, 0.16)], Some("a cat")),
            (&[(285, 0.3), (282, 0.2)], Some("what looks like a cat")),
            (&[(285, 0.5), (282, 0.1)], Some("what looks like an Egyptian Mau cat")),
            // Two classes with the same name.
            (&[(657, 0.4), (744, 0.35)], Some("a missile")),
            (&[(657, 0.33), (744, 0.2)], Some("what looks like a missile")),
            (&[], None),
        ] {
            assert_eq!(main(some).as_deref(), expected, "{some:?}");
        }
    }

    #[test]
    fn a_second_thing_is_of_another_kind() {
        assert_eq!(things(&[(281, 0.5), (282, 0.45)]), Things { main: Some("a cat".to_owned()), other: None });
        let two = things(&[(151, 0.72), (852, 0.25)]);
        assert_eq!(two.main.as_deref(), Some("a Chihuahua"));
        assert_eq!(two.other.as_deref(), Some("possibly a tennis ball"));
        assert_eq!(things(&[(151, 0.4), (852, 0.3)]), Things::default());
    }

    #[test]
    fn what_is_not_a_probability_counts_as_none() {
        assert_eq!(Things::of(&[]), Things::default());
        assert_eq!(Things::of(&[f32::NAN; COUNT]), Things::default());
        assert_eq!(Things::of(&[f32::INFINITY; 10]), Things::default());
        assert_eq!(Things::of(&[-1.0; COUNT]), Things::default());
    }
}
