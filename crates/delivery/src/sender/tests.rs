//! Goal: every batch that was taken over gets its verdicts, in an order that is so, and none is
//! called delivered that is not.
//! Method: one test for each rule, which fails without it; any order of calls is in `model`.

mod model;
mod unable;

use std::time::Duration;

use pipeline::Sequence;

use super::*;

const WINDOW: Window = Window { batches: 4, bytes: 100 };
const OPTIONS: Options = Options {
    window: WINDOW,
    retain: Retain::Committed,
    welcome_timeout: Duration::from_secs(5),
    answer_timeout: Duration::from_secs(30),
    courtesy: Duration::from_secs(2),
    resend_after: Duration::from_secs(60),
};

fn key(sequence: u64) -> Identity {
    Identity { origin: Origin([1; 16]), epoch: Epoch(1), sequence: Sequence(sequence) }
}

fn keys(sequences: impl IntoIterator<Item = u64>) -> KeySet {
    sequences.into_iter().map(key).collect()
}

fn tickets(tickets: impl IntoIterator<Item = u64>) -> IntervalSet {
    tickets.into_iter().collect()
}

fn welcome(stored: KeySet, committed: KeySet) -> Welcome {
    Welcome { stored, committed, window: WINDOW, body_max: 1000, zstd: false }
}

fn nothing() -> Welcome {
    welcome(KeySet::default(), KeySet::default())
}

/// Sends everything that is due: returns the sequences of puts, and the number of Hellos.
fn send(sender: &mut Sender<u64>, now: Instant) -> (Vec<u64>, usize) {
    let (mut puts, mut hellos) = (Vec::new(), 0);
    while let Some(outgoing) = sender.next_outgoing(now) {
        match outgoing {
            Outgoing::Hello(_) => hellos += 1,
            Outgoing::Put(sequence) => puts.push(sequence),
        }
    }
    (puts, hellos)
}

/// A sender whose peer has sent Welcome. Ticket = sequence + 100.
fn up(options: Options, now: Instant) -> Sender<u64> {
    let mut sender = Sender::new(options);
    sender.connected(now);
    assert_eq!(sender.next_outgoing(now), Some(Outgoing::Hello(KeySet::default())));
    sender.welcome(&nothing());
    sender
}

fn offer(sender: &mut Sender<u64>, sequence: u64) {
    sender.offer(sequence + 100, key(sequence), sequence, 10);
}

fn verdicts(sender: &mut Sender<u64>) -> Vec<(Verdict, IntervalSet)> {
    std::iter::from_fn(|| sender.next_settled()).collect()
}

fn start() -> Instant {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(async { Instant::now() })
}

#[test]
fn a_batch_is_stored_and_then_delivered() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    (0..3).for_each(|n| offer(&mut sender, n));
    assert_eq!(send(&mut sender, now), (vec![0, 1, 2], 1));
    sender.stored(&keys([0, 2]));
    sender.committed(&keys([0]));
    assert_eq!(
        verdicts(&mut sender),
        [(Verdict::Stored, tickets([100, 102])), (Verdict::Delivered, tickets([100]))],
    );
    assert_eq!(sender.unanswered_bytes(), 10);
}

#[test]
fn with_retain_stored_the_next_disk_is_the_end() {
    let now = start();
    let mut sender = up(Options { retain: Retain::Stored, ..OPTIONS }, now);
    offer(&mut sender, 0);
    send(&mut sender, now);
    sender.stored(&keys([0]));
    assert_eq!(verdicts(&mut sender), [(Verdict::Delivered, tickets([100]))]);
    sender.disconnected(now);
    sender.connected(now);
    assert_eq!(sender.next_outgoing(now), Some(Outgoing::Hello(KeySet::default())));
}

#[test]
fn the_smaller_window_bounds_what_is_put_also_when_it_is_put_again() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    for n in 0..4 {
        assert_eq!(sender.room(10, now), Room::Free);
        offer(&mut sender, n);
    }
    assert_eq!(sender.room(10, now), Room::Wait);
    assert_eq!(send(&mut sender, now).0.len(), 4);
    sender.disconnected(now);
    sender.connected(now);
    sender.welcome(&Welcome { window: Window { batches: 3, bytes: 20 }, ..nothing() });
    assert_eq!(send(&mut sender, now), (vec![0, 1], 1));
    sender.stored(&keys([0]));
    assert_eq!(send(&mut sender, now), (vec![2], 0));
}

#[test]
fn a_batch_larger_than_the_window_goes_alone() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    assert_eq!(sender.room(500, now), Room::Free);
    sender.offer(100, key(0), 0, 500);
    assert_eq!(sender.room(1, now), Room::Wait);
    assert_eq!(send(&mut sender, now).0, [0]);
    assert_eq!(sender.room(1001, now), Room::TooLarge(1000));
}

