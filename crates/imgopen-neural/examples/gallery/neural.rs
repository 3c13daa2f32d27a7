//! The entries of what only neural networks do, each if there is one for it.

use std::collections::HashMap;

use image::DynamicImage;
use imgopen_engine::Output;

use crate::requests::{self, Request};
use crate::show::{photo, results, tile};
use crate::{Entry, Workshop};

/// Returns the entries, and what was refused as an entry in words.
pub fn all(workshop: &Workshop) -> Vec<Entry> {
    let shown = requests::all().into_iter().filter(|(operation, ..)| workshop.is_neural(operation));
    shown.map(|shown| entry(workshop, shown)).collect()
}

/// Runs a request. What an engine refuses is shown in its words.
fn entry(workshop: &Workshop, (operation, fields, pictures): Request) -> Entry {
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
