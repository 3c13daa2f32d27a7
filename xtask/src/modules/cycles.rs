//! Cycles in a graph of modules: its strongly connected components.

use std::fmt;

use super::graph::Graph;

/// Modules that all reach each other, with the references that make it so.
#[derive(Debug)]
pub struct Cycle {
    modules: Vec<String>,
    references: Vec<String>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let modules: Vec<String> = self.modules.iter().map(|module| format!("`{module}`")).collect();
        write!(
            f,
            "a cycle of {}: cut a reference, or name the visitor in ARCHITECTURE.md\n  {}",
            modules.join(", "),
            self.references.join("\n  ")
        )
    }
}

/// The cycles that remain when the references that are allowed are left out.
pub fn find(graph: &Graph, allowed: &dyn Fn(&str, &str) -> bool) -> Vec<Cycle> {
    let count = graph.modules.len();
    let kept = |from: usize, to: usize| !allowed(graph.name(from), graph.name(to));
    let reached: Vec<Vec<bool>> = (0..count)
        .map(|start| {
            let (mut reached, mut open) = (vec![false; count], vec![start]);
            while let Some(module) = open.pop() {
                for (from, to) in graph.edges.keys() {
                    if *from == module && !reached[*to] && kept(*from, *to) {
                        reached[*to] = true;
                        open.push(*to);
                    }
                }
            }
            reached
        })
        .collect();
    let together = |one: usize, other: usize| reached[one][other] && reached[other][one];
    let firsts = (0..count).filter(|one| together(*one, *one) && (0..*one).all(|other| !together(*one, other)));
    firsts
        .map(|first| {
            let inside = |module: usize| together(first, module);
            let edges = graph.edges.iter().filter(|((from, to), _)| inside(*from) && inside(*to) && kept(*from, *to));
            Cycle {
                modules: (0..count)
                    .filter(|module| inside(*module))
                    .map(|module| graph.name(module).to_owned())
                    .collect(),
                references: edges
                    .map(|((_, to), lines)| {
                        let more =
                            if lines.len() > 1 { format!(", and {} more", lines.len() - 1) } else { String::new() };
                        format!("{} refers to `{}`{more}", lines[0], graph.name(*to))
                    })
                    .collect(),
            }
        })
        .collect()
}
