//! `imgopen callbacks listen`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use insta::assert_snapshot;
use serde_json::Value;

use crate::common::program::Background;
use crate::common::shell::Shell;
use crate::redacted;

/// Starts the receiver and returns its URL.
fn listen(shell: &Shell, secret: &str, more: &[&str]) -> (Background, String) {
    let mut listen = shell.command(&[&["callbacks", "listen", "--listen", "127.0.0.1:0"][..], more].concat());
    let listen = Background::start(match secret {
        "" => listen,
        secret => {
            listen.env("IMGOPEN_SIGNING_SECRET", secret);
            listen
        }
    });
    let line = listen.error_line("listening");
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
    let (status, output, _) = listen.end();
    assert_eq!(status.code(), Some(0));
    assert_snapshot!("push", redacted(&output).replace(&url, "[receiver]"));
}

#[test]
fn a_push_with_another_signature_is_printed_and_rejected() {
    let shell = Shell::open();
    shell.picture("small.png");
    let (listen, url) = listen(&shell, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &["--json"]);
    push(&shell, &url);
    let line: Value = serde_json::from_str(&listen.output_line("verified")).unwrap();
    assert_eq!((&line["verified"], &line["http_status"]), (&Value::from(false), &Value::from(401)));
    assert_eq!((&line["path"], line["reason"].as_str().unwrap().is_empty()), (&Value::from("/enlarge_image"), false));
    listen.interrupt();
    assert_eq!(listen.end().0.code(), Some(0));
}

#[test]
fn without_a_secret_a_push_is_printed_as_unsigned() {
    let shell = Shell::open();
    shell.picture("small.png");
    let (listen, url) = listen(&shell, "", &["--json", "--once"]);
    push(&shell, &url);
    let (status, output, errors) = listen.end();
    let line: Value = serde_json::from_str(output.trim()).unwrap();
    assert_eq!(
        (status.code(), &line["verified"], &line["state"]),
        (Some(0), &Value::from(false), &Value::from("succeeded"))
    );
    assert!(errors.contains("pushes are accepted from anyone"), "{errors}");
}

/// It would be lost otherwise.
#[cfg(target_os = "linux")]
#[test]
fn a_push_that_cannot_be_printed_is_not_acknowledged() {
    let shell = Shell::open();
    let command = shell.command(&["callbacks", "listen", "--listen", "127.0.0.1:0"]);
    let mut sh = std::process::Command::new("sh");
    sh.args(["-c", "exec \"$0\" \"$@\" >/dev/full"]).arg(command.get_program()).args(command.get_args());
    sh.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(shell.folder());
    let listen = Background::start(sh);
    let line = listen.error_line("listening");
    let address = line.split_once("http://").unwrap().1.split('/').next().unwrap().to_owned();
    let body = r#"{"code":"200","msg":"success","data":{"taskId":"p1","businessTaskId":"7","status":1}}"#;
    let head = format!("POST /enlarge_image HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n");
    let mut socket = TcpStream::connect(&address).unwrap();
    write!(socket, "{head}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    let line = listen.error_line("cannot print a push");
    assert!(line.contains("cannot write to standard output: No space left on device"), "{line}");
}

/// The file may also hold the secret that is being replaced. There is no flag for the secret itself.
#[test]
fn a_signing_secret_can_come_from_a_file() {
    let shell = Shell::open();
    shell.picture("small.png");
    let secrets = format!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n{}\n", shell.key.signing);
    std::fs::write(shell.folder().join("secrets"), secrets).unwrap();
    let (listen, url) = listen(&shell, "", &["--json", "--once", "--secret-file", "secrets"]);
    push(&shell, &url);
    let (status, output, _) = listen.end();
    let line: Value = serde_json::from_str(output.trim()).unwrap();
    assert_eq!((status.code(), &line["verified"]), (Some(0), &Value::from(true)));
    let fail = |arguments: &[&str]| shell.run(&[&["callbacks", "listen"], arguments].concat());
    assert_eq!(fail(&["--secret", &shell.key.signing]).status.code(), Some(2));
    assert_eq!(fail(&["--secret-file", "nowhere"]).status.code(), Some(1));
    std::fs::write(shell.folder().join("empty"), "\n").unwrap();
    assert_eq!(fail(&["--secret-file", "empty"]).status.code(), Some(2));
    std::fs::write(shell.folder().join("mine"), "mine").unwrap();
    let failed = fail(&["--secret-file", "mine"]);
    assert_eq!(failed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&failed.stderr).starts_with("imgopen: mine: "), "{failed:?}");
}

/// An incomplete push does not block the exit after a second Ctrl-C.
#[test]
fn ctrl_c_ends_it_despite_a_stalled_push() {
    let shell = Shell::open();
    let (listen, url) = listen(&shell, "", &[]);
    let mut push = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    write!(push, "POST /enlarge_image HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{{").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    listen.interrupt();
    std::thread::sleep(Duration::from_millis(300));
    listen.interrupt();
    assert_eq!(listen.end().0.code(), Some(0));
    drop(push);
}
