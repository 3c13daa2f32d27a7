//! Hair that is recoloured, against outlines that were drawn by hand.

use image::{DynamicImage, RgbImage};
use imgopen_engine::PictureLimits;
use imgopen_neural::Hairstyle;
use imgopen_picture::decode;
use imgopen_types::operations::CHANGE_HAIRSTYLE;
use serde_json::json;

use crate::faces::samples;
use crate::support::{job, png, run};
use crate::with;

/// An outline in pixels.
type Outline = &'static [(u32, u32)];

const ASTRONAUT: &[u8] = include_bytes!("../../../imgopen-cli/assets/astronaut.jpg");
const SHORT: Outline = &[
    (189, 38),
    (207, 22),
    (233, 16),
    (258, 22),
    (281, 37),
    (294, 56),
    (301, 79),
    (300, 100),
    (291, 117),
    (279, 129),
    (271, 128),
    (270, 112),
    (268, 89),
    (253, 84),
    (228, 80),
    (207, 80),
    (188, 75),
    (185, 87),
    (181, 107),
    (181, 119),
    (170, 119),
    (157, 102),
    (154, 79),
    (157, 61),
    (169, 47),
];

/// Long brown hair in dim light, before a black top, between the limbs and dresses of others.
const LONG: Outline = &[
    (89, 1394),
    (142, 1275),
    (246, 1178),
    (283, 1073),
    (306, 939),
    (343, 857),
    (410, 812),
    (477, 805),
    (544, 835),
    (596, 909),
    (648, 1014),
    (671, 1081),
    (656, 1148),
    (693, 1237),
    (716, 1342),
    (713, 1397),
    (641, 1397),
    (574, 1297),
    (522, 1237),
    (559, 1111),
    (563, 984),
    (529, 909),
    (484, 880),
    (440, 887),
    (405, 932),
    (391, 1029),
    (391, 1148),
    (391, 1245),
    (306, 1252),
    (224, 1312),
    (179, 1397),
];

/// The width of the part of that photograph in which she has the largest face.
const WIDTH: u32 = 1380;

/// From how many levels on in a channel a pixel counts as recoloured.
const SEEN: u8 = 16;

fn is_within(outline: Outline, x: f64, y: f64) -> bool {
    let edges = outline.iter().zip(outline.iter().cycle().skip(1));
    let crossed = edges.filter(|((x0, y0), (x1, y1))| {
        let [x0, y0, x1, y1] = [*x0, *y0, *x1, *y1].map(f64::from);
        (y0 > y) != (y1 > y) && x < (x1 - x0) * (y - y0) / (y1 - y0) + x0
    });
    crossed.count() % 2 == 1
}

/// Returns how much of the hair was recoloured, and how much else, in proportion to the hair.
async fn shares(engine: &Hairstyle, image: RgbImage, outline: Outline) -> (f64, f64) {
    let fields = json!({"hairStyle": "keep", "hairColor": "#0030ff"});
    let job = job(&CHANGE_HAIRSTYLE, "sourceImage", png(&DynamicImage::from(image.clone())), fields);
    let output = run(engine, job).await.unwrap();
    let dyed = decode(&output.pictures[0].bytes, &PictureLimits::default()).unwrap().image.to_rgb8();
    let (mut area, mut within, mut beyond) = (0.0, 0.0, 0.0);
    for (x, y, before) in image.enumerate_pixels() {
        let is_hair = is_within(outline, f64::from(x) + 0.5, f64::from(y) + 0.5);
        let after = dyed.get_pixel(x, y).0;
        let is_dyed = before.0.iter().zip(after).any(|(before, after)| before.abs_diff(after) > SEEN);
        area += f64::from(u8::from(is_hair));
        within += f64::from(u8::from(is_hair && is_dyed));
        beyond += f64::from(u8::from(!is_hair && is_dyed));
    }
    eprintln!("within {:.3}, beyond {:.3}", within / area, beyond / area);
    (within / area, beyond / area)
}

/// In Python, with the same net and points marked by hand, 0.95 of hers is found, and 0.09 beside it; 0.27 with neck and jaw.
#[tokio::test(flavor = "multi_thread")]
async fn the_hair_of_the_astronaut_is_recoloured_and_her_neck_is_not() {
    let Some(engine) = with("portrait").map(Hairstyle::new) else { return };
    let image = decode(ASTRONAUT, &PictureLimits::default()).unwrap().image.to_rgb8();
    let (within, beyond) = shares(&engine, image, SHORT).await;
    assert!(within > 0.85 && beyond < 0.16, "{within} {beyond}");
}

/// In the same way, 0.30 is found, because hair and skin have one colour there, and 0.16 beside it; 1.42 with the clothes and the others.
#[tokio::test(flavor = "multi_thread")]
async fn clothes_and_others_in_a_group_keep_their_colours() {
    let Some(engine) = with("portrait").map(Hairstyle::new) else { return };
    let group = DynamicImage::from(samples().swap_remove(4));
    let image = group.crop_imm(0, 0, WIDTH, group.height()).to_rgb8();
    let (within, beyond) = shares(&engine, image, LONG).await;
    assert!(within > 0.15 && beyond < 0.45, "{within} {beyond}");
}
