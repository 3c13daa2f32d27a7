//! Paths of fields, as errors name them and as rows of the table do.

/// Returns the path of a member of an object.
pub(super) fn join(parent: &str, member: &str) -> String {
    if parent.is_empty() { member.to_owned() } else { format!("{parent}.{member}") }
}

/// Turns a path into the form of the table: without the numbers of items, and with the settings of ControlNet at the top
/// level, where they may be as well.
pub(super) fn generic(path: &str) -> String {
    let path = match path.strip_prefix("alwayson_scripts.controlnet") {
        Some(rest) if rest.is_empty() || rest.starts_with(['.', '[']) => format!("controlnet{rest}"),
        _ => path.to_owned(),
    };
    let mut generic = String::with_capacity(path.len());
    let mut is_index = false;
    for c in path.chars() {
        match c {
            '[' => is_index = true,
            ']' => is_index = false,
            _ if is_index => continue,
            _ => {}
        }
        generic.push(c);
    }
    generic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_without_numbers_and_places() {
        assert_eq!(generic("alwayson_scripts.controlnet.args[12].weight"), "controlnet.args[].weight");
        assert_eq!(generic("alwayson_scripts.controlnet_x"), "alwayson_scripts.controlnet_x");
        assert_eq!(join(&join("", "a"), "b"), "a.b");
    }
}
