//! Tags in prompts that name extra networks, such as `<lora:detail:0.8>`.

/// Splits a text at the first tag that the web UI would take for an extra network: `<kind:arguments>`. Returns what is before
/// it, what is between `<` and `>`, and the rest.
///
/// ```
/// use imgopen_engine::tags;
///
/// let found = tags::next("a lighthouse <lora:detail:0.8>, 2 < 3");
/// assert_eq!(found, Some(("a lighthouse ", "lora:detail:0.8", ", 2 < 3")));
/// assert_eq!(tags::next("<3 cats"), None);
/// ```
pub fn next(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(start) = text[from..].find('<').map(|at| from + at) {
        let end = start + text[start..].find('>')?;
        let tag = &text[start + 1..end];
        let is_tag = tag
            .split_once(':')
            .is_some_and(|(kind, _)| !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || c == '_'));
        if is_tag {
            return Some((&text[..start], tag, &text[end + 1..]));
        }
        from = start + 1;
    }
    None
}

/// Returns the names that any program might take for that of a network in the tags of a text: the first argument of each tag,
/// and the first that is not of the form `name=value`.
///
/// ```
/// use imgopen_engine::tags;
///
/// assert_eq!(tags::networks("<lora: one :0.5> <lyco:te=1:two:1>"), ["one", "te=1", "two"]);
/// ```
pub fn networks(text: &str) -> Vec<&str> {
    let (mut names, mut rest) = (Vec::new(), text);
    while let Some((_, tag, after)) = next(rest) {
        let mut arguments = tag.split(':').skip(1).map(str::trim);
        if let Some(first) = arguments.next() {
            names.push(first);
            names.extend(first.contains('=').then(|| arguments.find(|argument| !argument.contains('='))).flatten());
        }
        rest = after;
    }
    names
}

/// Says that there is no LoRA of a name that a tag gives. The text is the same wherever it is found out, so that a LoRA that
/// is another key's cannot be distinguished by it from one that is not there. It names no others.
///
/// ```
/// use imgopen_engine::tags;
///
/// assert_eq!(tags::unknown_lora("ink"), "there is no LoRA \"ink\"; give one that `list_loras` names");
/// ```
pub fn unknown_lora(name: &str) -> String {
    format!("there is no LoRA \"{name}\"; give one that `list_loras` names")
}
