//! JPEG files of every kind are read as libjpeg reads them, or rejected by name.
//!
//! The pairs of files in `data/jpeg` were made by libjpeg-turbo 2.1.5 and Pillow 13.0: a JPEG file, and a PNG file of what
//! `djpeg` makes of it. For CMYK that is Pillow's `convert("RGB")`, or Little CMS by the profile in the file.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use image::{DynamicImage, Rgb};
use imgopen_picture::{
    Attached, Chroma, FileFormat, Format, PictureLimits, Problem, decode, encode, inspect, inspect_whole,
};
use libjpeg_turbo_rs::{Encoder, PixelFormat, ScanScript, Subsampling, compress_12bit};

use support::photo;

const LIMITS: PictureLimits = PictureLimits { bytes: 1 << 25, pixels: 64_000_000, frames: 1, location: false };

fn data(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/jpeg").join(name)).unwrap()
}

fn read(bytes: &[u8]) -> DynamicImage {
    decode(bytes, &LIMITS).unwrap().image
}

/// Returns the mean difference of two pictures of one size, in levels of 255.
fn difference(one: &DynamicImage, other: &DynamicImage) -> f64 {
    assert_eq!((one.width(), one.height()), (other.width(), other.height()));
    let (one, other) = (one.to_rgb8(), other.to_rgb8());
    let sum: u64 = one.iter().zip(other.iter()).map(|(one, other)| u64::from(one.abs_diff(*other))).sum();
    sum as f64 / one.len() as f64
}

fn encoder(pixels: &[u8], format: PixelFormat) -> Encoder<'_> {
    Encoder::new(pixels, 40, 30, format).quality(95)
}

fn problem(bytes: &[u8]) -> String {
    let problem = decode(bytes, &LIMITS).unwrap_err();
    assert_eq!(inspect(bytes, &LIMITS), Err(problem.clone()));
    problem.to_string()
}

#[test]
fn files_are_read_as_by_libjpeg() {
    let mut count = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/jpeg")).unwrap() {
        let path = entry.unwrap().path();
        let (name, extension) = (path.file_stem().unwrap().to_str().unwrap(), path.extension().unwrap());
        if extension != "jpg" {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let (ours, theirs) = (decode(&bytes, &LIMITS).unwrap(), read(&data(&format!("{name}.png"))));
        let difference = difference(&ours.image, &theirs);
        assert!(difference < 1.0, "{name}: {difference}");
        let is_gray = name.starts_with("gray");
        assert_eq!((ours.image.color().has_color(), ours.profile), (!is_gray, None), "{name}");
        count += 1;
    }
    assert_eq!(count, 22);
}

#[test]
fn cmyk_is_converted_by_its_profile() {
    let (plain, profiled) = (read(&data("cmyk.jpg")).to_rgb8(), read(&data("cmyk-profile.jpg")).to_rgb8());
    // Cyan. The profile says which one.
    assert!(plain.get_pixel(12, 4).0[0] < 8 && plain.get_pixel(12, 4).0[2] > 247, "{:?}", plain.get_pixel(12, 4));
    let Rgb([red, green, blue]) = *profiled.get_pixel(12, 4);
    assert!(red < 8 && green.abs_diff(150) < 30 && blue < 235, "{red} {green} {blue}");
    // All inks together are black, though the profile gives them some light.
    assert!(profiled.get_pixel(28, 12).0.iter().all(|channel| *channel < 4));
    assert!(profiled.get_pixel(4, 4).0.iter().all(|channel| *channel > 252));
}

/// Damage anywhere in a profile ends in the profile's colours or the plain ones.
#[test]
fn a_damaged_profile_makes_no_picture_unreadable() {
    let whole = data("cmyk-profile.jpg");
    let start = whole.windows(12).position(|window| window == b"ICC_PROFILE\0").unwrap() + 14;
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..10 {
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..6) {
            bytes[start + random.usize(..400)] = random.u8(..);
        }
        assert_eq!(read(&bytes).color(), image::ColorType::Rgb8);
    }
}

