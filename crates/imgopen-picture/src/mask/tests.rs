use image::imageops::{FilterType, blur};
use image::{DynamicImage, GrayAlphaImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};
use proptest::prelude::*;

use super::*;
use crate::{Attached, Format, encode};

const SIZE: (u32, u32) = (40, 30);

fn read_for(source: &DynamicImage, image: &DynamicImage, format: Format) -> Result<Vec<bool>, String> {
    let bytes = encode(image, format, &Attached::default()).unwrap();
    let input = Input { field: "maskImage".to_owned(), url: "https://example.com/m".to_owned(), bytes };
    let marked = read_mask(&input, &PictureLimits::default(), ("sourceImage", source), &Monitor::new().0);
    marked.map_err(|error| error.to_string().replace("`maskImage`: the picture at https://example.com/m ", ""))
}

/// As the mask of a picture of its size in one colour.
fn read_file(image: &DynamicImage, format: Format) -> Result<Vec<bool>, String> {
    let source = RgbImage::from_pixel(image.width(), image.height(), Rgb([90, 120, 60]));
    read_for(&DynamicImage::from(source), image, format)
}

fn read(image: impl Into<DynamicImage>) -> Result<Vec<bool>, String> {
    read_file(&image.into(), Format::Png)
}

/// A picture as a camera takes it: every pixel differs a little from its neighbours.
fn photograph() -> RgbImage {
    let mut random = fastrand::Rng::with_seed(11);
    RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        let mut light = |base: u32| (base + random.u32(0..40)).min(255) as u8;
        Rgb([light(x * 5), light(y * 7), light(200 - x * 3)])
    })
}

/// Pictures of different kinds.
fn pictures() -> Vec<(&'static str, RgbImage)> {
    let photograph = photograph();
    let dark = RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| Rgb(photograph.get_pixel(x, y).0.map(|level| level / 6)));
    let smooth = RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        let (x, y) = (f64::from(x), f64::from(y));
        let light = 120.0 + 60.0 * (x / 7.0).sin() + 50.0 * (y / 5.0).cos();
        Rgb([light, light * 0.9, light * 0.8].map(|level| level as u8))
    });
    let drawn = RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        Rgb(match (x, y) {
            (4..13, 3..9) => [250, 230, 60],
            (25..33, 18..27) => [10, 10, 10],
            (_, 0..15) => [90, 160, 240],
            _ => [60, 160, 60],
        })
    });
    let letters = RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        Rgb(if y / 3 % 2 == 0 && x * 7 % 5 < 2 { [10, 10, 12] } else { [250, 250, 247] })
    });
    vec![
        ("a photograph", photograph),
        ("a dark photograph", dark),
        ("a smooth photograph", smooth),
        ("a drawing", drawn),
        ("black on white", letters),
    ]
}

/// A picture with holes.
fn with_holes(picture: &RgbImage, is_in: impl Fn(u32, u32) -> bool) -> RgbaImage {
    RgbaImage::from_fn(picture.width(), picture.height(), |x, y| {
        let Rgb([r, g, b]) = *picture.get_pixel(x, y);
        Rgba([r, g, b, if is_in(x, y) { 0 } else { 255 }])
    })
}

