//! One leader at a time answers every request, however the threads interleave.
//!
//! Method: shuttle runs the real hand-off on its own locks and threads, in thousands of schedules,
//! chosen at random and by PCT. A request that is not served leaves its thread waiting, which
//! shuttle reports as a deadlock. The last test plants the race that invariant 2 excludes, and
//! shuttle has to find it.

use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::sync::mpsc::{Sender, channel};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use super::*;

const PRODUCERS: usize = 3;
const REQUESTS: usize = 2;
const SCHEDULES: usize = 20_000;

type Reply = Sender<usize>;

#[derive(Default)]
struct State {
    hand_off: HandOff<(usize, Reply)>,
    news: usize,
    flush: bool,
}

impl Handing for State {
    type Request = (usize, Reply);
    fn hand_off(&mut self) -> &mut HandOff<(usize, Reply)> {
        &mut self.hand_off
    }
    fn has_work(&self) -> bool {
        self.flush && self.news > 0
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    writing: AtomicBool,
    written: AtomicUsize,
}

impl Locked<State> for Shared {
    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap())
    }
}

type Serve = fn(&Shared);

fn form(state: &mut State) -> (Vec<(usize, Reply)>, usize) {
    let group = std::iter::from_fn(|| state.hand_off.pop()).take(2).collect();
    state.flush = false;
    (group, std::mem::take(&mut state.news))
}

fn write(shared: &Shared, (group, news): (Vec<(usize, Reply)>, usize)) {
    assert!(!shared.writing.swap(true, Ordering::SeqCst), "two leaders write at once");
    thread::yield_now();
    shared.writing.store(false, Ordering::SeqCst);
    shared.written.fetch_add(group.len() + news, Ordering::SeqCst);
    shared.with(|state| state.hand_off.record_group(group.len()));
    for (number, reply) in group {
        reply.send(number).unwrap();
    }
}

/// As a thread of the channel does it.
fn sound(shared: &Shared) {
    while serve_one(shared, form, |group| write(shared, group)) {}
}

/// Looks and stops leading under two locks.
fn racy(shared: &Shared) {
    while shared.with(|state| !state.hand_off.queue.is_empty() || state.has_work()) {
        let group = shared.with(form);
        write(shared, group);
    }
    shared.with(|state| state.hand_off.leading = false);
}

fn lead(shared: &Arc<Shared>, serve: Serve) {
    let shared = shared.clone();
    thread::spawn(move || serve(&shared));
}

/// As a producer does it: one group, and the rest is a thread's.
fn lead_in_place(shared: &Arc<Shared>, serve: Serve) {
    serve_one(&**shared, form, |group| write(shared, group));
    if leave(&**shared) {
        lead(shared, serve);
    }
}

/// Producers put and wait for answers; a flusher has news that is not waited for.
fn all_at_once(serve: Serve) {
    let shared = Arc::new(Shared::default());
    let produce = |producer: usize| {
        let shared = shared.clone();
        move || {
            for request in 0..REQUESTS {
                let (reply, answer) = channel();
                let number = producer * REQUESTS + request;
                match submit(&*shared, (number, reply)) {
                    // The place depends on earlier groups. Both must work at any time.
                    Some(_) if producer == 0 => lead_in_place(&shared, serve),
                    Some(_) => lead(&shared, serve),
                    None => {}
                }
                assert_eq!(answer.recv(), Ok(number), "each answer is one's own");
            }
        }
    };
    let producers: Vec<_> = (0..PRODUCERS).map(|n| thread::spawn(produce(n))).collect();
    let has_to_lead = shared.with(|state| {
        (state.news, state.flush) = (1, true);
        state.hand_off.claim()
    });
    if has_to_lead {
        lead(&shared, serve);
    }
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    while !shared.with(|state| state.hand_off.is_at_rest()) {
        thread::yield_now();
    }
    let written = shared.written.load(Ordering::SeqCst);
    assert_eq!(written, PRODUCERS * REQUESTS + 1, "all is written once, the news too");
}

#[test]
fn every_request_is_answered_by_one_leader_at_a_time() {
    shuttle::check_random(|| all_at_once(sound), SCHEDULES);
    shuttle::check_pct(|| all_at_once(sound), SCHEDULES, 3);
}

#[test]
fn a_lone_producer_leads_until_another_one_arrives() {
    let mut hand_off = HandOff::<()>::default();
    let mut places = |requests: usize, waiting: usize, groups: u32| -> Vec<Place> {
        hand_off.queue = std::iter::repeat_n((), waiting).collect();
        let mut after = |()| {
            hand_off.record_group(requests);
            hand_off.place()
        };
        std::iter::repeat_n((), groups as usize).map(&mut after).collect()
    };
    let count = |places: &[Place]| places.iter().filter(|place| **place == Place::Here).count();
    assert_eq!(count(&places(1, 0, LONE_MIN - 1)), 0, "one has to be alone for a while");
    let lone = places(1, 0, 10 * THREAD_EVERY);
    assert_eq!(lone.len() - count(&lone), 10, "a thread leads now and then");
    assert_eq!(places(0, 0, 1), [Place::Here], "what was not asked for says nothing");
    assert_eq!(places(1, 1, 1), [Place::Thread], "another one came while the group was written");
    places(1, 0, LONE_MIN);
    assert_eq!(places(2, 0, 1), [Place::Thread], "two were in one group");
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_leader_that_looks_and_leaves_in_two_steps_is_found_out() {
    shuttle::check_random(|| all_at_once(racy), SCHEDULES);
}
