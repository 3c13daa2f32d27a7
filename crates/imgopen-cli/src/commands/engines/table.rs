//! The table of README.md that says what makes the results of each operation real.
//!
//! It is derived from what the engines offer: with nothing; with models directories that have packs, and nets of the operator's,
//! alone and together; with back ends. So engines that are added are in it. `cargo xtask operations` writes it, and the test
//! compares it.

pub mod pieces;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use imgopen_backends::{Kind, possible};
use imgopen_engine::{Engine, Grade, Registry};
use imgopen_neural::operations_of;
use imgopen_service::NetSettings;
use imgopen_types::{Operation, operations};

use super::{built_in, nets_in, with_nets};
use pieces::{Piece, put};

/// What stands before the table and after it.
const BEGIN: &str = "<!-- operations: `cargo xtask operations` writes this table -->\n";
const END: &str = "<!-- end of operations -->\n";

/// The variable that has the table written.
const WRITE: &str = "IMGOPEN_WRITE_README";

/// The most pieces that an engine may need together.
const MOST: usize = 3;

/// An engine that offers an operation at a grade.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Offered {
    grade: Grade,
    operation: &'static str,
    engine: String,
}

/// Pieces with which an engine offers something, and without any of which it does not.
struct Enough {
    offered: Offered,
    /// Their places in the list of all.
    pieces: Vec<usize>,
}

#[test]
fn the_readme_says_what_is_real() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    let wanted = table(&pieces::all());
    if std::env::var_os(WRITE).is_some() {
        fs::write(path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
    } else {
        assert_eq!(found, wanted, "README.md is stale; `cargo xtask operations` writes it");
    }
}

#[test]
fn refusals_name_a_pack_that_helps() {
    let pieces = pieces::all();
    let enough = enough(&pieces);
    for operation in operations::ALL {
        let Err(refusal) = built_in(false).pick(operation.id, None) else { continue };
        let alone = enough.iter().filter(|enough| enough.offered.operation == operation.id && enough.pieces.len() == 1);
        let packs: Vec<_> = alone.filter_map(|enough| pieces[enough.pieces[0]].pack.as_deref()).collect();
        let refusal = refusal.to_string();
        let is_named = packs.iter().any(|pack| refusal.contains(&format!("`imgopen models pull {pack}`")));
        assert!(packs.is_empty() || is_named, "{}: none of {packs:?} in: {refusal}", operation.id);
    }
}

/// Lists of packs name the operations that the engines for networks offer with them, and those that packs improve or serve for other
/// engines.
#[test]
fn packs_are_listed_with_the_operations_that_they_enable() {
    let more = BTreeSet::from([("faces", "controlnet"), ("upscale", "swap_face_v2")]);
    let pieces = pieces::all();
    let enough = enough(&pieces);
    for (place, piece) in pieces.iter().enumerate() {
        let Some(pack) = piece.pack.as_deref() else { continue };
        let enabled = enough.iter().filter(|enough| enough.pieces.contains(&place));
        let mut enabled: BTreeSet<_> = enabled.map(|enough| enough.offered.operation).collect();
        enabled.extend(more.iter().filter(|(of, _)| *of == pack).map(|(_, operation)| *operation));
        let listed: BTreeSet<_> = operations_of(pack).iter().map(|operation| operation.id).collect();
        assert_eq!(listed, enabled, "{pack}");
    }
}

/// Returns what the engines for networks offer in a models directory with these pieces.
fn offered(pieces: &[&Piece]) -> BTreeSet<Offered> {
    let models = tempfile::tempdir().unwrap();
    put(models.path(), pieces);
    let settings = NetSettings { threads: Some(1), ..NetSettings::default() };
    let nets = nets_in(models.path(), &settings, pieces::CATALOGUE.clone()).unwrap();
    offers(&with_nets(Registry::default(), &nets, Vec::new()))
}

fn offers(registry: &Registry) -> BTreeSet<Offered> {
    let of = |engine: &Arc<dyn Engine>| {
        let name = engine.name().to_owned();
        let offered = engine.offers().into_iter().map(move |offer| {
            let (grade, operation) = (offer.grade, offer.operation.id);
            Offered { grade, operation, engine: name.clone() }
        });
        offered.collect::<Vec<_>>()
    };
    registry.engines().iter().flat_map(of).collect()
}

