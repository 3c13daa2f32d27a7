//! `imgopen licences`: what the program is made of, and under which licences.

use imgopen_neural::parts::PARTS as NEURAL;
use imgopen_tools::parts::{PARTS as TOOLS, Part};
use serde_json::{Value, json};

use crate::output::{print, print_json};

/// The crates in the program, each with its version and its licence; `.ci/licences --write` writes it.
const CRATES: &str = include_str!("../../licences.tsv");

/// What is in the program beside crates and what they say themselves.
const OWN: &[Part] = &[
    Part {
        name: "the database SQLite",
        licence: "public domain",
        text: "Its authors have dedicated it to the public domain: https://www.sqlite.org/copyright.html",
    },
    Part {
        name: "the WebP library libwebp",
        licence: "BSD-3-Clause",
        text: include_str!("../../assets/COPYING-libwebp"),
    },
    Part {
        name: "the standard library of Rust",
        licence: "MIT OR Apache-2.0",
        text: "By the Rust Project; its texts, and those of what is in it, are on https://github.com/rust-lang/rust in COPYRIGHT, \
               LICENSE-MIT, LICENSE-APACHE and the directory LICENSES.",
    },
    Part {
        name: "the photograph of `imgopen demo`",
        licence: "public domain",
        text: "A portrait of the astronaut Eileen Collins by NASA: https://flic.kr/p/r9qvLn",
    },
];

/// Prints the list.
pub fn run(as_json: bool) -> anyhow::Result<()> {
    let parts = || [TOOLS, NEURAL, OWN].into_iter().flatten();
    if as_json {
        let crates =
            crates().map(|[name, version, licence]| json!({"name": name, "version": version, "licence": licence}));
        let parts = parts().map(|part| json!({"name": part.name, "licence": part.licence, "text": part.text}));
        return print_json(&json!({"crates": crates.collect::<Vec<Value>>(), "parts": parts.collect::<Vec<Value>>()}));
    }
    let mut text =
        "The crates in the program. Some are left out on some systems, and those of ONNX Runtime unless it was built with \
         that; their texts are in their packages on https://crates.io.\n\n"
            .to_owned();
    for [name, version, licence] in crates() {
        let package = format!("{name} {version}");
        text += &format!("{package:<36} {licence}\n");
    }
    text += "\nOther parts of the program:\n\n";
    for part in parts() {
        text += &format!("{:<44} {}\n", part.name, part.licence);
    }
    for part in parts() {
        text += &format!("\n--- {}\n\n{}\n", part.name, part.text.trim_end());
    }
    print(text.trim_end())
}

fn crates() -> impl Iterator<Item = [&'static str; 3]> {
    CRATES.lines().filter_map(|line| <[&str; 3]>::try_from(line.split('\t').collect::<Vec<_>>()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What people see of the program before they have it. What is in the public domain has no licence.
    #[test]
    fn cargo_toml_names_the_licences_of_all_parts() {
        let (code, parts) = env!("CARGO_PKG_LICENSE").split_once(" AND ").unwrap();
        let named: Vec<_> = parts.split(" AND ").chain([code.trim_matches(['(', ')'])]).collect();
        for part in [TOOLS, NEURAL, OWN].into_iter().flatten().filter(|part| part.licence != "public domain") {
            assert!(named.contains(&part.licence), "{} is not in {named:?}", part.licence);
        }
    }

    /// The crates that bring them name only the licences of their own code.
    #[test]
    fn code_that_is_not_in_crates_is_listed() {
        for (package, name, words) in [
            ("libwebp-sys", "the WebP library libwebp", "Redistributions in binary form must reproduce"),
            ("libsqlite3-sys", "the database SQLite", "public domain"),
            ("imgopen-cli", "the standard library of Rust", "LICENSE-MIT"),
        ] {
            assert!(crates().any(|[found, ..]| found == package), "{package}");
            assert!(OWN.iter().any(|part| part.name == name && part.text.contains(words)), "{name}");
        }
    }

    #[test]
    fn every_crate_has_a_version_and_a_licence() {
        assert_eq!(crates().count(), CRATES.lines().count());
        for [name, version, licence] in crates() {
            assert!(
                !name.is_empty() && version.starts_with(|c: char| c.is_ascii_digit()) && !licence.is_empty(),
                "{name}"
            );
        }
        // Both the program and what its code is made of.
        for name in ["imgopen-cli", "imgopen-tools", "tokio", "rustls", "rusqlite"] {
            assert!(crates().any(|[found, ..]| found == name), "{name}");
        }
    }
}
