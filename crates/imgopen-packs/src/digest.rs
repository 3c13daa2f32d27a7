//! SHA-256, as 64 hexadecimal digits in lower case.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// How much of a file is read at a time.
const BLOCK: usize = 1024 * 1024;

/// Returns the digest of pieces that follow each other.
pub(crate) fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut sha = Sha256::new();
    for piece in pieces {
        sha.update(piece);
    }
    hexadecimal(sha)
}

/// Returns the digest of a file.
pub(crate) fn of_file(path: &Path) -> io::Result<String> {
    let (mut file, mut sha, mut block) = (File::open(path)?, Sha256::new(), vec![0; BLOCK]);
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(hexadecimal(sha)),
            Ok(length) => sha.update(&block[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a text has the form of a digest.
pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hexadecimal(sha: Sha256) -> String {
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest of "abc" is from FIPS 180-4.
    #[test]
    fn digests_are_those_of_the_standard() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of([&b"abc"[..]]), abc);
        assert_eq!(of([&b"a"[..], b"", b"bc"]), abc);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        assert_eq!(of_file(file.path()).unwrap(), abc);
        assert!(is_digest(abc) && !is_digest(&abc.to_uppercase()) && !is_digest(&abc[1..]));
    }
}
