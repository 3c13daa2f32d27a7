//! Reads the options that a Python source gives to `argparse`, as far as sd-scripts needs it.

use serde_json::{Map, Value, json};

const CALL: &str = "add_argument(";

/// Returns the options of a source by their names, in their order: what each takes, by an example, and its choices.
pub fn options(source: &str) -> Vec<(String, Value)> {
    let calls = source.match_indices(CALL).filter(|(at, _)| !is_comment(source, *at));
    calls.filter_map(|(at, _)| option(&arguments(&source[at + CALL.len()..]))).collect()
}

fn is_comment(source: &str, at: usize) -> bool {
    source[..at].rsplit('\n').next().unwrap_or_default().contains('#')
}

/// Splits the arguments of a call, up to its closing parenthesis.
fn arguments(rest: &str) -> Vec<String> {
    let (mut arguments, mut current) = (Vec::new(), String::new());
    let (mut depth, mut quote, mut is_escaped) = (0_u32, None, false);
    for c in rest.chars() {
        if let Some(open) = quote {
            quote = Some(open).filter(|open| is_escaped || c != *open);
            is_escaped = c == '\\' && !is_escaped;
            current.push(c);
            continue;
        }
        match c {
            '"' | '\'' => quote = Some(c),
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(current.trim().to_owned());
                current.clear();
                continue;
            }
            _ => {}
        }
        current.push(c);
    }
    arguments.push(current.trim().to_owned());
    arguments
}

/// Returns the name of an option, and what it takes. One without a long name is for people at a terminal.
fn option(arguments: &[String]) -> Option<(String, Value)> {
    let name = arguments.iter().map(|argument| plain(argument)).find(|argument| argument.starts_with("--"))?;
    let value = |name: &str| {
        let given = arguments.iter().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='))?;
        Some(given.trim())
    };
    let takes = match (value("nargs"), value("action").map(plain), value("type")) {
        (Some(_), ..) => json!([]),
        (None, Some("store_true" | "store_false"), _) => json!(false),
        (None, _, Some("int" | "float" | "int_or_float")) => json!(0),
        _ => json!(""),
    };
    let mut option = json!({ "takes": takes });
    if let Some(choices) = value("choices").and_then(|list| list.strip_prefix('[')?.strip_suffix(']')) {
        let choices = choices.split(',').map(|choice| plain(choice.trim()));
        let choices = choices.filter(|choice| !choice.is_empty() && *choice != "None");
        option["choices"] = choices.map(|choice| (choice.to_owned(), Value::from(true))).collect::<Map<_, _>>().into();
    }
    Some((name.to_owned(), option))
}

/// Removes quotes.
fn plain(text: &str) -> &str {
    text.trim_matches(['"', '\''])
}
