//! Content codings of request bodies, undone within the limit of a body, so that a small body cannot take much memory.

use std::fmt::Display;
use std::io::Read;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{DEFAULT_MAX_WINDOW_SIZE, FrameDecoder, StreamingDecoder};

/// The codings that are undone, as the header `Accept-Encoding` lists them.
pub(crate) const ACCEPTED: &str = "gzip, deflate, zstd";

/// The most codings of one body, each of which costs a pass over it.
const MOST: usize = 4;

/// The largest window of a zstd frame in bytes, as far as the limit of a body is not larger; RFC 9659 allows no larger one over
/// HTTP.
const WINDOW: u64 = 8 * 1024 * 1024;

/// A content coding that is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Zstd,
}

/// The codings of a body, in the order in which they were applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Codings(Vec<Coding>);

/// Why a body cannot be decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Undecodable {
    /// It is larger than the limit.
    TooLarge,
    /// It is not in its coding; says what is wrong.
    Invalid(String),
}

impl Codings {
    /// Reads the header `Content-Encoding`.
    ///
    /// # Errors
    ///
    /// What the header says, if it names a coding that is not undone, or too many of them.
    pub fn of(headers: &HeaderMap) -> Result<Self, String> {
        let given: Vec<_> =
            headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?")).collect();
        let given = given.join(", ");
        let names = given.split(',').map(str::trim).filter(|name| !name.is_empty());
        let names = names.filter(|name| !name.eq_ignore_ascii_case("identity"));
        let codings: Option<Vec<_>> = names.map(Coding::of).collect();
        match codings {
            Some(codings) if codings.len() <= MOST => Ok(Self(codings)),
            _ => Err(given),
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Undoes them. No more bytes than the limit, and the window of zstd, are held at any moment.
    pub fn undo(&self, mut body: Vec<u8>, limit: usize) -> Result<Vec<u8>, Undecodable> {
        for coding in self.0.iter().rev() {
            body = coding.undo(&body, limit)?;
        }
        Ok(body)
    }
}

impl Coding {
    fn of(name: &str) -> Option<Self> {
        // HTTP says to take `x-gzip` as `gzip`.
        let known = [("gzip", Self::Gzip), ("x-gzip", Self::Gzip), ("deflate", Self::Deflate), ("zstd", Self::Zstd)];
        known.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, coding)| coding)
    }

    fn undo(self, body: &[u8], limit: usize) -> Result<Vec<u8>, Undecodable> {
        let mut decoded = Vec::new();
        match self {
            Self::Gzip => append(MultiGzDecoder::new(body), limit, &mut decoded, "gzip")?,
            Self::Deflate => inflate(body, limit, &mut decoded)?,
            Self::Zstd => frames(body, limit, &mut decoded)?,
        }
        Ok(decoded)
    }
}

/// Appends what a decoder reads, if all of it remains within the limit.
fn append(decoder: impl Read, limit: usize, decoded: &mut Vec<u8>, coding: &str) -> Result<(), Undecodable> {
    let left = limit.saturating_sub(decoded.len()) as u64;
    let read = decoder.take(left.saturating_add(1)).read_to_end(decoded);
    read.map_err(|error| invalid(coding, error))?;
    if decoded.len() > limit { Err(Undecodable::TooLarge) } else { Ok(()) }
}

/// Undoes `deflate`, which is the zlib format; some programs leave out its header.
fn inflate(body: &[u8], limit: usize, decoded: &mut Vec<u8>) -> Result<(), Undecodable> {
    let is_zlib = matches!(*body, [first, second, ..]
        if first & 0x0F == 8 && u16::from_be_bytes([first, second]).is_multiple_of(31));
    let rest = if is_zlib {
        let mut decoder = ZlibDecoder::new(body);
        append(&mut decoder, limit, decoded, "deflate")?;
        decoder.into_inner()
    } else {
        let mut decoder = DeflateDecoder::new(body);
        append(&mut decoder, limit, decoded, "deflate")?;
        decoder.into_inner()
    };
    if rest.is_empty() { Ok(()) } else { Err(invalid("deflate", "further bytes follow")) }
}

/// Undoes `zstd`: one frame after the other. Those without content are skipped.
fn frames(mut body: &[u8], limit: usize, decoded: &mut Vec<u8>) -> Result<(), Undecodable> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size((limit as u64).clamp(WINDOW, DEFAULT_MAX_WINDOW_SIZE));
    while !body.is_empty() {
        // Then the window is the whole content.
        let is_single_segment = body.get(4).is_some_and(|descriptor| descriptor & 0x20 != 0);
        let (skipped, is_frame) = match StreamingDecoder::new_with_decoder(&mut body, &mut decoder) {
            Ok(frame) => {
                append(frame, limit, decoded, "zstd")?;
                (0, true)
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                (length, false)
            }
            Err(FrameDecoderError::WindowSizeTooBig { requested, .. })
                if is_single_segment && requested > limit as u64 =>
            {
                return Err(Undecodable::TooLarge);
            }
            Err(error) => return Err(invalid("zstd", error)),
        };
        let expected = decoder.get_checksum_from_data().filter(|_| is_frame);
        if expected.is_some() && expected != decoder.get_calculated_checksum() {
            return Err(invalid("zstd", "its checksum is wrong"));
        }
        let rest = usize::try_from(skipped).ok().and_then(|skipped| body.get(skipped..));
        body = rest.ok_or_else(|| invalid("zstd", "it ends within a frame"))?;
    }
    Ok(())
}

