//! Prompts, and the tags in them that name LoRAs.

use std::sync::LazyLock;

use imgopen_engine::tags;
use regex_lite::Regex;

/// A prompt, taken apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    /// The prompt as the caller wrote it.
    pub full: String,
    /// The prompt without the tags.
    pub text: String,
    /// The LoRAs that it names, in order.
    pub loras: Vec<LoraUse>,
}

/// A LoRA that a prompt names, such as `<lora:detail:0.8>`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraUse {
    /// The name, without the extension of a file.
    pub name: String,
    /// The weight for the text encoder.
    pub text_weight: f64,
    /// The weight for the diffusion model.
    pub weight: f64,
}

impl Prompt {
    /// Reads a prompt in the syntax of the web UI.
    ///
    /// # Errors
    ///
    /// Says which tag is invalid, and what would be right.
    ///
    /// ```
    /// use imgopen_backends::Prompt;
    ///
    /// let prompt = Prompt::parse("a lighthouse <lora:detail:0.8>, at night")?;
    /// assert_eq!((prompt.text.as_str(), prompt.loras[0].weight), ("a lighthouse , at night", 0.8));
    /// assert!(Prompt::parse("<lora:detail:much>").unwrap_err().contains("give a number"));
    /// # Ok::<(), String>(())
    /// ```
    pub fn parse(full: &str) -> Result<Self, String> {
        let mut prompt = Self { full: full.to_owned(), text: String::new(), loras: Vec::new() };
        let mut rest = full;
        while let Some((before, tag, after)) = tags::next(rest) {
            prompt.text.push_str(before);
            prompt.loras.push(LoraUse::parse(tag)?);
            rest = after;
        }
        prompt.text.push_str(rest);
        prompt.text.truncate(prompt.text.trim_end().len());
        Ok(prompt)
    }

    /// Returns the first construct that only the web UI understands: `[a:b:0.5]`, `[a|b]`, `AND` or `BREAK`. Others take it
    /// as words.
    ///
    /// ```
    /// use imgopen_backends::Prompt;
    ///
    /// let prompt = Prompt::parse("a [cat:dog:0.5] in (the sun:1.2)")?;
    /// assert_eq!(prompt.web_ui_syntax(), Some("[cat:dog:0.5]"));
    /// # Ok::<(), String>(())
    /// ```
    pub fn web_ui_syntax(&self) -> Option<&str> {
        static SYNTAX: LazyLock<Regex> = LazyLock::new(|| {
            let pattern = r"\[[^\[\]]*:\s*[0-9.]+\s*\]|\[[^\[\]]*\|[^\[\]]*\]|\bAND\b|\bBREAK\b";
            Regex::new(pattern).expect("the pattern is valid")
        });
        SYNTAX.find(&self.text).map(|found| found.as_str())
    }
}

impl LoraUse {
    /// Reads what is between `<` and `>`.
    fn parse(tag: &str) -> Result<Self, String> {
        let mut parts = tag.split(':');
        let kind = parts.next().unwrap_or_default();
        if !["lora", "lyco"].contains(&kind) {
            return Err(format!("`<{tag}>` given; the only tags are those of LoRAs, such as `<lora:name:0.8>`"));
        }
        let name = parts.next().unwrap_or_default().trim();
        if name.is_empty() {
            return Err(format!("`<{tag}>` names no LoRA; write it as `<lora:name:0.8>`"));
        }
        let (mut text, mut unet, mut place) = (None, None, 0);
        for part in parts {
            let (slot, value) = match part.split_once('=') {
                Some(("te", value)) => (&mut text, value),
                Some(("unet", value)) => (&mut unet, value),
                Some((other, _)) => {
                    return Err(format!("`<{tag}>` has the argument `{other}`; only `te` and `unet` are known"));
                }
                None => {
                    place += 1;
                    match place {
                        1 => (&mut text, part),
                        2 => (&mut unet, part),
                        _ => return Err(format!("`<{tag}>` has too many weights; give one or two")),
                    }
                }
            };
            *slot = Some(weight(tag, value)?);
        }
        let text_weight = text.unwrap_or(1.0);
        Ok(Self { name: name.to_owned(), text_weight, weight: unet.unwrap_or(text_weight) })
    }
}

fn weight(tag: &str, value: &str) -> Result<f64, String> {
    let weight = value.trim().parse().ok().filter(|weight: &f64| weight.is_finite() && weight.abs() <= 10.0);
    weight.ok_or_else(|| format!("`<{tag}>` has the weight `{value}`; give a number from -10 to 10, such as 0.8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lora(name: &str, text_weight: f64, weight: f64) -> LoraUse {
        LoraUse { name: name.to_owned(), text_weight, weight }
    }

    #[test]
    fn tags_are_taken_out_of_the_text() {
        let prompt =
            Prompt::parse("<lora:a:0.5> x < y, 1 > 0 <lyco:b> z <lora:c:0.2:0.7><lora:d:te=0:unet=-1>").unwrap();
        assert_eq!(prompt.text, " x < y, 1 > 0  z");
        assert_eq!(prompt.loras, [lora("a", 0.5, 0.5), lora("b", 1.0, 1.0), lora("c", 0.2, 0.7), lora("d", 0.0, -1.0)]);
    }

    #[test]
    fn a_prompt_without_tags_stays_as_it_is() {
        for text in ["", "a (red:1.2) cat", "<3 cats", "a <b> c", "a < b: c > d", "[a:b:0.5] AND (c), BREAK d", "ünï<"]
        {
            let prompt = Prompt::parse(text).unwrap();
            assert_eq!((prompt.text.as_str(), prompt.loras.len()), (text, 0));
        }
    }

    #[test]
    fn syntax_of_the_web_ui_alone_is_found() {
        let found = |text: &str| Prompt::parse(text).unwrap().web_ui_syntax().map(str::to_owned);
        for (text, syntax) in [
            ("a [cat:dog:0.5]", "[cat:dog:0.5]"),
            ("[hat : 12]", "[hat : 12]"),
            ("[a|b|c] d", "[a|b|c]"),
            ("a cat AND a dog", "AND"),
            ("a, BREAK b", "BREAK"),
        ] {
            assert_eq!(found(text).as_deref(), Some(syntax));
        }
        for text in ["", "[less]", "(more:1.2)", "a and b, sand, BREAKFAST", "[a] 1:2 [b]", "<lora:a:0.5>"] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn invalid_tags_are_rejected() {
        for (tag, problem) in [
            ("<lora::1>", "names no LoRA"),
            ("<lora:a:1:2:3>", "too many weights"),
            ("<lora:a:dyn=4>", "only `te` and `unet`"),
            ("<lora:a:NaN>", "give a number from -10 to 10"),
            ("<hypernet:a:1>", "the only tags are those of LoRAs"),
        ] {
            let error = Prompt::parse(tag).unwrap_err();
            assert!(error.contains(problem), "{tag}: {error}");
        }
    }
}
