//! `remove_background` beside rembg with the same net: how far opacities are from the true ones, and the time from bytes to bytes.

use std::path::Path;

use image::{DynamicImage, GrayImage, Luma};
use imgopen_engine::PictureLimits;
use imgopen_neural::{Background, Nets, SessionSettings};
use imgopen_picture::decode;
use imgopen_types::operations::REMOVE_BACKGROUND;
use serde_json::json;

use crate::cutouts::{self, CutOut};
use crate::peer::Peer;
use crate::{Bench, Result, python, times};

const ROUNDS: usize = 15;

pub fn compare(bench: &Bench) -> Result<()> {
    let Some(model) = find(bench)? else {
        println!("  the pack `background` is not there");
        return Ok(());
    };
    let all = cutouts::all();
    let files: Vec<&str> = all.iter().filter_map(|cut_out| cut_out.file.to_str()).collect();
    let mut rembg = Peer::start("rembg", &[&[model.as_str()], &files[..]].concat(), &bench.models)?;
    let engine = Background::new(bench.nets());
    let run = |file: &Path| bench.run(&engine, &REMOVE_BACKGROUND, "sourceImage", file, json!({}));
    let result = python::work("cutouts")?.join("rembg.png");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (number, CutOut { file, alpha }) in all.iter().enumerate() {
        let output = run(file)?;
        let picture = output.pictures.first().ok_or("no picture")?;
        ours.push(cutouts::errors(&opacity(&picture.bytes)?, alpha));
        rembg.work(&number.to_string(), Some(&result))?;
        theirs.push(cutouts::errors(&opacity(&std::fs::read(&result)?)?, alpha));
    }
    println!("  | picture | mean difference, of rembg | gradient error, of rembg |\n  |---|---|---|");
    let (our_mean, their_mean) = (cutouts::mean(&ours), cutouts::mean(&theirs));
    let names = (0..all.len()).map(|number| number.to_string()).chain(["mean".to_owned()]);
    let rows = ours.iter().chain([&our_mean]).zip(theirs.iter().chain([&their_mean]));
    for (name, (ours, theirs)) in names.zip(rows) {
        let (mean, gradient) = ((ours.mean, theirs.mean), (ours.gradient, theirs.gradient));
        println!("  | {name} | {:.4}, {:.4} | {:.3}, {:.3} |", mean.0, mean.1, gradient.0, gradient.1);
    }
    if our_mean.mean > their_mean.mean || our_mean.gradient > their_mean.gradient {
        println!("  MISSED: as exact as rembg");
    }
    let CutOut { file, .. } = all.first().ok_or("no pictures")?;
    for runtime in bench.runtimes()? {
        let what = format!("bytes to bytes, 512x512, by {}", runtime.name());
        let engine = Background::new(Nets::run_by(runtime, &bench.models, SessionSettings::default()));
        let run = || bench.run(&engine, &REMOVE_BACKGROUND, "sourceImage", file, json!({})).map(drop);
        times(&what, ROUNDS, None, run, || rembg.work("0", None))?;
    }
    Ok(())
}

/// Returns the path of the net that the engine uses.
fn find(bench: &Bench) -> Result<Option<String>> {
    let found = crate::nets::file(bench, "background", "isnet-medium.onnx");
    found.map(|path| path.to_str().map(str::to_owned).ok_or_else(|| "the path is not UTF-8".into())).transpose()
}

fn opacity(bytes: &[u8]) -> Result<GrayImage> {
    let image: DynamicImage = decode(bytes, &PictureLimits::default())?.image;
    let image = image.to_rgba8();
    Ok(GrayImage::from_fn(image.width(), image.height(), |x, y| Luma([image.get_pixel(x, y).0[3]])))
}