/// Returns the smallest sets of pieces with which the engines for networks offer something, the empty one included.
fn enough(pieces: &[Piece]) -> Vec<Enough> {
    let all = offered(&pieces.iter().collect::<Vec<_>>());
    let mut found: Vec<Enough> = Vec::new();
    for size in 0..=MOST {
        for chosen in combinations(pieces.len(), size) {
            let some: Vec<&Piece> = chosen.iter().map(|place| &pieces[*place]).collect();
            for offered in offered(&some) {
                let is_there = |known: &Enough| known.pieces.iter().all(|place| chosen.contains(place));
                if !found.iter().any(|known| known.offered == offered && is_there(known)) {
                    found.push(Enough { offered, pieces: chosen.clone() });
                }
            }
        }
        if all.iter().all(|offered| found.iter().any(|known| known.offered == *offered)) {
            return found;
        }
    }
    panic!("an engine needs more than {MOST} pieces together; raise `MOST`");
}

/// Returns all choices of that many of the first numbers, in ascending order.
fn combinations(count: usize, size: usize) -> Vec<Vec<usize>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let ending = |last: usize| {
        let rests = combinations(last, size - 1).into_iter();
        rests.map(move |rest| rest.into_iter().chain([last]).collect::<Vec<_>>())
    };
    (0..count).flat_map(ending).collect()
}

/// Writes the table.
fn table(pieces: &[Piece]) -> String {
    let (enough, built_in) = (enough(pieces), offers(&built_in(false)));
    let mut table = "| operation | with nothing else | with packs | with nets of your own | with other programs |\n\
                     |---|---|---|---|---|\n"
        .to_owned();
    for operation in operations::ALL {
        let alone = alone(operation, &enough, &built_in);
        if operation.job.is_none() && alone.is_empty() {
            continue;
        }
        let [packs, own] = installed(operation, pieces, &enough);
        let programs = programs(operation, alone.is_empty() && packs.is_empty() && own.is_empty());
        table += &format!("| `{}` | {alone} | {packs} | {own} | {programs} |\n", operation.id);
    }
    table
}

/// Names the best engine that needs nothing.
fn alone(operation: &Operation, enough: &[Enough], built_in: &BTreeSet<Offered>) -> String {
    let nets = enough.iter().filter(|enough| enough.pieces.is_empty()).map(|enough| &enough.offered);
    let best = built_in.iter().chain(nets).filter(|offered| offered.operation == operation.id).max();
    match best {
        Some(Offered { grade: Grade::Draft, engine, .. }) => format!("`{engine}`, as a draft"),
        Some(Offered { engine, .. }) => format!("`{engine}`"),
        None => String::new(),
    }
}

/// Names the packs, and the nets of the operator's, with which an operation is offered.
fn installed(operation: &Operation, pieces: &[Piece], enough: &[Enough]) -> [String; 2] {
    let (mut packs, mut own) = (Vec::new(), Vec::new());
    for enough in enough.iter().filter(|enough| enough.offered.operation == operation.id && !enough.pieces.is_empty()) {
        let chosen: Vec<&Piece> = enough.pieces.iter().map(|place| &pieces[*place]).collect();
        let text = chosen.iter().map(|piece| piece.shown()).collect::<Vec<_>>().join(" and ");
        let text = if enough.offered.grade == Grade::Draft { format!("{text}, as a draft") } else { text };
        let cell = if chosen.iter().all(|piece| piece.pack.is_some()) { &mut packs } else { &mut own };
        if !cell.contains(&text) {
            cell.push(text);
        }
    }
    [packs, own].map(|cell| cell.join(", or "))
}

/// Names the programs that serve an operation. Workflows could serve almost all; they are named where nothing else does.
fn programs(operation: &Operation, is_bare: bool) -> String {
    if *operation == operations::SUBMIT_TRAINING {
        return "sd-scripts".to_owned();
    }
    let of = possible().into_iter().filter(|possible| *possible.operation == *operation);
    let (ready, set_up): (Vec<_>, Vec<_>) = of.partition(|possible| possible.needs.is_none());
    let names = |kinds: &[Kind]| match kinds.len() == Kind::ALL.len() {
        true => "any back end".to_owned(),
        false => kinds.iter().map(|kind| kind.program()).collect::<Vec<_>>().join(", "),
    };
    let [ready, set_up] = [ready, set_up].map(|some| some.iter().map(|possible| possible.kind).collect::<Vec<_>>());
    let mut parts = Vec::new();
    if !ready.is_empty() {
        parts.push(names(&ready));
    }
    if !set_up.is_empty() {
        parts.push(format!("{} as it is set up", names(&set_up)));
    }
    if parts.is_empty() && is_bare && operation.makes_pictures() {
        parts.push("ComfyUI by a workflow".to_owned());
    }
    parts.join("; ")
}
