//! Estimates the length of prompts in tokens.

/// The letters per token: common English words are single tokens, longer and rarer ones take more.
const LETTERS: usize = 8;

/// Returns an estimate of the tokens that CLIP, the text encoder of SD and SDXL, makes of a prompt.
///
/// CLIP's vocabulary is not used. A word of Latin letters counts one for every eight letters or part of them; a digit, and a
/// run of punctuation, one; a letter of another alphabet a half; an ideograph or a kana two. Brackets and the weights in
/// them do not count, because programs remove them.
///
/// ```
/// use imgopen_tools::prompts::tokens;
///
/// assert_eq!(tokens("a girl, (detailed face:1.2)"), 5);
/// ```
pub fn tokens(prompt: &str) -> usize {
    let plain = without_weights(prompt);
    let (mut count, mut letters, mut others, mut in_punctuation) = (0, 0_usize, 0_usize, false);
    for c in plain.chars().chain([' ']) {
        let is_punctuation = !c.is_alphanumeric() && !c.is_whitespace();
        if !is_latin(c) {
            count += std::mem::take(&mut letters).div_ceil(LETTERS);
        }
        if !is_other(c) {
            count += std::mem::take(&mut others).div_ceil(2);
        }
        match c {
            _ if is_latin(c) => letters += 1,
            _ if is_other(c) => others += 1,
            _ if is_ideograph(c) => count += 2,
            _ if c.is_numeric() => count += 1,
            _ if is_punctuation && !in_punctuation => count += 1,
            _ => {}
        }
        in_punctuation = is_punctuation;
    }
    count
}

fn is_latin(c: char) -> bool {
    c.is_alphabetic() && u32::from(c) < 0x250
}

fn is_ideograph(c: char) -> bool {
    c.is_alphabetic() && u32::from(c) >= 0x2e80
}

fn is_other(c: char) -> bool {
    c.is_alphabetic() && !is_latin(c) && !is_ideograph(c)
}

/// Returns the prompt without brackets and weights.
fn without_weights(prompt: &str) -> String {
    let (mut plain, mut rest) = (String::new(), prompt);
    while let Some(at) = rest.find(['(', ')', '[', ']', ':']) {
        plain.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let weight = after.find(')').filter(|end| after[..*end].trim().parse::<f64>().is_ok());
        rest = match (rest.as_bytes()[at], weight) {
            (b':', Some(end)) => &after[end..],
            (b':', None) => {
                plain.push(':');
                after
            }
            _ => after,
        };
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_digits_and_signs_are_counted() {
        for (prompt, count) in [
            ("", 0),
            ("a girl", 2),
            ("a girl, sitting", 4),
            ("extraordinarily", 2),
            ("85mm lens", 4),
            ("f/1.8", 5),
            ("((masterpiece)), [bad]", 4),
            ("(a cat:1.25)", 2),
            ("note: this", 3),
            ("猫", 2),
            ("кошка", 3),
            ("Hündchen", 1),
            ("...!!!", 1),
        ] {
            assert_eq!(tokens(prompt), count, "{prompt}");
        }
    }
}
