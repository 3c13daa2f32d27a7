//! Markers and segments of JPEG files.

/// Returns the next marker and what follows it. Skips pixels, where 0xFF is followed by zero, and fill bytes.
pub(crate) fn next(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut at = 0;
    loop {
        at += memchr::memchr(0xff, bytes.get(at..)?)? + 1;
        match *bytes.get(at)? {
            0x00 | 0xff => {}
            marker => return Some((marker, &bytes[at + 1..])),
        }
    }
}

/// Returns the body of a segment and what follows it.
pub(crate) fn body(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(number(bytes, 0)?);
    let (segment, after) = bytes.split_at_checked(length)?;
    Some((segment.get(2..)?, after))
}

/// Returns the body of the segment with that marker and what follows it. Some markers have no body.
pub(crate) fn body_of(marker: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if matches!(marker, 0x01 | 0xd0..=0xd9) { Some((&[], bytes)) } else { body(bytes) }
}

/// Returns whether a marker is a start of frame, in any coding; three of these numbers mean something else.
pub(crate) fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

/// Returns the number of two bytes at that place.
pub(crate) fn number(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}
