//! Turns, places, pools and holds, without a store.

use futures_util::FutureExt;

use super::*;

fn key(name: &str) -> KeyId {
    KeyId(name.to_owned())
}

fn slot(pool: usize, name: &str, needs: &str) -> Slot {
    Slot { pool, key: key(name), needs: needs.to_owned(), begin: Begin::Working }
}

fn shared(running_per_key: usize) -> Pool {
    Pool { engine: None, slots: 10, fetching: 4, running_per_key }
}

fn queue(length: usize, running_per_key: usize) -> Dispatch {
    Dispatch::new(vec![shared(running_per_key)], length)
}

fn next(queue: &Dispatch, pool: usize) -> Option<Slot> {
    queue.next(pool, Begin::Working)
}

#[test]
fn keys_take_turns() {
    let queue = queue(100, 10);
    queue.refill(slot(0, "a", "n"), 3);
    for _ in 0..2 {
        queue.place(&key("b")).unwrap().keep(&slot(0, "b", "n"));
    }
    let mut keys: Vec<_> = std::iter::from_fn(|| next(&queue, 0)).map(|slot| slot.key.0).collect();
    assert_eq!(keys.len(), 5);
    assert_ne!(keys[0], keys[1]);
    assert_ne!(keys[2], keys[3]);
    keys.sort();
    assert_eq!(keys, ["a", "a", "a", "b", "b"]);
    assert_eq!(queue.counts(), (0, 5));
}

/// Two keys that submit again as soon as they are served do not starve a third.
#[test]
fn a_key_that_submits_again_queues_behind_the_others() {
    let queue = queue(100, 1);
    for (name, count) in [("a", 1), ("b", 50), ("c", 1)] {
        queue.refill(slot(0, name, "n"), count);
    }
    let mut keys = Vec::new();
    for _ in 0..12 {
        let slot = next(&queue, 0).unwrap();
        queue.finished(&slot);
        if slot.key.as_str() != "b" {
            queue.place(&slot.key).unwrap().keep(&slot);
        }
        keys.push(slot.key.0);
    }
    assert!(keys.iter().filter(|key| *key == "b").count() >= 3, "{keys:?}");
}

#[test]
fn running_per_key_holds_in_each_pool() {
    let own = Pool { engine: Some("slow".to_owned()), slots: 3, fetching: 2, running_per_key: 2 };
    let queue = Dispatch::new(vec![shared(1), own], 100);
    queue.refill(slot(0, "a", "n"), 2);
    queue.refill(slot(1, "a", "s"), 3);
    let first = next(&queue, 0).unwrap();
    assert_eq!((first.key.as_str(), next(&queue, 0)), ("a", None));
    assert!(next(&queue, 1).is_some() && next(&queue, 1).is_some());
    assert_eq!(next(&queue, 1), None);
    queue.finished(&first);
    assert!(next(&queue, 0).is_some());
    assert_eq!(queue.counts(), (1, 3));
}

/// A long queue for one engine does not keep the tasks of others from their slots.
#[test]
fn an_engine_with_its_own_slots_does_not_delay_the_others() {
    let own = |name: &str| Pool { engine: Some(name.to_owned()), slots: 1, fetching: 2, running_per_key: 1 };
    let queue = Dispatch::new(vec![shared(2), own("trainer"), own("remote")], 100);
    assert_eq!(["lanczos", "trainer", "remote"].map(|name| queue.pool_of(name)), [0, 1, 2]);
    queue.refill(slot(1, "a", "submit_training"), 50);
    queue.refill(slot(0, "a", "enlarge_image"), 1);
    queue.refill(slot(2, "b", "text_to_image"), 1);
    let training = next(&queue, 1).unwrap();
    assert_eq!(next(&queue, 1), None);
    let enlarging = next(&queue, 0).unwrap();
    assert_eq!(enlarging.needs, "enlarge_image");
    assert_eq!(next(&queue, 2).unwrap().key, key("b"));
    assert_eq!((next(&queue, 0), next(&queue, 2)), (None, None));
    queue.finished(&training);
    assert_eq!(next(&queue, 1).unwrap().needs, "submit_training");
    assert_eq!(queue.counts(), (48, 3));
}

