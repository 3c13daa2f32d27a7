//! Watermarks: their positions, what they change and what they leave alone.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};
use imgopen_engine::{Engine, EngineError, Format, Input, Picture, PictureLimits};
use imgopen_picture as picture;
use imgopen_tools::Watermark;
use imgopen_types::WatermarkImageRequest;
use proptest::prelude::*;
use serde_json::{Value, json};

use support::{URL, file, input, job, request, run};

const LIMITS: PictureLimits = PictureLimits { bytes: 32 * 1024 * 1024, pixels: 64_000_000, frames: 1, location: false };
const POSITIONS: [&str; 9] = [
    "top-left",
    "top-center",
    "top-right",
    "center-left",
    "center",
    "center-right",
    "bottom-left",
    "bottom-center",
    "bottom-right",
];

fn mark(bytes: Vec<u8>, logo: Option<Vec<u8>>, request: Value) -> Result<Picture, EngineError> {
    let mut inputs = vec![input(bytes)];
    inputs.extend(logo.map(|logo| Input { field: "watermarkImage".into(), ..input(logo) }));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let job = job("watermark_image", request).with_inputs(inputs);
    runtime.block_on(run(&engine(), job)).map(|output| output.pictures.into_iter().next().unwrap())
}

fn typed(fields: Value) -> WatermarkImageRequest {
    request("watermark_image", fields).typed().unwrap()
}

/// Shared by all tests, because its fonts are read once.
fn engine() -> Watermark {
    static ENGINE: std::sync::OnceLock<Watermark> = std::sync::OnceLock::new();
    ENGINE.get_or_init(Watermark::new).clone()
}

fn printed(image: &DynamicImage, request: Value) -> DynamicImage {
    pixels(&mark(file(image, ImageFormat::Png), None, request).unwrap())
}

fn stamped(image: &DynamicImage, logo: &DynamicImage, mut request: Value) -> DynamicImage {
    request["watermarkImage"] = json!(URL);
    pixels(&mark(file(image, ImageFormat::Png), Some(file(logo, ImageFormat::Png)), request).unwrap())
}

fn pixels(picture: &Picture) -> DynamicImage {
    picture::decode(&picture.bytes, &LIMITS).unwrap().image
}

fn flat(width: u32, height: u32, gray: u8) -> DynamicImage {
    RgbImage::from_pixel(width, height, Rgb([gray; 3])).into()
}

/// Left, top, right and bottom of all that differs, the ends not included.
fn changed(before: &DynamicImage, after: &DynamicImage) -> Option<[u32; 4]> {
    let (before, after) = (before.to_rgba16(), after.to_rgba16());
    assert_eq!(before.dimensions(), after.dimensions());
    let different = before.enumerate_pixels().zip(after.pixels()).filter(|((_, _, one), other)| one != other);
    different.fold(None, |bounds, ((x, y, _), _)| {
        let [left, top, right, bottom] = bounds.unwrap_or([x, y, x, y]);
        Some([left.min(x), top.min(y), right.max(x + 1), bottom.max(y + 1)])
    })
}

#[test]
fn a_text_is_placed_at_its_margin() {
    let ground = flat(400, 300, 90);
    for (index, position) in POSITIONS.into_iter().enumerate() {
        let request = json!({"watermarkText": "Hxg", "position": position, "margin": 11, "scale": 0.3});
        let [left, top, right, bottom] = changed(&ground, &printed(&ground, request)).unwrap();
        let near = |at: u32, expected: u32| assert!(at.abs_diff(expected) <= 1, "{position}: {at} {expected}");
        match index % 3 {
            0 => near(left, 11),
            1 => near((left + right) / 2, 200),
            _ => near(right, 400 - 11),
        }
        match index / 3 {
            0 => near(top, 11),
            1 => near((top + bottom) / 2, 150),
            _ => near(bottom, 300 - 11),
        }
        assert!((right - left).abs_diff(120) <= 3, "{position}: {left} {right}");
    }
}

