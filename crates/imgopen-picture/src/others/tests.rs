use super::*;

/// The first box of an ISO media file with these brands, and another box.
fn iso(major: &str, compatible: &[&str], rest: &[u8]) -> Vec<u8> {
    let length = (16 + 4 * compatible.len()) as u32;
    let brands = compatible.concat();
    [&length.to_be_bytes()[..], b"ftyp", major.as_bytes(), &[0; 4], brands.as_bytes(), rest].concat()
}

#[test]
fn pictures_and_videos_are_distinguished_by_all_their_brands() {
    for (major, compatible, rest, expected) in [
        ("avif", &["mif1", "miaf"][..], &b""[..], "an AVIF file"),
        ("mif1", &["avif", "miaf"], b"", "an AVIF file"),
        ("avis", &["msf1"], b"", "an AVIF file"),
        ("heic", &["mif1"], b"", "a HEIC file"),
        ("mif1", &["heic"], b"", "a HEIC file"),
        ("msf1", &["hevc", "mif1"], b"", "a HEIC file"),
        // Only the items of the file say which codec it is.
        ("mif1", &["miaf"], b"\0\0\0\x20meta....infe....av01", "an AVIF file"),
        ("mif1", &[], b"\0\0\0\x20meta....infe....hvc1", "a HEIC file"),
        ("mif1", &[], b"\0\0\0\x20meta....infe....jpeg", "a HEIF file"),
        ("crx ", &["isom"], b"", "a raw photograph (CR3)"),
        ("qt  ", &[], b"", "a video (QuickTime) file"),
        ("isom", &["iso2", "avc1", "mp41"], b"", "a video (MP4) file"),
        ("M4A ", &["mp42"], b"", "a sound (M4A) file"),
        ("3gp4", &[], b"", "a video (3GP) file"),
        ("jp2 ", &[], b"", "a JPEG 2000 file"),
    ] {
        assert_eq!(name(&iso(major, compatible, rest)), Some(expected), "{major} {compatible:?}");
    }
    // A box that claims to be longer than the file, or is cut.
    assert_eq!(name(b"\xff\xff\xff\xffftypmif1\0\0\0\0avif"), Some("an AVIF file"));
    assert_eq!(name(b"\0\0\0\x18ftyp"), Some("a video (MP4) file"));
    assert_eq!(name(b"\0\0\0\x08moov"), Some("a video (QuickTime) file"));
}

#[test]
fn text_is_recognised_behind_marks_and_comments_and_in_every_encoding() {
    let wide = |text: &str, unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<_>>();
    for (text, expected) in [
        ("<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG file"),
        ("<?xml version=\"1.0\"?>\n<!-- drawn by hand -->\n<svg>", "an SVG file"),
        ("<!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\" \"x.dtd\"><svg>", "an SVG file"),
        ("<svg:svg xmlns:svg='x'>", "an SVG file"),
        ("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "an XML file"),
        ("<!-- a page -->\n<HTML lang=en>", "an HTML page"),
        ("<!doctype HTML>", "an HTML page"),
        ("<head><title>404</title>", "an HTML page"),
        ("{\"error\": \"not found\"}", "a JSON file"),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:1",
            "a Git LFS pointer, which only stands for the file",
        ),
        ("data:image/png;base64,iVBORw0KGgo=", "a picture in base64, as text"),
        ("iVBORw0KGgoAAAANSUhEUgAA", "a picture in base64, as text"),
        ("%PDF-1.7", "a PDF file"),
        ("<br />\n<b>Fatal error</b>: Uncaught", "an HTML page"),
        ("<h1>404</h1>", "an HTML page"),
        ("[{\"error\": 404}]", "a JSON file"),
        ("\"data:image/png;base64,iVBOR\"", "a picture in base64, as text"),
        ("Qk02AAAAAAAAADYAAAAoAAAA", "a picture in base64, as text"),
        ("SUkqAAgAAAAKAAABBAABAAAA", "a picture in base64, as text"),
        ("/annex/objects/SHA256E-s1048576--0123.jpg\n", "a git-annex pointer, which only stands for the file"),
        (
            "../../.git/annex/objects/Xz/4k/SHA256E-s1--ab.jpg/SHA256E-s1--ab.jpg",
            "a git-annex pointer, which only stands for the file",
        ),
        (
            "outs:\n- md5: d3b07384d113edec49eaa6238ad5ff00\n  size: 4\n  path: a.jpg\n",
            "a DVC pointer, which only stands for the file",
        ),
        (
            "[InternetShortcut]\r\nURL=https://example.com/a.jpg\r\n",
            "an Internet shortcut, which only stands for the file",
        ),
        ("https://example.com/a%20b.jpg\r\n", "the address of a file, as text"),
        ("../pictures/a.jpg", "the path of a file, as text"),
        ("404 Not Found", "a text file"),
    ] {
        for before in ["", "\u{feff}", " \r\n\t", "\u{feff}\n "] {
            let text = format!("{before}{text}");
            assert_eq!(name(text.as_bytes()), Some(expected), "{text:?}");
            assert_eq!(name(&wide(&text, u16::to_le_bytes)), Some(expected), "{text:?}");
            assert_eq!(name(&wide(&text, u16::to_be_bytes)), Some(expected), "{text:?}");
        }
    }
    for other in
        ["hello, world", "<3", "{x}", "P60", "< a", "version 2", "outs: none", "aaaa", "Seite wurde verlegt: \u{e4}"]
    {
        assert_eq!(name(other.as_bytes()), Some("a text file"), "{other}");
    }
    for (bytes, expected) in [
        (&b"Seite nicht gefunden: \xe4\xf6\xfc, bitte neu laden"[..], Some("a text file")),
        (b"", None),
        (b" \n", None),
        (b"text\0with\0zeros", None),
        (b"\x80\x81\x82", None),
    ] {
        assert_eq!(name(bytes), expected, "{bytes:?}");
    }
}