#[test]
fn what_is_valid_but_not_supported_is_named_with_what_to_do() {
    let pixels = photo(40, 30).to_rgb8();
    let is_named = |bytes: &[u8], kind: &str| {
        let end = "which is not supported; save it again as baseline or progressive JPEG of 8 bits, or as PNG";
        assert_eq!(problem(bytes), format!("is a JPEG file {kind}, {end}"));
    };
    is_named(&encoder(&pixels, PixelFormat::Rgb).arithmetic(true).encode().unwrap(), "with arithmetic coding");
    let arithmetic = encoder(&pixels, PixelFormat::Rgb).arithmetic(true).progressive(true).encode().unwrap();
    is_named(&arithmetic, "with arithmetic coding");
    is_named(&encoder(&pixels, PixelFormat::Rgb).lossless(true).encode().unwrap(), "with lossless coding");
    let deep: Vec<i16> = pixels.iter().map(|value| i16::from(*value) * 16).collect();
    is_named(&compress_12bit(&deep, 40, 30, 3, 90, Subsampling::S444).unwrap(), "of 12 bits for each value");

    // The frame says what the rest is, which need not be valid.
    let frame = |marker: u8, components: &[u8]| {
        let body = [&[8, 0, 97, 0, 133, components.len() as u8 / 3], components].concat();
        [b"\xff\xd8\xff", &[marker, 0, body.len() as u8 + 2][..], &body, b"\xff\xd9"].concat()
    };
    is_named(&frame(0xc0, &[1, 0x11, 0, 2, 0x11, 0]), "of 2 channels");
    is_named(&frame(0xc0, &[1, 0x11, 0, 2, 0x11, 0, 2, 0x11, 0]), "in which two channels have the same number");
    is_named(&frame(0xc0, &[1, 0x31, 0, 2, 0x21, 0, 3, 0x11, 0]), "whose channels are sampled 2 to 3");
    is_named(&frame(0xc5, &[1, 0x11, 0]), "in several resolutions (hierarchical)");
    is_named(&frame(0xf7, &[1, 0x11, 0]), "with JPEG-LS coding");

    // No height in the frame, and one behind the only scan.
    let mut late = encoder(&pixels, PixelFormat::Rgb).encode().unwrap();
    let height = late.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap() + 5;
    assert_eq!(late[height..height + 2], [0, 30]);
    late[height + 1] = 0;
    assert_eq!(problem(&late), "is 40x0 pixels, so that there is nothing to see");
    late.splice(late.len() - 2..late.len() - 2, *b"\xff\xdc\0\x04\0\x1e");
    is_named(&late, "that gives its height only behind its pixels (in a DNL marker)");
}

/// The decoder would read more blocks than there are.
#[test]
fn odd_factors_in_scans_of_their_own_are_read_where_they_fit() {
    let scans = |factor: u8| {
        let frame = [8, 0, 97, 0, 133, 3, 1, 0x41, 0, 2, factor << 4 | 1, 0, 3, 0x11, 0];
        let scan = |component: u8| [0xff, 0xda, 0, 8, 1, component, 0, 0, 63, 0];
        [&b"\xff\xd8\xff\xc0\0\x11"[..], &frame, &scan(1), &scan(2), &scan(3), b"\xff\xd9"].concat()
    };
    let kind = Problem::UnsupportedJpeg("whose channels are sampled 2 to 4 and stored one after the other".to_owned());
    assert_eq!(inspect(&scans(2), &LIMITS), Err(kind));
    assert!(inspect(&scans(1), &LIMITS).is_ok());
    assert!(inspect(&scans(4), &LIMITS).is_ok());
}

/// A file with its scans cut off at every byte: where only the end marker is missing it is read, else rejected.
#[test]
fn a_missing_end_marker_is_no_problem_and_missing_pixels_are() {
    let pixels = photo(40, 30).to_rgb8();
    for (name, whole) in [
        ("baseline", encoder(&pixels, PixelFormat::Rgb).encode().unwrap()),
        ("restarts", encoder(&pixels, PixelFormat::Rgb).restart_blocks(2).encode().unwrap()),
        ("separate scans", data("scans-cb-cr-y.jpg")),
        ("progressive", data("progressive-separate.jpg")),
    ] {
        let image = read(&whole);
        for end in whole.len() - 2..=whole.len() {
            assert_eq!(read(&whole[..end]), image, "{name}: {end} of {}", whole.len());
            assert!(inspect_whole(&whole[..end], &LIMITS).is_ok(), "{name}: {end} of {}", whole.len());
        }
        let cut = inspect_whole(&whole[..whole.len() - 50], &LIMITS);
        assert_eq!(cut, Err(Problem::Truncated(FileFormat::Jpeg)), "{name}");
        for end in 0..whole.len() - 6 {
            for tail in [&b""[..], b"\xff\xd9"] {
                let cut = [&whole[..end], tail].concat();
                let decoded = decode(&cut, &LIMITS);
                assert!(decoded.is_err(), "{name}: {end} of {} and {tail:?}", whole.len());
                if tail.is_empty() && end > 200 {
                    assert_eq!(decoded, Err(Problem::Truncated(FileFormat::Jpeg)), "{name}: {end} of {}", whole.len());
                }
            }
        }
    }
}

#[test]
fn a_progressive_file_without_its_last_scans_is_incomplete() {
    let pixels = photo(40, 30).to_rgb8();
    let script = |scans: &[(Vec<usize>, u8, u8)]| -> Vec<ScanScript> {
        let scan = |(components, ss, se): &(Vec<usize>, u8, u8)| ScanScript {
            components: components.iter().map(|component| *component as u8).collect(),
            ss: *ss,
            se: *se,
            ah: 0,
            al: 0,
        };
        scans.iter().map(scan).collect()
    };
    let first = script(&[(vec![0, 1, 2], 0, 0)]);
    let file = encoder(&pixels, PixelFormat::Rgb).progressive(true).scan_script(first).encode().unwrap();
    // It has an end, so that nothing was cut off.
    let blurred =
        "is a JPEG file without the scans that have the detail or the colours of its pixels, which is not supported";
    assert!(problem(&file).starts_with(blurred), "{}", problem(&file));
    assert_eq!(decode(&file[..file.len() - 2], &LIMITS), Err(Problem::Truncated(FileFormat::Jpeg)));
    let all = script(&[(vec![0, 1, 2], 0, 0), (vec![0], 1, 63), (vec![1], 1, 63), (vec![2], 1, 63)]);
    let file = encoder(&pixels, PixelFormat::Rgb).progressive(true).scan_script(all).encode().unwrap();
    assert!(difference(&read(&file), &photo(40, 30)) < 20.0);
}