#[tokio::test]
async fn a_notice_wakes_the_workers_of_its_pool() {
    let own = Pool { engine: Some("slow".to_owned()), slots: 1, fetching: 2, running_per_key: 1 };
    let queue = Dispatch::new(vec![shared(1), own], 100);
    queue.place(&key("a")).unwrap().keep(&slot(1, "a", "s"));
    let timeout = std::time::Duration::from_millis(20);
    assert!(tokio::time::timeout(timeout, queue.changed(0, Begin::Working)).await.is_err());
    queue.changed(1, Begin::Working).await;
}

#[test]
fn tasks_of_a_key_run_in_the_order_of_acceptance() {
    let queue = queue(100, 100);
    for needs in ["x", "x", "y", "x"] {
        queue.place(&key("a")).unwrap().keep(&slot(0, "a", needs));
    }
    let first = next(&queue, 0).unwrap();
    queue.put_back(&first);
    queue.left(&key("a"), "y");
    queue.left(&key("a"), "z");
    assert_eq!(queue.counts(), (3, 0));
    queue.place(&key("a")).unwrap().keep(&slot(0, "a", "y"));
    let needs: Vec<_> = std::iter::from_fn(|| next(&queue, 0)).map(|slot| slot.needs).collect();
    assert_eq!(needs, ["x", "x", "x", "y"]);
}

#[test]
fn a_full_queue_rejects_until_a_place_is_dropped() {
    let (queue, b) = (queue(1, 1), key("b"));
    let place = queue.place(&b).unwrap();
    assert_eq!(queue.place(&b).unwrap_err(), Full { queued: 1 });
    drop(place);
    queue.place(&b).unwrap().keep(&slot(0, "b", "n"));
    queue.left(&b, "n");
    assert_eq!((queue.counts(), next(&queue, 0)), ((0, 0), None));
    assert!(queue.lock().queued_by_key.is_empty());
}

#[test]
fn a_full_queue_of_one_key_has_room_for_the_first_tasks_of_others() {
    let queue = queue(100, 1);
    let fill = |name: &str| std::iter::from_fn(|| queue.place(&key(name)).ok()).collect::<Vec<_>>();
    let greedy = fill("greedy");
    assert_eq!(greedy.len(), 100);
    let (second, third) = (fill("second"), fill("third"));
    assert_eq!((second.len(), third.len()), (50, 33));
    // The share of the greedy key has shrunk, so it gets no place that becomes free.
    drop(greedy);
    assert_eq!(queue.counts(), (83, 0));
    let greedy = fill("greedy");
    assert_eq!(greedy.len(), 33);
    let many: Vec<_> = (0..200).filter_map(|number| queue.place(&key(&format!("k{number}"))).ok()).collect();
    assert_eq!(queue.counts().0, 200, "{}", many.len());
}

#[tokio::test(start_paused = true)]
async fn what_a_fault_concerns_is_held_and_then_tried_by_one() {
    let queue = queue(100, 10);
    queue.refill(slot(0, "a", "away"), 2);
    queue.refill(slot(0, "a", "well"), 2);
    let first = next(&queue, 0).unwrap();
    let pause = queue.hold(Scope::Needs("away".to_owned()), None);
    queue.put_back(&first);
    let well = next(&queue, 0).unwrap();
    assert_eq!((first.needs.as_str(), well.needs.as_str()), ("away", "well"));
    queue.hold(Scope::Server, None);
    assert!(queue.is_held() && next(&queue, 0).is_none());
    // The end of the pause wakes a worker.
    while next(&queue, 0).is_none() {
        queue.changed(0, Begin::Working).await;
    }
    assert_eq!(next(&queue, 0), None, "{pause:?}");
    assert!(queue.release("well", true) && !queue.is_held());
    assert!(!queue.release("well", true));
    assert_eq!(queue.counts(), (2, 2));
}

