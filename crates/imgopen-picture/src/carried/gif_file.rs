//! What GIF files carry, in extensions before and behind the frames.

use super::contents::Carried;
use super::density::Density;
use super::limits::{EACH, MOST};
use crate::gif_file::{Block, Data, blocks};

/// The labels of extensions.
const COMMENT: u8 = 0xfe;
const APPLICATION: u8 = 0xff;
/// The name of the application that writes XMP.
const XMP: &[u8] = b"XMP DataXMP";
/// XMP is not written in parts. Bytes that count down follow it, so that readers who take it for parts find the end; the last
/// one, which ends the data, does not belong to it.
const RAMP: usize = 257;
/// Where the shape of pixels is given.
const ASPECT: usize = 12;

/// Reads what a file carries.
pub(super) fn read(bytes: &[u8]) -> Carried {
    let density = bytes.get(ASPECT).copied().and_then(Density::from_gif);
    let (mut carried, mut room) = (Carried { density, ..Carried::default() }, MOST);
    for block in blocks(bytes) {
        match block {
            Block::Extension(COMMENT, data) => {
                let length: usize = data.parts().map(<[u8]>::len).sum();
                if length + EACH <= room {
                    room -= length + EACH;
                    carried.comments.push(data.parts().flatten().copied().collect());
                }
            }
            Block::Extension(APPLICATION, data) => carried.xmp = carried.xmp.or_else(|| xmp(data)),
            Block::Extension(..) | Block::Frame(_) => {}
        }
    }
    carried
}

fn xmp(data: Data<'_>) -> Option<String> {
    let (name, rest) = data.split();
    let packet = rest.len().checked_sub(RAMP).map(|end| &rest[..end])?;
    let is_ramp = rest[packet.len()..].starts_with(&[0x01, 0xff, 0xfe]);
    (name == XMP && is_ramp && packet.len() <= MOST).then(|| String::from_utf8(packet.to_vec()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A GIF file without frames.
    fn file(aspect: u8, blocks: &[&[u8]]) -> Vec<u8> {
        [&b"GIF89a\x02\0\x02\0\0\0"[..], &[aspect], &blocks.concat(), b";"].concat()
    }

    #[test]
    fn xmp_is_found_between_its_name_and_the_bytes_that_count_down() {
        // Its bytes are no lengths of parts, so that a reader lands anywhere among those that count down.
        let packet = "<x:xmpmeta xmlns:x='adobe:ns:meta/'>".repeat(9);
        let ramp: Vec<u8> = [1].into_iter().chain((0..=255).rev()).chain([0]).collect();
        let block = [b"\x21\xff\x0bXMP DataXMP", packet.as_bytes(), &ramp].concat();
        let carried = read(&file(0, &[&block, b"\x21\xfe\x04a wa\x02lk\0"]));
        assert_eq!(carried.xmp.as_deref(), Some(packet.as_str()));
        assert_eq!(carried.comments, [b"a walk"]);
        assert_eq!(read(&file(0, &[&block[..block.len() - 1]])).xmp, None);
    }

    /// The shape is 64 times width by height, less 15.
    #[test]
    fn the_shape_of_pixels_is_kept() {
        let chunk = |aspect| read(&file(aspect, &[])).density.and_then(Density::png);
        assert_eq!(chunk(113), Some(vec![0, 0, 0, 64, 0, 0, 0, 128, 0]));
        assert_eq!([chunk(0), chunk(49)], [None, None]);
    }
}