#[test]
fn without_settings_the_mark_is_small_in_the_lower_right_corner() {
    let ground = flat(500, 500, 200);
    let [left, top, right, bottom] =
        changed(&ground, &printed(&ground, json!({"watermarkText": "© Example"}))).unwrap();
    assert!(right.abs_diff(490) <= 1 && bottom.abs_diff(490) <= 1, "{right} {bottom}");
    assert!((100..=126).contains(&(right - left)) && bottom - top < 40, "{left} {top}");
    // One letter is not a quarter of the picture wide.
    let [left, top, right, bottom] = changed(&ground, &printed(&ground, json!({"watermarkText": "W"}))).unwrap();
    assert!(right - left < 45 && bottom - top < 40);
}

#[test]
fn depth_gray_and_transparency_are_kept() {
    let sources: [DynamicImage; 8] = [
        ImageBuffer::from_pixel(120, 90, Luma([50_u8])).into(),
        ImageBuffer::from_pixel(120, 90, LumaA([50_u8, 100])).into(),
        ImageBuffer::from_pixel(120, 90, Rgb([50_u8, 60, 70])).into(),
        ImageBuffer::from_pixel(120, 90, Rgba([50_u8, 60, 70, 100])).into(),
        ImageBuffer::from_pixel(120, 90, Luma([5000_u16])).into(),
        ImageBuffer::from_pixel(120, 90, LumaA([5000_u16, 9999])).into(),
        ImageBuffer::from_pixel(120, 90, Rgb([5000_u16, 6000, 7000])).into(),
        ImageBuffer::from_pixel(120, 90, Rgba([5000_u16, 6000, 7000, 9999])).into(),
    ];
    let gray: DynamicImage = ImageBuffer::from_pixel(9, 9, LumaA([255_u8, 255])).into();
    let red: DynamicImage = ImageBuffer::from_pixel(9, 9, Rgba([255_u8, 0, 0, 255])).into();
    for source in sources {
        let text = printed(&source, json!({"watermarkText": "Text"}));
        assert_eq!(text.color(), source.color());
        assert!(changed(&source, &text).is_some());
        assert_eq!(stamped(&source, &gray, json!({})).color(), source.color());
        let coloured = stamped(&source, &red, json!({"position": "center"}));
        assert!(coloured.color().has_color());
        assert_eq!(coloured.color().has_alpha(), source.color().has_alpha());
        assert_eq!(
            coloured.color().bytes_per_pixel() / coloured.color().channel_count(),
            source.color().bytes_per_pixel() / source.color().channel_count()
        );
        assert_eq!(coloured.to_rgba8().get_pixel(60, 45).0, [255, 0, 0, 255]);
        // Where there is no mark, nothing changes.
        let corner = (coloured.to_rgba16().get_pixel(0, 0).0, source.to_rgba16().get_pixel(0, 0).0);
        assert_eq!(corner.0, corner.1);
    }
}

#[test]
fn a_gray_profile_is_dropped_when_the_picture_becomes_coloured() {
    let mut profile = vec![0; 200];
    profile[3] = 200;
    profile[16..20].copy_from_slice(b"GRAY");
    profile[36..40].copy_from_slice(b"acsp");
    let attached = picture::Attached { profile: Some(&profile), ..Default::default() };
    let source = picture::encode(&DynamicImage::new_luma8(60, 60), Format::Png, &attached).unwrap().to_vec();
    let text = mark(source.clone(), None, json!({"watermarkText": "ab"})).unwrap();
    assert_eq!(picture::decode(&text.bytes, &LIMITS).unwrap().profile, Some(profile));
    let red = file(&ImageBuffer::from_pixel(9, 9, Rgb([255_u8, 0, 0])).into(), ImageFormat::Png);
    let stamped = mark(source, Some(red), json!({"watermarkImage": URL})).unwrap();
    assert_eq!(picture::decode(&stamped.bytes, &LIMITS).unwrap().profile, None);
}

