//! What files carry beside their pixels is in the files that are made of them. Results are read by other libraries.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Cursor;

use exif::{Exif, In, Tag};
use image::{DynamicImage, ImageBuffer, ImageFormat, Rgb, Rgba};
use imgopen_picture::{
    Attached, Format, PictureLimits, comfyui_prompt, convert, decode, description, encode, notes, parameters,
    with_notes,
};

use support::{DONE, chunks, contains, deflated, enlarged, file, photo, small_png};

const LIMITS: PictureLimits = PictureLimits { bytes: 1 << 25, pixels: 64_000_000, frames: 1, location: false };
const MADE: &str = "a cat — 猫\nNegative prompt: dog\nSteps: 20, Sampler: Euler a";
const CAMERA: &[u8] = include_bytes!("data/camera.jpg");

/// Reads EXIF data strictly, by another reader.
fn exif(file: &[u8]) -> Exif {
    exif::Reader::new().read_from_container(&mut Cursor::new(file)).unwrap()
}

fn field(exif: &Exif, tag: Tag) -> Option<String> {
    Some(exif.get_field(tag, In::PRIMARY)?.display_value().to_string())
}

fn converted(file: &[u8], format: Format) -> Vec<u8> {
    convert(&decode(file, &LIMITS).unwrap(), format).unwrap().to_vec()
}

/// The texts of a PNG file, by another reader.
fn texts(file: &[u8]) -> Vec<(String, String)> {
    // All are before the pixels.
    let reader = png::Decoder::new(Cursor::new(file)).read_info().unwrap();
    let info = reader.info();
    let plain = info.uncompressed_latin1_text.iter().map(|text| (text.keyword.clone(), text.text.clone()));
    let international = info.utf8_text.iter().map(|text| (text.keyword.clone(), text.get_text().unwrap()));
    plain.chain(international).collect()
}

fn text(file: &[u8], keyword: &str) -> Option<String> {
    texts(file).into_iter().find(|(name, _)| name == keyword).map(|(_, text)| text)
}

#[test]
fn parameters_as_piexif_writes_them_are_kept() {
    for file in [&include_bytes!("data/piexif.jpg")[..], include_bytes!("data/piexif.webp")] {
        assert_eq!(parameters(file).as_deref(), Some(MADE));
        let result = enlarged(file, &LIMITS);
        assert_eq!(parameters(&result), Some(format!("{MADE}, Postprocessing: \"{DONE}\"")));
        assert!(exif(&result).get_field(Tag::UserComment, In::PRIMARY).is_some());
        assert_eq!(text(&converted(file, Format::Png), "parameters").as_deref(), Some(MADE));
    }
}

#[test]
fn texts_of_every_form_are_kept() {
    let plain = b"parameters\0a cat, Steps: 20".to_vec();
    let packed = [b"parameters\0\0", &deflated(b"a cat, Steps: 20")[..]].concat();
    let international = "parameters\0\0\0de\0Angaben\0a cat, Steps: 20".as_bytes().to_vec();
    let both = [b"parameters\0\x01\0\0\0", &deflated(b"a cat, Steps: 20")[..]].concat();
    for (kind, body) in [(b"tEXt", plain), (b"zTXt", packed), (b"iTXt", international), (b"iTXt", both)] {
        let file =
            small_png(&[(kind, &body), (b"tEXt", b"Copyright\0\xa9 Jane"), (b"tEXt", b"postprocessing\0before")]);
        assert_eq!(parameters(&file).as_deref(), Some("a cat, Steps: 20"));
        let result = enlarged(&file, &LIMITS);
        let expected = [
            ("Copyright", "© Jane"),
            ("parameters", "a cat, Steps: 20"),
            ("postprocessing", "before, Postprocess upscaler: Nearest"),
        ];
        assert_eq!(texts(&result), expected.map(|(keyword, text)| (keyword.to_owned(), text.to_owned())));
    }
}

#[test]
fn texts_after_the_pixels_are_kept() {
    let pixels = deflated(&[0; 14]);
    let file = support::png_with(2, 2, &[(b"IDAT", &pixels), (b"tEXt", b"Comment\0a walk")]);
    assert_eq!(text(&enlarged(&file, &LIMITS), "Comment").as_deref(), Some("a walk"));
}

/// Each takes a quarter of a KiB of 4 MiB.
#[test]
fn texts_are_bounded() {
    let many: Vec<(&[u8; 4], &[u8])> = vec![(b"tEXt", b"a\0"); 30_000];
    assert_eq!(chunks(&enlarged(&small_png(&many), &LIMITS), b"tEXt").len(), 16_384);
    let long = [b"a\0", &[b'b'; 5 << 20][..]].concat();
    let packed = [b"a\0\0", &deflated(&long)[..]].concat();
    let result = enlarged(&small_png(&[(b"tEXt", &long), (b"zTXt", &packed), (b"tEXt", b"b\0short")]), &LIMITS);
    assert_eq!(text(&result, "a"), None);
    assert_eq!(text(&result, "b").as_deref(), Some("short"));
}

