//! Names files of the families that say by brands what they are: ISO media (AVIF, HEIC, MP4) and RIFF, and other video and sound.

use memchr::memmem;

/// How far the codec of a picture is looked for whose brands do not name it.
const CODEC_WITHIN: usize = 16 * 1024;

pub(super) fn name(bytes: &[u8]) -> Option<&'static str> {
    match bytes.get(4..8) {
        Some(b"ftyp") => return Some(iso(bytes)),
        Some(b"moov" | b"mdat" | b"wide" | b"pnot") => return Some("a video (QuickTime) file"),
        _ => {}
    }
    match bytes {
        [b'R', b'I', b'F', b'F', _, _, _, _, kind @ ..] => riff(kind),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Some("a video (WebM or Matroska) file"),
        [0, 0, 1, 0xb3 | 0xba, ..] => Some("a video (MPEG) file"),
        [b'O', b'g', b'g', b'S', ..] => Some("an Ogg file"),
        [b'F', b'L', b'V', 1, ..] => Some("a video (FLV) file"),
        [0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11, ..] => Some("a video (WMV) file"),
        [b'f', b'L', b'a', b'C', ..] => Some("a sound (FLAC) file"),
        [b'I', b'D', b'3', ..] => Some("a sound (MP3) file"),
        _ if is_transport_stream(bytes) => Some("a video (MPEG) file"),
        _ => None,
    }
}

/// Names a file by all its brands. The first one may be of a family alone: `mif1` and `msf1` begin AVIF and HEIC files.
fn iso(bytes: &[u8]) -> &'static str {
    let brands = brands(bytes);
    let has = |names: &[&[u8; 4]]| brands.iter().any(|brand| names.contains(&brand));
    if has(&[b"avif", b"avis", b"avio"]) {
        return "an AVIF file";
    }
    if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"]) {
        return "a HEIC file";
    }
    if has(&[b"jp2 ", b"jpx ", b"jpm ", b"mjp2"]) {
        return "a JPEG 2000 file";
    }
    if has(&[b"jxl "]) {
        return "a JPEG XL file";
    }
    if has(&[b"mif1", b"mif2", b"mif3", b"msf1", b"miaf"]) {
        return by_codec(bytes);
    }
    match brands.first() {
        Some(b"crx ") => "a raw photograph (CR3)",
        Some(b"qt  ") => "a video (QuickTime) file",
        Some(b"M4A " | b"M4B " | b"M4P ") => "a sound (M4A) file",
        Some([b'3', b'g', ..]) => "a video (3GP) file",
        _ => "a video (MP4) file",
    }
}

/// The major brand and the compatible ones.
fn brands(bytes: &[u8]) -> Vec<[u8; 4]> {
    let length = bytes.first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length) as usize);
    let body = &bytes[..length.clamp(12.min(bytes.len()), bytes.len())];
    let words: Vec<_> = body.as_chunks::<4>().0.iter().skip(2).copied().collect();
    // The second is a version.
    words.iter().enumerate().filter(|(index, _)| *index != 1).map(|(_, brand)| *brand).collect()
}

/// Names a picture by the codec of its first item.
fn by_codec(bytes: &[u8]) -> &'static str {
    let start = &bytes[..bytes.len().min(CODEC_WITHIN)];
    let place = |codec: &[u8]| memmem::find(start, codec);
    match (place(b"av01"), place(b"hvc1")) {
        (Some(one), other) if other.is_none_or(|other| one < other) => "an AVIF file",
        (_, Some(_)) => "a HEIC file",
        _ => "a HEIF file",
    }
}

fn riff(kind: &[u8]) -> Option<&'static str> {
    match kind.first_chunk::<4>()? {
        b"AVI " => Some("a video (AVI) file"),
        b"WAVE" => Some("a sound (WAV) file"),
        b"ACON" => Some("a cursor (ANI) file"),
        _ => None,
    }
}

/// Whether the first packets of a transport stream begin where they should.
fn is_transport_stream(bytes: &[u8]) -> bool {
    const PACKET: usize = 188;
    (0..3).all(|packet| bytes.get(packet * PACKET) == Some(&0x47))
}