/// Rule 3, the good case: the same peer has the batch, and no other agent ever gets it.
#[test]
fn after_a_disconnect_the_same_peer_is_asked_before_anybody_else() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    (0..3).for_each(|n| offer(&mut sender, n));
    send(&mut sender, now);
    sender.disconnected(now);
    assert_eq!(sender.room(10, now), Room::Wait);
    assert!(!sender.tick(now + Duration::from_millis(1999)));
    assert_eq!(verdicts(&mut sender), []);
    sender.connected(now);
    assert_eq!(sender.next_outgoing(now), Some(Outgoing::Hello(keys([0, 1, 2]))));
    assert_eq!(sender.next_outgoing(now), None, "nothing is put before Welcome");
    sender.welcome(&welcome(keys([0, 1]), keys([0])));
    assert_eq!(
        verdicts(&mut sender),
        [(Verdict::Delivered, tickets([100])), (Verdict::Stored, tickets([101]))],
    );
    assert_eq!(send(&mut sender, now), (vec![2], 0));
}

#[test]
fn after_the_courtesy_what_is_unanswered_is_given_back_as_such() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    offer(&mut sender, 0);
    offer(&mut sender, 1);
    send(&mut sender, now);
    sender.stored(&keys([1]));
    verdicts(&mut sender);
    sender.disconnected(now);
    let over = now + OPTIONS.courtesy;
    assert_eq!(sender.deadline(), Some(over));
    assert!(!sender.tick(over));
    assert_eq!(verdicts(&mut sender), [(Verdict::Unanswered, tickets([100]))]);
    assert_eq!(sender.room(10, over), Room::Down);
    assert_eq!(sender.unanswered_bytes(), 0);
    assert_eq!(sender.deadline(), Some(now + OPTIONS.resend_after));
}

#[test]
fn once_an_attempt_to_reconnect_failed_nobody_waits_with_new_batches() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    sender.disconnected(now);
    assert_eq!(sender.room(10, now), Room::Wait);
    sender.disconnected(now);
    assert_eq!(sender.room(10, now), Room::Down);
}

#[test]
fn a_peer_that_is_stopping_is_not_asked_again() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    offer(&mut sender, 0);
    send(&mut sender, now);
    sender.draining();
    assert_eq!(sender.room(10, now), Room::Draining);
    sender.disconnected(now);
    assert_eq!(verdicts(&mut sender), [(Verdict::Unanswered, tickets([100]))]);
}

/// Rule 4: the collector lost its disk and returns with an empty one.
#[test]
fn returns_batches_that_the_peer_lost() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    (0..3).for_each(|n| offer(&mut sender, n));
    send(&mut sender, now);
    sender.stored(&keys([0, 1, 2]));
    verdicts(&mut sender);
    sender.disconnected(now);
    sender.connected(now);
    sender.welcome(&welcome(keys([1]), keys([])));
    assert_eq!(verdicts(&mut sender), [(Verdict::Missing, tickets([100, 102]))]);
    sender.committed(&keys([0, 1, 2]));
    assert_eq!(verdicts(&mut sender), [(Verdict::Delivered, tickets([101]))]);
}

/// Rule 4: the collector does not return.
#[test]
fn resends_stored_batches_elsewhere_when_the_peer_stays_away() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    offer(&mut sender, 0);
    send(&mut sender, now);
    sender.stored(&keys([0]));
    verdicts(&mut sender);
    sender.disconnected(now);
    // Attempts that fail, or hang before Welcome, do not restart the timer.
    let late = now + OPTIONS.resend_after;
    sender.disconnected(now + Duration::from_secs(30));
    sender.connected(late - Duration::from_secs(1));
    assert!(!sender.tick(late - Duration::from_millis(1)));
    assert_eq!(verdicts(&mut sender), []);
    assert!(!sender.tick(late));
    assert_eq!(verdicts(&mut sender), [(Verdict::Missing, tickets([100]))]);
}

#[test]
fn an_unanswered_put_is_given_back_and_the_connection_given_up() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    offer(&mut sender, 0);
    send(&mut sender, now);
    let late = now + OPTIONS.answer_timeout;
    assert_eq!(sender.deadline(), Some(late));
    offer(&mut sender, 1);
    send(&mut sender, late - Duration::from_secs(1));
    assert!(sender.tick(late));
    assert_eq!(verdicts(&mut sender), [(Verdict::Unanswered, tickets([100]))]);
    // Rule 5.
    sender.stored(&keys([0]));
    assert_eq!(verdicts(&mut sender), []);
}

#[test]
fn a_peer_without_welcome_is_given_up() {
    let now = start();
    let mut sender: Sender<u64> = Sender::new(OPTIONS);
    sender.connected(now);
    assert_eq!(sender.deadline(), Some(now + OPTIONS.welcome_timeout));
    assert!(!sender.tick(now + OPTIONS.welcome_timeout - Duration::from_millis(1)));
    assert!(sender.tick(now + OPTIONS.welcome_timeout));
}

