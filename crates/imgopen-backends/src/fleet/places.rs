//! The places of the members of a fleet: how many jobs each has, and which jobs wait for one.
//!
//! A job that waits names the members that can do it. A member that becomes free goes to the job that has waited longest among
//! those that name it, so a job for a busy member keeps no other from a free one. A member with a device has one place, which
//! is free only while the device is.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use imgopen_engine::{DeviceGuard, Devices};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The places of all members.
#[derive(Debug)]
pub(super) struct Places {
    seats: Vec<Seat>,
    devices: Devices,
    state: Mutex<State>,
    changed: Notify,
}

/// What one member has room for.
#[derive(Debug)]
pub(super) struct Seat {
    /// The member's name.
    pub name: String,
    /// How many jobs it works on at once.
    pub jobs: usize,
    pub device: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    /// How many jobs each member has.
    jobs: Vec<usize>,
    /// The members that can do the jobs that wait, by the jobs' tickets.
    waiting: BTreeMap<u64, Vec<usize>>,
    /// The same for jobs that another engine prepares. They keep no place from others.
    expected: BTreeMap<u64, Vec<usize>>,
    last_ticket: u64,
}

/// A member that can do a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Able {
    pub member: usize,
    /// Whether it has the job's model in memory.
    pub has_loaded: bool,
}

/// A place of a member, with its device. Free again on drop.
#[derive(Debug)]
#[must_use = "the place is free again once this is dropped"]
pub(super) struct Place {
    places: Arc<Places>,
    member: usize,
    device: Option<DeviceGuard>,
}

/// A job that is expected. Over on drop.
#[derive(Debug)]
pub(super) struct Coming {
    places: Arc<Places>,
    number: u64,
}

/// A job's place among those that wait. Given up on drop.
#[derive(Debug)]
pub(super) struct Ticket {
    places: Arc<Places>,
    number: u64,
}

impl Places {
    pub(super) fn new(seats: Vec<Seat>, devices: Devices) -> Arc<Self> {
        let state = State { jobs: vec![0; seats.len()], ..State::default() };
        Arc::new(Self { seats, devices, state: Mutex::new(state), changed: Notify::new() })
    }

    /// Returns how many jobs each member has.
    pub(super) fn jobs(&self) -> Vec<usize> {
        self.lock().jobs.clone()
    }

    /// Returns how many further jobs these members could begin now, beside those that wait for them or are expected.
    pub(super) fn free(&self, members: &[usize]) -> usize {
        let state = self.lock();
        let mut devices = HashSet::new();
        let free_of = |member: &usize| {
            let Seat { jobs, device, .. } = &self.seats[*member];
            match device {
                Some(device) if self.devices.is_taken(device) || !devices.insert(device) => 0,
                _ => jobs.saturating_sub(state.jobs[*member]),
            }
        };
        let free: usize = members.iter().map(free_of).sum();
        let is_wanted = |able: &&Vec<usize>| able.iter().any(|member| members.contains(member));
        free.saturating_sub(state.waiting.values().chain(state.expected.values()).filter(is_wanted).count())
    }

    /// Counts a job that some of these members will be given soon.
    pub(super) fn expect(self: &Arc<Self>, members: Vec<usize>) -> Coming {
        let mut state = self.lock();
        state.last_ticket += 1;
        let number = state.last_ticket;
        state.expected.insert(number, members);
        Coming { places: self.clone(), number }
    }

    /// Begins to wait.
    pub(super) fn join(self: &Arc<Self>) -> Ticket {
        let mut state = self.lock();
        state.last_ticket += 1;
        Ticket { places: self.clone(), number: state.last_ticket }
    }

    /// Takes a free place of a member that no earlier job waits for: of those that have loaded the model if there are any, of
    /// those the one with the fewest jobs. A job without a ticket is behind all others.
    pub(super) fn take(self: &Arc<Self>, ticket: Option<&Ticket>, able: &[Able]) -> Option<Place> {
        let mut state = self.lock();
        let number = ticket.map_or(u64::MAX, |ticket| ticket.number);
        if ticket.is_some() {
            state.waiting.insert(number, able.iter().map(|able| able.member).collect());
        }
        let is_wanted = |member: usize| state.waiting.range(..number).any(|(_, able)| able.contains(&member));
        let mut free: Vec<_> = able.iter().filter(|able| self.has_room(&state, able.member)).collect();
        free.retain(|able| !is_wanted(able.member));
        free.sort_by_key(|able| (!able.has_loaded, state.jobs[able.member], able.member));
        for Able { member, .. } in free.into_iter().copied() {
            let Seat { name, device, .. } = &self.seats[member];
            let turn = match device {
                None => None,
                Some(device) => match self.devices.try_turn(device, name) {
                    Some(turn) => Some(turn),
                    None => continue,
                },
            };
            return Some(self.taken(&mut state, member, turn));
        }
        None
    }