/// The forms in which a place is marked by hand, by their names.
fn forms(is_in: impl Fn(u32, u32) -> bool + Copy) -> Vec<(&'static str, DynamicImage)> {
    let gray = |light: u8, dark: u8| -> DynamicImage {
        ImageBuffer::from_fn(SIZE.0, SIZE.1, |x, y| Luma([if is_in(x, y) { light } else { dark }])).into()
    };
    let deep = |light: u16, dark: u16| -> DynamicImage {
        ImageBuffer::from_fn(SIZE.0, SIZE.1, |x, y| Luma([if is_in(x, y) { light } else { dark }])).into()
    };
    let colours = |light: [u8; 3], dark: [u8; 3]| -> DynamicImage {
        RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| Rgb(if is_in(x, y) { light } else { dark })).into()
    };
    let brush = |paint: [u8; 4], under: [u8; 4]| -> DynamicImage {
        RgbaImage::from_fn(SIZE.0, SIZE.1, |x, y| Rgba(if is_in(x, y) { paint } else { under })).into()
    };
    let photograph = photograph();
    let holes = with_holes(&photograph, is_in);
    let drawn_holes = with_holes(&pictures()[3].1, is_in);
    let deep_colours = |light: [u16; 3], dark: [u16; 3]| -> DynamicImage {
        ImageBuffer::from_fn(SIZE.0, SIZE.1, |x, y| Rgb(if is_in(x, y) { light } else { dark })).into()
    };
    let deep_brush = |paint: [u16; 4], under: [u16; 4]| -> DynamicImage {
        ImageBuffer::from_fn(SIZE.0, SIZE.1, |x, y| Rgba(if is_in(x, y) { paint } else { under })).into()
    };
    let deep_alpha = |paint: [u16; 2], under: [u16; 2]| -> DynamicImage {
        ImageBuffer::from_fn(SIZE.0, SIZE.1, |x, y| LumaA(if is_in(x, y) { paint } else { under })).into()
    };
    // One paint on the left, another on the right.
    let halves = |left: [u8; 4], right: [u8; 4], under: [u8; 4]| -> DynamicImage {
        let paint = |x: u32| if x < SIZE.0 / 2 { left } else { right };
        RgbaImage::from_fn(SIZE.0, SIZE.1, |x, y| Rgba(if is_in(x, y) { paint(x) } else { under })).into()
    };
    // Black in every second column of the place but for its first one.
    let with_black = |paint: [u8; 4], under: [u8; 4]| -> DynamicImage {
        let is_black = |x: u32, y: u32| x % 2 == 1 && is_in(x - 1, y);
        RgbaImage::from_fn(SIZE.0, SIZE.1, |x, y| match (is_in(x, y), is_black(x, y)) {
            (false, _) => Rgba(under),
            (true, true) => Rgba([0, 0, 0, 255]),
            (true, false) => Rgba(paint),
        })
        .into()
    };
    let gray_holes = GrayAlphaImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        LumaA([photograph.get_pixel(x, y).0[0], if is_in(x, y) { 0 } else { 255 }])
    });
    let two = RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        Rgb(match (is_in(x, y), x % 2) {
            (false, _) => [0; 3],
            (true, 0) => [0, 0, 255],
            (true, _) => [255, 128, 0],
        })
    });
    vec![
        ("white on black", gray(255, 0)),
        ("0 and 1", gray(1, 0)),
        ("a half opaque white brush, on black", gray(100, 0)),
        ("16 bits", deep(65_535, 0)),
        ("16 bits, 0 and 1", deep(1, 0)),
        ("16 bits, 0 and 255", deep(255, 0)),
        ("red on black", colours([255, 0, 0], [0; 3])),
        ("blue on black", colours([0, 0, 255], [0; 3])),
        ("dark green on black", colours([0, 90, 0], [0; 3])),
        ("red on dark gray", colours([255, 0, 0], [30; 3])),
        ("red on white", colours([255, 0, 0], [255; 3])),
        ("yellow on white", colours([255, 255, 0], [255; 3])),
        ("two colours on black", two.into()),
        ("white on nothing", brush([255; 4], [0; 4])),
        ("white on transparent white", brush([255; 4], [255, 255, 255, 0])),
        ("black on nothing", brush([0, 0, 0, 255], [0; 4])),
        ("black on transparent white", brush([0, 0, 0, 255], [255, 255, 255, 0])),
        ("red on nothing", brush([255, 0, 0, 255], [0; 4])),
        ("half opaque white on nothing", brush([255, 255, 255, 128], [0; 4])),
        ("hardly opaque magenta on nothing", brush([255, 0, 255, 77], [0; 4])),
        ("white on opaque black", brush([255; 4], [0, 0, 0, 255])),
        ("white on transparent black, 0 and 1", brush([1; 4], [0; 4])),
        ("gray with opacity, 0 and 1", brush([1, 1, 1, 255], [0, 0, 0, 255])),
        ("16 bits, 0 and 4095", deep(4095, 0)),
        ("16 bits, colours, 0 and 1", deep_colours([1; 3], [0; 3])),
        ("16 bits, one colour, 0 and 1", deep_colours([0, 1, 0], [0; 3])),
        ("16 bits, gray with opacity, 0 and 1", deep_alpha([1, 65_535], [0, 65_535])),
        ("16 bits, opaque in 0 and 1", deep_alpha([0, 1], [0, 0])),
        ("16 bits, colours with opacity, 0 and 1", deep_brush([1, 1, 1, 65_535], [0, 0, 0, 65_535])),
        ("16 bits, black on nothing", deep_brush([0, 0, 0, 65_535], [0; 4])),
        ("dark blue beside red", halves([0, 0, 100, 255], [255, 0, 0, 255], [0, 0, 0, 255])),
        ("pink beside blue on white", halves([255, 190, 200, 255], [0, 0, 255, 255], [255; 4])),
        ("red and black on white", with_black([255, 0, 0, 255], [255; 4])),
        ("red and black on nothing", with_black([255, 0, 0, 255], [0; 4])),
        ("strokes once and twice", halves([255, 255, 255, 77], [255, 255, 255, 131], [0; 4])),
        ("black with holes", brush([0; 4], [0, 0, 0, 255])),
        ("white with holes", brush([0; 4], [255; 4])),
        ("white with white holes", brush([255, 255, 255, 0], [255; 4])),
        ("green with holes", brush([0; 4], [0, 200, 0, 255])),
        ("black, half erased", brush([0, 0, 0, 128], [0, 0, 0, 255])),
        ("a drawing with holes", drawn_holes.into()),
        ("a photograph with holes", holes.into()),
        ("a gray photograph with holes", gray_holes.into()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// At most about half of the picture is marked, because too little of a photograph does not look like one.
    #[test]
    fn every_form_of_the_same_box_marks_the_same(
        left in 0..39_u32, top in 0..29_u32, width in 1..=24_u32, height in 1..=20_u32,
    ) {
        let is_in = |x: u32, y: u32| (left..left + width).contains(&x) && (top..top + height).contains(&y);
        let places = (0..SIZE.1).flat_map(|y| (0..SIZE.0).map(move |x| (x, y)));
        let expected: Vec<_> = places.map(|(x, y)| is_in(x, y)).collect();
        let sources = pictures();
        for (name, mask) in forms(is_in) {
            let marked = read(mask.clone());
            prop_assert!(marked.as_ref() == Ok(&expected), "{name}: {:?}", marked.err());
            for (of, source) in &sources {
                let marked = read_for(&DynamicImage::from(source.clone()), &mask, Format::Png);
                prop_assert!(marked.as_ref() == Ok(&expected), "{name}, for {of}: {:?}", marked.err());
            }
        }
    }

    /// Whatever the picture looks like, and wherever the hole is.
    #[test]
    fn holes_in_the_picture_itself_are_marked(
        left in 0..39_u32, top in 0..29_u32, width in 1..=24_u32, height in 1..=20_u32,
    ) {
        let is_in = |x: u32, y: u32| (left..left + width).contains(&x) && (top..top + height).contains(&y);
        let places = (0..SIZE.1).flat_map(|y| (0..SIZE.0).map(move |x| (x, y)));
        let expected: Vec<_> = places.map(|(x, y)| is_in(x, y)).collect();
        for (name, picture) in pictures() {
            let mask = DynamicImage::from(with_holes(&picture, is_in));
            let marked = read_for(&DynamicImage::from(picture), &mask, Format::Png);
            prop_assert!(marked.as_ref() == Ok(&expected), "{name}: {:?}", marked.err());
        }
    }
}

#[test]
fn lossy_masks_mark_the_same_but_for_edges() {
    let is_in = |x: u32, y: u32| (8..24).contains(&x) && (8..24).contains(&y);
    for name in ["white on black", "red on black", "red on white", "a half opaque white brush, on black"] {
        let (_, mask) = forms(is_in).into_iter().find(|(form, _)| *form == name).unwrap();
        let marked = read_file(&DynamicImage::from(mask.to_rgb8()), Format::Jpeg).unwrap();
        // A place two pixels inside, and one two pixels outside.
        let at = |x: u32, y: u32| marked[(y * SIZE.0 + x) as usize];
        assert!(at(10, 10) && at(21, 21) && !at(5, 5) && !at(26, 26) && !at(39, 0), "{name}");
    }
}

#[test]
fn soft_edges_are_cut_in_the_middle() {
    let soft = ImageBuffer::from_fn(256, 4, |x, _| Luma([x as u8]));
    let marked = read(soft).unwrap();
    assert_eq!(marked.iter().position(|marked| *marked), Some(128));
    // White and black with a transparent margin.
    let margin =
        RgbaImage::from_fn(30, 10, |x, _| Rgba([[255; 4], [0, 0, 0, 255], [255, 255, 255, 0]][x as usize / 10]));
    assert_eq!(read(margin).unwrap()[..30], (0..30).map(|x| x < 10).collect::<Vec<_>>());
}

#[test]
fn masks_that_mark_nothing_or_everything_are_described() {
    let gray = |light: u8| ImageBuffer::from_pixel(9, 9, Luma([light]));
    let nothing = "so that nothing is to be removed; paint white what is to go";
    let class = ", or the one class that is to go if its values are numbers of classes";
    let everything = "so that nothing is left to fill from; leave black what is to stay";
    let noise = ImageBuffer::from_fn(9, 9, |x, _| Luma([(x % 4) as u8]));
    for (mask, problem) in [
        (gray(0).into(), format!("is black all over, {nothing}")),
        (DynamicImage::from(noise), format!("has no shade lighter than 3 of 255, {nothing}{class}")),
        (RgbaImage::new(9, 9).into(), format!("is transparent all over, {nothing}")),
        (gray(255).into(), format!("is white all over, {everything}")),
        (gray(140).into(), format!("has no shade darker than 140 of 255, {everything}")),
        (RgbImage::from_pixel(9, 9, Rgb([255, 0, 0])).into(), format!("marks all of the picture, {everything}")),
    ] {
        assert_eq!(read(mask), Err(problem));
    }
}

#[test]
fn a_photograph_is_not_a_mask() {
    let gray = DynamicImage::from(photograph()).to_luma8();
    for picture in [DynamicImage::from(photograph()), gray.into()] {
        let problem = read(picture.clone()).unwrap_err();
        assert!(problem.starts_with("looks like a photograph, and nothing in it is transparent"), "{problem}");
        let jpeg = read_file(&picture, Format::Jpeg).unwrap_err();
        assert!(jpeg.starts_with("looks like a photograph"), "{jpeg}");
    }
}

/// A wall on which light falls from one side: it is neither in colours nor in waves. Soft masks go to black or white.
#[test]
fn many_tones_without_black_and_white_are_a_photograph() {
    let wall = |darkest: u32, steps: u32| {
        ImageBuffer::from_fn(160, 20, move |x, y| Luma([(darkest + (x + y) * steps / 200) as u8]))
    };
    let problem = read(wall(70, 110)).unwrap_err();
    assert!(problem.starts_with("looks like a photograph"), "{problem}");
    // From black to white, and in a few tones alone.
    assert!(read(wall(0, 250)).is_ok());
    assert!(read(wall(122, 12)).is_ok());
}

#[test]
fn the_picture_itself_is_not_its_mask() {
    for (name, picture) in pictures() {
        let source = DynamicImage::from(picture.clone());
        let half = source.resize_exact(SIZE.0 / 2, SIZE.1 / 2, FilterType::Triangle);
        let scaled = half.resize_exact(SIZE.0, SIZE.1, FilterType::Triangle);
        let painted = RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| {
            let paint = Rgb([255, 0, 0]);
            if (15..22).contains(&x) && (10..18).contains(&y) { paint } else { *picture.get_pixel(x, y) }
        });
        for (form, mask, format) in [
            ("itself", source.clone(), Format::Png),
            ("as JPEG", source.clone(), Format::Jpeg),
            ("in gray", source.to_luma8().into(), Format::Png),
            ("opaque", source.to_rgba8().into(), Format::Png),
            ("scaled", scaled, Format::Png),
            ("painted over", painted.into(), Format::Png),
        ] {
            // Letters that are smaller than pixels of the smaller picture are lost.
            if (name, form) == ("black on white", "scaled") {
                continue;
            }
            let problem = read_for(&source, &mask, format).unwrap_err();
            let expected =
                "is the picture of `sourceImage`, on which paint is not recognised, and nothing in it is transparent";
            assert!(problem.starts_with(expected), "{name}, {form}: {problem}");
        }
    }
}