/// Those that are too large count, so that many of them cost no more than a few.
#[test]
fn inflating_is_bounded() {
    let large = [b"Description\0\0", &deflated(&[b'b'; 5 << 20])[..]].concat();
    let packed = [b"Description\0\0", &deflated(b"short")[..]].concat();
    for (count, expected) in [(1, Some("short")), (8, None)] {
        let mut parts: Vec<(&[u8; 4], &[u8])> = vec![(b"zTXt", &large[..]); count];
        parts.extend([(b"zTXt", &packed[..]), (b"tEXt", &b"Comment\0a walk"[..])]);
        let file = small_png(&parts);
        assert_eq!(description(&file).as_deref(), expected);
        let result = enlarged(&file, &LIMITS);
        assert_eq!(text(&result, "Description").as_deref(), expected);
        assert_eq!(text(&result, "Comment").as_deref(), Some("a walk"));
    }
}

#[test]
fn notes_of_an_earlier_task_are_kept_and_those_of_the_last_are_returned() {
    let file = small_png(&[(b"tEXt", b"notes\0the first")]);
    let result = with_notes(&enlarged(&file, &LIMITS).into(), "the second").unwrap().concat();
    assert_eq!(notes(&result).as_deref(), Some("the second"));
    assert_eq!(text(&result, "notes").as_deref(), Some("the first"));
}

#[test]
fn graphs_of_comfyui_are_kept_in_every_format() {
    let webp = include_bytes!("data/comfyui.webp");
    let graph = comfyui_prompt(webp).unwrap();
    assert!(graph.starts_with("{\"3\"") && graph.ends_with('}'), "{graph}");
    let result = enlarged(webp, &LIMITS);
    assert_eq!(comfyui_prompt(&result).as_ref(), Some(&graph));
    assert_eq!(field(&exif(&result), Tag::Make).as_deref(), Some("\"workflow:{\\\"nodes\\\": []}\""));
    let png = converted(&result, Format::Png);
    assert_eq!(text(&png, "prompt").as_ref(), Some(&graph));
    assert_eq!(text(&png, "workflow").as_deref(), Some("{\"nodes\": []}"));

    let png = small_png(&[(b"tEXt", b"prompt\0{\"1\": {}}"), (b"tEXt", b"workflow\0{\"nodes\": []}")]);
    let result = enlarged(&png, &LIMITS);
    assert_eq!(text(&result, "prompt").as_deref(), Some("{\"1\": {}}"));
    assert_eq!(text(&result, "workflow").as_deref(), Some("{\"nodes\": []}"));
    for format in [Format::Jpeg, Format::WebP] {
        let other = converted(&result, format);
        assert_eq!(comfyui_prompt(&other).as_deref(), Some("{\"1\": {}}"), "{format}");
        assert_eq!(description(&other), None, "{format}");
        assert_eq!(text(&converted(&other, Format::Png), "workflow").as_deref(), Some("{\"nodes\": []}"), "{format}");
    }
}

