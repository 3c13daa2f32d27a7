//! The limit of open files, and how many of them are for connections.

/// The descriptors that are kept for files, fetches and pushes beside a fifth of the limit.
const KEPT: u64 = 64;

/// The fewest connections, however low the limit.
const FEWEST: u64 = 16;

/// The most connections unless the setting says otherwise, however high the limit: each costs memory, too.
const MOST: u64 = 4096;

/// Raises the soft limit of open files to the hard one.
pub fn raise() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        // Some systems name a hard limit that they do not allow. Then the soft one stays.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// Returns the soft limit of open files. `None` if there is none, or the system has no such limits.
pub fn limit() -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit};
        getrlimit(Resource::Nofile).current
    }
    #[cfg(not(unix))]
    None
}

/// The number of connections that a limit allows: four fifths of it, less those that are kept.
pub fn connections(limit: Option<u64>) -> usize {
    let allowed = limit.map_or(MOST, |limit| (limit / 5 * 4).saturating_sub(KEPT));
    // Both bounds fit.
    allowed.clamp(FEWEST, MOST) as usize
}

/// Whether so many connections leave fewer descriptors than are kept.
pub fn leaves_no_room(connections: usize, limit: u64) -> bool {
    connections as u64 + KEPT > limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_files_and_pushes() {
        for (limit, expected) in [(20, 16), (64, 16), (256, 140), (1024, 752), (65_536, 4096), (u64::MAX, 4096)] {
            assert_eq!(connections(Some(limit)), expected, "{limit}");
        }
        assert_eq!(connections(None), 4096);
        assert!(leaves_no_room(connections(Some(64)), 64));
        assert!(!leaves_no_room(connections(Some(256)), 256));
    }
}