#[test]
fn what_is_transparent_in_the_picture_is_not_marked() {
    let margin = |x: u32, _: u32| x < 9;
    let source = DynamicImage::from(with_holes(&photograph(), margin));
    let problem = read_for(&source, &source, Format::Png).unwrap_err();
    assert!(problem.contains("nothing more of it is transparent"), "{problem}");
    let hole = |x: u32, y: u32| (20..26).contains(&x) && (4..9).contains(&y);
    let mask = DynamicImage::from(with_holes(&photograph(), |x, y| margin(x, y) || hole(x, y)));
    let expected: Vec<_> = (0..SIZE.1).flat_map(|y| (0..SIZE.0).map(move |x| hole(x, y))).collect();
    assert_eq!(read_for(&source, &mask, Format::Png), Ok(expected));
}

/// The edge decides what is ground: a hole may reach it, and so may paint.
#[test]
fn two_thirds_of_the_edge_make_holes() {
    let ground = |high: u32| {
        let mask = RgbaImage::from_fn(30, 30, |_, y| Rgba([0, 0, 0, if y < high { 255 } else { 0 }]));
        read(mask).unwrap()[0]
    };
    // Of 116 outermost pixels, 30 + 2 * 18 and 30 + 2 * 24 are opaque: 57 and 67 percent.
    assert!(ground(19), "paint");
    assert!(!ground(25), "a hole");
}

