//! A peer that reports that it cannot store its batches.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Batch 0 is parked at the peer, which reports that it is unable.
fn unable(now: Instant) -> Sender<u64> {
    let mut sender = up(OPTIONS, now);
    offer(&mut sender, 0);
    send(&mut sender, now);
    sender.stored(&keys([0]));
    assert_eq!(verdicts(&mut sender), [(Verdict::Stored, tickets([100]))]);
    sender.unable(true, now);
    sender
}

#[test]
fn returns_parked_batches_if_another_peer_can_store_them() {
    let now = start();
    let mut sender = unable(now);
    sender.others_are_able(true);
    sender.unable(true, now + SECOND);
    assert_eq!(sender.deadline(), Some(now + RETURN_AFTER));
    assert!(!sender.tick(now + RETURN_AFTER - SECOND));
    assert_eq!(verdicts(&mut sender), []);
    assert!(!sender.tick(now + RETURN_AFTER), "the connection stays");
    assert_eq!(verdicts(&mut sender), [(Verdict::LetGo, tickets([100]))]);
    assert_eq!(sender.deadline(), None);
    // Its late word changes nothing.
    sender.committed(&keys([0]));
    assert_eq!(verdicts(&mut sender), []);
}

#[test]
fn with_no_other_able_peer_or_an_able_one_nothing_is_given_back() {
    let now = start();
    let mut sender = unable(now);
    assert!(!sender.tick(now + RETURN_AFTER * 100));
    assert_eq!((sender.deadline(), verdicts(&mut sender)), (None, vec![]));
    sender.others_are_able(true);
    sender.unable(false, now + SECOND);
    assert!(!sender.tick(now + RETURN_AFTER * 100));
    assert_eq!((sender.deadline(), verdicts(&mut sender)), (None, vec![]));
    sender.unable(true, now + RETURN_AFTER * 100);
    assert!(!sender.tick(now + RETURN_AFTER * 100), "a new time begins");
    assert_eq!(verdicts(&mut sender), []);
}

#[test]
fn returns_batches_that_wait_for_room_when_disconnected() {
    let now = start();
    let mut sender = unable(now);
    sender.others_are_able(true);
    (1..4).for_each(|sequence| offer(&mut sender, sequence));
    let put_at = now + SECOND;
    send(&mut sender, put_at);
    sender.busy(SECOND, &KeySet::default(), put_at);
    assert!(!sender.tick(now + RETURN_AFTER));
    assert_eq!(verdicts(&mut sender), [(Verdict::LetGo, tickets([100]))]);
    assert_eq!(sender.deadline(), Some(put_at + RETURN_AFTER));
    assert!(sender.tick(put_at + RETURN_AFTER), "the peer's window is whole again by that");
    assert_eq!(verdicts(&mut sender), [(Verdict::LetGo, tickets([101, 102, 103]))]);
    assert!(sender.is_idle());
}

#[test]
fn a_new_connection_is_able_unless_the_peer_denies_it() {
    let now = start();
    let mut sender = unable(now);
    sender.disconnected(now);
    sender.connected(now);
    assert!(sender.is_unable());
    sender.unable(true, now + SECOND);
    sender.welcome(&welcome(keys([0]), KeySet::default()));
    assert!(sender.is_unable());
    sender.others_are_able(true);
    assert_eq!(sender.deadline(), Some(now + RETURN_AFTER), "no new time");
    sender.disconnected(now);
    sender.connected(now);
    sender.welcome(&welcome(keys([0]), KeySet::default()));
    assert!(!sender.is_unable());
    assert_eq!(sender.deadline(), None);
}