/// Red of sRGB is `color(display-p3 0.9175 0.2003 0.1386)`, as CSS Color 4 says. Little CMS 2.19 makes (255, 0, 3) of its
/// numbers in 8 bits.
#[test]
fn the_colours_of_a_mark_are_converted_to_the_space_of_the_picture() {
    let attached = picture::Attached { profile: Some(include_bytes!("data/display-p3.icc")), ..Default::default() };
    let wide = |image: &DynamicImage| picture::encode(image, Format::Png, &attached).unwrap().to_vec();
    let plain = |image: &DynamicImage| file(image, ImageFormat::Png);
    let square = |side: u32, pixel: [u8; 3]| DynamicImage::from(RgbImage::from_pixel(side, side, Rgb(pixel)));
    let gray: DynamicImage = ImageBuffer::from_pixel(60, 60, Luma([9_u8])).into();
    let (srgb, p3) = ([255, 0, 0], [234, 51, 35]);
    for (source, logo, expected) in [
        (plain(&square(60, [9; 3])), wide(&square(9, p3)), srgb),
        (wide(&square(60, [9; 3])), plain(&square(9, srgb)), p3),
        (wide(&square(60, [9; 3])), wide(&square(9, p3)), p3),
        (plain(&gray), wide(&square(9, p3)), srgb),
    ] {
        let request = json!({"watermarkImage": URL, "position": "center", "opacity": 1});
        let marked = picture::decode(&mark(source.clone(), Some(logo), request).unwrap().bytes, &LIMITS).unwrap();
        assert_eq!(marked.profile, picture::decode(&source, &LIMITS).unwrap().profile);
        let centre = marked.image.to_rgb8().get_pixel(30, 30).0;
        assert!(
            centre.iter().zip(expected).all(|(one, other)| one.abs_diff(other) <= 3),
            "{centre:?} for {expected:?}"
        );
        let corner = marked.image.to_rgb8().get_pixel(0, 0).0;
        assert_eq!(corner, [9; 3]);
    }
}

#[test]
fn a_picture_keeps_its_shape_its_transparency_and_its_colours() {
    let ground = flat(200, 100, 0);
    // Left half red and half transparent, right half nothing.
    let logo =
        ImageBuffer::from_fn(40, 20, |x, _| if x < 20 { Rgba([255_u8, 0, 0, 128]) } else { Rgba([0, 255, 0, 0]) });
    let request = json!({"position": "top-left", "margin": 10, "scale": 0.4, "opacity": 0.5});
    let stamped = stamped(&ground, &logo.into(), request).to_rgb8();
    // 80x40 pixels, of which the left half shows.
    assert_eq!(stamped.get_pixel(30, 30).0, [64, 0, 0]);
    assert!(stamped.enumerate_pixels().all(|(_, _, pixel)| pixel.0[1] == 0));
    let [left, top, right, bottom] = changed(&ground, &stamped.into()).unwrap();
    assert_eq!([left, top, bottom], [10, 10, 50]);
    assert!(right.abs_diff(50) <= 8);
}

#[test]
fn a_mark_that_is_too_large_shrinks() {
    let ground = flat(100, 40, 0);
    let tall = flat(30, 300, 255);
    let bounds = changed(&ground, &stamped(&ground, &tall, json!({"scale": 1, "margin": 5, "position": "center"})));
    assert_eq!(bounds, Some([48, 5, 51, 35]));
    let wide = flat(300, 30, 255);
    let bounds = changed(&ground, &stamped(&ground, &wide, json!({"scale": 1, "margin": 5, "position": "center"})));
    assert_eq!(bounds, Some([5, 15, 95, 24]));
}

#[test]
fn tiles_cover_the_whole_picture() {
    let ground = flat(300, 200, 40);
    let tiled = printed(&ground, json!({"watermarkText": "SAMPLE", "position": "tile", "scale": 0.3, "margin": 12}));
    // Every part that is as large as a copy with its margins shows some of a mark.
    for top in (0..=150).step_by(25) {
        for left in (0..=170).step_by(25) {
            let part = |image: &DynamicImage| image.crop_imm(left, top, 130, 50);
            assert!(changed(&part(&ground), &part(&tiled)).is_some(), "{left},{top}");
        }
    }
    // A mark as wide as the picture, and a margin beyond it.
    let request = json!({"watermarkText": "SAMPLE", "position": "tile", "scale": 1, "margin": 100_000});
    assert!(changed(&ground, &printed(&ground, request)).is_some());
}

#[test]
fn nothing_shows_at_opacity_zero() {
    let ground = support::photo(80, 60);
    for position in ["bottom-right", "tile"] {
        let request = json!({"watermarkText": "Text", "opacity": 0, "position": position});
        assert_eq!(changed(&ground, &printed(&ground, request)), None);
    }
}

