//! Names files that are not read: other pictures, and what people send by mistake.

mod media;
mod text;

use memchr::memmem;

use crate::file_format::PNG_SIGNATURE;
use crate::numbers::le32;

/// The first bytes of files, by their place, with what they are. An earlier line wins.
const MAGIC: &[(usize, &[u8], &str)] = &[
    // The signature of PNG begins so that this shows.
    (0, b"\x89PNG\n\x1a\n", "a PNG file that was changed on its way as if it were text"),
    (0, b"\x89PNG\r\n\x1a\r\n", "a PNG file that was changed on its way as if it were text"),
    (0, b"\x89PNG\r\r\n\x1a", "a PNG file that was changed on its way as if it were text"),
    (0, b"\x09PNG\r\n\x1a\n", "a PNG file that was changed on its way as if it were text"),
    (0, b"\xef\xbf\xbdPNG", "a PNG file that was changed on its way as if it were text"),
    (0, b"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", "a file that was changed on its way as if it were text"),
    // Pictures.
    (0, b"II*\0\x10\0\0\0CR", "a raw photograph (CR2)"),
    (0, b"II+\0", "a TIFF file (BigTIFF)"),
    (0, b"MM\0+", "a TIFF file (BigTIFF)"),
    (0, b"IIRO", "a raw photograph (ORF)"),
    (0, b"IIRS", "a raw photograph (ORF)"),
    (0, b"MMOR", "a raw photograph (ORF)"),
    (0, b"IIU\0", "a raw photograph (RW2)"),
    (0, b"FUJIFILMCCD-RAW", "a raw photograph (RAF)"),
    (0, b"II\xbc\x01", "a JPEG XR file"),
    (0, b"8BPS", "a Photoshop file (PSD)"),
    (0, b"gimp xcf", "a GIMP file (XCF)"),
    (0, b"\xff\x0a", "a JPEG XL file"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL file"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000 file"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 file"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR file"),
    (0, b"#?RADIANCE", "a Radiance file (HDR)"),
    (0, b"#?RGBE", "a Radiance file (HDR)"),
    (0, b"qoif", "a QOI file"),
    (0, b"DDS ", "a DDS file"),
    (0, b"\xabKTX ", "a KTX file"),
    (0, b"farbfeld", "a farbfeld file"),
    (0, b"FLIF", "a FLIF file"),
    (0, b"BPG\xfb", "a BPG file"),
    (0, b"\x8aMNG\r\n\x1a\n", "an MNG file"),
    (0, b"\x8bJNG\r\n\x1a\n", "a JNG file"),
    (0, b"SIMPLE  =", "a FITS file"),
    (128, b"DICM", "a DICOM file"),
    (0, b"\x59\xa6\x6a\x95", "a Sun raster file"),
    (0, b"\x01\xda\0\x01", "an SGI file"),
    (0, b"\x01\xda\x01\x01", "an SGI file"),
    (40, b" EMF", "a Windows metafile (EMF)"),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)"),
    (0, b"icns", "an icon (ICNS) file"),
    (0, b"AT&TFORM", "a DjVu file"),
    // Documents.
    (0, b"%!PS", "a PostScript file"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript file (EPS)"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document"),
    (0, b"{\\rtf", "an RTF document"),
    (0, b"wOFF", "a font"),
    (0, b"wOF2", "a font"),
    (0, b"OTTO", "a font"),
    (0, b"\0\x01\0\0\0", "a font"),
    // Data.
    (0, b"\x93NUMPY", "a NumPy file"),
    (0, b"SQLite format 3\0", "a database (SQLite)"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (0, b"PAR1", "a Parquet file"),
    (0, b"GGUF", "a model (GGUF)"),
    // What systems put beside files, or in their places.
    (0, b"\0\x05\x16\x07", "an AppleDouble file, which macOS puts beside the file of that name without `._`"),
    (0, b"\0\x05\x16\0", "an AppleSingle file"),
    (0, b"\0\0\0\x01Bud1", "a .DS_Store file of macOS"),
    (0, b"bplist00", "a property list of macOS"),
    (0, b"L\0\0\0\x01\x14\x02\0", "a Windows shortcut, which only stands for the file"),
    (0, b"!<symlink>", "a symbolic link, which only stands for the file"),
    // Packed files.
    (0, b"PK\x03\x04", "a ZIP file"),
    (0, b"PK\x05\x06", "a ZIP file"),
    (0, b"PK\x07\x08", "a ZIP file"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"\x1f\x9d", "a compress (Z) file"),
    (0, b"\xfd7zXZ\0", "an xz file"),
    (0, b"BZh", "a bzip2 file"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (0, b"\x04\x22\x4d\x18", "an LZ4 file"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip file"),
    (0, b"Rar!\x1a\x07", "a RAR file"),
    (257, b"ustar", "a tar file"),
    // Programs.
    (0, b"\x7fELF", "a program (ELF)"),
    (0, b"\xcf\xfa\xed\xfe", "a program (Mach-O)"),
    (0, b"\xca\xfe\xba\xbe", "a program (Mach-O or Java)"),
    (0, b"\0asm", "a program (WebAssembly)"),
];

/// Returns what a file is that is not read, if that is known.
pub(crate) fn name(bytes: &[u8]) -> Option<&'static str> {
    let by_magic = || MAGIC.iter().find(|(at, magic, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    let known = by_magic().map(|(_, _, name)| *name);
    let known = known.or_else(|| media::name(bytes)).or_else(|| text::name(bytes)).or_else(|| by_header(bytes));
    known.or_else(|| late(bytes)).or_else(|| text::is_text(bytes).then_some("a text file"))
}

/// Recognises pictures with something before them: those with a signature that is found nowhere else, and others close to the
/// beginning or at the beginning of a line, as in the body of a form.
fn late(bytes: &[u8]) -> Option<&'static str> {
    const WITHIN: usize = 1024;
    const NEAR: usize = 16;
    let start = &bytes[..bytes.len().min(WITHIN)];
    let signatures: [(&[u8], bool, &str); 4] = [
        (PNG_SIGNATURE, true, "a PNG file with other bytes before its beginning"),
        (b"\xff\xd8\xff", false, "a JPEG file with other bytes before its beginning"),
        (b"GIF89a", false, "a GIF file with other bytes before its beginning"),
        (b"GIF87a", false, "a GIF file with other bytes before its beginning"),
    ];
    let is_there = |signature: &[u8], is_unique: bool| {
        let mut places = memmem::find_iter(start, signature);
        places.any(|at| is_unique || at <= NEAR || start[at - 1] == b'\n')
    };
    let found = signatures.into_iter().find(|(signature, is_unique, _)| is_there(signature, *is_unique));
    found.map(|(.., name)| name)
}

/// Recognises files of little magic by several fields of their headers.
fn by_header(bytes: &[u8]) -> Option<&'static str> {
    const PDF_WITHIN: usize = 1024;
    match bytes {
        // Their beginnings are alike, but for the empty map of colours.
        _ if is_tga(bytes) => Some("a TGA file"),
        [0, 0, 1, 0, count, 0, ..] if *count > 0 => Some("an icon (ICO) file"),
        [0, 0, 2, 0, count, 0, ..] if *count > 0 => Some("a cursor (CUR) file"),
        [0x0a, 0 | 2..=5, 1, 1 | 2 | 4 | 8, ..] => Some("a PCX file"),
        [b'M', b'Z', ..] if is_program(bytes) => Some("a program (Windows)"),
        [_, _, _, _, 0, 0, 0, 0, b'{', b'"', ..] => Some("a model (safetensors)"),
        _ if memmem::find(&bytes[..bytes.len().min(PDF_WITHIN)], b"%PDF-").is_some() => Some("a PDF file"),
        _ => None,
    }
}

/// Whether the header of a program for DOS says where that for Windows is.
fn is_program(bytes: &[u8]) -> bool {
    const PLACE: usize = 0x3c;
    let start = le32(bytes, PLACE).and_then(|at| bytes.get(at as usize..));
    start.is_some_and(|start| start.starts_with(b"PE\0\0"))
}

/// Whether a file has the footer of TGA, or a header in which all fields go together.
fn is_tga(bytes: &[u8]) -> bool {
    if bytes.ends_with(b"TRUEVISION-XFILE.\0") {
        return true;
    }
    let Some(header) = bytes.first_chunk::<18>() else { return false };
    let [_, map, kind, m0, m1, m2, m3, map_depth, _, _, _, _, w0, w1, h0, h1, depth, flags] = *header;
    let has_map = match (map, kind) {
        (0, 2 | 3 | 10 | 11) => [m0, m1, m2, m3, map_depth] == [0; 5],
        (1, 1 | 9) => matches!(map_depth, 15 | 16 | 24 | 32) && [m2, m3] != [0; 2],
        _ => false,
    };
    let has_depth = match kind {
        1 | 9 => matches!(depth, 8 | 16),
        2 | 10 => matches!(depth, 15 | 16 | 24 | 32),
        _ => matches!(depth, 8 | 16),
    };
    has_map && has_depth && [w0, w1] != [0; 2] && [h0, h1] != [0; 2] && flags & 0xc0 == 0
}

#[cfg(test)]
mod tests;
