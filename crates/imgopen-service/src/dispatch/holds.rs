//! Pauses after faults that are not the tasks' own.
//!
//! A fault of the server, such as a database that cannot be written, concerns all tasks; one of the pictures' disk, those that
//! make pictures; one of an engine, such as a back end that does not answer, those with the same needs. They are held for a
//! pause that grows with every fault in a row. When it is over, one task is let through to try: if its run meets the fault
//! again, a longer pause begins; if it gets on, the hold is over.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::results::has_pictures;

/// The first pause.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest pause that the service chooses, and how long a task that tries keeps others from trying.
pub const LONGEST: Duration = Duration::from_secs(60);

/// The longest pause that an engine may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// How long a hold of needs is remembered after its pause. Needs name models and LoRAs, of which there is no end.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

/// What is held because of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every task.
    Server,
    /// Tasks that make pictures.
    Pictures,
    /// Tasks with these needs.
    Needs(String),
}

/// Returns the pause after this many faults in a row.
pub fn pause(faults: u32) -> Duration {
    SHORTEST.saturating_mul(1 << faults.saturating_sub(1).min(6)).min(LONGEST)
}

/// The holds in force, by what they concern.
#[derive(Debug, Default)]
pub struct Holds {
    server: Option<Hold>,
    pictures: Option<Hold>,
    needs: HashMap<String, Hold>,
}

#[derive(Debug, Clone, Copy)]
struct Hold {
    pause: Duration,
    until: Instant,
    /// When a task was let through whose run has not ended.
    tried_at: Option<Instant>,
}

impl Hold {
    /// The hold after a fault, where there may have been one before.
    fn after(before: Option<Self>, least: Option<Duration>, now: Instant) -> Self {
        let pause = match before {
            // Runs that began before the first fault meet it one after the other.
            Some(hold) if hold.tried_at.is_none() && now < hold.until => hold.pause,
            Some(hold) => (hold.pause * 2).min(LONGEST),
            None => SHORTEST,
        };
        let asked = least.unwrap_or_default().min(LONGEST_ASKED);
        let until = (now + pause.max(asked)).max(before.map_or(now, |hold| hold.until));
        Self { pause, until, tried_at: None }
    }

    fn allows(&self, now: Instant) -> bool {
        // A run that takes long has met no fault so far.
        self.until <= now && self.tried_at.is_none_or(|tried| now.saturating_duration_since(tried) >= LONGEST)
    }
}

impl Holds {
    /// Whether a task with these needs may begin.
    pub fn allow(&self, needs: &str, now: Instant) -> bool {
        let allows = |hold: Option<&Hold>| hold.is_none_or(|hold| hold.allows(now));
        let pictures = self.pictures.as_ref().filter(|_| makes_pictures(needs));
        allows(self.server.as_ref()) && allows(pictures) && allows(self.needs.get(needs))
    }

    /// A task with these needs begins. If it was held, it is the one that tries. Returns whether it was.
    pub fn begin(&mut self, needs: &str, now: Instant) -> bool {
        let mut is_held = false;
        for hold in self.of(needs) {
            hold.tried_at = Some(now);
            is_held = true;
        }
        is_held
    }

    /// A run with these needs is over, so another may try. Returns whether any is held.
    pub fn over(&mut self, needs: &str) -> bool {
        let mut is_held = false;
        for hold in self.of(needs) {
            hold.tried_at = None;
            is_held = true;
        }
        is_held
    }

    /// A run has met a fault. Returns the pause.
    pub fn fault(&mut self, scope: Scope, least: Option<Duration>, now: Instant) -> Duration {
        let before = match &scope {
            Scope::Server => self.server,
            Scope::Pictures => self.pictures,
            Scope::Needs(needs) => self.needs.get(needs).copied(),
        };
        let hold = Hold::after(before, least, now);
        match scope {
            Scope::Server => self.server = Some(hold),
            Scope::Pictures => self.pictures = Some(hold),
            Scope::Needs(needs) => {
                self.needs.retain(|_, other| now.saturating_duration_since(other.until) < FORGOTTEN);
                self.needs.insert(needs, hold);
            }
        }
        hold.until.saturating_duration_since(now)
    }

    /// A run with these needs has ended without a fault. Returns whether a hold is over by that. One of an engine is over
    /// only if the engine did its work: the run may not have got as far. That of the pictures is not: other runs write none.
    pub fn release(&mut self, needs: &str, is_answered: bool) -> bool {
        let of_needs = is_answered && self.release_needs(needs);
        self.release_server() || of_needs
    }

    /// Ends the hold of what has these needs, because their engine is there, and returns whether there was one.
    pub fn release_needs(&mut self, needs: &str) -> bool {
        self.needs.remove(needs).is_some()
    }

