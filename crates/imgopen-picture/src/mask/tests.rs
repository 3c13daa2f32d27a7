use image::{DynamicImage, GrayAlphaImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};
use proptest::prelude::*;

use super::*;
use crate::{Attached, Format, encode};

const SIZE: (u32, u32) = (40, 30);

fn read_file(image: &DynamicImage, format: Format) -> Result<Vec<bool>, String> {
    let bytes = encode(image, format, &Attached::default()).unwrap();
    let input = Input { field: "maskImage".to_owned(), url: "https://example.com/m".to_owned(), bytes };
    let size = (image.width(), image.height());
    let marked = read_mask(&input, &PictureLimits::default(), ("sourceImage", size), &Monitor::new().0);
    marked.map_err(|error| error.to_string().replace("`maskImage`: the picture at https://example.com/m ", ""))
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
    let holes = RgbaImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        let Rgb([r, g, b]) = *photograph.get_pixel(x, y);
        Rgba([r, g, b, if is_in(x, y) { 0 } else { 255 }])
    });
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
        for (name, mask) in forms(is_in) {
            let marked = read(mask);
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
    let everything = "so that nothing is left to fill from; leave black what is to stay";
    let noise = ImageBuffer::from_fn(9, 9, |x, _| Luma([(x % 4) as u8]));
    for (mask, problem) in [
        (gray(0).into(), format!("is black all over, {nothing}")),
        (DynamicImage::from(noise), format!("has no shade lighter than 3 of 255, {nothing}")),
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