#[test]
fn the_format_is_that_of_the_source() {
    let source = support::photo(90, 70);
    for (from, format) in
        [(ImageFormat::Png, Format::Png), (ImageFormat::Jpeg, Format::Jpeg), (ImageFormat::WebP, Format::WebP)]
    {
        let marked = mark(file(&source, from), None, json!({"watermarkText": "Text"})).unwrap();
        assert_eq!((marked.format, marked.width, marked.height), (format, 90, 70));
        assert_eq!(image::guess_format(&marked.bytes).unwrap(), from);
    }
}

#[test]
fn one_pixel_takes_a_picture_but_no_text() {
    let dot = flat(1, 1, 0);
    assert_eq!(stamped(&dot, &flat(50, 90, 255), json!({})).to_rgb8().get_pixel(0, 0).0, [255; 3]);
    assert_eq!(stamped(&dot, &flat(1, 1, 255), json!({"position": "tile"})).to_rgb8().get_pixel(0, 0).0, [255; 3]);
    for (width, height) in [(1, 1), (1, 500), (500, 1), (7, 7)] {
        let bytes = file(&flat(width, height, 0), ImageFormat::Png);
        let error = mark(bytes, None, json!({"watermarkText": "Text"})).unwrap_err().to_string();
        assert!(error.starts_with("`watermarkText`: 4 characters do not fit "), "{error}");
        assert!(error.ends_with("give a shorter text, a smaller margin or a larger picture"), "{error}");
    }
}

#[test]
fn unprintable_marks_are_rejected_before_the_job() {
    let check = |fields: Value| {
        let checked = engine().check(&request("watermark_image", fields));
        checked.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(check(json!({"watermarkText": "© 2024 你好 こんにちは 안녕 שלום مرحبا 🎉"})), Ok(()));
    assert_eq!(check(json!({"watermarkImage": URL})), Ok(()));
    for (request, part) in [
        (json!({}), "give exactly one of "),
        (json!({"watermarkText": "a", "watermarkImage": URL}), "give exactly one of "),
        (json!({"watermarkText": " \n "}), "nothing to see in it"),
        (json!({"watermarkText": "a\u{1b}[0m"}), "U+001B"),
        (json!({"watermarkText": "x".repeat(501)}), "at most 500"),
        (json!({"watermarkText": "a", "scale": 0}), "above 0"),
    ] {
        let problem = check(request.clone()).unwrap_err();
        assert!(problem.contains(part), "{request}: {problem}");
    }
    // Fonts are only searched by the job.
    let request = json!({"watermarkText": "a\u{10ffff}"});
    assert_eq!(check(request.clone()), Ok(()));
    let error = mark(file(&flat(50, 50, 0), ImageFormat::Png), None, request).unwrap_err().to_string();
    assert!(error.contains("no font has \"\u{10ffff}\" (U+10FFFF)"), "{error}");
}

#[test]
fn lines_are_wrapped_rather_than_set_below_eight_pixels() {
    let text = "👩Fब世界.なbS好aرمh . б世ל0ح世かмвرาな,ナxΩS你bשа";
    let ground = flat(280, 250, 0);
    let marked = printed(&ground, json!({"watermarkText": text, "scale": 0.001, "margin": 42, "position": "top-left"}));
    let [left, top, right, bottom] = changed(&ground, &marked).unwrap();
    assert!(left >= 42 && top >= 42 && right <= 238 && bottom <= 208, "{left} {top} {right} {bottom}");
}

#[test]
fn pictures_that_decoding_never_returns_are_an_error() {
    let print = |image: DynamicImage, logo: Option<DynamicImage>| {
        let request = if logo.is_some() { json!({"watermarkImage": URL}) } else { json!({"watermarkText": "a"}) };
        engine().print(image, logo, &typed(request)).map(drop)
    };
    for nothing in [DynamicImage::new_rgb8(0, 0), DynamicImage::new_luma8(0, 9), DynamicImage::new_rgba16(9, 0)] {
        assert!(matches!(print(nothing.clone(), None), Err(EngineError::Failed(_))));
        assert!(matches!(print(nothing.clone(), Some(flat(9, 9, 0))), Err(EngineError::Failed(_))));
        assert!(matches!(print(flat(9, 9, 0), Some(nothing)), Err(EngineError::Failed(_))));
    }
    for other in [DynamicImage::new_rgb32f(60, 60), DynamicImage::new_rgba32f(60, 60)] {
        assert!(matches!(print(other.clone(), None), Err(EngineError::Failed(_))));
        assert!(matches!(print(other, Some(flat(9, 9, 0))), Err(EngineError::Failed(_))));
    }
}

/// Diacritics pile up far above the line.
#[test]
fn letters_with_many_diacritics_shrink_or_are_rejected() {
    let text =
        |marks: usize| json!({"watermarkText": format!("a{}", "\u{301}".repeat(marks)), "scale": 1, "margin": 10});
    let ground = DynamicImage::new_luma8(3000, 3000);
    let start = Instant::now();
    let [left, top, right, bottom] =
        changed(&ground, &engine().print(ground.clone(), None, &typed(text(499))).unwrap()).unwrap();
    assert!(left >= 10 && top >= 10 && right <= 2990 && bottom <= 2990, "{left} {top} {right} {bottom}");
    assert!(bottom - top > 2800, "{top} {bottom}");
    // So high that letters of eight pixels have no room.
    let error = engine().print(DynamicImage::new_luma8(400, 400), None, &typed(text(499))).unwrap_err().to_string();
    assert!(error.starts_with("`watermarkText`: 500 characters do not fit 380x380 pixels in letters of 8 "), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn lines_are_kept_and_long_ones_wrapped() {
    let ground = flat(600, 400, 30);
    let height = |text: &str| {
        let [_, top, _, bottom] = changed(&ground, &printed(&ground, json!({"watermarkText": text}))).unwrap();
        bottom - top
    };
    assert!(height("one\ntwo\nthree") > 2 * height("one"));
    let long = "a long text that does not fit into one line ".repeat(11);
    assert!(height(&long) > 5 * height("one"));
    // Without spaces too.
    assert!(height(&"中文".repeat(100)) > 5 * height("one"));
}

#[tokio::test]
async fn a_bad_mark_is_named() {
    let source = file(&flat(50, 50, 0), ImageFormat::Png);
    let logo = Input { field: "watermarkImage".into(), ..input(b"<html>".to_vec()) };
    let job = |inputs| job("watermark_image", json!({"watermarkImage": URL})).with_inputs(inputs);
    let error = run(&engine(), job(vec![input(source.clone()), logo])).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("`watermarkImage`: the picture at {URL} is an HTML page")), "{error}");
    assert!(matches!(run(&engine(), job(vec![input(source)])).await, Err(EngineError::Failed(_))));
}

#[test]
fn many_jobs_at_once_print_the_same() {
    let ground = flat(200, 150, 100);
    let once = printed(&ground, json!({"watermarkText": "同じ same"}));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(printed(&ground, json!({"watermarkText": "同じ same"})), once));
        }
    });
}

