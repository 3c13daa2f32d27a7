//! A server of pictures, and checks of what pictures show.

use std::io::Cursor;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::Uri;
use font8x8::{BASIC_FONTS, UnicodeFonts};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use imgopen_tests::wire::{serve, url};
use serde_json::Value;

/// A server with a picture at every path, which records the paths requested.
#[derive(Clone)]
pub struct PictureServer {
    /// Its address.
    pub url: String,
    fetched: Arc<Mutex<Vec<String>>>,
}

impl PictureServer {
    /// Starts the server.
    pub async fn start() -> Self {
        let fetched: Arc<Mutex<Vec<String>>> = Arc::default();
        let copy = fetched.clone();
        let router = Router::new().fallback(move |uri: Uri| {
            copy.lock().unwrap().push(uri.path().to_owned());
            async move { picture_file(picture_at(uri.path())) }
        });
        Self { url: url(serve(router).await), fetched }
    }

    /// The paths requested so far.
    pub fn fetched(&self) -> Vec<String> {
        self.fetched.lock().unwrap().clone()
    }

    /// Replaces all URLs of an example by URLs of this server and of a receiver of callbacks.
    pub fn instead(&self, example: &Value, callback: &str) -> Value {
        let replaced = |value: &Value, name: &str| match value {
            Value::String(text) => match text.strip_prefix("https://example.com/") {
                Some(_) if name == "callbackUrl" => Value::from(callback),
                Some(path) => Value::from(format!("{}/{path}", self.url)),
                None => value.clone(),
            },
            other => other.clone(),
        };
        walk(example, "", &replaced)
    }
}

fn walk(value: &Value, name: &str, leaf: &impl Fn(&Value, &str) -> Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| walk(item, name, leaf)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), walk(value, name, leaf))).collect::<Value>()
        }
        other => leaf(other, name),
    }
}

/// Returns a picture of one colour for `/plain/RRGGBB/WIDTHxHEIGHT.png`, a mask where the path names one, and the scene for
/// any other path.
fn picture_at(path: &str) -> RgbImage {
    if path.contains("mask") {
        return mask();
    }
    let plain = path.strip_prefix("/plain/").and_then(|rest| rest.strip_suffix(".png")?.split_once('/'));
    let Some((color, (width, height))) = plain.and_then(|(color, size)| Some((color, size.split_once('x')?))) else {
        return scene();
    };
    let color = u32::from_str_radix(color, 16).unwrap().to_be_bytes();
    RgbImage::from_pixel(width.parse().unwrap(), height.parse().unwrap(), Rgb([color[1], color[2], color[3]]))
}

/// Returns a mask of the size of the scene that marks a box.
fn mask() -> RgbImage {
    RgbImage::from_fn(60, 41, |x, y| Rgb([if (20..40).contains(&x) && (10..25).contains(&y) { 255 } else { 0 }; 3]))
}

/// Returns a picture with a pattern that survives resampling and has no symmetry.
pub fn scene() -> RgbImage {
    RgbImage::from_fn(60, 41, |x, y| {
        let wave = ((f64::from(x) / 6.0).sin() * (f64::from(y) / 5.0).cos() * 90.0 + 128.0) as u8;
        Rgb([wave, (x * 4) as u8, (y * 6) as u8])
    })
}

