//! Command lines that cannot be parsed: what is printed, in text or JSON, and the exit code.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use imgopen_client::{Client, Credentials};

use crate::failure::{self, Exit, Failure};
use crate::output;

/// Prints an invalid command line's error, or the help that was asked for, and returns the exit code.
pub fn exit(mut error: clap::Error) -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).take_while(|word| word != "--").collect();
    if let Some(file) = file_of_json_flag(&error, &words) {
        let tip = format!("to take the request from a file, use '--json --request {file}'");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    if error.kind() == ErrorKind::InvalidUtf8 {
        error = not_utf8(&words);
    }
    // The line has no parsed flags to ask, so its words are searched.
    if error.exit_code() == Exit::Usage as i32 && words.iter().any(is_json_flag) {
        let message = error.render().to_string();
        let failure = Failure::usage(message.trim_start_matches("error: ").trim_end());
        if let Some(json) = failure::as_json(&failure.into()) {
            // If standard output is closed, the exit code remains.
            let _ = output::print_json(&json);
        }
    }
    let printed = error.print().and_then(|()| std::io::stdout().flush());
    match printed {
        // Help that was asked for and is not there, unless the reader has read enough.
        Err(problem) if error.exit_code() == 0 && problem.kind() != std::io::ErrorKind::BrokenPipe => {
            output::note(&format!("cannot write to standard output: {problem}"));
            ExitCode::from(Exit::Failed as u8)
        }
        _ => ExitCode::from(error.exit_code() as u8),
    }
}

/// Says which arguments and variables are not UTF-8, each with the flag that it belongs to. Paths need not be, and the error does
/// not say which is which.
fn not_utf8(words: &[OsString]) -> clap::Error {
    let mut named = Vec::new();
    for (index, word) in words.iter().enumerate().filter(|(_, word)| word.to_str().is_none()) {
        let before = index.checked_sub(1).and_then(|before| words[before].to_str());
        let flag = before.filter(|flag| flag.starts_with('-') && !flag.contains('='));
        let flag = flag.map_or(String::new(), |flag| format!("{flag} "));
        named.push(format!("'{flag}{}'", word.to_string_lossy()));
    }
    for name in [Client::BASE_URL_VARIABLE, Credentials::ID_VARIABLE] {
        if std::env::var_os(name).is_some_and(|value| value.to_str().is_none()) {
            named.push(format!("the variable {name}"));
        }
    }
    let one = if named.len() > 1 { "one of " } else { "" };
    let named = named.join(", ");
    let fix = "only the names of files and directories may be something else";
    let message = format!("not UTF-8: {one}{named}; {fix}\n\nFor more information, try '--help'.\n");
    clap::Error::raw(ErrorKind::InvalidUtf8, message)
}

fn is_json_flag(word: &OsString) -> bool {
    word == "--json" || word.as_encoded_bytes().starts_with(b"--json=")
}

/// Returns the file of `run … --json FILE` or `--json=FILE`, which earlier versions read the request from.
fn file_of_json_flag(error: &clap::Error, words: &[OsString]) -> Option<String> {
    let text = |kind: ContextKind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let usage = text(ContextKind::Usage);
    if !usage.contains("imgopen run ") && !usage.contains("imgopen train submit") {
        return None;
    }
    match error.kind() {
        ErrorKind::TooManyValues if text(ContextKind::InvalidArg) == "--json" => Some(text(ContextKind::InvalidValue)),
        ErrorKind::UnknownArgument => {
            let unknown = text(ContextKind::InvalidArg);
            let follows = |pair: &[OsString]| pair[0] == "--json" && pair[1] == *unknown;
            words.windows(2).any(follows).then_some(unknown)
        }
        _ => None,
    }
}
