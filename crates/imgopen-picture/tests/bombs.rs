//! Decompression bombs are not inflated. In its own binary, because it measures the whole heap.

mod support;

use image::ImageFormat;
use imgopen_engine::PictureLimits;
use imgopen_picture::{decode, description, parameters};
use peak_alloc::PeakAlloc;

use support::{file, photo, png_with, zeros};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// A page of 4x4 pixels in one strip that inflates to many zeros. The first rows are the picture.
fn a_strip_is_inflated_no_further_than_its_rows(zeros: &[u8]) {
    let mut file = b"II*\0\x08\0\0\0\x08\0".to_vec();
    let length = zeros.len() as u32;
    for (tag, value) in [(256_u16, 4), (257, 4), (258, 8), (259, 8), (262, 1), (273, 110), (278, 4), (279, length)] {
        file.extend([&tag.to_le_bytes()[..], b"\x04\0\x01\0\0\0", &value.to_le_bytes()].concat());
    }
    file.extend([0; 4]);
    assert_eq!(file.len(), 110);
    file.extend(zeros);
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let decoded = decode(&file, &PictureLimits::default()).unwrap();
    let taken = HEAP.peak_usage().saturating_sub(before);
    assert!(taken < 1 << 20, "{taken} bytes");
    assert_eq!(decoded.image.as_bytes(), [0; 16]);
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
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let decoded = decode(&bytes, &PictureLimits::default());
        let texts = (description(&bytes), parameters(&bytes));
        let taken = HEAP.peak_usage().saturating_sub(before);
        assert!(taken < 32 << 20, "{name} takes {taken} bytes");
        assert!(decoded.is_ok_and(|decoded| decoded.profile.is_none()), "{name}");
        assert_eq!(texts, (None, None), "{name}");
    }
    a_strip_is_inflated_no_further_than_its_rows(&zeros);
}
