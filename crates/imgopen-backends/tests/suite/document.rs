//! The page with the table of fields.

use std::path::Path;

/// Writes the page in place of comparing it.
const WRITE: &str = "IMGOPEN_WRITE_FIELDS";

#[test]
fn the_committed_page_of_fields_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fields.md");
    let page = imgopen_backends::honesty::document();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "{} is not current; run this test with {WRITE}=1, and commit it", path.display());
}