/// Encodes a picture as it is served.
pub fn picture_file(image: RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Fetches a result.
pub async fn fetch(http: &reqwest::Client, url: &str) -> Vec<u8> {
    let response = http.get(url).send().await.unwrap();
    assert_eq!(response.status(), 200, "{url}");
    assert_eq!(response.headers()["content-type"], "image/png");
    response.bytes().await.unwrap().to_vec()
}

/// Decodes a picture.
pub fn pixels(bytes: &[u8]) -> RgbImage {
    image::load_from_memory(bytes).unwrap().to_rgb8()
}

/// Returns the text `parameters` of a PNG file, from a `tEXt` or `iTXt` chunk.
pub fn parameters(bytes: &[u8]) -> String {
    let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().unwrap();
    reader.finish().unwrap();
    let info = reader.info();
    let plain = info.uncompressed_latin1_text.iter().map(|chunk| (chunk.keyword.clone(), chunk.text.clone()));
    let other = info.utf8_text.iter().map(|chunk| (chunk.keyword.clone(), chunk.get_text().unwrap()));
    let found = plain.chain(other).find(|(keyword, _)| keyword == "parameters");
    found.expect("a card has parameters").1
}

/// Returns the seed in the parameters.
pub fn seed(parameters: &str) -> Option<i64> {
    parameters.rsplit_once(", Seed: ")?.1.split(',').next()?.parse().ok()
}

/// Whether a card shows a text in the 8x8 font, at one of the scales of facts and titles.
pub fn shows(card: &RgbImage, text: &str) -> bool {
    let (width, height) = card.dimensions();
    let glyphs: Vec<[u8; 8]> = text.chars().map(|character| BASIC_FONTS.get(character).unwrap()).collect();
    let ink: Vec<bool> = card.pixels().map(|pixel| pixel.0.iter().all(|channel| *channel > 180)).collect();
    let smaller = width.min(height);
    [(smaller / 192).min(width / 256), (width / 60).min(height / 32)].into_iter().any(|scale| {
        let scale = scale.max(1) as usize;
        stands(&ink, (width as usize, height as usize), &glyphs, scale)
    })
}

fn stands(ink: &[bool], (width, height): (usize, usize), glyphs: &[[u8; 8]], scale: usize) -> bool {
    let (Some(right), Some(bottom)) = (width.checked_sub(glyphs.len() * 8 * scale), height.checked_sub(8 * scale))
    else {
        return false;
    };
    let mut cells: Vec<(usize, bool)> = glyphs
        .iter()
        .enumerate()
        .flat_map(|(column, rows)| {
            (0..64).map(move |cell| (column * 8 + cell % 8, cell / 8, rows[cell / 8] >> (cell % 8) & 1))
        })
        .map(|(x, y, bit)| ((y * scale + scale / 2) * width + x * scale + scale / 2, bit == 1))
        .collect();
    // Ink is rare, so checking it first rules out most places quickly.
    cells.sort_by_key(|(_, is_ink)| !is_ink);
    (0..=bottom)
        .flat_map(|top| (0..=right).map(move |left| top * width + left))
        .any(|corner| cells.iter().all(|(offset, is_ink)| ink[corner + offset] == *is_ink))
}

/// Returns the correlation of a picture and its enlargement: 1 if they show the same.
pub fn correlation(small: &RgbImage, large: &RgbImage) -> f64 {
    let scale = |side: u32, of: u32, to: u32| ((f64::from(side) + 0.5) * f64::from(to) / f64::from(of)) as u32;
    let pairs: Vec<(f64, f64)> = large
        .enumerate_pixels()
        .flat_map(|(x, y, pixel)| {
            let from =
                small.get_pixel(scale(x, large.width(), small.width()), scale(y, large.height(), small.height()));
            (0..3).map(move |channel| (f64::from(pixel.0[channel]), f64::from(from.0[channel])))
        })
        .collect();
    let count = pairs.len() as f64;
    let (sum_a, sum_b) = pairs.iter().fold((0.0, 0.0), |(a, b), pair| (a + pair.0, b + pair.1));
    let (mean_a, mean_b) = (sum_a / count, sum_b / count);
    let covered: f64 = pairs.iter().map(|(a, b)| (a - mean_a) * (b - mean_b)).sum();
    let spread = |mean: f64, pick: fn(&(f64, f64)) -> f64| pairs.iter().map(|p| (pick(p) - mean).powi(2)).sum::<f64>();
    covered / (spread(mean_a, |pair| pair.0) * spread(mean_b, |pair| pair.1)).sqrt()
}