#[test]
fn small_soft_marks_are_not_a_photograph() {
    let is_in = |x: u32, y: u32| (x % 16).abs_diff(8).pow(2) + (y % 16).abs_diff(8).pow(2) <= 9;
    let hard = GrayImage::from_fn(192, 160, |x, y| Luma([if is_in(x, y) { 255 } else { 0 }]));
    let soft = blur(&hard, 2.0);
    let expected: Vec<_> = soft.as_raw().iter().map(|shade| *shade >= 128).collect();
    assert!(expected.contains(&true));
    assert_eq!(read(soft), Ok(expected));
}

/// Gray waves of 48x40 pixels, which are 8x8 cells with a hill and a valley, without black, white and noise.
#[test]
fn smooth_and_dim_pictures_are_photographs() {
    let wave = |at: u32, top: f64, length: f64| f64::cos((f64::from(at) - top) * std::f64::consts::TAU / length);
    for (middle, height) in [(128.0, 60.0), (70.0, 28.0)] {
        let picture = GrayImage::from_fn(192, 160, |x, y| {
            Luma([(middle + height * wave(x, 2.5, 48.0) * wave(y, 2.0, 40.0)) as u8])
        });
        let problem = read(picture).unwrap_err();
        assert!(problem.starts_with("looks like a photograph, and nothing in it is transparent"), "{problem}");
    }
}

