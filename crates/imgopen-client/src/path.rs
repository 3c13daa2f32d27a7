//! Path parameters whose value may hold slashes.

use imgopen_types::operation::stays_in_path;
use progenitor_client::encode_path;

use crate::Error;

/// Encodes each path segment of a parameter's value and keeps the slashes between them.
pub(crate) fn segments(name: &str, value: &str) -> Result<String, Error> {
    if !stays_in_path(value) {
        let problem = format!("`{name}`: {value:?} given; give a value without empty parts, `.` and `..`");
        return Err(Error::InvalidRequest(problem));
    }
    // Left as it is, a backslash would become a slash.
    Ok(value.split('/').map(encode_path).collect::<Vec<_>>().join("/").replace('\\', "%5C"))
}

#[cfg(test)]
mod tests {
    use super::segments;

    #[test]
    fn slashes_stay_and_the_rest_is_encoded() {
        assert_eq!(segments("toolCode", "hair/change").unwrap(), "hair/change");
        assert_eq!(segments("toolCode", "a b/c?d").unwrap(), "a%20b/c%3Fd");
        assert_eq!(segments("toolCode", "a\\b").unwrap(), "a%5Cb");
    }

    #[test]
    fn a_value_does_not_lead_to_another_path() {
        for value in [
            "",
            ".",
            "..",
            "../keys",
            "hair/../../sd",
            "hair//change",
            "/hair",
            "hair/",
            "..\\keys",
            "hair\\..\\..\\sd",
        ] {
            let error = segments("toolCode", value).unwrap_err().to_string();
            assert!(error.contains(&format!("`toolCode`: {value:?} given")), "{error}");
        }
        assert_eq!(segments("toolCode", "..hair/c.").unwrap(), "..hair/c.");
    }
}
