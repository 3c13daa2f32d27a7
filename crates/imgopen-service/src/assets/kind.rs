//! What is known of a file beside its bytes, and how it is named for those who download it.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The media type of files that are not pictures. No browser opens it.
pub const FILE: &str = "application/octet-stream";

/// What is known of a file beside its bytes. A directory does not keep it, because the database has it.
#[derive(Debug, Clone)]
pub struct Kind {
    pub media_type: &'static str,
    /// Its name for those who download it; pictures have none.
    pub name: Option<String>,
}

/// Names a file for those who download it, by RFC 6266: for old clients in ASCII, and as it is.
pub fn attachment(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let (plain, encoded) = (name.chars().map(plain).collect::<String>(), utf8_percent_encode(name, NON_ALPHANUMERIC));
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}