#[test]
fn what_a_camera_and_people_wrote_is_kept_but_the_place() {
    let result = enlarged(CAMERA, &LIMITS);
    let data = exif(&result);
    for (tag, value) in [
        (Tag::Make, "\"Canon\""),
        (Tag::Model, "\"EOS\""),
        (Tag::Copyright, "(c) Jane Doe"),
        (Tag::DateTimeOriginal, "2024-05-01 10:00:00"),
        (Tag::Orientation, "row 0 at top and column 0 at left"),
        // Upright, and twice as large as 8x16.
        (Tag::PixelXDimension, "16"),
        (Tag::PixelYDimension, "32"),
        (Tag::XResolution, "300"),
    ] {
        let found = field(&data, tag).unwrap();
        assert!(found == value || found.contains(value.trim_matches('"')), "{tag}: {found}");
    }
    assert!(data.fields().all(|field| field.ifd_num == In::PRIMARY && field.tag.context() != exif::Context::Gps));
    let decoded = decode(&result, &LIMITS).unwrap();
    assert_eq!((decoded.image.width(), decoded.image.height()), (16, 32));
    // JFIF: 300 on an inch in both directions.
    assert_eq!(result[13..18], [1, 1, 44, 1, 44]);
    for part in [
        &b"the note of the maker"[..],
        b"tiff:Orientation=\"1\"",
        b"<dc:rights>(c) Jane Doe</dc:rights>",
        b"\xff\xfe\0\x11taken on a walk",
        b"8BIM\x04\x04\0\0\0\0\0\x0d\x1c\x02\x74\0\x08Jane Doe",
    ] {
        assert!(contains(&result, part), "{}", part.escape_ascii());
    }
    // The last one is in the thumbnail of Photoshop, the one before in that of EXIF data.
    // One of its directories names a next one, which is an error otherwise.
    let of_camera = exif::Reader::new().continue_on_error(true).read_from_container(&mut Cursor::new(CAMERA));
    let of_camera = of_camera.or_else(|error| error.distill_partial_result(|_| ())).unwrap();
    let number = |tag| of_camera.get_field(tag, In::THUMBNAIL).unwrap().value.get_uint(0).unwrap() as usize;
    let [at, length] = [Tag::JPEGInterchangeFormat, Tag::JPEGInterchangeFormatLength].map(number);
    let thumbnail = &of_camera.buf()[at..at + length];
    assert!(thumbnail.starts_with(b"\xff\xd8\xff"));
    for part in [&b"GPS"[..], b"47,22.5N", thumbnail, b"thumb!"] {
        assert!(!contains(&result, part), "{}", part.escape_ascii());
    }
    // What was done is added once more, and nothing lost.
    let again = enlarged(&result, &LIMITS);
    let twice: Vec<u8> = format!("{DONE}, {DONE}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert!(contains(&again, &twice));
    let again = exif(&again);
    assert_eq!(again.fields().count(), data.fields().count());
    assert_eq!(field(&again, Tag::PixelYDimension).as_deref(), Some("64"));
}

/// The picture is red above and blue below, once it is upright.
#[test]
fn what_a_tiff_file_carries_is_kept_in_both_orders_of_bytes() {
    for file in [&include_bytes!("data/camera.tif")[..], include_bytes!("data/camera-big-endian.tif")] {
        assert!(!imgopen_picture::is_upright(file));
        let decoded = decode(file, &LIMITS).unwrap();
        let upright = decoded.image.to_rgb8();
        assert_eq!(upright.dimensions(), (8, 16));
        assert_eq!([upright.get_pixel(0, 0).0, upright.get_pixel(7, 15).0], [[234, 51, 35], [0, 0, 245]]);
        assert_eq!(decoded.profile.as_deref(), Some(&include_bytes!("data/display-p3.icc")[..]));
        assert_eq!(description(file).as_deref(), Some("a lighthouse"));

        let result = enlarged(file, &LIMITS);
        let data = exif(&result);
        for (tag, value) in [
            (Tag::ImageDescription, "a lighthouse"),
            (Tag::Make, "Canon"),
            (Tag::Copyright, "(c) Jane"),
            (Tag::DateTimeOriginal, "2024-05-06 07:08:09"),
            (Tag::XResolution, "300"),
            // Of the result.
            (Tag::PixelXDimension, "16"),
            (Tag::PixelYDimension, "32"),
        ] {
            let found = field(&data, tag).unwrap();
            assert!(found.contains(value), "{tag}: {found}");
        }
        let bias = data.get_field(Tag::ExposureBiasValue, In::PRIMARY).unwrap();
        assert!(matches!(&bias.value, exif::Value::SRational(bias) if (bias[0].num, bias[0].denom) == (-1, 3)));
        assert!(data.get_field(Tag::GPSLatitude, In::PRIMARY).is_none());
        assert!(text(&result, "XML:com.adobe.xmp").unwrap().contains("tiff:Orientation=\"1\""));
        // 300 / 0.0254, on a metre.
        assert_eq!(chunks(&result, b"pHYs"), [[0, 0, 0x2e, 0x23, 0, 0, 0x2e, 0x23, 1]]);
        assert_eq!(decode(&result, &LIMITS).unwrap().profile, decoded.profile);

        let placed = exif(&enlarged(file, &PictureLimits { location: true, ..LIMITS }));
        assert_eq!(field(&placed, Tag::GPSLatitude).as_deref(), Some("48 deg 8 min 15 sec"));
    }
}

/// EXIF data with the orientation alone, as a number of that kind.
fn orientation(number: u8, kind: u8, is_big: bool) -> Vec<u8> {
    // A number begins its field, in the order of the bytes.
    let value = match (kind, is_big) {
        (3 | 8, true) => [0, number, 0, 0],
        (4 | 9, true) => [0, 0, 0, number],
        _ => [number, 0, 0, 0],
    };
    match is_big {
        true => [&b"MM\0*\0\0\0\x08\0\x01\x01\x12\0"[..], &[kind], b"\0\0\0\x01", &value, &[0; 4]].concat(),
        false => [&b"II*\0\x08\0\0\0\x01\0\x12\x01"[..], &[kind, 0], b"\x01\0\0\0", &value, &[0; 4]].concat(),
    }
}

/// Puts EXIF data into a file, in each place where programs put it.
fn with_exif(data: &[u8]) -> Vec<Vec<u8>> {
    let named = [b"Exif\0\0", data].concat();
    // Red beside blue.
    let pixels = deflated(&[0, 255, 0, 0, 0, 0, 255]);
    let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
    let raw = format!("Raw profile type exif\0\nexif\n{:8}\n{hex}\n", data.len()).into_bytes();
    let row: DynamicImage =
        ImageBuffer::from_raw(2, 1, vec![255, 0, 0, 0, 0, 255_u8]).map(DynamicImage::ImageRgb8).unwrap();
    let lossless = file(&row, ImageFormat::WebP);
    let webp = |exif: &[u8]| {
        let chunk = |kind: &[u8], body: &[u8]| {
            [kind, &(body.len() as u32).to_le_bytes(), body, &vec![0_u8; body.len() % 2]].concat()
        };
        let extended = chunk(b"VP8X", &[8, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
        let body = [b"WEBP", &extended[..], &lossless[12..], &chunk(b"EXIF", exif)].concat();
        [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
    };
    vec![
        support::png_with(2, 1, &[(b"eXIf", data), (b"IDAT", &pixels)]),
        support::png_with(2, 1, &[(b"IDAT", &pixels), (b"eXIf", data)]),
        support::png_with(2, 1, &[(b"eXIf", &named), (b"IDAT", &pixels)]),
        support::png_with(2, 1, &[(b"tEXt", &raw), (b"IDAT", &pixels)]),
        webp(data),
        webp(&named),
    ]
}

/// As Pillow's `exif_transpose` does it: of 6, the left pixel comes to the top; of 8, to the bottom.
#[test]
fn an_orientation_is_applied_wherever_it_is_and_then_reset() {
    const RED: [u8; 3] = [255, 0, 0];
    const BLUE: [u8; 3] = [0, 0, 255];
    for (number, upper) in [(6, RED), (8, BLUE)] {
        for (kind, is_big) in [(3, false), (3, true), (4, false), (4, true), (8, true), (9, false), (6, true)] {
            for (place, file) in with_exif(&orientation(number, kind, is_big)).iter().enumerate() {
                assert!(!imgopen_picture::is_upright(file), "{place}");
                let upright = decode(file, &LIMITS).unwrap().image.to_rgb8();
                assert_eq!(upright.dimensions(), (1, 2), "{number} of the kind {kind} at {place}");
                assert_eq!(upright.get_pixel(0, 0).0, upper, "{number} of the kind {kind} at {place}");
                let result = enlarged(file, &LIMITS);
                let data = exif(&result);
                let field = data.get_field(Tag::Orientation, In::PRIMARY).unwrap();
                assert_eq!(field.value.get_uint(0), Some(1), "{place}");
                assert_eq!(decode(&result, &LIMITS).unwrap().image.to_rgb8().dimensions(), (2, 4), "{place}");
            }
        }
        // Bytes without a sign are not numbers for Pillow, so that they are left alone.
        for file in with_exif(&orientation(number, 1, false)) {
            assert_eq!(decode(&file, &LIMITS).unwrap().image.to_rgb8().dimensions(), (2, 1));
            let data = exif(&enlarged(&file, &LIMITS));
            assert!(
                matches!(&data.get_field(Tag::Orientation, In::PRIMARY).unwrap().value, exif::Value::Byte(it) if it[0] == number)
            );
        }
    }
    let [jpeg, data] = [file(&photo(8, 4), ImageFormat::Jpeg), orientation(6, 4, false)];
    let segment = [b"\xff\xe1", &(data.len() as u16 + 8).to_be_bytes()[..], b"Exif\0\0", &data].concat();
    let turned = decode(&[&jpeg[..2], &segment, &jpeg[2..]].concat(), &LIMITS).unwrap().image;
    assert_eq!((turned.width(), turned.height()), (4, 8));
}

/// Pillow reads it there where EXIF has none.
#[test]
fn an_orientation_in_xmp_counts_where_exif_has_none() {
    let pixels = deflated(&[0, 255, 0, 0, 0, 0, 255]);
    let packet = |number: u8| {
        let tag = format!("t:Orientation='{number}' xmlns:t='http://ns.adobe.com/tiff/1.0/'");
        format!("XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta xmlns:x='adobe:ns:meta/'><a {tag}/></x:xmpmeta>").into_bytes()
    };
    let file = support::png_with(2, 1, &[(b"iTXt", &packet(6)), (b"IDAT", &pixels)]);
    assert_eq!(decode(&file, &LIMITS).unwrap().image.to_rgb8().dimensions(), (1, 2));
    assert!(contains(&enlarged(&file, &LIMITS), b"t:Orientation=\"1\""));
    let exif = orientation(1, 3, true);
    let file = support::png_with(2, 1, &[(b"eXIf", &exif), (b"iTXt", &packet(6)), (b"IDAT", &pixels)]);
    assert_eq!(decode(&file, &LIMITS).unwrap().image.to_rgb8().dimensions(), (2, 1));
}

/// The Stable Diffusion web UI writes its parameters into the comments of GIF files, and exiftool where it is asked to.
#[test]
fn parameters_in_comments_are_kept_where_they_are_found() {
    let screen = b"GIF89a\x02\0\x01\0\x80\0\0\xff\0\0\0\0\xff";
    let comment = [&[MADE.len() as u8], MADE.as_bytes()].concat();
    let pixels = b",\0\0\0\0\x02\0\x01\0\0\x02\x02\x44\x0a\0;";
    let gif = [&screen[..], b"!\xfe", &comment, b"\0", pixels].concat();
    assert_eq!(parameters(&gif).as_deref(), Some(MADE));
    let result = enlarged(&gif, &LIMITS);
    assert_eq!(text(&result, "parameters").as_deref(), Some(MADE));
    assert_eq!(text(&result, "Comment"), None);

    let jpeg = file(&photo(8, 8), ImageFormat::Jpeg);
    let segment = [b"\xff\xfe", &(MADE.len() as u16 + 2).to_be_bytes()[..], MADE.as_bytes()].concat();
    let jpeg = [&jpeg[..2], &segment, &jpeg[2..]].concat();
    assert_eq!(parameters(&jpeg).as_deref(), Some(MADE));
    let result = enlarged(&jpeg, &LIMITS);
    assert_eq!(parameters(&result), Some(format!("{MADE}, Postprocessing: \"{DONE}\"")));
    assert!(!contains(&result, &segment));
    // EXIF data has no room for so long a text in UTF-16, so that it stays where it is.
    let long = format!("{}\nSteps: 20", "a cat ".repeat(7000));
    let segment = [b"\xff\xfe", &(long.len() as u16 + 2).to_be_bytes()[..], long.as_bytes()].concat();
    let result = enlarged(&[&jpeg[..2], &segment, &file(&photo(8, 8), ImageFormat::Jpeg)[2..]].concat(), &LIMITS);
    assert!(contains(&result, &segment));

    let packet = "XML:com.adobe.xmp\0\0\0\0\0<a><exif:UserComment>a cat&#xA;Steps: 20</exif:UserComment></a>";
    assert_eq!(parameters(&small_png(&[(b"iTXt", packet.as_bytes())])).as_deref(), Some("a cat\nSteps: 20"));
    assert_eq!(parameters(&small_png(&[(b"tEXt", b"comment\0a cat, Steps: 20")])).as_deref(), Some("a cat, Steps: 20"));
    assert_eq!(parameters(&small_png(&[(b"tEXt", b"Comment\0a walk")])), None);
}

/// As the node `SaveAnimatedPNG` writes them.
#[test]
fn texts_of_comfyui_in_chunks_of_its_own_are_kept() {
    let pixels = deflated(&[0; 14]);
    let (prompt, workflow) = (b"prompt\0{\"1\": {}}", b"workflow\0{\"nodes\": []}");
    let file = support::png_with(2, 2, &[(b"IDAT", &pixels), (b"comf", prompt), (b"comf", workflow)]);
    assert_eq!(comfyui_prompt(&file).as_deref(), Some("{\"1\": {}}"));
    let result = enlarged(&file, &LIMITS);
    assert_eq!(text(&result, "prompt").as_deref(), Some("{\"1\": {}}"));
    assert_eq!(text(&result, "workflow").as_deref(), Some("{\"nodes\": []}"));
}

#[test]
fn comments_of_gif_files_are_kept() {
    let result = enlarged(include_bytes!("data/comment.gif"), &LIMITS);
    assert_eq!(text(&result, "Comment").as_deref(), Some("a walk"));
}

#[test]
fn the_place_is_kept_where_the_limits_say_so() {
    let result = enlarged(CAMERA, &PictureLimits { location: true, ..LIMITS });
    assert_eq!(field(&exif(&result), Tag::GPSLatitude).as_deref(), Some("47 deg 22 min 30 sec"));
    assert!(contains(&result, b"exif:GPSLatitude=\"47,22.5N\""));
    let file = small_png(&[(b"tEXt", b"exif:GPSLatitude\x0047 22 30")]);
    assert_eq!(text(&enlarged(&file, &LIMITS), "exif:GPSLatitude"), None);
    let kept = enlarged(&file, &PictureLimits { location: true, ..LIMITS });
    assert_eq!(text(&kept, "exif:GPSLatitude").as_deref(), Some("47 22 30"));
}

/// Each is a position, in a text or in XMP under a keyword of its own; the others are not.
#[test]
fn texts_about_positions_are_dropped_by_what_they_say() {
    let packet = "<x:xmpmeta xmlns:x='adobe:ns:meta/'><a exif:GPSLatitude='47,22.5N' dc:title='a walk'/></x:xmpmeta>";
    let texts = [
        ("geo:lat", "47.375"),
        ("Latitude", "47.375"),
        ("GPS Position", "somewhere"),
        ("Location", "47.3750, 8.5417"),
        ("Note", "47\u{b0} 22' 30\" N"),
        ("xmp", packet),
        ("City", "Z\u{fc}rich"),
        ("Title", "at 47 degrees"),
    ];
    let bodies = texts.map(|(keyword, text)| [format!("{keyword}\0\0\0\0\0").as_bytes(), text.as_bytes()].concat());
    let chunks: Vec<(&[u8; 4], &[u8])> = bodies.iter().map(|body| (b"iTXt", body.as_slice())).collect();
    let file = small_png(&chunks);
    let result = enlarged(&file, &LIMITS);
    for (keyword, value) in &texts[..5] {
        assert_eq!(text(&result, keyword), None, "{value}");
    }
    for (keyword, value) in &texts[6..] {
        assert_eq!(text(&result, keyword).as_deref(), Some(*value));
    }
    let edited = text(&result, "xmp").unwrap();
    assert!(edited.contains("dc:title=\"a walk\"") && !edited.contains("47,22.5N"), "{edited}");
    let kept = enlarged(&file, &PictureLimits { location: true, ..LIMITS });
    assert!(texts.iter().take(5).all(|(keyword, value)| text(&kept, keyword).as_deref() == Some(*value)));
}

/// Of the fields of IPTC, 25 is a keyword, and 116 the copyright.
#[test]
fn keywords_of_jpeg_files_that_are_positions_are_dropped() {
    let resources = b"8BIM\x04\x04\0\0\0\0\0\x20\x1c\x02\x19\0\x0egeo:lat=47.375\x1c\x02\x74\0\x08Jane Doe".as_slice();
    let body = [b"Photoshop 3.0\0", resources].concat();
    let segment = [b"\xff\xed", &(body.len() as u16 + 2).to_be_bytes()[..], &body].concat();
    let jpeg = file(&photo(8, 8), ImageFormat::Jpeg);
    let jpeg = [&jpeg[..2], &segment, &jpeg[2..]].concat();
    let result = enlarged(&jpeg, &LIMITS);
    assert!(contains(&result, b"8BIM\x04\x04\0\0\0\0\0\x0d\x1c\x02\x74\0\x08Jane Doe\0"));
    assert!(!contains(&result, b"47.375"));
    assert!(contains(&enlarged(&jpeg, &PictureLimits { location: true, ..LIMITS }), resources));
}

/// The resource 0x0404 is the fields of IPTC, and 0x0422 a copy of the EXIF data, in which a position may be.
#[test]
fn resources_of_photoshop_in_png_files_are_kept_if_they_are_text() {
    let fields = b"\x1c\x02\x74\0\x08Jane Doe".as_slice();
    let resource = [b"8BIM\x04\x04\0\0\0\0\0\x0d", fields, b"\0"].concat();
    let exif = b"8BIM\x04\x22\0\0\0\0\0\x04Exif".as_slice();
    for (name, data, is_kept) in [
        ("8bim", resource.as_slice(), true),
        ("iptc", &resource, true),
        ("iptc", fields, true),
        ("8bim", exif, false),
        ("iptc", exif, false),
        ("8bim", &[&resource[..], exif].concat(), false),
    ] {
        let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        let (keyword, value) = (format!("Raw profile type {name}"), format!("\n{name}\n{:8}\n{digits}\n", data.len()));
        let file = small_png(&[(b"tEXt", format!("{keyword}\0{value}").as_bytes())]);
        let found = text(&enlarged(&file, &LIMITS), &keyword);
        assert_eq!(found.as_ref(), is_kept.then_some(&value), "{name}: {}", data.escape_ascii());
        let placed = enlarged(&file, &PictureLimits { location: true, ..LIMITS });
        assert_eq!(text(&placed, &keyword), Some(value));
    }
}

#[test]
fn what_a_camera_wrote_gets_into_other_formats() {
    let png = converted(CAMERA, Format::Png);
    assert_eq!(field(&exif(&png), Tag::Model).as_deref(), Some("\"EOS\""));
    // 300 / 0.0254, on a metre.
    assert_eq!(chunks(&png, b"pHYs"), [[0, 0, 0x2e, 0x23, 0, 0, 0x2e, 0x23, 1]]);
    assert_eq!(text(&png, "Comment").as_deref(), Some("taken on a walk"));
    assert!(text(&png, "XML:com.adobe.xmp").unwrap().contains("<dc:rights>(c) Jane Doe</dc:rights>"));
    let webp = converted(&png, Format::WebP);
    assert_eq!(field(&exif(&webp), Tag::XResolution).as_deref(), Some("300"));
    assert!(contains(&webp, b"XMP ") && contains(&webp, b"<dc:rights>(c) Jane Doe</dc:rights>"));
    let jpeg = converted(&webp, Format::Jpeg);
    assert_eq!(jpeg[13..18], [1, 1, 44, 1, 44]);
    assert_eq!(field(&exif(&jpeg), Tag::Model).as_deref(), Some("\"EOS\""));
    let png = small_png(&[
        (b"tEXt", b"Copyright\0(c) Jane"),
        (b"tEXt", b"Comment\0a walk"),
        (b"pHYs", &[0, 0, 0x2e, 0x23, 0, 0, 0x2e, 0x23, 1]),
    ]);
    let jpeg = converted(&png, Format::Jpeg);
    assert!(field(&exif(&jpeg), Tag::Copyright).unwrap().contains("(c) Jane"));
    assert!(contains(&jpeg, b"\xff\xfe\0\x08a walk") && jpeg[13..18] == [1, 1, 44, 1, 44]);
    let webp = converted(&png, Format::WebP);
    assert_eq!(field(&exif(&webp), Tag::XResolution).as_deref(), Some("300"));
}

#[test]
fn a_comment_of_people_is_not_replaced() {
    let mut data = b"MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0".to_vec();
    data.extend(b"\0\x01\x92\x86\0\x07\0\0\0\x10\0\0\0\x2c\0\0\0\0ASCII\0\0\0a walk..");
    let segment = [b"\xff\xe1", &(data.len() as u16 + 8).to_be_bytes()[..], b"Exif\0\0", &data].concat();
    let jpeg = file(&photo(8, 8), ImageFormat::Jpeg);
    let result = enlarged(&[&jpeg[..2], &segment, &jpeg[2..]].concat(), &LIMITS);
    assert!(contains(&result, b"ASCII\0\0\0a walk.."));
    assert_eq!(parameters(&result), None);
}

#[test]
fn chunks_about_colours_are_kept_as_they_are() {
    let [linear, primaries] = [&[0, 1, 0x86, 0xa0][..], &[7; 32]];
    let cases: [&[(&[u8; 4], &[u8])]; 5] = [
        &[(b"gAMA", linear)],
        &[(b"gAMA", linear), (b"cHRM", primaries)],
        &[(b"sRGB", &[1])],
        &[(b"cICP", &[9, 16, 0, 1]), (b"mDCV", &[3; 24]), (b"cLLI", &[5; 8])],
        &[(b"cICP", &[9, 16, 0, 1]), (b"mDCv", &[3; 24]), (b"cLLi", &[5; 8])],
    ];
    for colors in cases {
        let result = enlarged(&small_png(colors), &LIMITS);
        for (kind, body) in colors {
            assert_eq!(chunks(&result, kind), [*body], "{kind:?}");
        }
    }
    // A wrong checksum, a wrong length, and one that comes too late.
    let mut damaged = small_png(&[(b"gAMA", linear)]);
    damaged[33 + 8] ^= 1;
    let late = deflated(&[0; 14]);
    let late = support::png_with(2, 2, &[(b"IDAT", &late), (b"gAMA", linear)]);
    for file in [damaged, small_png(&[(b"gAMA", &[1])]), late] {
        assert!(chunks(&enlarged(&file, &LIMITS), b"gAMA").is_empty());
    }
}

/// 300 dpi, and pixels twice as wide as high.
#[test]
fn density_is_kept() {
    for body in [[0, 0, 0x2e, 0x23, 0, 0, 0x2e, 0x23, 1], [0, 0, 0, 2, 0, 0, 0, 1, 0]] {
        assert_eq!(chunks(&enlarged(&small_png(&[(b"pHYs", &body)]), &LIMITS), b"pHYs"), [body]);
    }
}

/// The name of the packet is the MD5 digest of its text.
#[test]
fn extended_xmp_is_kept() {
    const NAME: &str = "4E3EBFD07A8043907D1AEC94F522C669";
    let packet = format!("<a>{}</a>", "b".repeat(100_000)).into_bytes();
    let main = format!("http://ns.adobe.com/xap/1.0/\0<x xmpNote:HasExtendedXMP=\"{NAME}\"/>").into_bytes();
    let part = |at: usize, data: &[u8]| {
        let name = format!("http://ns.adobe.com/xmp/extension/\0{NAME}").into_bytes();
        [name, (packet.len() as u32).to_be_bytes().to_vec(), (at as u32).to_be_bytes().to_vec(), data.to_vec()].concat()
    };
    let segment = |body: &[u8]| [b"\xff\xe1", &(body.len() as u16 + 2).to_be_bytes()[..], body].concat();
    let jpeg = file(&photo(8, 8), ImageFormat::Jpeg);
    let parts = [segment(&part(60_000, &packet[60_000..])), segment(&part(0, &packet[..60_000]))].concat();
    let result = enlarged(&[&jpeg[..2], &segment(&main), &parts, &jpeg[2..]].concat(), &LIMITS);
    assert!(contains(&result, format!("xmpNote:HasExtendedXMP=\"{NAME}\"").as_bytes()));
    // The first part has as much as fits into a segment.
    let first = 65_533 - 35 - 40;
    for (at, data) in [(0, &packet[..first]), (first, &packet[first..])] {
        assert!(contains(&result, &segment(&part(at, data))), "{at}");
    }
    // Without one of its parts it is of no use.
    let part = segment(&part(0, &packet[..60_000]));
    let result = enlarged(&[&jpeg[..2], &segment(&main), &part, &jpeg[2..]].concat(), &LIMITS);
    assert!(contains(&result, b"http://ns.adobe.com/xap/1.0/\0<x") && !contains(&result, b"HasExtendedXMP"));
}

/// The first four bytes of the pixels of such a file, at the place that the format gives them.
#[test]
fn lossy_webp_stays_lossy_and_lossless_lossless() {
    let image: DynamicImage =
        ImageBuffer::from_fn(96, 64, |x, y| Rgb([(x * 2) as u8, (y * 3) as u8, ((x + y) % 100) as u8])).into();
    let lossy = encode(&image, Format::WebP, &Attached { lossy: true, ..Attached::default() }).unwrap();
    let whole = encode(&image, Format::WebP, &Attached::default()).unwrap();
    assert_eq!((&lossy[12..16], &whole[12..16]), (&b"VP8 "[..], &b"VP8L"[..]));
    let (lossy, whole) = (enlarged(&lossy, &LIMITS), enlarged(&whole, &LIMITS));
    assert!(contains(&lossy, b"VP8 ") && contains(&whole, b"VP8L"));
    let [lossy, whole] = [&lossy, &whole].map(|file| decode(file, &LIMITS).unwrap().image.to_rgb8().into_raw());
    assert_ne!(lossy, whole);
    let sum: u64 = lossy.iter().zip(&whole).map(|(one, other)| u64::from(one.abs_diff(*other))).sum();
    assert!(sum / (lossy.len() as u64) < 4, "{sum}");

    let clear: DynamicImage = ImageBuffer::from_fn(32, 32, |x, y| Rgba([200, 90, 10, (x * 7 + y) as u8])).into();
    let attached = Attached { lossy: true, parameters: Some("Steps: 20"), ..Attached::default() };
    let file = encode(&clear, Format::WebP, &attached).unwrap();
    let decoded = decode(&file, &LIMITS).unwrap();
    assert_eq!(decoded.parameters.as_deref(), Some("Steps: 20"));
    let alpha = |image: &DynamicImage| image.to_rgba8().pixels().map(|pixel| pixel.0[3]).collect::<Vec<_>>();
    assert_eq!(alpha(&decoded.image), alpha(&clear));
}

#[test]
fn profiles_of_imagemagick_are_read() {
    let exif_data = b"MM\0*\0\0\0\x08\0\x01\x01\x0f\0\x02\0\0\0\x06\0\0\0\x1a\0\0\0\0Canon\0";
    let digits: String = exif_data.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("Raw profile type exif\0\nexif\n      32\n{digits}\n");
    let result = enlarged(&small_png(&[(b"tEXt", text.as_bytes())]), &LIMITS);
    assert_eq!(field(&exif(&result), Tag::Make).as_deref(), Some("\"Canon\""));
    assert!(texts(&result).iter().all(|(keyword, _)| !keyword.starts_with("Raw")));
}

/// As exiftool and ImageMagick write them into PNG files: fields alone, and in a resource of Photoshop.
#[test]
fn fields_of_agencies_in_texts_lose_positions_too() {
    let field = |text: &str| [&[0x1c, 2, 25, 0, text.len() as u8][..], text.as_bytes()].concat();
    let resource = |fields: &[u8]| [&b"8BIM\x04\x04\0\0\0\0\0"[..], &[fields.len() as u8], fields].concat();
    let raw = |name: &str, data: &[u8]| {
        let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("Raw profile type {name}\0\n{name}\n{:8}\n{digits}\n", data.len())
    };
    let (lake, place) = (field("lake"), field("geo:lat=47.375"));
    let both = [&place[..], &lake].concat();
    // A resource of odd length gets another byte.
    for (name, data, kept) in
        [("iptc", both.clone(), lake.clone()), ("8bim", resource(&both), [&resource(&lake)[..], b"\0"].concat())]
    {
        let whole = raw(name, &data);
        let source = small_png(&[(b"tEXt", whole.as_bytes())]);
        let keyword = format!("Raw profile type {name}");
        let expected = raw(name, &kept);
        let expected = expected.split_once('\0').map(|(_, text)| text.to_owned());
        assert_eq!(text(&enlarged(&source, &LIMITS), &keyword), expected, "{name}");
        let limits = PictureLimits { location: true, ..LIMITS };
        let whole = whole.split_once('\0').map(|(_, text)| text.to_owned());
        assert_eq!(text(&enlarged(&source, &limits), &keyword), whole, "{name}");
    }
}

#[test]
fn damaged_metadata_is_left_out() {
    // The last one has its directory within its header.
    let within = b"II*\0\0\0\0\0\0\0\0\0\0\0\0\0";
    for body in [&b"MM\0*"[..], b"MM\0*\0\0\xff\xff", b"nothing", b"", within] {
        let result =
            enlarged(&small_png(&[(b"eXIf", body), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<a><b></a>")]), &LIMITS);
        assert!(chunks(&result, b"eXIf").is_empty() && !contains(&result, b"adobe"));
    }
}
