//! Times two implementations in alternation, because noise on the machine then affects both alike.

use std::fmt;
use std::time::{Duration, Instant};

/// How the time of one way relates to that of the other, over many rounds.
#[derive(Debug, Clone)]
pub struct Ratio {
    sorted: Vec<f64>,
}

impl Ratio {
    /// Times both in every round, in turns first, and divides the first's time by the second's.
    ///
    /// # Panics
    ///
    /// When there are no rounds.
    pub fn of(rounds: usize, mut first: impl FnMut(), mut second: impl FnMut()) -> Self {
        assert!(rounds > 0, "no rounds, no ratio");
        let mut ratios: Vec<_> = (0..rounds)
            .map(|round| {
                let (one, other) = if round % 2 == 0 {
                    let one = time(&mut first);
                    (one, time(&mut second))
                } else {
                    let other = time(&mut second);
                    (time(&mut first), other)
                };
                one.as_secs_f64() / other.as_secs_f64()
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        Self { sorted: ratios }
    }

    /// Divides the figures of one way by those of the other, round by round.
    ///
    /// # Panics
    ///
    /// When there are no rounds, or not as many of both.
    pub fn of_figures(first: &[f64], second: &[f64]) -> Self {
        assert!(!first.is_empty() && first.len() == second.len(), "each round has a figure of both");
        let mut ratios: Vec<_> = first.iter().zip(second).map(|(first, second)| first / second).collect();
        ratios.sort_by(f64::total_cmp);
        Self { sorted: ratios }
    }

    /// The middle one of all rounds.
    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// Between what the median of endless rounds lies, with a confidence of 95 %, whatever the distribution: the rounds whose
    /// ranks are 0.98 roots of their number from the middle.
    pub fn interval(&self) -> (f64, f64) {
        let rounds = self.sorted.len();
        let rank = (rounds as f64 / 2.0 - 0.98 * (rounds as f64).sqrt()).max(1.0) as usize;
        (self.sorted[rank - 1], self.sorted[rounds - rank])
    }

    fn at(&self, part: f64) -> f64 {
        let last = self.sorted.len() - 1;
        self.sorted[(last as f64 * part).round() as usize]
    }
}

/// The median with its 95 % interval, and between what half of the rounds lie.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.sorted.len();
        let ((least, most), (low, high)) = (self.interval(), (self.at(0.25), self.at(0.75)));
        write!(
            f,
            "{:.3} (95 %: {least:.3} to {most:.3}), half of {rounds} rounds from {low:.3} to {high:.3}",
            self.median()
        )
    }
}

/// Has several ways take turns, each first in its turn, and returns the figures of each, one for each round. A round before them,
/// in which all warm up, does not count.
pub fn alternate<const N: usize>(rounds: usize, ways: [&mut dyn FnMut() -> f64; N]) -> [Vec<f64>; N] {
    let mut figures = [(); N].map(|()| Vec::with_capacity(rounds));
    for round in 0..=rounds {
        for turn in 0..N {
            let way = (round + turn) % N;
            let figure = (ways[way])();
            if round > 0 {
                figures[way].push(figure);
            }
        }
    }
    figures
}

/// Returns the median of figures.
///
/// # Panics
///
/// When there are none.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Says whether a target was reached.
pub const fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

fn time(way: &mut impl FnMut()) -> Duration {
    let start = Instant::now();
    way();
    start.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_shown_with_its_spread() {
        let ratio = Ratio { sorted: vec![0.5, 0.9, 1.0, 1.1, 7.0] };
        assert_eq!(ratio.to_string(), "1.000 (95 %: 0.500 to 7.000), half of 5 rounds from 0.900 to 1.100");
        // The ranks of tables of the sign test: 40 and 61 of 100.
        let ratio = Ratio { sorted: (1..=100).map(f64::from).collect() };
        assert_eq!(ratio.interval(), (40.0, 61.0));
    }

    #[test]
    fn each_way_is_first_in_its_turn_and_warms_up_before() {
        let calls = std::cell::RefCell::new(Vec::new());
        let way = |name: &'static str| {
            let calls = &calls;
            move || {
                calls.borrow_mut().push(name);
                calls.borrow().len() as f64
            }
        };
        let figures = alternate(2, [&mut way("a"), &mut way("b")]);
        assert_eq!(*calls.borrow(), ["a", "b", "b", "a", "a", "b"]);
        assert_eq!(figures, [[4.0, 5.0], [3.0, 6.0]]);
        let ratio = Ratio::of_figures(&figures[0], &figures[1]);
        // 4 to 3 and 5 to 6; the upper of two in the middle.
        assert!((ratio.median() - 4.0 / 3.0).abs() < 1e-9);
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
    }
}
