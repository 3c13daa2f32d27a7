# Daily verbs. `just` is optional: each recipe is a plain command, which works without it.

# List the recipes
default:
    @just --list

# Compile everything
check:
    cargo check --workspace --all-targets

# Run the tests: `just test`, `just test -p imgopen-store lease`
test *arguments='--workspace':
    cargo test {{ arguments }}

# Format all code
format:
    cargo fmt --all

# Everything that is checked in seconds or a few minutes
lint:
    .ci/run format shell words lint codegen modules licences clippy

# Write the generated code after a change of a document in spec/
codegen:
    cargo xtask codegen

# Write the documentation page, target/docs/imgopen.html
docs:
    cargo xtask docs

# Review the snapshots that changed; needs cargo-insta
review:
    cargo insta review

# Run a service that has a test card for everything without an engine
serve *arguments:
    cargo run --release -- serve --sandbox {{ arguments }}

# Run every check, or only these: `just ci`, `just ci clippy test`
ci *steps:
    .ci/run {{ steps }}
