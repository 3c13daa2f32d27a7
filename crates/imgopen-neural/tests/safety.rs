//! Audits with tiny nets that find colours unsafe.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use bytes::Bytes;
use image::{DynamicImage, ImageBuffer, Rgb, Rgba};
use imgopen_engine::{Auditor, EngineError, Format, Monitor, Picture, PictureLimits};
use imgopen_neural::Safety;
use tempfile::TempDir;

use support::{hide, install, nets, png, show, unsafe_colours};

/// What finds pictures unsafe that are brighter than those of the training.
const BRIGHT: [f32; 3] = [0.02; 3];

fn safety(weights: [f32; 3]) -> (TempDir, Safety) {
    let models = tempfile::tempdir().unwrap();
    install(models.path(), "safety", |_| unsafe_colours(weights));
    let safety = Safety::new(nets(models.path()));
    (models, safety)
}

fn picture(image: &DynamicImage) -> Picture {
    Picture { bytes: png(image), format: Format::Png, width: image.width(), height: image.height(), seed: None }
}

fn plain(colour: [u8; 3]) -> Picture {
    picture(&ImageBuffer::from_pixel(40, 30, Rgb(colour)).into())
}

fn audit(safety: &Safety, picture: &Picture) -> Result<f64, EngineError> {
    let labels = safety.audit(picture, &PictureLimits::default(), &Monitor::new().0)?;
    let [label] = &labels[..] else { panic!("{labels:?}") };
    assert_eq!(label.name, "nsfw");
    Ok(label.confidence)
}

#[test]
fn the_confidence_is_the_second_share_in_four_digits() {
    let (_models, safety) = safety(BRIGHT);
    assert_eq!((audit(&safety, &plain([255; 3])), audit(&safety, &plain([0; 3]))), (Ok(1.0), Ok(0.0)));
    // 1 / (1 + exp(-2 * 0.02 * (100 * 3 - 104 - 117 - 123))) = 0.14679…
    assert_eq!(audit(&safety, &plain([100; 3])), Ok(0.1468));
}

#[test]
fn blue_comes_first() {
    for (weights, found) in
        [([0.05, 0.0, 0.0], [0, 0, 255]), ([0.0, 0.05, 0.0], [0, 255, 0]), ([0.0, 0.0, 0.05], [255, 0, 0])]
    {
        let (_models, safety) = safety(weights);
        for colour in [[255, 0, 0], [0, 255, 0], [0, 0, 255]] {
            let confidence = audit(&safety, &plain(colour)).unwrap();
            assert_eq!(confidence > 0.99, colour == found, "{weights:?} {colour:?}: {confidence}");
            assert!(!(0.01..=0.99).contains(&confidence), "{confidence}");
        }
    }
}

#[test]
fn the_edge_is_not_seen() {
    let (_models, safety) = safety(BRIGHT);
    // The edge has 16 of 256 pixels on each side.
    let edged = |edge: u32| {
        let is_edge = move |at: u32| at < edge || at >= 512 - edge;
        let colour = move |x, y| Rgb([if is_edge(x) || is_edge(y) { 255_u8 } else { 0 }; 3]);
        picture(&ImageBuffer::from_fn(512, 512, colour).into())
    };
    let black = audit(&safety, &plain([0; 3])).unwrap();
    assert_eq!(audit(&safety, &edged(31)), Ok(black));
    assert!(audit(&safety, &edged(200)).unwrap() > 0.99);
}

