//! GIF, BMP and TIFF files of every kind are read as Pillow reads them, and what is not supported is rejected by name.
//!
//! The files in `data/formats` are named after the PNG file of what is in them. `data/README.md` says how they were made.
#![allow(clippy::unwrap_used)]

mod support;

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use image::DynamicImage;
use imgopen_engine::{EngineError, Monitor};
use imgopen_picture::{
    FileFormat, Format, PictureLimits, Problem, convert, decode, decode_input, description, inspect, is_upright,
    parameters,
};
use proptest::prelude::*;

use support::{enlarged, input};

/// What can be done about a damaged file.
const AGAIN: &str = "get it again from its source, or save it again";
const LIMITS: PictureLimits = PictureLimits { bytes: 1 << 25, pixels: 64_000_000, frames: 1, location: false };

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats")
}

fn data(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

/// The files, each with its name and that of what is in it.
fn files() -> Vec<(String, String, Vec<u8>)> {
    let names = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.ends_with(".png")).collect();
    names.sort();
    let file = |name: String| {
        let (key, bytes) = (name.split('.').next().unwrap().to_owned(), data(&name));
        (name, key, bytes)
    };
    names.into_iter().map(file).collect()
}

fn read(bytes: &[u8]) -> DynamicImage {
    decode(bytes, &LIMITS).unwrap().image
}

fn problem(bytes: &[u8]) -> String {
    decode(bytes, &LIMITS).unwrap_err().to_string()
}

#[test]
fn files_are_read_as_by_pillow() {
    let files = files();
    assert_eq!(files.len(), 58);
    for (name, key, bytes) in files {
        let decoded = decode(&bytes, &LIMITS).unwrap_or_else(|problem| panic!("{name} {problem}"));
        let expected = read(&data(&format!("{key}.png")));
        let format = match name.rsplit('.').next() {
            Some("gif") => FileFormat::Gif,
            Some("bmp") => FileFormat::Bmp,
            _ => FileFormat::Tiff,
        };
        assert_eq!((decoded.header.format, decoded.header.frames), (format, 1), "{name}");
        assert_eq!((decoded.image.width(), decoded.image.height()), (expected.width(), expected.height()), "{name}");
        assert_eq!(decoded.image.color(), expected.color(), "{name}");
        assert_eq!(decoded.profile.is_some(), key == "rgba" && name.contains("profile"), "{name}");
        let pixels = [&decoded.image, &expected].map(DynamicImage::to_rgba16);
        let differences = pixels[0].iter().zip(pixels[1].iter()).map(|(one, other)| u64::from(one.abs_diff(*other)));
        if key.starts_with("tiff-jpeg") || key == "tiff-cmyk-profile" {
            let mean = differences.sum::<u64>() as f64 / pixels[0].len() as f64 / 257.0;
            assert!(mean < 1.0, "{name}: {mean}");
        } else {
            // Readers round in different ways where 5 bits become 8, and colours are divided by their opacity.
            let is_rounded = ["bmp-16", "tiff-cmyk", "tiff-rgba-multiplied"].iter().any(|start| key.starts_with(start));
            let most = differences.max().unwrap();
            assert!(most <= if is_rounded { 257 } else { 0 }, "{name}: {most}");
        }
    }
}

#[test]
fn results_are_png_files_with_all_pixels() {
    for name in ["gif-interlaced-transparent.gif", "rgba.bmp-32-masks.bmp", "rgb16.tiff-rgb16-lzw.tif"] {
        let file = data(name);
        let decoded = decode(&file, &LIMITS).unwrap();
        let result = decode(&enlarged(&file, &LIMITS), &LIMITS).unwrap();
        assert_eq!((result.header.format, result.image.color()), (FileFormat::Png, decoded.image.color()), "{name}");
        let copy = decode(&convert(&decoded, decoded.header.format.written()).unwrap(), &LIMITS).unwrap();
        assert!(copy.image == decoded.image, "{name}");
    }
    let profile = decode(&data("rgba.bmp-v5-profile.bmp"), &LIMITS).unwrap().profile;
    assert_eq!(profile.as_deref(), Some(&include_bytes!("data/display-p3.icc")[..]));
    let result = enlarged(&data("rgba.bmp-v5-profile.bmp"), &LIMITS);
    assert_eq!(decode(&result, &LIMITS).unwrap().profile, profile);
    // 2835 on a metre.
    assert_eq!(support::chunks(&result, b"pHYs"), [[0, 0, 0x0b, 0x13, 0, 0, 0x0b, 0x13, 1]]);
}

