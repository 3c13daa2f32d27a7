//! Path parameters whose value may hold slashes.

use progenitor_client::encode_path;

/// Encodes each path segment of the value and keeps the slashes between them.
pub(crate) fn segments(value: &str) -> String {
    value.split('/').map(encode_path).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::segments;

    #[test]
    fn slashes_stay_and_the_rest_is_encoded() {
        assert_eq!(segments("hair/change"), "hair/change");
        assert_eq!(segments("a b/c?d"), "a%20b/c%3Fd");
    }
}
