//! Numbers of things in messages.

/// Returns a number with its noun, such as `1 picture` or `3 pictures`.
pub fn counted(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// Returns the verb that fits the number.
pub fn have(count: u64) -> &'static str {
    if count == 1 { "has" } else { "have" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        let texts = [0, 1, 2].map(|count| format!("{} {}", counted(count, "data set"), have(count)));
        assert_eq!(texts, ["0 data sets have", "1 data set has", "2 data sets have"]);
    }
}