fn invalid(coding: &str, problem: impl Display) -> Undecodable {
    Undecodable::Invalid(format!("the body is not valid {coding}: {problem}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    const TEXT: &[u8] = br#"{"businessTaskId":"1"}"#;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn raw(text: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    fn codings(values: &[&'static str]) -> Result<Codings, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        Codings::of(&headers)
    }

    fn undo(header: &'static str, body: Vec<u8>, limit: usize) -> Result<Vec<u8>, Undecodable> {
        codings(&[header]).unwrap().undo(body, limit)
    }

    #[test]
    fn every_coding_is_undone() {
        for (header, body) in [
            ("", TEXT.to_vec()),
            ("identity", TEXT.to_vec()),
            ("gzip", gzip(TEXT)),
            ("X-GZip", gzip(TEXT)),
            ("gzip", [gzip(&TEXT[..5]), gzip(&TEXT[5..])].concat()),
            ("deflate", zlib(TEXT)),
            ("Deflate", raw(TEXT)),
            ("zstd", zstd(TEXT)),
            ("zstd", [zstd(&TEXT[..5]), zstd(&TEXT[5..])].concat()),
            // A frame of four bytes that is to be skipped.
            ("zstd", [b"\x50\x2A\x4D\x18\x04\0\0\0skip".to_vec(), zstd(TEXT)].concat()),
        ] {
            assert_eq!(undo(header, body, TEXT.len()), Ok(TEXT.to_vec()), "{header}");
        }
        assert_eq!(undo("gzip, identity, zstd", zstd(&gzip(TEXT)), 100), Ok(TEXT.to_vec()));
        assert_eq!(codings(&["gzip", "zstd"]).unwrap(), Codings(vec![Coding::Gzip, Coding::Zstd]));
    }

    /// What the program `zstd` 1.5.4 writes for the text: from a file, without a checksum, and from a pipe.
    #[test]
    fn frames_of_the_reference_implementation_are_undone() {
        let content = [b"\xB1\0\0".as_slice(), TEXT].concat();
        let checksum = b"\xB1\x20\x94\x12".as_slice();
        for (header, end) in [(b"\x24\x16", checksum), (b"\x20\x16", b"".as_slice()), (b"\x04\x58", checksum)] {
            let frame = [b"\x28\xB5\x2F\xFD".as_slice(), header.as_slice(), content.as_slice(), end].concat();
            assert_eq!(undo("zstd", frame, 100), Ok(TEXT.to_vec()), "{header:?}");
        }
    }

    #[test]
    fn a_frame_that_announces_more_than_the_limit_is_too_large() {
        // A single segment of 1 GiB.
        let frame = b"\x28\xB5\x2F\xFD\xA0\0\0\0\x40\x01\0\0".to_vec();
        assert_eq!(undo("zstd", frame, 1000), Err(Undecodable::TooLarge));
    }

    #[test]
    fn the_limit_holds_for_what_is_decoded() {
        let zeros = vec![0; 4 * 1024 * 1024];
        for (header, body) in
            [("gzip", gzip(&zeros)), ("deflate", zlib(&zeros)), ("deflate", raw(&zeros)), ("zstd", zstd(&zeros))]
        {
            assert!(body.len() < 64 * 1024, "{header}: {}", body.len());
            assert_eq!(undo(header, body.clone(), zeros.len() - 1), Err(Undecodable::TooLarge), "{header}");
            assert!(undo(header, body, zeros.len()).is_ok_and(|decoded| decoded == zeros), "{header}");
        }
        assert_eq!(undo("zstd", [zstd(TEXT), zstd(TEXT)].concat(), TEXT.len()), Err(Undecodable::TooLarge));
        // What lies between two codings counts, too.
        assert_eq!(undo("gzip, gzip", gzip(&gzip(&zeros)), 1000), Err(Undecodable::TooLarge));
        assert_eq!(undo("gzip", gzip(TEXT), usize::MAX), Ok(TEXT.to_vec()));
    }

    #[test]
    fn what_is_cut_off_damaged_or_followed_by_more_is_rejected() {
        let damaged = [b"\x28\xB5\x2F\xFD\x04\x58\xB1\0\0".as_slice(), TEXT, b"\xB1\x20\x94\x13"].concat();
        let wide = b"\x28\xB5\x2F\xFD\0\xA8\x01\0\0".to_vec();
        for (header, body) in [
            ("gzip", TEXT.to_vec()),
            ("gzip", gzip(TEXT)[..20].to_vec()),
            ("gzip", [gzip(TEXT), b"more".to_vec()].concat()),
            ("deflate", zlib(TEXT)[..20].to_vec()),
            ("deflate", [zlib(TEXT), b"more".to_vec()].concat()),
            ("deflate", TEXT.to_vec()),
            ("zstd", TEXT.to_vec()),
            ("zstd", zstd(TEXT)[..20].to_vec()),
            ("zstd", b"\x50\x2A\x4D\x18\x05\0\0\0skip".to_vec()),
            // A window of 2 GiB.
            ("zstd", wide),
            ("zstd", damaged),
        ] {
            let outcome = undo(header, body, 1000);
            assert!(matches!(&outcome, Err(Undecodable::Invalid(problem)) if problem.contains(header)), "{outcome:?}");
        }
    }

    #[test]
    fn other_codings_are_named() {
        assert_eq!(codings(&["br"]), Err("br".to_owned()));
        assert_eq!(codings(&["gzip", "compress"]), Err("gzip, compress".to_owned()));
        assert_eq!(codings(&["gzip; level=9"]), Err("gzip; level=9".to_owned()));
        let many = "gzip,gzip,gzip,gzip,gzip";
        assert_eq!(codings(&[many]), Err(many.to_owned()));
    }
}
