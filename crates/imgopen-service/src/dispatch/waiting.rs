//! The tasks that wait, by pool and key.

use std::collections::{HashMap, VecDeque};

use imgopen_store::KeyId;

/// How the runs of a task begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// By fetching pictures, in a place for that.
    Fetching,
    /// By working, in a slot.
    Working,
}

impl Begin {
    /// Both ways.
    pub const ALL: [Self; 2] = [Self::Fetching, Self::Working];
}

/// What runs hold of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many runs hold a slot and have not begun in their engine.
    pub starting: usize,
    /// How many places for fetching are taken.
    pub fetching: usize,
}

/// The tasks of one pool.
#[derive(Debug, Default)]
pub struct Lanes {
    pub by_key: HashMap<KeyId, Lane>,
    pub taken: Taken,
    /// Whether more waits in the database than is hinted at here.
    pub has_more: bool,
}

impl Lanes {
    /// Returns how many tasks wait.
    pub fn waiting(&self) -> usize {
        self.by_key.values().map(|lane| lane.waiting.count()).sum()
    }
}

/// The tasks of one key in one pool.
#[derive(Debug, Default)]
pub struct Lane {
    pub waiting: Waiting,
    /// How many runs there are, those that fetch included.
    pub running: usize,
    /// How many of them hold a place for fetching.
    pub fetching: usize,
    pub last_slot: u64,
}

/// The needs of queued tasks, in the order of acceptance. Neighbours with the same needs are counted together.
#[derive(Debug, Default)]
pub struct Waiting(VecDeque<Group>);

#[derive(Debug)]
struct Group {
    needs: String,
    begin: Begin,
    count: usize,
    /// The look at the database during which or after which a hint was added here.
    look: u64,
}

impl Group {
    fn is(&self, needs: &str, begin: Begin) -> bool {
        self.needs == needs && self.begin == begin
    }
}

impl Waiting {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn push_back(&mut self, needs: &str, begin: Begin, count: usize) {
        match self.0.back_mut() {
            Some(last) if last.is(needs, begin) => last.count += count,
            _ if count > 0 => self.0.push_back(Group { needs: needs.to_owned(), begin, count, look: 0 }),
            _ => {}
        }
    }

    pub fn push_front(&mut self, needs: &str, begin: Begin) {
        match self.0.front_mut() {
            Some(first) if first.is(needs, begin) => first.count += 1,
            _ => self.0.push_front(Group { needs: needs.to_owned(), begin, count: 1, look: 0 }),
        }
    }

    /// Returns how many tasks wait.
    pub fn count(&self) -> usize {
        self.0.iter().map(|group| group.count).sum()
    }

    /// Returns the needs of the tasks, each once if they are hints.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|group| group.needs.as_str())
    }

    /// Adds a hint at one task, beside others with the same needs.
    pub fn add_hint(&mut self, needs: &str, begin: Begin, look: u64) {
        match self.0.iter_mut().find(|group| group.is(needs, begin)) {
            Some(group) => {
                group.count += 1;
                group.look = look;
            }
            None => self.0.push_back(Group { needs: needs.to_owned(), begin, count: 1, look }),
        }
    }

    /// Sets how many tasks with these needs a look has found. What was added since it began is newer.
    pub fn set_hint(&mut self, needs: &str, begin: Begin, count: usize, look: u64) {
        match self.0.iter_mut().find(|group| group.is(needs, begin)) {
            Some(group) => group.count = if group.look >= look { group.count.max(count) } else { count },
            None => self.0.push_back(Group { needs: needs.to_owned(), begin, count, look: 0 }),
        }
    }

    /// Drops the hints at tasks with these needs that are older than a look.
    pub fn drop_hints(&mut self, needs: &str, look: u64) {
        self.0.retain(|group| group.needs != needs || group.look >= look);
    }

    /// Has the other needs go first the next time.
    pub fn rotate(&mut self, needs: &str) {
        if let Some(group) = self.0.iter().position(|group| group.needs == needs).and_then(|index| self.0.remove(index))
        {
            self.0.push_back(group);
        }
    }

    /// Whether a task waits whose run begins in that way, and whose needs are free.
    pub fn has(&self, begin: Begin, is_free: impl Fn(&str) -> bool) -> bool {
        self.0.iter().any(|group| group.begin == begin && is_free(&group.needs))
    }

    /// Removes the first task whose run begins in that way, and whose needs are free.
    pub fn pop_first(&mut self, begin: Begin, is_free: impl Fn(&str) -> bool) -> Option<String> {
        let index = self.0.iter().position(|group| group.begin == begin && is_free(&group.needs))?;
        let group = &mut self.0[index];
        if group.count > 1 {
            group.count -= 1;
            return Some(group.needs.clone());
        }
        self.0.remove(index).map(|group| group.needs)
    }

    /// Removes the last task with these needs, and returns whether there was one.
    pub fn remove_last(&mut self, needs: &str) -> bool {
        let Some(index) = self.0.iter().rposition(|group| group.needs == needs) else { return false };
        self.0[index].count -= 1;
        if self.0[index].count == 0 {
            self.0.remove(index);
        }
        true
    }
}
