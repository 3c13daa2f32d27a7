//! `cargo xtask modules`: the order of the house, as ARCHITECTURE.md states it.
//!
//! Three rules: no cycles among the modules of a hand-written crate, but for the visitors that ARCHITECTURE.md names;
//! dependencies between crates run one way; SQL lies behind the store. `graph` reads who refers to whom, `cycles` finds the
//! cycles, `layers` has the rules for crates.
//!
//! Only what is written as a path counts as a reference. A method call names no module and is not seen.

mod cycles;
mod graph;
mod layers;
mod source;
#[cfg(test)]
mod tests;
mod visitors;

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

use graph::Graph;
use visitors::{ARCHITECTURE, Visitor};

/// Checks all crates and prints what is wrong. Fails if there is anything.
pub fn run(root: &Path, out: &mut dyn Write) -> Result<()> {
    let architecture =
        fs::read_to_string(root.join(ARCHITECTURE)).with_context(|| format!("reading {ARCHITECTURE}"))?;
    let visitors = visitors::read(&architecture)?;
    let crates = source::crates(root)?;
    let mut findings = layers::check(&crates)?;
    let mut modules = 0;
    for member in &crates {
        for file in &member.roots {
            let graph = Graph::read(root, file)?;
            modules += graph.modules.len();
            findings.extend(check(&member.name, &graph, &visitors));
            findings.extend(layers::check_source(&member.name, &graph));
        }
    }
    for visitor in &visitors {
        if !crates.iter().any(|member| member.name == visitor.package) {
            findings.push(format!("{ARCHITECTURE}:{}: there is no crate `{}`", visitor.line, visitor.package));
        }
    }
    for finding in &findings {
        writeln!(out, "{finding}\n")?;
    }
    if !findings.is_empty() {
        bail!("{} findings among {modules} modules", findings.len());
    }
    writeln!(out, "{modules} modules in {} crates: no cycles but {} visitors", crates.len(), visitors.len())?;
    Ok(())
}

/// The cycles of one crate, and the rows for visitors that it does not have.
fn check(package: &str, graph: &Graph, visitors: &[Visitor]) -> Vec<String> {
    let visitors: Vec<&Visitor> = visitors.iter().filter(|visitor| visitor.package == package).collect();
    let allowed = |from: &str, to: &str| visitors.iter().any(|visitor| visitor.allows(from, to));
    let cycles = cycles::find(graph, &allowed);
    let mut findings: Vec<String> = cycles.iter().map(|cycle| format!("`{package}`: {cycle}")).collect();
    for visitor in visitors {
        if !graph.edges.keys().any(|(from, to)| visitor.allows(graph.name(*from), graph.name(*to))) {
            findings.push(format!(
                "{ARCHITECTURE}:{}: nothing below `{}` of `{package}` refers to it; remove the row",
                visitor.line, visitor.module
            ));
        }
    }
    findings
}
