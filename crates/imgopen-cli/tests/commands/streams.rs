//! Results on standard output, and streams that cannot be written.

#[cfg(target_os = "linux")]
use std::process::Stdio;

use serde_json::json;

use crate::common::shell::Shell;
use crate::transcript;

/// The arguments of a generated picture.
const CARD: [&str; 9] = [
    "run",
    "text_to_image",
    "--batch-size=1",
    "--sd-model-checkpoint=m",
    "--width=64",
    "--height=64",
    "--prompt=x",
    "--id-task=mine",
    "--output",
];

#[test]
fn one_result_can_go_to_standard_output() {
    let shell = Shell::open();
    let output = shell.run(&[&CARD[..], &["-"]].concat());
    assert!(output.status.success(), "{output:?}");
    let picture = image::load_from_memory(&output.stdout).unwrap();
    assert_eq!((picture.width(), picture.height()), (64, 64));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("imgopen: standard output  64x64 PNG, "), "{errors}");
    assert_eq!(shell.names(), [""; 0]);
    // The same task again, without a word beside it.
    let again = shell.run(&["tasks", "wait", "mine", "--output", "-", "--quiet"]);
    assert_eq!((again.stdout, again.stderr), (output.stdout, Vec::new()));
    // A directory can still have that name.
    let (code, outcome) = shell.json(&[&CARD[..], &["./-"]].concat());
    assert_eq!((code, shell.names()), (0, vec!["-".to_owned()]), "{outcome}");
}

#[test]
fn standard_output_takes_one_result_and_nothing_else() {
    let shell = Shell::open();
    let several = shell.run(&[&CARD[..], &["-", "--n-iter=2"]].concat());
    assert!(several.stdout.is_empty() && several.status.code() == Some(1), "{several:?}");
    let errors = transcript(&several);
    let expected = "imgopen: --output -: the task has 2 results, and standard output takes one\n\
                    save the results again with `imgopen tasks wait [task] --operation text_to_image`\n";
    assert!(errors.ends_with(expected), "{errors}");
    let sent = shell.json(&["tasks", "list"]).1["tasks"].as_array().unwrap().len();
    let json = shell.run(&[&CARD[..], &["-", "--json"]].concat());
    let errors = String::from_utf8(json.stderr).unwrap();
    assert_eq!(json.status.code(), Some(2), "{errors}");
    assert!(errors.starts_with("imgopen: --output -: standard output has the JSON; "), "{errors}");
    assert_eq!(shell.json(&["tasks", "list"]).1["tasks"].as_array().unwrap().len(), sent, "it was not sent");
}

/// A result of another format than its name says is converted.
#[test]
fn a_name_of_another_format_converts_the_result() {
    let shell = Shell::open();
    let (code, outcome) = shell.json(&[&CARD[..], &["card.jpg"]].concat());
    assert_eq!((code, &outcome["files"][0]["format"]), (0, &json!("jpeg")), "{outcome}");
    let file = std::fs::read(shell.folder().join("card.jpg")).unwrap();
    assert_eq!((&file[..3], &outcome["files"][0]["bytes"]), (&b"\xff\xd8\xff"[..], &json!(file.len())));
}

#[cfg(target_os = "linux")]
fn full() -> Stdio {
    std::fs::File::options().write(true).open("/dev/full").unwrap().into()
}

/// Standard error that cannot be written loses notes, not results.
#[cfg(target_os = "linux")]
#[test]
fn a_full_or_closed_standard_error_loses_no_result() {
    let shell = Shell::open();
    let status =
        shell.command(&[&CARD[..], &["full.png"]].concat()).stdout(Stdio::null()).stderr(full()).status().unwrap();
    assert_eq!((status.code(), shell.read("full.png").width()), (Some(0), 64));
    let gone = {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let status =
        shell.command(&[&CARD[..], &["gone.png"]].concat()).stdout(Stdio::null()).stderr(gone).status().unwrap();
    assert_eq!((status.code(), shell.read("gone.png").width()), (Some(0), 64));
    let command = shell.command(&[&CARD[..], &["closed.png"]].concat());
    let mut sh = std::process::Command::new("sh");
    sh.args(["-c", "exec \"$0\" \"$@\" 2>&-"]).arg(command.get_program()).args(command.get_args());
    sh.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(shell.folder())
        .stdout(Stdio::null());
    assert_eq!((sh.status().unwrap().code(), shell.read("closed.png").width()), (Some(0), 64));
    // An error has its exit code, whether it can be read or not.
    for arguments in [&["tasks", "show", "nobody"][..], &["run", "enlarge_image", "--scale=9"], &["tasks", "lst"]] {
        let seen = shell.run(arguments).status.code();
        let unseen = shell.command(arguments).stdout(Stdio::null()).stderr(full()).status().unwrap().code();
        assert_eq!(seen, unseen, "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn help_that_cannot_be_written_is_a_failure() {
    let shell = Shell::open();
    for arguments in [&["--help"][..], &["run", "enlarge_image", "--help"], &["--version"]] {
        let output = shell.command(arguments).stdout(full()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.starts_with("imgopen: cannot write to standard output: "), "{errors}");
    }
}

/// What was done, and that it must be done again, is in the error.
#[cfg(target_os = "linux")]
#[test]
fn secrets_that_cannot_be_written_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let create = ["keys", "create", "--data-dir", "data"];
    let output = crate::command(folder.path(), &create).stdout(full()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let (id, rest) = errors.strip_prefix("imgopen: the key ").unwrap().split_once(' ').unwrap();
    let expected = format!(
        "was created, but its secrets were not shown; revoke it with `imgopen keys revoke {id}`: cannot write to standard \
         output: No space left on device"
    );
    assert!(rest.starts_with(&expected), "{errors}");
    let revoked = crate::command(folder.path(), &["keys", "revoke", id, "--data-dir", "data"]).status().unwrap();
    assert!(revoked.success());
}
