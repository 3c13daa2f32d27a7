//! Patterns for paths whose text is taken as it is.

use regex::Regex;

/// Paths of that template with anything in the place of `{}`, slashes included.
pub(crate) fn any(template: &str) -> Regex {
    compile(template, ".+")
}

/// The path of that template with this value in the place of `{}`.
pub(crate) fn exactly(template: &str, value: &impl ToString) -> Regex {
    compile(template, &regex::escape(&value.to_string()))
}

fn compile(template: &str, value: &str) -> Regex {
    let text = regex::escape(template).replace(r"\{\}", value);
    Regex::new(&format!("^{text}$")).expect("an escaped text is a pattern")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_literal_and_values_may_hold_slashes() {
        assert!(any("/tool/{}/queryTask").is_match("/tool/hair/change/queryTask"));
        assert!(!any("/a.b/{}").is_match("/axb/c"));
        assert!(exactly("/tool/{}/queryTask", &"hair/change").is_match("/tool/hair/change/queryTask"));
        assert!(!exactly("/tool/{}/queryTask", &"hair/change").is_match("/tool/hair%2Fchange/queryTask"));
        assert!(!exactly("/tool/{}/queryTask", &"roop").is_match("/tool/v2/roop/queryTask"));
    }
}
