//! The entries of what only neural networks do, each if there is one for it.

use std::collections::HashMap;

use image::{DynamicImage, Rgb, RgbImage, imageops};
use imgopen_engine::{Auditor, Format, Monitor, Output, Picture, PictureLimits};
use imgopen_neural::Safety;
use imgopen_picture::{Attached, blurred, decode, encode};
use imgopen_types::Face;
use serde_json::Value;

use crate::requests::{self, Request};
use crate::show::{photo, results, tile};
use crate::{Entry, Result, Tile, Workshop};

const URL: &str = "https://example.com/photo.png";

/// The colour of boxes around faces.
const BOX: Rgb<u8> = Rgb([255, 220, 0]);

/// Returns the entries, and what was refused as an entry in words.
pub fn all(workshop: &Workshop) -> Vec<Entry> {
    let shown = requests::all().into_iter().filter(|(operation, ..)| workshop.is_neural(operation));
    let mut entries: Vec<Entry> = shown.map(|shown| entry(workshop, shown)).collect();
    let safety = Safety::new(workshop.nets.clone());
    if safety.ready().is_ok() {
        entries.push(audited(&safety).unwrap_or_else(|error| refused("the audit of results", &*error)));
    }
    entries
}

/// Returns an entry that says in words what went wrong.
fn refused(what: &str, error: &dyn std::error::Error) -> Entry {
    let words = vec![format!("refused: {error}")];
    Entry { title: what.to_owned(), inputs: Vec::new(), outputs: Vec::new(), words }
}

/// Shows a result with its audit, and what is given out in its place where it is blurred.
fn audited(safety: &Safety) -> Result<Entry> {
    let (image, limits, monitor) = (photo("astronaut"), PictureLimits::default(), Monitor::new().0);
    let bytes = encode(&image, Format::Png, &Attached::default())?;
    let (width, height) = (image.width(), image.height());
    let picture = Picture { bytes, format: Format::Png, width, height, seed: None };
    let labels = safety.audit(&picture, &limits, &monitor)?;
    let words = labels.iter().map(|label| format!("{}: {}", label.name, label.confidence)).collect();
    let blurred = decode(&blurred(&picture, &limits, &monitor)?.bytes, &limits)?.image;
    Ok(Entry {
        title: "the audit of results, by the pack `safety`".to_owned(),
        inputs: vec![tile(&image, "a result")],
        outputs: vec![tile(&blurred, "what becomes of one over the threshold, with `blur`")],
        words,
    })
}

/// Returns a photograph of scikit-image, or one that is made of it.
fn picture(name: &str) -> DynamicImage {
    let mirrored = || {
        let mut image = imageops::flip_horizontal(&photo("astronaut").to_rgb8());
        image.pixels_mut().for_each(|Rgb([red, green, blue])| {
            (*red, *green, *blue) = (*red / 2 + 90, *green / 2 + 60, *blue / 2 + 40);
        });
        image
    };
    match name {
        "mirrored" => mirrored().into(),
        "group" => {
            let (left, right) = (photo("astronaut").to_rgb8(), mirrored());
            let mut both = RgbImage::new(left.width() + right.width(), left.height());
            imageops::replace(&mut both, &left, 0, 0);
            imageops::replace(&mut both, &right, i64::from(left.width()), 0);
            both.into()
        }
        name => photo(name),
    }
}

/// Puts the address of a picture into a field, or into the list that the field names a place of.
fn address(request: &mut Value, field: &str) {
    match field.split_once('[') {
        Some((list, _)) => match request[list].as_array_mut() {
            Some(places) => places.push(URL.into()),
            None => request[list] = vec![URL].into(),
        },
        None => request[field] = URL.into(),
    }
}

/// Draws the boxes of faces onto their picture.
fn framed(image: &DynamicImage, faces: &[Face]) -> Tile {
    let mut framed = image.to_rgb8();
    for face in faces {
        let [left, top, width, height] = [face.box_.x, face.box_.y, face.box_.width, face.box_.height]
            .map(|number| u32::try_from(number).unwrap_or(0));
        for (x, y, pixel) in framed.enumerate_pixels_mut() {
            let is_within = |edge: u32| {
                (left + edge..(left + width).saturating_sub(edge)).contains(&x)
                    && (top + edge..(top + height).saturating_sub(edge)).contains(&y)
            };
            if is_within(0) && !is_within(3) {
                *pixel = BOX;
            }
        }
    }
    tile(&framed.into(), format!("{} faces", faces.len()))
}

/// Runs a request. What an engine refuses is shown in its words.
fn entry(workshop: &Workshop, (operation, fields, pictures): Request) -> Entry {
    let photos: HashMap<_, DynamicImage> = pictures.iter().map(|(_, name)| (*name, picture(name))).collect();
    let given: Vec<_> = pictures.iter().map(|(field, name)| (*field, &photos[name])).collect();
    let mut request = fields.clone();
    request["businessTaskId"] = "1".into();
    for (field, _) in pictures {
        address(&mut request, field);
    }
    let inputs = pictures.iter().map(|(_, name)| tile(&photos[name], *name)).collect();
    let run = workshop
        .run(operation, request, &given)
        .and_then(|(title, output)| Ok((title, shown(&output, &given)?, words(output))));
    match run {
        Ok((title, outputs, words)) => Entry { title: format!("{title}, {fields}"), inputs, outputs, words },
        Err(error) => Entry { inputs, ..refused(&format!("{operation}, {fields}"), &*error) },
    }
}

/// Returns what a result shows: its pictures, and its faces on the picture that was given.
fn shown(output: &Output, given: &[(&str, &DynamicImage)]) -> Result<Vec<Tile>> {
    let mut tiles = results(output)?;
    if let [(_, image)] = given
        && !output.faces.is_empty()
    {
        tiles.push(framed(image, &output.faces));
    }
    Ok(tiles)
}

fn words(output: Output) -> Vec<String> {
    output.caption.into_iter().chain(output.notes).collect()
}
