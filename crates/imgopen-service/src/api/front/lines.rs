//! All open connections, and which of them make room when there are too many.
//!
//! The rule: while all places are taken and a caller waits at the door, one connection after the other is closed. It is one
//! of the address that has the most connections, as far as it has any to spare: the one that has been without a request for
//! longest; else the one whose request has waited for the rest of its body for longest, from [`SLOW`](super::line::SLOW) on; else
//! the one whose caller has read nothing for longest, after the same time. Then those of the other addresses follow. A connection whose
//! request is whole is not closed while its answer is made, nor while its caller reads it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::line::Line;

/// How long a connection that was closed to make room has before the next one is.
const RETRY: Duration = Duration::from_millis(50);

/// All open connections.
#[derive(Debug)]
pub struct Lines {
    room: Arc<Semaphore>,
    open: Mutex<Open>,
    is_stopping: AtomicBool,
    /// What the moments of connections are counted from.
    origin: Instant,
}

#[derive(Debug, Default)]
struct Open {
    lines: HashMap<u64, (IpAddr, Arc<Line>)>,
    /// How many connections each address has.
    callers: HashMap<IpAddr, usize>,
    next: u64,
}

/// The place of a connection, which is free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    /// The connection.
    pub line: Arc<Line>,
    lines: Arc<Lines>,
    number: u64,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Lines {
    /// Makes room for so many connections.
    pub fn new(at_most: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(at_most.min(Semaphore::MAX_PERMITS))),
            open: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            origin: Instant::now(),
        }
    }

    /// Waits for a place for a caller at that address. While there is none, closes the connections that need theirs least.
    pub async fn admit(self: &Arc<Self>, address: IpAddr) -> Place {
        let mut permit = self.room.clone().try_acquire_owned().ok();
        while permit.is_none() {
            self.make_room(Instant::now());
            // If none could be closed, one may be idle after the pause.
            let freed = tokio::time::timeout(RETRY, self.room.clone().acquire_owned()).await;
            permit = freed.ok().and_then(Result::ok);
        }
        let (line, caller) = (Arc::new(Line::new(self.origin)), caller(address));
        let mut open = self.lock();
        let number = open.next;
        open.next += 1;
        open.lines.insert(number, (caller, line.clone()));
        *open.callers.entry(caller).or_default() += 1;
        if self.is_stopping() {
            line.stop();
        }
        drop(open);
        Place { line, lines: self.clone(), number, _permit: permit }
    }

    /// Closes the connection that is to be closed first by the rule, if there is any.
    fn make_room(&self, now: Instant) {
        let open = self.lock();
        let spare = open.lines.iter().filter_map(|(number, (caller, line))| {
            let (spare, since) = line.spare(now)?;
            let connections = open.callers.get(caller).copied().unwrap_or_default();
            Some(((Reverse(connections), spare, since, *number), line))
        });
        // A head that arrives at this moment keeps its connection; the next caller is made room for otherwise.
        if let Some(((_, spare, ..), line)) = spare.min_by_key(|(order, _)| *order) {
            line.cut(spare);
        }
    }

    /// Closes the connections without a whole request, and gives callers who read nothing little more time.
    pub fn stop(&self) {
        let open = self.lock();
        self.is_stopping.store(true, Ordering::Release);
        for (_, line) in open.lines.values() {
            line.stop();
        }
    }

    /// Whether the service is stopping.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whether the service is stopping.
    pub fn is_stopping(&self) -> bool {
        self.lines.is_stopping()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.lines.lock();
        let Some((caller, _)) = open.lines.remove(&self.number) else { return };
        if let Some(connections) = open.callers.get_mut(&caller) {
            *connections -= 1;
            if *connections == 0 {
                open.callers.remove(&caller);
            }
        }
    }
}

