//! The processes of this machine.

use std::fs;

/// Returns the ids of the programs `sd-server` that a process has started, or that one which it started has.
pub fn painters(of: u32) -> Vec<u32> {
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_below = |id: u32| {
        let mut parents = std::iter::successors(Some(id), |id| Some(stat(*id)?.2));
        parents.any(|parent| parent == of)
    };
    ids.filter(|id| stat(*id).is_some_and(|(name, _, _)| name.starts_with("sd-server")) && is_below(*id)).collect()
}

/// Whether a process has not ended.
pub fn is_alive(id: u32) -> bool {
    stat(id).is_some_and(|(_, state, _)| state != "Z")
}

/// Returns the name, the state and the parent of a process.
fn stat(id: u32) -> Option<(String, String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name may contain anything.
    let (start, rest) = stat.rsplit_once(") ")?;
    let mut rest = rest.split(' ');
    let (state, parent) = (rest.next()?.to_owned(), rest.next()?.parse().ok()?);
    Some((start.split_once('(')?.1.to_owned(), state, parent))
}