fn scripts() -> impl Strategy<Value = String> {
    let letters = "[a-zA-Z0-9 .,©\nабвΩשלمرحब้าक你好世界かなカナ한국🎉👩\u{200d}\u{fe0f}\u{301}]{1,60}";
    letters.prop_filter("something to see", |text| text.chars().any(char::is_alphanumeric))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn a_text_never_leaves_the_room_between_the_margins(
        text in scripts(), width in 1..400_u32, height in 1..400_u32, scale in proptest::option::of(0.001..=1.0_f64),
        margin in proptest::option::of(0..60_u32), position in 0..9_usize, gray in any::<u8>(),
    ) {
        let ground = flat(width, height, gray);
        let request = json!({
            "watermarkText": text, "scale": scale, "margin": margin, "position": POSITIONS[position], "opacity": 1
        });
        match mark(file(&ground, ImageFormat::Png), None, request) {
            Ok(picture) => {
                let margin = margin.unwrap_or((f64::from(width.min(height)) / 50.0).round() as u32);
                if let Some([left, top, right, bottom]) = changed(&ground, &pixels(&picture)) {
                    prop_assert!(left >= margin && top >= margin);
                    prop_assert!(right + margin <= width && bottom + margin <= height);
                }
            }
            Err(error) => {
                let message = error.to_string();
                prop_assert!(message.starts_with("`watermarkText`: ") || message.starts_with("`margin`: "), "{message}");
                // A large picture takes any text.
                prop_assert!(width.min(height) < 250 || message.contains("no font"), "{width}x{height}: {message}");
            }
        }
    }
}
