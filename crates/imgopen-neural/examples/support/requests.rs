//! Requests for what neural networks do, on photographs that scikit-image ships.

use serde_json::{Value, json};

/// One request: the operation, its fields, and the photographs by their fields. A field with a number in brackets is a place in a list.
/// Beside those of scikit-image, there are `mirrored`, the astronaut turned around in other light, and `group`, both of them.
pub type Request = (&'static str, Value, &'static [(&'static str, &'static str)]);

/// Returns requests for all that networks do.
pub fn all() -> Vec<Request> {
    let mut all: Vec<Request> = Vec::new();
    for pictures in [&[("sourceImage", "astronaut")], &[("sourceImage", "chelsea")], &[("sourceImage", "coffee")]] {
        all.push(("remove_background", json!({}), pictures));
    }
    all.extend([
        ("remove_background", json!({"backgroundColor": "#3060c0"}), &[("sourceImage", "astronaut")][..]),
        ("super_resolution", json!({"scale": 4}), &[("image", "horse")]),
        ("restore_face", json!({}), &[("image", "astronaut")]),
        ("change_hairstyle", json!({"hairStyle": "keep", "hairColor": "red"}), &[("sourceImage", "astronaut")]),
        ("describe_image", json!({"callbackUrl": "https://example.com/"}), &[("image", "astronaut")]),
        ("describe_image", json!({"callbackUrl": "https://example.com/"}), &[("image", "coffee")]),
        ("detect_faces", json!({}), &[("imageUrl", "group")]),
        ("swap_face", json!({}), &[("sourceUrl", "astronaut"), ("targetUrl", "mirrored")]),
        ("swap_face_v2", json!({"fidelityWeight": "0.5"}), &[("sourceUrl", "mirrored"), ("targetUrl", "astronaut")]),
        ("swap_faces", json!({"faceIdx": 2}), &[("sourceUrl[0]", "astronaut"), ("targetUrl", "group")]),
    ]);
    all
}
