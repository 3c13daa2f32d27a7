//! Names in the lists of back ends, and what to say about one that is not there.

/// How many names a refusal lists.
const SHOWN: usize = 20;

/// Removes the extension of a file of weights.
pub(crate) fn stem(name: &str) -> &str {
    let extensions = [".safetensors", ".ckpt", ".pth", ".pt", ".bin", ".gguf", ".sft"];
    extensions.iter().find_map(|extension| name.strip_suffix(extension)).unwrap_or(name)
}

/// Says that something is not in a list, and what is.
pub(crate) fn missing(what: &str, asked: &str, available: &[String]) -> String {
    format!("the {what} \"{}\"; {}", stem(asked), choice(available))
}

/// What to say in place of the names of LoRAs.
pub(crate) const OWN_LORAS: &str = "give one that `list_loras` names";

/// Says which names there are to choose from.
pub(crate) fn choice(available: &[String]) -> String {
    if available.is_empty() {
        return "it has none".to_owned();
    }
    let mut listed = available.iter().take(SHOWN).map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    if available.len() > SHOWN {
        listed = format!("{listed} and {} more", available.len() - SHOWN);
    }
    format!("give one of {listed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stem_has_no_extension_of_weights() {
        assert_eq!((stem("a.v1.safetensors"), stem("a.v1")), ("a.v1", "a.v1"));
    }

    #[test]
    fn what_is_missing_is_said_with_what_is_there() {
        assert_eq!(missing("VAE", "a.pt", &[]), "the VAE \"a\"; it has none");
        let many: Vec<String> = (0..22).map(|number| number.to_string()).collect();
        let said = missing("model", "x", &many);
        assert!(
            said.starts_with("the model \"x\"; give one of \"0\", \"1\"") && said.ends_with("\"19\" and 2 more"),
            "{said}"
        );
    }
}
