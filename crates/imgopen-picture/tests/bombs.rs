//! Decompression bombs are not inflated. In its own binary, because it measures the whole heap.
#![allow(clippy::unwrap_used)]

mod support;

use image::ImageFormat;
use imgopen_engine::PictureLimits;
use imgopen_picture::{decode, description, parameters};
use peak_alloc::PeakAlloc;

use support::{file, photo, png_with, zeros};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Returns what comes of it, and how much memory was taken at once.
fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let made = work();
    (made, HEAP.peak_usage().saturating_sub(before))
}

/// A gray TIFF file of 4x4 pixels in one strip, with more fields: number, kind, count, value or place.
fn tiff(compression: u32, strip: &[u8], more: &[(u16, u16, u32, u32)]) -> Vec<u8> {
    let count = 8 + more.len() as u16;
    let at = 10 + 12 * u32::from(count) + 4;
    let length = strip.len() as u32;
    let own: [(u16, u32); 8] =
        [(256, 4), (257, 4), (258, 8), (259, compression), (262, 1), (273, at), (278, 4), (279, length)];
    let mut file = [&b"II*\0\x08\0\0\0"[..], &count.to_le_bytes()].concat();
    for (tag, kind, count, value) in own.map(|(tag, value)| (tag, 4, 1, value)).iter().chain(more) {
        file.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        file.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    file.extend([0; 4]);
    assert_eq!(file.len() as u32, at);
    file.extend(strip);
    file
}

/// The first rows of what is in it are the picture.
fn a_strip_is_inflated_no_further_than_its_rows(zeros: &[u8]) {
    let file = tiff(8, zeros, &[]);
    let (decoded, taken) = measured(|| decode(&file, &PictureLimits::default()).unwrap());
    assert!(taken < 1 << 20, "{taken} bytes");
    assert_eq!(decoded.image.as_bytes(), [0; 16]);
}

/// All 400 descriptions are the same MiB of the file.
fn texts_in_the_same_place_are_not_copied_for_each() {
    let file = [tiff(1, &[7; 16], &[(270, 2, 1 << 20, 0); 400]), vec![b'a'; 1 << 20]].concat();
    let ((decoded, text), taken) = measured(|| (decode(&file, &PictureLimits::default()), description(&file)));
    assert!(taken < 32 << 20, "{taken} bytes");
    assert_eq!(decoded.unwrap().image.as_bytes(), [7; 16]);
    assert_eq!(text, None);
}

#[test]
fn bombs_are_not_inflated() {
    let zeros = zeros(256 << 20);
    let pixels = file(&photo(4, 4), ImageFormat::Png);
    let idat = pixels.windows(4).position(|word| word == b"IDAT").unwrap();
    let length = u32::from_be_bytes(pixels[idat - 4..idat].try_into().unwrap()) as usize;
    let pixels = &pixels[idat + 4..idat + 4 + length];
    let profile = [b"p\0\0", &zeros[..]].concat();
    let text = [b"t\0\0", &zeros[..]].concat();
    let packet = [b"XML:com.adobe.xmp\0\x01\0\0\0", &zeros[..]].concat();
    for (name, chunks) in [
        ("pixels", &[(b"IDAT", &zeros[..])][..]),
        ("profile", &[(b"iCCP", &profile), (b"IDAT", pixels)]),
        ("text", &[(b"zTXt", &text), (b"IDAT", pixels)]),
        ("packet", &[(b"iTXt", &packet), (b"IDAT", pixels)]),
    ] {
        let bytes = png_with(4, 4, chunks);
        let ((decoded, texts), taken) =
            measured(|| (decode(&bytes, &PictureLimits::default()), (description(&bytes), parameters(&bytes))));
        assert!(taken < 32 << 20, "{name} takes {taken} bytes");
        assert!(decoded.is_ok_and(|decoded| decoded.profile.is_none()), "{name}");
        assert_eq!(texts, (None, None), "{name}");
    }
    a_strip_is_inflated_no_further_than_its_rows(&zeros);
    texts_in_the_same_place_are_not_copied_for_each();
}