/// Returns the address that stands for a caller: of IPv6, the network of 64 bits that a single machine usually has.
fn caller(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::line::SLOW;
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    async fn places<const N: usize>(lines: &Arc<Lines>, addresses: [IpAddr; N]) -> [Place; N] {
        let mut places = Vec::new();
        for address in addresses {
            places.push(lines.admit(address).await);
        }
        places.try_into().unwrap()
    }

    /// Returns which of these connections have been closed.
    fn cut(places: &[&Place]) -> Vec<bool> {
        places.iter().map(|place| place.line.is_cut()).collect()
    }

    #[tokio::test]
    async fn the_connection_that_has_waited_longest_makes_room() {
        let lines = Arc::new(Lines::new(3));
        let [first, second, third] = places(&lines, [HERE; 3]).await;
        assert!(first.line.begin(true));
        assert!(third.line.begin(false));
        let waiting = tokio::spawn({
            let lines = lines.clone();
            async move { lines.admit(HERE).await }
        });
        poll_fn(|cx| second.line.poll_cut(cx)).await;
        // Requests are answered, and nothing begins on a connection that is being closed.
        assert_eq!(cut(&[&first, &third]), [false, false]);
        assert!(!second.line.begin(true) && !second.line.begin(false));
        drop(second);
        let fourth = waiting.await.unwrap();
        // The one that was answered last has waited for less time than the one that was never asked anything.
        first.line.answered();
        first.line.sent();
        lines.make_room(Instant::now());
        assert_eq!(cut(&[&first, &third, &fourth]), [false, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_make_room_then_slow_bodies_then_callers_who_read_nothing() {
        let lines = Arc::new(Lines::new(9));
        let [stuck, older, newer, answering, idle] = places(&lines, [HERE; 5]).await;
        stuck.line.begin(true);
        stuck.line.stuck(Some(Instant::now()));
        for place in [&older, &newer] {
            tokio::time::advance(Duration::from_millis(1)).await;
            place.line.begin(false);
        }
        answering.line.begin(true);
        lines.make_room(Instant::now());
        assert_eq!(cut(&[&idle, &stuck, &older, &newer]), [true, false, false, false]);
        // None has been slow for long.
        lines.make_room(Instant::now());
        assert_eq!(cut(&[&stuck, &older, &newer]), [false, false, false]);
        tokio::time::advance(SLOW).await;
        lines.make_room(Instant::now());
        assert_eq!(cut(&[&stuck, &older, &newer]), [false, true, false]);
        lines.make_room(Instant::now());
        assert_eq!(cut(&[&stuck, &newer]), [false, true]);
        lines.make_room(Instant::now());
        assert!(stuck.line.is_cut());
        // An answer that is made is waited for, however long that takes.
        tokio::time::advance(Duration::from_secs(3600)).await;
        lines.make_room(Instant::now());
        assert!(!answering.line.is_cut());
        assert!(!older.line.answer() && answering.line.answer());
    }

    #[tokio::test(start_paused = true)]
    async fn the_address_with_most_connections_makes_room_first() {
        let lines = Arc::new(Lines::new(9));
        let (greedy, modest) = (address("192.0.2.1"), address("192.0.2.2"));
        let [idle, first, second, last] = places(&lines, [modest, greedy, greedy, greedy]).await;
        for place in [&first, &second] {
            tokio::time::advance(Duration::from_millis(1)).await;
            place.line.begin(false);
        }
        last.line.begin(true);
        tokio::time::advance(SLOW).await;
        // An idle connection of a caller with few is worth more than a slow one of a caller with many.
        for expected in [[false, true, false], [false, true, true], [true, true, true]] {
            lines.make_room(Instant::now());
            assert_eq!(cut(&[&idle, &first, &second]), expected);
        }
        // Those that have ended do not count.
        drop((idle, first, second, last));
        assert!(lines.lock().callers.is_empty());
        let [other, one] = places(&lines, [modest, greedy]).await;
        lines.make_room(Instant::now());
        assert_eq!(cut(&[&other, &one]), [true, false]);
    }

    #[test]
    fn a_machine_counts_once() {
        for (one, same) in
            [("192.0.2.1", "::ffff:192.0.2.1"), ("2001:db8::1", "2001:db8::ffff:1"), ("192.0.2.1", "192.0.2.1")]
        {
            assert_eq!(caller(address(one)), caller(address(same)), "{one} {same}");
        }
        for (one, other) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8:0:1::1")] {
            assert_ne!(caller(address(one)), caller(address(other)), "{one} {other}");
        }
    }

    #[tokio::test]
    async fn a_stop_closes_what_has_no_whole_request() {
        let lines = Arc::new(Lines::new(9));
        let [idle, half, whole, sending] = places(&lines, [HERE; 4]).await;
        assert!(half.line.begin(false) && whole.line.begin(false) && sending.line.begin(true));
        assert!(whole.line.answer());
        sending.line.answered();
        lines.stop();
        assert_eq!(cut(&[&idle, &half, &whole, &sending]), [true, true, false, false]);
        // Nor does a connection that is accepted at that moment hold it up.
        assert!(lines.admit(HERE).await.line.is_cut());
    }
}