/// Though the edge is opaque, as of a mask with holes.
#[test]
fn black_and_white_around_a_hole_mark_what_is_white() {
    let is_hole = |x: u32, y: u32| (10..20).contains(&x) && (10..20).contains(&y);
    let mask = RgbaImage::from_fn(30, 30, |x, y| {
        let light = if x < 15 { 255 } else { 0 };
        Rgba([light, light, light, if is_hole(x, y) { 0 } else { 255 }])
    });
    let expected: Vec<_> = (0..30).flat_map(|y| (0..30).map(move |x| x < 15 && !is_hole(x, y))).collect();
    assert_eq!(read(mask), Ok(expected));
}

/// Its darker half is opaque too, as a brush is.
#[test]
fn gray_on_nothing_is_cut_in_the_middle() {
    let is_opaque = |x: u32, y: u32| (8..264).contains(&x) && (4..16).contains(&y);
    let mask =
        GrayAlphaImage::from_fn(272, 20, |x, y| LumaA(if is_opaque(x, y) { [(x - 8) as u8, 255] } else { [0, 0] }));
    let expected: Vec<_> = (0..20).flat_map(|y| (0..272).map(move |x| x >= 136 && is_opaque(x, y))).collect();
    assert_eq!(read(mask), Ok(expected));
}