#[test]
fn what_transparency_hides_is_seen() {
    let (_models, safety) = safety(BRIGHT);
    let dark = ImageBuffer::from_pixel(40, 30, Rgba([0_u8, 0, 0, 255]));
    assert_eq!(audit(&safety, &picture(&dark.into())), Ok(0.0));
    let hidden = ImageBuffer::from_pixel(40, 30, Rgba([0_u8, 0, 0, 0]));
    assert_eq!(audit(&safety, &picture(&hidden.into())), Ok(1.0), "it shows white");
    // On white, a net that looks for dark pictures sees nothing.
    let (_models, safety) = self::safety(BRIGHT.map(|weight| -weight));
    let hidden = ImageBuffer::from_pixel(40, 30, Rgba([0_u8, 0, 0, 0]));
    assert_eq!(audit(&safety, &picture(&hidden.into())), Ok(1.0), "its colours are dark");
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let (_models, safety) = safety(BRIGHT);
    let whole = plain([0; 3]);
    for bytes in [Bytes::new(), Bytes::from_static(b"<html>"), whole.bytes.slice(..whole.bytes.len() - 20)] {
        let error = audit(&safety, &Picture { bytes, ..whole.clone() }).unwrap_err();
        assert!(matches!(&error, EngineError::Failed(problem) if problem.starts_with("the file ")), "{error}");
    }
    // Only the first frame of an animation would be seen, whatever the limits allow: with an `acTL` of two frames.
    let mut animated = whole.bytes.to_vec();
    let control = [&[0, 0, 0, 8][..], b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0], &[0xf3, 0x8d, 0x93, 0x70]].concat();
    drop(animated.splice(33..33, control));
    let animated = Picture { bytes: animated.into(), ..whole };
    let limits = PictureLimits { frames: 9, ..PictureLimits::default() };
    let error = safety.audit(&animated, &limits, &Monitor::new().0).unwrap_err().to_string();
    assert!(error.contains("frames"), "{error}");
}

#[test]
fn files_of_results_may_be_larger_than_those_of_callers() {
    let (_models, safety) = safety(BRIGHT);
    let limits = PictureLimits { bytes: 10, ..PictureLimits::default() };
    assert!(safety.audit(&plain([0; 3]), &limits, &Monitor::new().0).is_ok());
}

#[test]
fn a_cancelled_audit_ends() {
    let (_models, safety) = safety(BRIGHT);
    let (picture, limits) = (plain([0; 3]), PictureLimits::default());
    let (monitor, _watch, checks) = Monitor::counted(u64::MAX);
    safety.audit(&picture, &limits, &monitor).unwrap();
    for last in [1, checks.count()] {
        let (monitor, _watch, _) = Monitor::counted(last);
        assert_eq!(safety.audit(&picture, &limits, &monitor), Err(EngineError::Cancelled), "{last}");
    }
}

#[test]
fn without_the_pack_nothing_is_audited() {
    let models = tempfile::tempdir().unwrap();
    let directory = install(models.path(), "safety", |_| unsafe_colours(BRIGHT));
    hide(models.path());
    let nets = nets(models.path());
    let safety = Safety::new(nets.clone());
    let missing = "the pack `safety` is not installed; pull it with `imgopen models pull safety`";
    assert_eq!((safety.ready(), safety.memory()), (Err(missing.to_owned()), 0));
    let unavailable = EngineError::Unavailable { reason: missing.to_owned(), retry_after: None };
    assert_eq!(audit(&safety, &plain([0; 3])), Err(unavailable));

    show(models.path());
    nets.look();
    assert_eq!((safety.ready(), audit(&safety, &plain([0; 3]))), (Ok(()), Ok(0.0)));
    // What comes of the picture's pixels takes that many bytes.
    assert!(safety.memory() >= 224 * 224 * 2 * 4, "{}", safety.memory());

    fs::write(directory.join("open_nsfw.onnx"), "cut").unwrap();
    nets.look();
    let problem = safety.ready().unwrap_err();
    assert!(
        problem.starts_with("the pack `safety` is damaged: ") && problem.ends_with("`imgopen models pull safety`"),
        "{problem}"
    );
    assert!(matches!(audit(&safety, &plain([0; 3])), Err(EngineError::Unavailable { .. })));

    // Another net, with a manifest that says so.
    install(models.path(), "safety", |_| unsafe_colours([0.0; 3]));
    nets.look();
    let problem = safety.ready().unwrap_err();
    assert!(problem.contains("belongs to another version of imgopen"), "{problem}");
}