/// A scan that is sent again brings nothing new, so the picture stays the same however many there are.
#[test]
fn at_most_250_scans_are_read() {
    let pixels = photo(40, 30).to_rgb8();
    let scan = |components: &[u8], ss: u8, se: u8| ScanScript { components: components.to_vec(), ss, se, ah: 0, al: 0 };
    let script = vec![scan(&[0, 1, 2], 0, 0), scan(&[0], 1, 63), scan(&[1], 1, 63), scan(&[2], 1, 63)];
    let whole = encoder(&pixels, PixelFormat::Rgb).progressive(true).scan_script(script).encode().unwrap();
    let start = whole.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    // Within pixels, a zero follows each byte of eight bits that are set.
    let end = whole[start + 2..].windows(2).position(|pair| pair[0] == 0xff && pair[1] != 0).unwrap() + start + 2;
    let of = |scans: usize| [&whole[..start], &whole[start..end].repeat(scans - 4)[..], &whole[start..]].concat();
    assert_eq!(read(&of(250)), read(&whole));
    let expected = "is a JPEG file of more than 250 scans, which is not supported; save it again as baseline or progressive JPEG of \
                    8 bits, or as PNG";
    assert_eq!(problem(&of(251)), expected);
}

#[test]
fn junk_between_and_behind_segments_does_not_matter() {
    let whole = encoder(&photo(40, 30).to_rgb8(), PixelFormat::Rgb).encode().unwrap();
    let image = read(&whole);
    for junk in [
        &b"junk"[..],
        b"\xff\xff\xff",
        b"\xff\x01",
        b"\xff\xfe\0\x06abcd",
        b"\xff\xe5\0\x04\xff\xd9",
        b"\xff\xe1\0\x02",
    ] {
        // Behind the first segment, whose length follows its marker.
        let at = 4 + usize::from(u16::from_be_bytes([whole[4], whole[5]]));
        assert_eq!(read(&[&whole[..at], junk, &whole[at..]].concat()), image, "{junk:?}");
    }
    assert_eq!(read(&[&whole[..], &whole].concat()), image);
    // Fill bytes may precede any marker.
    let (rest, end) = whole.split_at(whole.len() - 2);
    assert_eq!(read(&[rest, b"\xff\xff\xff", end].concat()), image);
    let restarts = encoder(&photo(40, 30).to_rgb8(), PixelFormat::Rgb).restart_blocks(2).encode().unwrap();
    let at = restarts.windows(2).position(|pair| pair == [0xff, 0xd1]).unwrap();
    assert_eq!(read(&[&restarts[..at], b"\xff\xff", &restarts[at..]].concat()), image);
}

#[test]
fn chroma_stays_as_fine_as_it_was() {
    use Subsampling::{S410, S411, S420, S422, S440, S441, S444};
    let pixels = photo(40, 30).to_rgb8();
    for (subsampling, chroma, factors) in [
        (S444, Chroma::Full, 0x11),
        (S422, Chroma::HalfWidth, 0x21),
        (S440, Chroma::HalfHeight, 0x12),
        (S420, Chroma::Halved, 0x22),
        (S411, Chroma::QuarterWidth, 0x41),
        // No encoder writes these, so the next finer one is taken.
        (S441, Chroma::HalfHeight, 0x12),
        (S410, Chroma::Halved, 0x22),
    ] {
        let file = encoder(&pixels, PixelFormat::Rgb).subsampling(subsampling).encode().unwrap();
        let source = decode(&file, &LIMITS).unwrap();
        assert_eq!(source.header.chroma, chroma, "{subsampling:?}");
        let written = encode(&source.image, Format::Jpeg, &Attached { chroma, ..Attached::default() }).unwrap();
        let frame = written.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        assert_eq!(written[frame + 11], factors, "{subsampling:?}");
        assert!(difference(&read(&written), &source.image) < 6.0, "{subsampling:?}");
    }
    // Without brightness there is no chroma.
    assert_eq!(inspect(&data("rgb-by-ids.jpg"), &LIMITS).unwrap().chroma, Chroma::Full);
    assert_eq!(inspect(&data("ycck.jpg"), &LIMITS).unwrap().chroma, Chroma::Halved);
    assert_eq!(inspect(&data("gray-with-factors.jpg"), &LIMITS).unwrap().chroma, Chroma::Full);
}
