//! The entries of what only neural networks do, each if there is one for it.

use std::collections::HashMap;

use image::DynamicImage;
use imgopen_engine::Output;
use serde_json::{Value, json};

use crate::show::{photo, results, tile};
use crate::{Entry, Workshop};

/// One request: the operation, its fields, and the photographs by their fields.
type Shown = (&'static str, Value, &'static [(&'static str, &'static str)]);

/// Returns the entries, and what was refused as an entry in words.
pub fn all(workshop: &Workshop) -> Vec<Entry> {
    let shown = shown().into_iter().filter(|(operation, ..)| workshop.is_neural(operation));
    shown.map(|shown| entry(workshop, shown)).collect()
}

fn shown() -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for pictures in [&[("sourceImage", "astronaut")], &[("sourceImage", "chelsea")], &[("sourceImage", "coffee")]] {
        all.push(("remove_background", json!({}), pictures));
    }
    all.extend([
        ("remove_background", json!({"backgroundColor": "#3060c0"}), &[("sourceImage", "astronaut")][..]),
        ("super_resolution", json!({"scale": 4}), &[("image", "horse")]),
        ("restore_face", json!({}), &[("image", "astronaut")]),
        ("change_hairstyle", json!({"hairStyle": "short", "hairColor": "red"}), &[("sourceImage", "astronaut")]),
        ("describe_image", json!({"callbackUrl": "https://example.com/"}), &[("image", "astronaut")]),
        ("describe_image", json!({"callbackUrl": "https://example.com/"}), &[("image", "coffee")]),
        ("swap_face", json!({}), &[("sourceUrl", "astronaut"), ("targetUrl", "astronaut")]),
    ]);
    all
}

/// Runs a request. What an engine refuses is shown in its words.
fn entry(workshop: &Workshop, (operation, fields, pictures): Shown) -> Entry {
    let photos: HashMap<_, DynamicImage> = pictures.iter().map(|(_, name)| (*name, photo(name))).collect();
    let given: Vec<_> = pictures.iter().map(|(field, name)| (*field, &photos[name])).collect();
    let mut request = fields.clone();
    request["businessTaskId"] = "1".into();
    for (field, _) in pictures {
        request[*field] = "https://example.com/photo.png".into();
    }
    let inputs = pictures.iter().map(|(_, name)| tile(&photos[name], *name)).collect();
    let run = workshop
        .run(operation, request, &given)
        .and_then(|(title, output)| Ok((title, results(&output)?, words(output))));
    match run {
        Ok((title, outputs, words)) => Entry { title: format!("{title}, {fields}"), inputs, outputs, words },
        Err(error) => {
            let title = format!("{operation}, {fields}");
            Entry { title, inputs, outputs: Vec::new(), words: vec![format!("refused: {error}")] }
        }
    }
}

fn words(output: Output) -> Vec<String> {
    output.caption.into_iter().chain(output.notes).collect()
}
