//! Paths within archives, with `/` between their parts.

/// Whether a path stays in the directory that it begins in, on every system.
pub(crate) fn is_inside(path: &str) -> bool {
    let is_strange = |c: char| c == '\\' || c == ':' || c.is_control();
    !path.is_empty() && !path.starts_with('/') && !path.contains(is_strange) && path.split('/').all(|part| part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_their_directory_are_found() {
        for path in ["a", "a/b.onnx", "package/dist/", "./a", "a..b/c", "@scope/a+b"] {
            assert!(is_inside(path), "{path}");
        }
        for path in ["", "/etc/passwd", "..", "../a", "a/../../b", "a/..", "..\\a", "C:\\a", "C:a", "a\0b"] {
            assert!(!is_inside(path), "{path}");
        }
    }
}
