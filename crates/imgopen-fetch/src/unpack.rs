//! Undoes the compression of bodies that came compressed although that was not requested, within the limit of bytes.

use std::io::{ErrorKind, Read};

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use tokio::task::spawn_blocking;

/// What a body in gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Deflate,
}

/// Why a body cannot be decompressed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unpacking {
    TooLarge,
    /// The body ends too early.
    Cut,
    Damaged(String),
}

impl Packing {
    /// Returns how the headers say that the body is compressed; as the error, an encoding that is not undone here.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, String> {
        const PACKED: [&str; 7] = ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"];
        let given = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let given = given.collect::<Vec<_>>().join(",").to_ascii_lowercase();
        // Others, such as `identity` and `aws-chunked`, mark bodies that are not compressed.
        let packed: Vec<_> = given.split(',').map(str::trim).filter(|encoding| PACKED.contains(encoding)).collect();
        match packed[..] {
            [] => Ok(None),
            ["gzip" | "x-gzip"] => Ok(Some(Self::Gzip)),
            ["deflate"] => Ok(Some(Self::Deflate)),
            _ => Err(packed.join(", ")),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// Decompresses a body, on a thread of its own. Never makes more than `limit` bytes and one.
    pub(crate) async fn unpack(self, body: Bytes, limit: u64) -> Result<Bytes, Unpacking> {
        let unpacked = spawn_blocking(move || self.read(&body, limit)).await;
        unpacked.unwrap_or_else(|error| Err(Unpacking::Damaged(error.to_string())))
    }

    fn read(self, body: &[u8], limit: u64) -> Result<Bytes, Unpacking> {
        let mut unpacked = Vec::new();
        let most = limit.saturating_add(1);
        let read = match self {
            _ if body.is_empty() => Ok(0),
            Self::Gzip => MultiGzDecoder::new(body).take(most).read_to_end(&mut unpacked),
            // Some servers leave out the frame (RFC 9110, 8.4.1.2).
            Self::Deflate if !has_frame(body) => DeflateDecoder::new(body).take(most).read_to_end(&mut unpacked),
            Self::Deflate => ZlibDecoder::new(body).take(most).read_to_end(&mut unpacked),
        };
        read.map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof if self != Self::Gzip || body.starts_with(&GZIP) => Unpacking::Cut,
            _ => Unpacking::Damaged(error.to_string()),
        })?;
        if unpacked.len() as u64 > limit {
            return Err(Unpacking::TooLarge);
        }
        unpacked.shrink_to_fit();
        Ok(unpacked.into())
    }
}

/// Whether a body begins with the header of zlib.
fn has_frame(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn packed(text: &[u8]) -> [(Packing, Vec<u8>); 3] {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(text).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(text).unwrap();
        [
            (Packing::Gzip, gzip.finish().unwrap()),
            (Packing::Deflate, zlib.finish().unwrap()),
            (Packing::Deflate, raw.finish().unwrap()),
        ]
    }

    #[test]
    fn a_body_is_decompressed_up_to_the_limit() {
        let text = vec![7; 100_000];
        for (packing, body) in packed(&text) {
            assert_eq!(packing.read(&body, 100_000).unwrap(), text);
            assert_eq!(packing.read(&body, 99_999), Err(Unpacking::TooLarge));
        }
        for (packing, body) in packed(&text) {
            assert_eq!(packing.read(&body[..body.len() / 2], 100_000), Err(Unpacking::Cut), "{packing:?}");
        }
        let plain = Packing::Gzip.read(b"\x89PNG\r\n\x1a\n", 100);
        assert!(matches!(plain, Err(Unpacking::Damaged(_))), "{plain:?}");
        assert_eq!(Packing::Gzip.read(b"", 100).unwrap(), "");
    }

    #[test]
    fn members_of_gzip_follow_each_other() {
        let [(_, first), ..] = packed(b"pic");
        let [(_, second), ..] = packed(b"ture");
        assert_eq!(Packing::Gzip.read(&[first, second].concat(), 7).unwrap(), "picture");
    }
}
