//! Commands on a database that several processes share, as far as they need no server: what they refuse, and that they print no
//! password.

use crate::{command, run, transcript};

/// Nothing listens there.
const AWAY: &str = "postgres://me:hush@127.0.0.1:1/imgopen?sslmode=disable";

#[test]
fn a_database_that_is_away_is_named_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["keys", "list"][..],
        &["keys", "create"],
        &["keys", "revoke", "ak_1"],
        &["callbacks", "list"],
        &["callbacks", "resend", "msg_1"],
        &["workers", "list"],
        &["workers", "drain", "3f"],
        &["move", "--from", "."],
    ] {
        let text = run(folder.path(), &[arguments, &["--database", AWAY]].concat());
        assert!(text.starts_with("ends with 1\nerrors:\nimgopen: the database postgres://127.0.0.1:"), "{text}");
        assert!(text.contains("cannot be reached") && !text.contains("hush"), "{text}");
    }
    let mut listing = command(folder.path(), &["keys", "list"]);
    let text = transcript(&listing.env("IMGOPEN_SERVE_DATABASE__URL", AWAY).output().unwrap());
    assert!(text.contains("cannot be reached") && !text.contains("hush"), "{text}");
    let doctor = run(folder.path(), &["doctor", "--database", AWAY]);
    assert!(doctor.starts_with("ends with 1\n") && doctor.contains("cannot be reached"), "{doctor}");
    let shown = run(folder.path(), &["config", "show", "--database", AWAY]);
    assert!(shown.contains("127.0.0.1:1/imgopen") && !format!("{doctor}{shown}").contains("hush"), "{shown}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a data directory was made");
}

#[test]
fn what_works_on_files_alone_says_what_to_use_instead() {
    let folder = tempfile::tempdir().unwrap();
    for (command, tool) in [("backup", "`pg_dump --format=custom`"), ("restore", "`pg_restore --clean --if-exists`")] {
        let text = run(folder.path(), &[command, "copy", "--database", AWAY]);
        assert!(
            text.starts_with("ends with 2\nerrors:\nimgopen: the rows of this service are in the database"),
            "{text}"
        );
        assert!(text.contains(tool) && !text.contains("hush"), "{text}");
    }
    let text = run(folder.path(), &["move", "--from", "."]);
    assert!(text.starts_with("ends with 2\nerrors:\nimgopen: --database: no database to move into is named"), "{text}");
    let text = run(folder.path(), &["workers", "drain", "3f"]);
    assert!(text.starts_with("ends with 2\nerrors:\nimgopen: only processes that share a database"), "{text}");
    let text = run(folder.path(), &["serve", "--role", "worker"]);
    assert!(
        text.starts_with("ends with 2\nerrors:\nimgopen: `role`: \"worker\" given without `database.url`"),
        "{text}"
    );
    let text = run(folder.path(), &["serve", "--role", "api", "--database", AWAY]);
    assert!(text.starts_with("ends with 2\nerrors:\nimgopen: `public_url`: missing; the role is \"api\""), "{text}");
}
