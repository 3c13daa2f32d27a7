//! `imgopen callbacks listen`: pushes as they come, with whether they can be trusted.

use insta::assert_snapshot;
use serde_json::Value;

use crate::common::program::Background;
use crate::common::shell::Shell;
use crate::redacted;

/// Starts the receiver, and gives the address that it says.
fn listen(shell: &Shell, secret: &str, more: &[&str]) -> (Background, String) {
    let mut listen = shell.command(&[&["callbacks", "listen", "--listen", "127.0.0.1:0"][..], more].concat());
    let listen = Background::start(match secret {
        "" => listen,
        secret => {
            listen.env("IMGOPEN_SIGNING_SECRET", secret);
            listen
        }
    });
    let line = listen.complains("listening");
    let url = line.split_once("--callback-url ").unwrap().1.split("/OPERATION").next().unwrap().to_owned();
    (listen, url)
}

fn push(shell: &Shell, url: &str) {
    let url = format!("{url}/enlarge_image");
    let run = ["run", "enlarge_image", "--scale=2", "--source-image", "small.png", "--callback-url", &url];
    let output = shell.run(&run);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_signed_push_is_verified() {
    let shell = Shell::open();
    shell.picture("small.png");
    let (listen, url) = listen(&shell, &shell.key.signing, &["--once"]);
    push(&shell, &url);
    let (status, said, _) = listen.end();
    assert_eq!(status.code(), Some(0));
    assert_snapshot!("push", redacted(&said).replace(&url, "[receiver]"));
}

#[test]
fn a_push_that_is_signed_by_somebody_else_is_told_and_refused() {
    let shell = Shell::open();
    shell.picture("small.png");
    let (listen, url) = listen(&shell, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &["--json"]);
    push(&shell, &url);
    let line: Value = serde_json::from_str(&listen.says("verified")).unwrap();
    assert_eq!((&line["verified"], &line["http_status"]), (&Value::from(false), &Value::from(401)));
    assert_eq!((&line["path"], line["reason"].as_str().unwrap().is_empty()), (&Value::from("/enlarge_image"), false));
    listen.interrupt();
    assert_eq!(listen.end().0.code(), Some(0));
}

#[test]
fn without_a_secret_a_push_is_told_to_be_unsigned() {
    let shell = Shell::open();
    shell.picture("small.png");
    let (listen, url) = listen(&shell, "", &["--json", "--once"]);
    push(&shell, &url);
    let (status, said, complained) = listen.end();
    let line: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(
        (status.code(), &line["verified"], &line["state"]),
        (Some(0), &Value::from(false), &Value::from("succeeded"))
    );
    assert!(complained.contains("anybody can push"), "{complained}");
    let wrong = shell.run(&["callbacks", "listen", "--secret", "mine"]);
    assert_eq!(wrong.status.code(), Some(2));
}