    /// Returns what waits for the device of a member; `None` if it has none.
    pub(super) fn turn(&self, member: usize) -> Option<BoxFuture<'static, DeviceGuard>> {
        let Seat { name, device, .. } = &self.seats[member];
        let (devices, name, device) = (self.devices.clone(), name.clone(), device.clone()?);
        Some(Box::pin(async move { devices.turn(&device, &name).await }))
    }

    /// Takes a place of a member whose device was waited for; `None` if it has none, and the device is free again.
    pub(super) fn take_with(self: &Arc<Self>, member: usize, device: DeviceGuard) -> Option<Place> {
        let mut state = self.lock();
        self.has_room(&state, member).then(|| self.taken(&mut state, member, Some(device)))
    }

    /// Returns whether only devices keep all of these members from a job, so that what has them may be no job of the fleet.
    pub(super) fn wait_for_devices(&self, able: &[Able]) -> bool {
        let state = self.lock();
        able.iter().all(|able| self.has_room(&state, able.member))
    }

    /// Waits until a place may have become free. Counts from when the future is created.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    fn has_room(&self, state: &State, member: usize) -> bool {
        state.jobs[member] < self.seats[member].jobs
    }

    fn taken(self: &Arc<Self>, state: &mut State, member: usize, device: Option<DeviceGuard>) -> Place {
        state.jobs[member] += 1;
        Place { places: self.clone(), member, device }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Returns the index of the member.
    pub(super) fn member(&self) -> usize {
        self.member
    }

    /// Has others free the memory of the device.
    pub(super) async fn clear(&self) {
        if let Some(device) = &self.device {
            device.clear().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let jobs = &mut self.places.lock().jobs[self.member];
            *jobs = jobs.saturating_sub(1);
        }
        // After the place, so that a job that gets the device finds the place free, too.
        self.device = None;
        self.places.changed.notify_waiters();
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.places.lock().expected.remove(&self.number);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.places.lock().waiting.remove(&self.number);
        // Others may have left a free member to it.
        self.places.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(seats: &[(usize, Option<&str>)]) -> Arc<Places> {
        let seat = |(index, (jobs, device)): (usize, &(usize, Option<&str>))| Seat {
            name: format!("m{index}"),
            jobs: *jobs,
            device: device.map(str::to_owned),
        };
        Places::new(seats.iter().enumerate().map(seat).collect(), Devices::default())
    }

    fn able(members: &[usize]) -> Vec<Able> {
        members.iter().map(|member| Able { member: *member, has_loaded: false }).collect()
    }

    #[test]
    fn the_member_with_the_model_and_then_the_one_with_the_fewest_jobs_is_taken() {
        let places = places(&[(2, None), (2, None), (2, None)]);
        let all = able(&[0, 1, 2]);
        let first = places.take(None, &all).unwrap();
        let second = places.take(None, &all).unwrap();
        assert_eq!((first.member(), second.member(), places.jobs()), (0, 1, vec![1, 1, 0]));
        let loaded: Vec<_> = all.iter().map(|able| Able { has_loaded: able.member < 2, ..*able }).collect();
        drop(first);
        let kept: Vec<_> = (0..3).map(|_| places.take(None, &loaded).unwrap()).collect();
        let members: Vec<_> = kept.iter().map(Place::member).collect();
        assert_eq!(members, [0, 0, 1], "those that have the model are filled first");
        assert_eq!(places.free(&[0, 1]), 0);
        assert_eq!(places.take(None, &loaded).unwrap().member(), 2);
    }

    #[test]
    fn a_job_that_waits_goes_first_and_keeps_no_other_from_a_free_member() {
        let places = places(&[(1, None), (1, None)]);
        let busy = places.take(None, &able(&[0])).unwrap();
        let (early, late) = (places.join(), places.join());
        assert!(places.take(Some(&early), &able(&[0])).is_none());
        assert!(places.take(Some(&late), &able(&[0])).is_none());
        // The other member is not what they wait for.
        drop(places.take(None, &able(&[0, 1])).filter(|place| place.member() == 1).unwrap());
        drop(busy);
        assert!(places.take(None, &able(&[0])).is_none() && places.take(Some(&late), &able(&[0])).is_none());
        assert_eq!((places.free(&[0]), places.free(&[1])), (0, 1), "both that wait are counted");
        let early_place = places.take(Some(&early), &able(&[0])).unwrap();
        drop((early, early_place));
        assert!(places.take(Some(&late), &able(&[0])).is_some());
    }

    #[test]
    fn a_job_that_is_expected_takes_a_place_in_the_count_alone() {
        let places = places(&[(1, None), (1, None)]);
        let coming = places.expect(vec![0]);
        assert_eq!((places.free(&[0]), places.free(&[1]), places.free(&[0, 1])), (0, 1, 1));
        let other = places.take(None, &able(&[0])).expect("a job that is here does not wait for it");
        assert_eq!((places.free(&[0]), places.free(&[0, 1])), (0, 0));
        drop(coming);
        assert_eq!((places.free(&[0]), places.free(&[0, 1])), (0, 1));
        drop(other);
        assert_eq!(places.free(&[0, 1]), 2);
    }

    #[test]
    fn members_that_share_a_device_have_one_place_together() {
        let places = places(&[(1, Some("gpu0")), (1, Some("gpu0")), (1, None)]);
        assert_eq!((places.free(&[0, 1]), places.free(&[0, 1, 2])), (1, 2));
        let first = places.take(None, &able(&[0, 1])).unwrap();
        assert_eq!((places.free(&[0, 1]), places.free(&[0, 1, 2])), (0, 1));
        assert!(places.take(None, &able(&[0, 1])).is_none());
        assert_eq!(places.take(None, &able(&[0, 1, 2])).unwrap().member(), 2);
        drop(first);
        // Something outside the fleet has it.
        let other = places.devices.try_turn("gpu0", "trainer").unwrap();
        assert!(places.take(None, &able(&[0, 1])).is_none() && places.free(&[0, 1]) == 0);
        drop(other);
        assert!(places.take(None, &able(&[1])).is_some());
    }
}