#[test]
fn pictures_with_something_before_them_are_named() {
    let form = b"------1\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n";
    for (before, signature, expected) in [
        (&b"\n"[..], &b"\x89PNG\r\n\x1a\n"[..], Some("a PNG file with other bytes before its beginning")),
        (&[0; 900], b"\x89PNG\r\n\x1a\n", Some("a PNG file with other bytes before its beginning")),
        (form, b"\xff\xd8\xff\xe0", Some("a JPEG file with other bytes before its beginning")),
        (b"\0\0", b"GIF89a\x01\0", Some("a GIF file with other bytes before its beginning")),
        (&[0; 900], b"\xff\xd8\xff\xe0", None),
    ] {
        assert_eq!(name(&[before, signature].concat()), expected, "{before:?}");
    }
}

#[test]
fn other_files_are_named() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let mut program = vec![0; 80];
    program[..2].copy_from_slice(b"MZ");
    program[0x3c] = 64;
    program[64..68].copy_from_slice(b"PE\0\0");
    let with_footer = [&[9; 40][..], b"TRUEVISION-XFILE.\0"].concat();
    let mut stream = vec![0; 400];
    for at in [0, 188, 376] {
        stream[at] = 0x47;
    }
    for (bytes, expected) in [
        (&b"II+\0\x08\0\0\0"[..], "a TIFF file (BigTIFF)"),
        (b"II*\0\x10\0\0\0CR\x02\0", "a raw photograph (CR2)"),
        (b"P6\n2 2\n255\n", "a PPM file"),
        (b"P5 2 2 255 ", "a PGM file"),
        (b"P4\n# made by hand\n", "a PBM file"),
        (b"Pf\n2 2\n-1.0\n", "a PFM file"),
        (b"8BPS\0\x01", "a Photoshop file (PSD)"),
        (b"\x76\x2f\x31\x01\x02", "an OpenEXR file"),
        (b"\xff\x0a\xfa", "a JPEG XL file"),
        (b"\xff\x4f\xff\x51\0", "a JPEG 2000 file"),
        (b"\0\0\x01\0\x01\0\x10\x10", "an icon (ICO) file"),
        (b"\0\0\x02\0\x01\0\x10\x10", "a cursor (CUR) file"),
        (b"\0\0\x02\0\0\0\0\0\0\0\0\0\x40\0\x30\0\x18\0", "a TGA file"),
        (b"\x05\x01\x01\0\0\0\x01\x18\0\0\0\0\x40\0\x30\0\x08\x20", "a TGA file"),
        (&with_footer, "a TGA file"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"PK\x03\x04", "a ZIP file"),
        (b"\xfd7zXZ\0", "an xz file"),
        (b"BZh91AY", "a bzip2 file"),
        (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
        (&tar, "a tar file"),
        (b"\x1a\x45\xdf\xa3", "a video (WebM or Matroska) file"),
        (b"RIFF\0\0\0\0AVI LIST", "a video (AVI) file"),
        (&stream, "a video (MPEG) file"),
        (b"\x89PNG\n\x1a\n\0", "a PNG file that was changed on its way as if it were text"),
        (b"\xef\xbf\xbdPNG\r\n", "a PNG file that was changed on its way as if it were text"),
        (b"junk before\n%PDF-1.4", "a PDF file"),
        (
            b"\0\x05\x16\x07\0\x02\0\0Mac OS X",
            "an AppleDouble file, which macOS puts beside the file of that name without `._`",
        ),
        (b"{\\rtf1\\ansi", "an RTF document"),
        (b"SQLite format 3\0\x10", "a database (SQLite)"),
        (b"\x40\0\0\0\0\0\0\0{\"a\":{}}", "a model (safetensors)"),
        (&program, "a program (Windows)"),
    ] {
        assert_eq!(name(bytes), Some(expected), "{bytes:?}");
    }
    for unknown in [&b"BM\0\0"[..], b"\0\0\0\0", b"\x01\x02\x03", b"MZ\0\0", &[0x47, 0, 0, 0]] {
        assert_eq!(name(unknown), None, "{unknown:?}");
    }
}