/// The fields of a TIFF file: number, kind (3 or 4), values. Those about its only strip are added.
type Fields<'a> = &'a [(u16, u16, &'a [u32])];

/// The fields of a gray picture of 4x4 pixels.
const GRAY: [(u16, u16, &[u32]); 6] =
    [(256, 4, &[4]), (257, 4, &[4]), (258, 3, &[8]), (259, 3, &[1]), (262, 3, &[1]), (278, 4, &[4])];

fn page(fields: Fields<'_>, at: u32, next: u32, pixels: &[u8]) -> Vec<u8> {
    let strip: [(u16, u16, &[u32]); 2] = [(273, 4, &[0]), (279, 4, &[pixels.len() as u32])];
    let mut all: Vec<_> = fields.iter().chain(&strip).copied().collect();
    all.sort_by_key(|(tag, ..)| *tag);
    let table = 2 + 12 * all.len() as u32 + 4;
    let bytes = |kind: u16, values: &[u32]| -> Vec<u8> {
        match kind {
            3 => values.iter().flat_map(|value| (*value as u16).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    };
    let far: u32 =
        all.iter().map(|(_, kind, values)| bytes(*kind, values).len() as u32).filter(|length| *length > 4).sum();
    let mut page = (all.len() as u16).to_le_bytes().to_vec();
    let mut values = Vec::new();
    for (tag, kind, given) in all {
        let start = at + table + far;
        let value = if tag == 273 { bytes(4, &[start]) } else { bytes(kind, given) };
        page.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        page.extend((given.len() as u32).to_le_bytes());
        if value.len() > 4 {
            page.extend((at + table + values.len() as u32).to_le_bytes());
            values.extend(value);
        } else {
            page.extend([&value[..], &[0; 4][value.len()..]].concat());
        }
    }
    page.extend(next.to_le_bytes());
    [page, values, pixels.to_vec()].concat()
}

/// A TIFF file of one page.
fn tiff(fields: Fields<'_>, pixels: &[u8]) -> Vec<u8> {
    [&b"II*\0\x08\0\0\0"[..], &page(fields, 8, 0, pixels)].concat()
}

/// The same of a gray picture with other fields.
fn gray(changes: Fields<'_>) -> Vec<u8> {
    let kept = GRAY.iter().filter(|(tag, ..)| changes.iter().all(|(changed, ..)| changed != tag));
    let fields: Vec<_> = kept.chain(changes).copied().collect();
    tiff(&fields, &[7; 16])
}

#[test]
fn kinds_of_tiff_files_that_are_not_read_are_named() {
    assert_eq!(read(&gray(&[])).as_bytes(), [7; 16]);
    let rgb: [(u16, u16, &[u32]); 3] = [(262, 3, &[2]), (277, 3, &[3]), (258, 3, &[8, 8, 8])];
    let with = |more: Fields<'_>| {
        let kept = rgb.iter().filter(|(tag, ..)| more.iter().all(|(changed, ..)| changed != tag));
        gray(&kept.chain(more).copied().collect::<Vec<_>>())
    };
    for (file, kind) in [
        (gray(&[(259, 3, &[4])]), "with the compression of faxes (CCITT)"),
        (gray(&[(259, 3, &[6])]), "with JPEG of the old kind"),
        (gray(&[(259, 3, &[34_712])]), "with JPEG 2000 in it"),
        (gray(&[(259, 3, &[50_000])]), "with Zstandard"),
        (gray(&[(259, 3, &[50_001])]), "with WebP in it"),
        (gray(&[(259, 3, &[999])]), "with the compression 999"),
        (gray(&[(339, 3, &[2])]), "of signed numbers"),
        (gray(&[(339, 3, &[3]), (258, 3, &[32])]), "of floating-point numbers"),
        (gray(&[(258, 3, &[32])]), "of 32 bits for each value"),
        (gray(&[(266, 3, &[2])]), "with its bits in reverse order"),
        (gray(&[(262, 3, &[4])]), "that is a mask of another picture"),
        (gray(&[(254, 4, &[1])]), "that has only previews or masks"),
        (gray(&[(262, 3, &[9])]), "in L*a*b* colours"),
        (gray(&[(262, 3, &[77])]), "whose colours are of the kind 77"),
        (gray(&[(259, 3, &[5]), (317, 3, &[3])]), "of floating-point numbers"),
        (with(&[(258, 3, &[5, 6, 5])]), "whose channels differ in their bits"),
        (gray(&[(277, 3, &[9])]), "of 9 channels"),
        (with(&[(262, 3, &[6])]), "in YCbCr without JPEG"),
        (gray(&[(262, 3, &[5]), (277, 3, &[4]), (332, 3, &[2])]), "in other inks than cyan, magenta, yellow and black"),
        (gray(&[(262, 3, &[5]), (277, 3, &[5]), (338, 3, &[2])]), "in CMYK with transparency"),
        (
            gray(&[(259, 3, &[8]), (322, 4, &[65_536]), (323, 4, &[65_536])]),
            "whose tiles of 65536x65536 pixels are far larger than the picture",
        ),
        (
            gray(&[(259, 3, &[8]), (322, 4, &[1 << 31]), (323, 4, &[16])]),
            "whose tiles of 2147483648x16 pixels are far larger than the picture",
        ),
        (
            gray(&[(259, 3, &[7]), (322, 4, &[2048]), (323, 4, &[1024])]),
            "whose tiles of 2048x1024 pixels are far larger than the picture",
        ),
        (
            gray(&[(256, 4, &[2048]), (257, 4, &[2048]), (322, 4, &[1]), (323, 4, &[1]), (324, 4, &[8])]),
            "in 4194304 strips or tiles",
        ),
        (gray(&[(259, 3, &[7]), (347, 4, &[0; 5000])]), "with 20000 bytes of tables for JPEG"),
    ] {
        let end = "which is not supported; save it again as PNG or JPEG";
        assert_eq!(problem(&file), format!("is a TIFF file {kind}, {end}"));
    }
    let old = tiff(&[&GRAY[..3], &[(259, 3, &[5][..])], &GRAY[4..]].concat(), &[0, 1, 2, 3]);
    assert!(problem(&old).starts_with("is a TIFF file with LZW of the old kind, which"), "{}", problem(&old));
    for (file, name) in [
        (gray(&[(50_706, 4, &[1])]), "a raw photograph (DNG)"),
        (gray(&[(254, 4, &[1]), (330, 4, &[8])]), "a raw photograph"),
        (gray(&[(262, 3, &[32_803])]), "a raw photograph"),
    ] {
        assert_eq!(decode(&file, &LIMITS), Err(Problem::WrongKind(name)));
    }
}

/// The plain formula makes 248 - 248 * 7 / 255 = 241 of it. Bytes 16 to 19 of a profile say for what colours it is.
#[test]
fn a_profile_for_rgb_is_not_that_of_cmyk() {
    let profile = [0, 0, 0, 0, u32::from_le_bytes(*b"RGB ")];
    let more: [(u16, u16, &[u32]); 3] = [(262, 3, &[5]), (277, 3, &[4]), (34_675, 4, &profile)];
    let fields: Vec<_> = GRAY.iter().filter(|(tag, ..)| *tag != 262).chain(&more).copied().collect();
    let decoded = decode(&tiff(&fields, &[7; 64]), &LIMITS).unwrap();
    assert_eq!((decoded.image.as_bytes(), decoded.profile), (&[241; 48][..], None));
}

/// Each row begins with the code that clears the table: 256 1 2 256 3 4 257, of 9 bits each.
#[test]
fn the_table_of_lzw_may_be_cleared_at_the_end() {
    let sides: [(u16, u16, &[u32]); 4] = [(256, 4, &[2]), (257, 4, &[2]), (278, 4, &[2]), (259, 3, &[5])];
    let fields: Vec<_> = sides.iter().chain(&[GRAY[2], GRAY[4]]).copied().collect();
    let codes = [0x80, 0x00, 0x40, 0x50, 0x00, 0x18, 0x12, 0x02];
    assert_eq!(read(&tiff(&fields, &codes)).as_bytes(), [1, 2, 3, 4]);
}

/// A million bytes that stand for nothing are passed over in the only tile, but not again for each of several.
#[test]
fn tiles_in_the_same_place_have_no_more_than_their_share_of_the_file() {
    let pixels: Vec<u8> = (1..=16).collect();
    let packed = [&[0x80_u8; 1 << 20][..], &[15], &pixels].concat();
    let file = |rows: u32| {
        let count = 4 / rows as usize;
        let lengths = vec![packed.len() as u32; count];
        let tiles = |at: u32| {
            let places = vec![at; count];
            gray(&[
                (259, 3, &[32_773]),
                (322, 4, &[4]),
                (323, 4, &[rows]),
                (324, 4, &places[..]),
                (325, 4, &lengths[..]),
            ])
        };
        let at = tiles(0).len() as u32;
        [tiles(at), packed.clone()].concat()
    };
    assert_eq!(read(&file(4)).as_bytes(), pixels);
    let expected = format!("is a damaged TIFF file: its compressed pixels are invalid or end too early; {AGAIN}");
    assert_eq!(problem(&file(1)), expected);
}

#[test]
fn damaged_tiff_files_are_described() {
    let damaged =
        |file: &[u8], what: &str| assert_eq!(problem(file), format!("is a damaged TIFF file: {what}; {AGAIN}"));
    damaged(&tiff(&GRAY[1..], &[7; 16]), "it does not say how large the picture is");
    damaged(&gray(&[(278, 4, &[1])]), "it has 1 strips or tiles, and 4 are needed");
    damaged(&gray(&[(278, 4, &[0])]), "its strips or tiles are 4x0 pixels");
    damaged(&gray(&[(262, 3, &[2])]), "it has 1 channels, and its colours take 3");
    damaged(&gray(&[(262, 3, &[3])]), "its palette has 0 values, and 768 are needed");
    damaged(&gray(&[(259, 3, &[8])]), "its compressed pixels are invalid or end too early");
    damaged(&gray(&[(259, 3, &[5]), (317, 3, &[7])]), "its predictor is 7; there are 1 to 3");
    damaged(&gray(&[(259, 3, &[7])]), "a strip or tile is not a JPEG file");
    damaged(b"II*\0\0\0\0\0", "it has no page");
    for cut in [&b"II*\0"[..], b"II*\0\xff\xff\xff\x0f", &gray(&[])[..60], &gray(&[])[..100]] {
        assert_eq!(decode(cut, &LIMITS), Err(Problem::Truncated(FileFormat::Tiff)), "{}", cut.len());
    }
    assert_eq!(decode(&gray(&[(257, 4, &[0])]), &LIMITS), Err(Problem::NoPixels { width: 4, height: 0 }));
    let large = gray(&[(256, 4, &[60_000]), (257, 4, &[60_000])]);
    assert_eq!(problem(&large), "is 60000x60000 pixels; at most 64000000 pixels in all are allowed");
    let long = gray(&[(256, 4, &[u32::MAX]), (257, 4, &[u32::MAX])]);
    assert!(matches!(decode(&long, &LIMITS), Err(Problem::TooManyPixels { .. })));
}

/// A page that leads to itself or to an earlier one does not keep the reader.
#[test]
fn pages_need_a_limit_that_allows_them_and_the_first_one_is_read() {
    let first = page(&GRAY, 8, 0, &[1; 16]);
    let second = 8 + first.len() as u32;
    let first = page(&GRAY, 8, second, &[1; 16]);
    for (next, pages) in [(0, 2), (8, 2), (second, 2), (u32::MAX, 2)] {
        let file = [&b"II*\0\x08\0\0\0"[..], &first, &page(&GRAY, second, next, &[2; 16])].concat();
        let expected = format!("has {pages} pages; at most 1 allowed, give a file of one page");
        assert_eq!(inspect(&file, &LIMITS).unwrap_err().to_string(), expected);
        let decoded = decode(&file, &PictureLimits { frames: 2, ..LIMITS }).unwrap();
        assert_eq!((decoded.image.as_bytes(), decoded.header.frames), (&[1; 16][..], 2));
    }
    let itself = [&b"II*\0\x08\0\0\0"[..], &page(&GRAY, 8, 8, &[3; 16])].concat();
    assert_eq!(read(&itself).as_bytes(), [3; 16]);
}

#[test]
fn the_orientation_is_that_of_the_picture_and_not_of_its_preview() {
    for (preview, picture) in [(6, 1), (1, 6)] {
        let turned = |kind: u32, turn: u32, at: u32, next: u32| {
            let (kind, turn) = ([kind], [turn]);
            let more: [(u16, u16, &[u32]); 2] = [(254, 4, &kind), (274, 3, &turn)];
            page(&[&GRAY[..], &more].concat(), at, next, &[7; 16])
        };
        let at = 8 + turned(1, preview, 8, 0).len() as u32;
        let file = [&b"II*\0\x08\0\0\0"[..], &turned(1, preview, 8, at), &turned(0, picture, at, 0)].concat();
        assert_eq!(decode(&file, &LIMITS).unwrap().header.frames, 1);
        assert_eq!(is_upright(&file), picture == 1);
    }
}

/// All directories behind the first one have 60000 fields, most of them the same. They take a million until counting ends.
#[test]
fn pages_that_share_their_fields_are_not_counted_for_long() {
    const PAGES: u32 = 1200;
    const FIELDS: u16 = 60_000;
    let start = (8 + page(&GRAY, 8, 0, &[3; 16]).len() as u32).next_multiple_of(4);
    let mut file = [&b"II*\0\x08\0\0\0"[..], &page(&GRAY, 8, start, &[3; 16])].concat();
    file.resize(start as usize, 0);
    // The places of the next directories are behind the fields, each four bytes further than the one before.
    file.extend(FIELDS.to_le_bytes().repeat(1 + 6 * usize::from(FIELDS)));
    file.extend((1..PAGES).flat_map(|number| (start + 4 * number).to_le_bytes()));
    file.extend([0; 4]);
    let error = inspect(&file, &LIMITS).unwrap_err();
    assert_eq!(error.to_string(), "has 19 pages; at most 1 allowed, give a file of one page");
}

#[test]
fn kinds_of_bmp_files_that_are_not_read_are_named() {
    let whole = data("rgb.bmp-24.bmp");
    let changed = |changes: &[(usize, &[u8])]| {
        let mut file = whole.clone();
        changes.iter().for_each(|(at, bytes)| file[*at..*at + bytes.len()].copy_from_slice(bytes));
        problem(&file)
    };
    let end = "which is not supported; save it again as PNG or JPEG";
    for (at, byte, kind) in [
        (14, 64, "with a header of OS/2"),
        (28, 64, "of 64 bits for each pixel"),
        (30, 1, "of 24 bits for each pixel"),
        (30, 4, "that has a JPEG file in it"),
        (30, 5, "that has a PNG file in it"),
        (30, 6, "with the compression 6"),
        (30, 11, "in CMYK"),
    ] {
        assert_eq!(changed(&[(at, &[byte])]), format!("is a BMP file {kind}, {end}"));
    }
    assert_eq!(
        changed(&[(10, &[20])]),
        format!("is a damaged BMP file: it says that its pixels begin in its header; {AGAIN}")
    );
    assert_eq!(changed(&[(18, &[0xff; 4])]), format!("is a damaged BMP file: its width is negative; {AGAIN}"));
    assert_eq!(changed(&[(18, &[0; 4])]), "is 0x13 pixels, so that there is nothing to see");
    let sides = [0x60, 0xea, 0, 0, 0x60, 0xea, 0, 0];
    assert_eq!(changed(&[(18, &sides)]), "is 60000x60000 pixels; at most 64000000 pixels in all are allowed");
    assert_eq!(
        changed(&[(22, &[0, 0, 0, 0x80])]),
        "is 21x2147483648 pixels; at most 64000000 pixels in all are allowed"
    );
    for end in 0..whole.len() {
        assert!(decode(&whole[..end], &LIMITS).is_err(), "{end} of {}", whole.len());
        if end > 20 {
            assert_eq!(decode(&whole[..end], &LIMITS), Err(Problem::Truncated(FileFormat::Bmp)), "{end}");
        }
    }
    let packed = data("bmp-rle8.bmp");
    assert_eq!(decode(&packed[..packed.len() - 30], &LIMITS), Err(Problem::Truncated(FileFormat::Bmp)));
}

#[test]
fn gif_files_are_read_without_their_end_and_rejected_without_pixels() {
    let whole = data("gif-plain.gif");
    let image = read(&whole);
    assert_eq!(read(&whole[..whole.len() - 1]), image);
    for end in 0..whole.len() - 1 {
        assert!(decode(&whole[..end], &LIMITS).is_err(), "{end} of {}", whole.len());
        if end > 12 {
            assert_eq!(decode(&whole[..end], &LIMITS), Err(Problem::Truncated(FileFormat::Gif)), "{end}");
        }
    }
    assert_eq!(problem(b"GIF89a\x02\0\x02\0\0\0\0;"), format!("is a damaged GIF file: it has no frame; {AGAIN}"));
    // The screen, and the frame behind the palette of eight colours.
    let with = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        problem(&file)
    };
    assert_eq!(with(6, &[0xff; 4]), "is 65535x65535 pixels; at most 64000000 pixels in all are allowed");
    assert_eq!(with(13 + 24 + 5, &[0xff; 4]), "is 65535x65535 pixels; at most 64000000 pixels in all are allowed");
    assert_eq!(with(13 + 24 + 1, &[0xff; 2]), "is 65556x13 pixels; at most 65535 on a side are allowed");
    assert_eq!(with(13 + 24 + 5, &[0; 2]), format!("is a damaged GIF file: its first frame has no pixels; {AGAIN}"));
    assert_eq!(
        with(13 + 24 + 5, &[21, 0, 14, 0]),
        format!("is a damaged GIF file: its compressed pixels are invalid or end too early; {AGAIN}")
    );
    let plain = b"GIF89a\x02\0\x01\0\0\0\0,\0\0\0\0\x02\0\x01\0\0\x02\x02\x44\x0a\0;";
    assert_eq!(problem(plain), format!("is a damaged GIF file: its first frame has no palette; {AGAIN}"));
}

/// Indices of noise, and a palette of 256 grays.
fn noise(width: u16, height: u16) -> (Vec<u8>, Vec<u8>) {
    let mut random = fastrand::Rng::with_seed(5);
    let indices = (0..usize::from(width) * usize::from(height)).map(|_| random.u8(..)).collect();
    (indices, (0..=255).flat_map(|gray| [gray; 3]).collect())
}

fn gif(frames: u8) -> Vec<u8> {
    let (indices, palette) = noise(800, 600);
    let mut file = Vec::new();
    let mut encoder = gif::Encoder::new(&mut file, 800, 600, &palette).unwrap();
    for number in 0..frames {
        let buffer = Cow::Owned(indices.iter().map(|index| index.wrapping_add(number)).collect());
        encoder.write_frame(&gif::Frame { width: 800, height: 600, buffer, ..gif::Frame::default() }).unwrap();
    }
    drop(encoder);
    file
}

#[test]
fn animations_need_a_limit_that_allows_them_and_give_their_first_frame() {
    let file = gif(3);
    assert_eq!(problem(&file), "has 3 frames; at most 1 allowed, give a still picture");
    let decoded = decode(&file, &PictureLimits { frames: 3, ..LIMITS }).unwrap();
    assert_eq!(decoded.image, read(&gif(1)));
    assert_eq!(decoded.image.to_luma8().as_raw(), &noise(800, 600).0);
}

#[test]
fn a_cancelled_job_is_decoded_no_further() {
    let (pixels, _) = noise(800, 600);
    let sides: [(u16, u16, &[u32]); 3] = [(256, 4, &[800]), (257, 4, &[600]), (278, 4, &[600])];
    let fields: Vec<_> = sides.iter().chain(&GRAY[2..5]).copied().collect();
    for file in [gif(1), tiff(&fields, &pixels)] {
        let input = input(file);
        let counted = |last| {
            let (monitor, _, checks) = Monitor::counted(last);
            (decode_input(&input, &LIMITS, &monitor), checks.count())
        };
        let (decoded, count) = counted(u64::MAX);
        assert_eq!(decoded.unwrap().image.to_luma8().as_raw(), &pixels);
        assert!(count > 5, "{count}");
        for last in [1, count / 2, count] {
            let (decoded, looked) = counted(last);
            assert_eq!(decoded, Err(EngineError::Cancelled), "{last} of {count}");
            assert!(looked <= last + 8, "{looked} of {last}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_change_of_a_file_makes_the_reader_panic(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let (name, _, mut bytes) = file.get(&files()[..]).clone();
        for (at, value) in changes {
            // Most of what matters is at the beginning.
            let at = at.index(bytes.len().min(400));
            bytes[at] = value;
        }
        if is_cut {
            bytes.truncate(length.index(bytes.len()));
        }
        let limits = PictureLimits { pixels: 1_000_000, frames: 5, ..LIMITS };
        if let Ok(decoded) = decode(&bytes, &limits) {
            prop_assert!(decoded.header.pixels() <= limits.pixels, "{name}");
            prop_assert!(convert(&decoded, Format::Png).is_ok(), "{name}");
        }
        let _ = (description(&bytes), parameters(&bytes));
    }
}