#[test]
fn a_busy_peer_is_left_alone_for_as_long_as_it_asks() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    (0..2).for_each(|n| offer(&mut sender, n));
    send(&mut sender, now);
    let wait = Duration::from_secs(1);
    sender.busy(wait, &keys([1]), now);
    assert_eq!(verdicts(&mut sender), [(Verdict::NotTaken(wait), tickets([101]))]);
    assert_eq!(sender.room(10, now), Room::Busy(wait));
    assert_eq!(sender.room(10, now + wait), Room::Free);
    offer(&mut sender, 2);
    sender.busy(wait, &KeySet::default(), now + wait);
    // An answer shows that the peer has room again.
    sender.stored(&keys([0]));
    assert_eq!(sender.room(10, now + wait), Room::Free);
    assert_eq!(verdicts(&mut sender), [(Verdict::Stored, tickets([100]))]);
}

#[test]
fn waits_for_a_full_peer() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    offer(&mut sender, 0);
    send(&mut sender, now);
    let later = now + OPTIONS.answer_timeout - Duration::from_secs(1);
    sender.busy(Duration::from_secs(1), &KeySet::default(), later);
    assert!(!sender.tick(now + OPTIONS.answer_timeout));
    assert_eq!(verdicts(&mut sender), []);
    assert!(sender.tick(later + OPTIONS.answer_timeout));
    assert_eq!(verdicts(&mut sender), [(Verdict::Unanswered, tickets([100]))]);
}

#[test]
fn a_refused_put_is_handed_back_once_and_an_unreadable_one_is_tried_again() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    (0..2).for_each(|n| offer(&mut sender, n));
    send(&mut sender, now);
    assert_eq!(sender.refused(key(0)), Some((100, 0)));
    assert_eq!(sender.refused(key(0)), None);
    sender.unreadable(key(1));
    assert_eq!(sender.refused(key(1)), None);
    assert_eq!(verdicts(&mut sender), [(Verdict::Unreadable, tickets([101]))]);
    assert_eq!(sender.unanswered_bytes(), 0);
}

/// A relay carries many origins: it asks about each one once, and the Welcome for one does not
/// cover the others.
#[test]
fn a_new_life_is_announced_before_its_first_put() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    offer(&mut sender, 0);
    assert_eq!(sender.next_outgoing(now), Some(Outgoing::Hello(keys([0]))));
    assert_eq!(sender.next_outgoing(now), Some(Outgoing::Put(0)));
    sender.stored(&keys([0]));
    offer(&mut sender, 1);
    assert_eq!(send(&mut sender, now), (vec![1], 0));
    sender.welcome(&nothing());
    assert_eq!(verdicts(&mut sender), [(Verdict::Stored, tickets([100]))]);
}

#[test]
fn a_welcome_that_nobody_asked_for_changes_nothing() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    offer(&mut sender, 0);
    send(&mut sender, now);
    sender.welcome(&nothing());
    sender.welcome(&welcome(keys([0]), keys([0])));
    assert_eq!(verdicts(&mut sender), []);
}

#[test]
fn a_barred_peer_gets_no_puts_and_keeps_its_batches() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    (0..2).for_each(|sequence| offer(&mut sender, sequence));
    assert_eq!(send(&mut sender, now).0, [0, 1]);
    sender.stored(&keys([0]));
    offer(&mut sender, 2);
    sender.bar(true);
    assert_eq!((sender.room(1, now), sender.has_outgoing()), (Room::Barred, false));
    // Room was asked for before.
    offer(&mut sender, 3);
    let said = [(Verdict::Stored, tickets([100])), (Verdict::Unanswered, tickets([102, 103]))];
    assert_eq!(verdicts(&mut sender), said);
    sender.committed(&keys([0]));
    sender.stored(&keys([1]));
    let said = [(Verdict::Delivered, tickets([100])), (Verdict::Stored, tickets([101]))];
    assert_eq!(verdicts(&mut sender), said);
    sender.bar(false);
    offer(&mut sender, 3);
    assert_eq!(send(&mut sender, now).0, [3]);
}

/// The batch was put to a peer that accepted it; the next Welcome names a smaller limit.
#[test]
fn returns_batches_that_the_peer_no_longer_accepts() {
    let now = start();
    let mut sender = up(OPTIONS, now);
    (0..3).for_each(|n| offer(&mut sender, n));
    send(&mut sender, now);
    sender.disconnected(now);
    sender.connected(now);
    send(&mut sender, now);
    sender.welcome(&nothing());
    sender.return_matching(|sequence| *sequence == 1);
    assert_eq!(verdicts(&mut sender), [(Verdict::LetGo, tickets([101]))]);
    assert_eq!(send(&mut sender, now).0, [0, 2]);
    assert_eq!(sender.unanswered_bytes(), 20);
}