    /// Ends the hold of the server, and returns whether there was one.
    pub fn release_server(&mut self) -> bool {
        self.server.take().is_some()
    }

    /// Ends the hold of what makes pictures, because one was written, and returns whether there was one.
    pub fn release_pictures(&mut self) -> bool {
        self.pictures.take().is_some()
    }

    /// Whether the server or what makes pictures is held.
    pub fn is_server_held(&self) -> bool {
        self.server.is_some() || self.pictures.is_some()
    }

    fn of(&mut self, needs: &str) -> impl Iterator<Item = &mut Hold> {
        let pictures = self.pictures.as_mut().filter(|_| makes_pictures(needs));
        self.server.iter_mut().chain(pictures).chain(self.needs.get_mut(needs))
    }
}

/// Whether tasks with these needs make pictures.
fn makes_pictures(needs: &str) -> bool {
    // Before the operation stands whether the task is for the sandbox, after it what a process must have, and the model.
    let head = needs.split([':', '+']).next().unwrap_or_default();
    has_pictures(head.rsplit('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn own() -> Scope {
        Scope::Needs("a".to_owned())
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let (mut holds, mut now) = (Holds::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = holds.fault(Scope::Server, None, now);
            pauses.push(pause.as_secs());
            assert!(!holds.allow("a", now + pause - Duration::from_millis(1)));
            now += pause;
            assert!(holds.allow("a", now));
            holds.begin("a", now);
            assert!(!holds.allow("b", now), "one task tries at a time");
            assert!(holds.allow("b", now + LONGEST), "a run that takes long does not keep all from trying");
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(holds.is_server_held() && holds.release("a", false) && holds.allow("b", now));
        assert!(!holds.release("a", true) && !holds.is_server_held());
        assert_eq!(holds.fault(Scope::Server, None, now), SECOND);
    }

    #[test]
    fn a_task_that_waits_alone_has_the_same_pauses() {
        assert_eq!([0, 1, 2, 3, 6, 7, 8, u32::MAX].map(|faults| pause(faults).as_secs()), [1, 1, 2, 4, 32, 60, 60, 60]);
    }

    #[test]
    fn runs_that_meet_the_same_fault_make_one_pause() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        for _ in 0..16 {
            assert_eq!(holds.fault(Scope::Server, None, now), SECOND);
        }
        assert_eq!(holds.fault(own(), Some(5 * SECOND), now), 5 * SECOND);
        assert_eq!(holds.fault(own(), Some(Duration::MAX), now), LONGEST_ASKED);
    }

    #[test]
    fn a_fault_of_an_engine_holds_only_what_needs_it() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        holds.fault(own(), None, now);
        assert!(!holds.allow("a", now) && holds.allow("b", now) && !holds.is_server_held());
        holds.begin("b", now);
        assert!(!holds.over("b"));
        holds.begin("a", now);
        assert!(!holds.allow("a", now + SECOND));
        assert!(holds.over("a") && holds.allow("a", now + SECOND));
        assert!(!holds.release("a", false) && !holds.allow("a", now));
        assert!(holds.release("a", true) && holds.allow("a", now));
    }

    #[test]
    fn needs_that_nobody_has_any_more_are_forgotten() {
        let (mut holds, start) = (Holds::default(), Instant::now());
        for number in 0..5000 {
            let needs = format!("text_to_image+lora={number}");
            holds.fault(Scope::Needs(needs), None, start + SECOND * number);
        }
        // Of an hour and a second.
        assert_eq!(holds.needs.len(), 3601);
        let last = start + SECOND * 4999;
        assert!(!holds.allow("text_to_image+lora=4999", last) && holds.allow("text_to_image+lora=0", last));
    }

    #[test]
    fn a_fault_of_the_pictures_is_over_only_when_one_was_written() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        let (maker, reader) = ("sandbox/enlarge_image+grade=draft:a/b", "sandbox/detect_faces:a/b");
        holds.fault(Scope::Pictures, None, now);
        assert!(!holds.allow(maker, now) && holds.allow(reader, now) && holds.is_server_held());
        // Runs that write no picture say nothing about their disk.
        assert!(!holds.begin(reader, now) && !holds.over(reader) && !holds.release(reader, true));
        assert!(!holds.allow(maker, now) && holds.allow(maker, now + SECOND));
        holds.begin(maker, now + SECOND);
        assert!(!holds.allow(maker, now + SECOND), "one task tries at a time");
        assert!(!holds.release(maker, true) && holds.is_server_held());
        assert!(holds.release_pictures() && holds.allow(maker, now) && !holds.is_server_held());
        assert!(!holds.release_pictures());
    }
}