/// A key whose sources never answer leaves places to others, however many tasks it has.
#[test]
fn no_key_holds_all_places_for_fetching() {
    let places = 8;
    let queue = Dispatch::new(vec![Pool { fetching: places, ..shared(100) }], 1000);
    let mut held = Vec::new();
    let mut fetch = |name: &str| {
        let fetching = Slot { begin: Begin::Fetching, ..slot(0, name, "n") };
        queue.refill(fetching, places);
        let taken: Vec<_> = std::iter::from_fn(|| queue.next(0, Begin::Fetching)).collect();
        assert!(taken.iter().all(|slot| slot.key == key(name)), "{taken:?}");
        let places: Vec<_> = taken.iter().filter_map(|slot| queue.fetching(slot)).collect();
        held.push(places);
        taken.len()
    };
    assert_eq!(["a", "b", "c", "d"].map(&mut fetch), [4, 2, 1, 1]);
    assert_eq!(fetch("e"), 0);
    // A place that becomes free is for the key that holds none.
    held[1].pop();
    assert_eq!(queue.next(0, Begin::Fetching).unwrap().key, key("e"));
}

#[test]
fn tasks_that_fetch_do_not_keep_others_from_working() {
    let queue = queue(100, 10);
    let fetching = Slot { begin: Begin::Fetching, ..slot(0, "a", "f") };
    queue.refill(fetching.clone(), 9);
    queue.refill(slot(0, "a", "n"), 1);
    assert_eq!((next(&queue, 0).unwrap().needs.as_str(), next(&queue, 0)), ("n", None));
    assert_eq!(queue.next(0, Begin::Fetching), Some(fetching.clone()));
    queue.put_back(&fetching);
    assert_eq!((next(&queue, 0), queue.counts()), (None, (9, 1)));
}

#[tokio::test]
async fn a_notice_wakes_the_workers_of_its_kind() {
    let queue = queue(100, 10);
    let fetching = Slot { begin: Begin::Fetching, ..slot(0, "a", "f") };
    queue.refill(fetching, 1);
    assert!(queue.changed(0, Begin::Working).now_or_never().is_none());
    queue.changed(0, Begin::Fetching).await;
    // A place that is free again, too.
    let slot = queue.next(0, Begin::Fetching).unwrap();
    drop(queue.fetching(&slot));
    queue.changed(0, Begin::Fetching).await;
}

#[tokio::test]
async fn slots_are_given_in_the_order_in_which_they_are_asked_for() {
    let queue = Dispatch::new(vec![Pool { slots: 1, ..shared(10) }], 100);
    let first = queue.slot(0).await.unwrap();
    let (mut second, mut third) = (Box::pin(queue.slot(0)), Box::pin(queue.slot(0)));
    assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
    drop(first);
    assert!((&mut third).now_or_never().is_none());
    let second = second.await;
    drop(second);
    assert!(third.await.is_some());
}

/// How many further runs an engine could begin, by their needs.
type Free = Arc<Mutex<HashMap<&'static str, usize>>>;

