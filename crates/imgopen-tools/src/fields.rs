//! Checks of field values that several engines share.

use std::ops::RangeInclusive;

use imgopen_engine::EngineError;

/// The most pictures that one request makes.
pub(crate) const MOST_PICTURES: u64 = 64;

/// Checks that a whole number is in a range. `taker` is named in the message as the one who sets the range.
pub(crate) fn whole(field: &str, value: i128, range: &RangeInclusive<u64>, taker: &str) -> Result<u32, EngineError> {
    let fitting = u32::try_from(value).ok().filter(|value| range.contains(&u64::from(*value)));
    let (first, last) = (range.start(), range.end());
    let problem = || format!("{value} given, {taker} takes a whole number from {first} to {last}");
    fitting.ok_or_else(|| EngineError::rejected(field, problem()))
}

/// Returns the given seed, or a random one of 31 bits if there is none or it is -1. Further pictures of a request count up
/// from it.
pub(crate) fn seed(given: Option<i64>) -> i64 {
    match given {
        None | Some(-1) => i64::from(fastrand::i32(0..)),
        Some(seed) => seed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_rejected_by_field() {
        assert_eq!(whole("a", 3, &(1..=3), "the engine"), Ok(3));
        for value in [0, 4, -1, i128::from(u64::MAX)] {
            let error = whole("a", value, &(1..=3), "the engine").unwrap_err();
            assert_eq!(error.to_string(), format!("`a`: {value} given, the engine takes a whole number from 1 to 3"));
        }
    }

    #[test]
    fn a_seed_is_drawn_unless_one_is_given() {
        assert_eq!(seed(Some(7)), 7);
        for given in [None, Some(-1)] {
            let seeds = [seed(given), seed(given)];
            assert!(seeds.iter().all(|seed| (0..1 << 31).contains(seed)) && seeds[0] != seeds[1]);
        }
    }
}
