//! Command lines that cannot be parsed: what is printed, in text or JSON, and the exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::{self, Exit, Failure};
use crate::output;

/// Prints an invalid command line's error, or the help that was asked for, and returns the exit code.
pub fn exit(mut error: clap::Error) -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).take_while(|word| word != "--").collect();
    if let Some(file) = file_of_json_flag(&error, &words) {
        let tip = format!("to take the request from a file, use '--json --request {file}'");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
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
    let _ = error.print();
    ExitCode::from(error.exit_code() as u8)
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