/// A pool of an engine with two slots and four places for fetching, and its room.
fn grouped(free: [(&'static str, usize); 2]) -> (Dispatch, Free) {
    let pool = Pool { engine: Some("group".to_owned()), slots: 2, fetching: 4, running_per_key: 10 };
    let free: Free = Arc::new(Mutex::new(HashMap::from(free)));
    let asked = free.clone();
    let room = Room::new(move |_, needs| asked.lock().unwrap().get(needs).copied());
    (Dispatch::new(vec![pool], 100).with_room(room), free)
}

#[tokio::test(start_paused = true)]
async fn tasks_for_a_busy_model_leave_slots_to_others() {
    let (queue, free) = grouped([("busy", 0), ("free", 1)]);
    queue.refill(slot(0, "a", "busy"), 5);
    queue.refill(slot(0, "a", "free"), 2);
    let first = next(&queue, 0).unwrap();
    let starting = queue.starting(&first);
    assert_eq!((first.needs.as_str(), next(&queue, 0)), ("free", None), "it is about to take the place");
    drop(starting);
    let second = next(&queue, 0).unwrap();
    assert_eq!(second.needs, "free", "it has begun, and there is still room");
    drop(queue.starting(&second));
    assert_eq!(next(&queue, 0), None);
    while queue.changed(0, Begin::Working).now_or_never().is_some() {}
    // What had the room was no run of this pool.
    free.lock().unwrap().insert("busy", 1);
    timeout(LOOK * 2, queue.changed(0, Begin::Working)).await.expect("nobody looks again");
    assert_eq!((next(&queue, 0).unwrap().needs.as_str(), queue.counts()), ("busy", (4, 3)));
}

#[tokio::test(start_paused = true)]
async fn tasks_for_a_busy_model_fetch_in_half_of_the_places() {
    let (queue, _) = grouped([("busy", 0), ("free", 1)]);
    let fetching = |name: &str, needs: &str| Slot { begin: Begin::Fetching, ..slot(0, name, needs) };
    for name in ["a", "b", "c"] {
        queue.refill(fetching(name, "busy"), 5);
    }
    queue.refill(fetching("c", "free"), 2);
    let taken: Vec<_> = std::iter::from_fn(|| queue.next(0, Begin::Fetching)).map(|slot| slot.needs).collect();
    assert_eq!(taken, ["busy", "busy", "free"], "the key holds no more than it leaves");
    queue.refill(fetching("d", "free"), 2);
    assert_eq!(queue.next(0, Begin::Fetching).map(|slot| slot.needs).as_deref(), Some("free"));
}

#[tokio::test(start_paused = true)]
async fn a_run_with_its_pictures_waits_for_room_without_a_slot() {
    let (queue, free) = grouped([("busy", 0), ("free", 1)]);
    let mut busy = Box::pin(queue.slot_for(0, "busy"));
    assert!((&mut busy).now_or_never().is_none());
    let (slot, starting) = queue.slot_for(0, "free").now_or_never().expect("the other holds a slot");
    let other = queue.slot(0).now_or_never().expect("the other holds a slot");
    free.lock().unwrap().insert("busy", 1);
    drop((slot, starting, other));
    assert!(timeout(LOOK * 2, busy).await.is_ok());
}

#[test]
fn a_full_queue_that_is_shared_asks_for_the_share_of_a_key() {
    let queue = queue(10, 5).shared();
    queue.set_queued(9);
    queue.place(&key("a")).unwrap().keep_shared(None);
    assert_eq!((queue.place(&key("b")).unwrap_err(), queue.counts()), (Full { queued: 10 }, (10, 0)));
    let share = |own, keys| queue.place_in_share(&key("b"), KeyShare { own, keys }).is_ok();
    assert!(share(0, 1) && share(4, 2) && !share(5, 2) && !share(1, 100) && share(0, 100));
    // Places that were not kept are free again.
    assert_eq!(queue.counts(), (10, 0));
    queue.set_queued(20);
    assert!(!share(0, 1));
}

#[test]
fn hints_are_replaced_by_what_a_later_look_has_found() {
    let queue = queue(100, 10).shared();
    let found = |lanes: &[(&str, usize)], is_complete| Found {
        pool: 0,
        needs: "n".to_owned(),
        begin: Begin::Working,
        lanes: lanes.iter().map(|(name, count)| (key(name), *count)).collect(),
        is_complete,
        has_more: !is_complete,
    };
    let taken = || std::iter::from_fn(|| next(&queue, 0)).map(|slot| slot.key.0).collect::<Vec<_>>();
    // Of a part, each key has one turn.
    let first = queue.begin_look();
    queue.hint(first.number, found(&[("a", 5), ("b", 1)], false));
    let second = queue.begin_look();
    assert_eq!(second.lanes, HashMap::from([("n".to_owned(), 2)]));
    let mut keys = taken();
    keys.sort();
    assert_eq!(keys, ["a", "b"]);
    // What is added while a look is under way is newer than what it finds.
    queue.hint_one(&slot(0, "c", "n"));
    queue.hint(second.number, found(&[("a", 2)], true));
    let mut keys = taken();
    keys.sort();
    assert_eq!(keys, ["a", "a", "c"]);
    queue.hint_one(&slot(0, "c", "n"));
    queue.hint_one(&slot(0, "c", "other"));
    let third = queue.begin_look();
    queue.forget(third.number, "n");
    assert_eq!(next(&queue, 0).map(|slot| slot.needs).as_deref(), Some("other"));
    assert_eq!(next(&queue, 0), None);
}

#[test]
fn a_task_of_another_process_is_hinted_at_unless_more_keys_wait() {
    let queue = queue(100, 10).shared();
    let look = queue.begin_look();
    let found = |is_complete| {
        let (pool, needs, begin, lanes) = (0, "n".to_owned(), Begin::Working, vec![(key("a"), 1)]);
        Found { pool, needs, begin, lanes, is_complete, has_more: !is_complete }
    };
    assert!(queue.hint_heard(&slot(0, "b", "n")));
    queue.hint(look.number, found(false));
    assert!(!queue.hint_heard(&slot(0, "c", "n")) && queue.hint_heard(&slot(0, "c", "other")));
    queue.hint(queue.begin_look().number, found(true));
    assert!(queue.hint_heard(&slot(0, "d", "n")));
    let mut taken: Vec<_> = std::iter::from_fn(|| next(&queue, 0)).map(|slot| (slot.key.0, slot.needs)).collect();
    taken.sort();
    let expected = [("a", "n"), ("c", "other"), ("d", "n")].map(|(key, needs)| (key.to_owned(), needs.to_owned()));
    assert_eq!(taken, expected);
    // Nothing waits any more.
    queue.hint(queue.begin_look().number, found(false));
    queue.forget(queue.begin_look().number, "n");
    assert!(queue.hint_heard(&slot(0, "e", "n")));
}

#[test]
fn a_claim_that_finds_nothing_drops_its_hint() {
    let queue = queue(100, 10).shared();
    let look = queue.begin_look();
    let lanes = vec![(key("a"), 9)];
    let (pool, needs, begin) = (0, "n".to_owned(), Begin::Working);
    queue.hint(look.number, Found { pool, needs, begin, lanes, is_complete: true, has_more: false });
    let slot = next(&queue, 0).unwrap();
    queue.dropped(&slot);
    assert_eq!(next(&queue, 0), None);
    assert!(queue.lock().pools[0].by_key.is_empty());
}

#[tokio::test]
async fn a_look_is_asked_for_when_hints_run_low() {
    let queue = Dispatch::new(vec![Pool { slots: 1, ..shared(10) }], 100).shared();
    let lanes = ["a", "b", "c"].map(|name| (key(name), 1)).to_vec();
    let found =
        Found { pool: 0, needs: "n".to_owned(), begin: Begin::Working, lanes, is_complete: false, has_more: true };
    let look = queue.begin_look();
    queue.hint(look.number, found.clone());
    assert!(next(&queue, 0).is_some() && queue.low().now_or_never().is_none());
    assert!(next(&queue, 0).is_some() && queue.low().now_or_never().is_some());
    // And when none is left, whatever the database had.
    assert!(next(&queue, 0).is_some() && queue.low().now_or_never().is_some());
    queue.hint(look.number, Found { is_complete: true, has_more: false, ..found });
    for is_asked in [false, false, true] {
        assert!(next(&queue, 0).is_some());
        assert_eq!(queue.low().now_or_never().is_some(), is_asked);
    }
}
