//! What the crate contains that is under other licences than its code.

use imgopen_tools::parts::Part;

/// The parts of this crate.
pub const PARTS: &[Part] = &[Part {
    name: "the face detector BlazeFace of MediaPipe",
    licence: "Apache-2.0",
    text: include_str!("../nets/LICENSE-mediapipe"),
}];

#[cfg(test)]
mod tests {
    use super::*;

    /// What people see of the crate before they have it: beside the choice for its code, what holds for its parts.
    #[test]
    fn cargo_toml_names_the_licences_of_all_parts() {
        for part in PARTS {
            assert!(env!("CARGO_PKG_LICENSE").ends_with(&format!(" AND {}", part.licence)), "{}", part.name);
        }
    }
}
