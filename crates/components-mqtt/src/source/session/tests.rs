//! Which ids name messages that are stored, through answers that are lost, other processes and
//! brokers that have lost the end of a session.

use super::*;
use crate::packets::PublishProperties;

fn message(id: u16, qos: QoS, dup: bool, text: &str) -> Publish {
    let mut message = Publish::new("t", qos, text.to_owned(), None);
    (message.pkid, message.dup) = (id, dup);
    message
}

#[test]
fn a_repeat_of_qos_1_is_known_only_while_no_answer_was_sent() {
    let mut session = Session::default();
    let first = message(7, QoS::AtLeastOnce, false, "a");
    assert_eq!(session.arrive(&first), Arrival::New);
    session.unanswered(7, digest(&first));
    assert!(!session.resume(true));
    // The same id with other content, or without the mark of a repeat, is another message.
    for (dup, text) in [(true, "b"), (false, "a")] {
        let other = message(7, QoS::AtLeastOnce, dup, text);
        assert_eq!(session.arrive(&other), Arrival::New);
        session.unanswered(7, digest(&first));
    }
    let again = message(7, QoS::AtLeastOnce, true, "a");
    assert_eq!(session.arrive(&again), Arrival::Stored);
    // It was answered: from now on it may be another message with the same content.
    assert_eq!(session.arrive(&again), Arrival::New);
    session.unanswered(7, digest(&first));
    session.resume(false);
    assert_eq!(session.arrive(&again), Arrival::New);
}

#[test]
fn an_id_of_qos_2_names_its_message_until_its_release_after_a_restart() {
    let mut session = Session::default();
    let it = message(7, QoS::ExactlyOnce, false, "a");
    assert_eq!(session.arrive(&it), Arrival::New);
    assert_eq!(session.arrive(&it), Arrival::Pending);
    let (stored, none) = ([(7, digest(&it))], BTreeSet::new());
    let value = session.position(&stored, &none);
    session.stored(&stored, &none);
    assert_eq!(session.arrive(&it), Arrival::Stored);

    let mut next = Session::default();
    next.load([Some(&value), Some(&value)].into_iter());
    assert!(!next.resume(true));
    assert_eq!(next.arrive(&it), Arrival::Stored);
    let value = next.position(&[], &[7].into());
    next.stored(&[], &[7].into());
    assert_eq!((next.arrive(&it), value.len()), (Arrival::New, 0));
}

#[test]
fn stores_an_id_again_that_one_channel_lacks_within_its_session() {
    let mut session = Session::default();
    let none = BTreeSet::new();
    let one = session.position(&[(1, 5), (2, 5), (3, 5)], &none);
    let both = session.position(&[(2, 5), (3, 6)], &none);
    session.load([Some(&one), Some(&both)].into_iter());
    assert!(!session.released(1) && session.released(2) && !session.released(3));
    assert!(session.resume(false), "the channels have to forget it");
    assert!(!session.released(2));
    session.load([Some(&one), None].into_iter());
    assert!(!session.released(1));
}

#[test]
fn no_more_ids_are_taken_than_a_position_holds() {
    let mut session = Session::default();
    for id in 1..=IDS_MAX as u16 {
        assert_eq!(session.arrive(&message(id, QoS::ExactlyOnce, false, "a")), Arrival::New);
    }
    let more = message(IDS_MAX as u16 + 1, QoS::ExactlyOnce, false, "a");
    assert_eq!(session.arrive(&more), Arrival::TooMany);
    let ids: Vec<(u16, u32)> = (1..=IDS_MAX as u16).map(|id| (id, 0)).collect();
    assert!(session.position(&ids, &BTreeSet::new()).len() <= 4096);
}

#[test]
fn stores_a_message_that_reuses_an_id_before_its_release() {
    let mut session = Session::default();
    let first = message(7, QoS::ExactlyOnce, false, "a");
    assert_eq!(session.arrive(&first), Arrival::New);
    let stored = [(7, digest(&first))];
    session.stored(&stored, &BTreeSet::new());
    // The broker was killed, and knows its session as it was before it gave the id.
    assert!(!session.resume(true));
    let mut other = message(7, QoS::ExactlyOnce, false, "b");
    assert_eq!(session.arrive(&other), Arrival::New);
    assert!(!session.released(7), "a release of the first one is none of this");
    let stored = [(7, digest(&other))];
    session.stored(&stored, &BTreeSet::new());
    other.dup = true;
    assert_eq!(session.arrive(&other), Arrival::Stored);
    let property = |value: &str| {
        let user_properties = vec![("unit".to_owned(), value.to_owned())];
        let mut message = other.clone();
        message.properties = Some(PublishProperties { user_properties, ..Default::default() });
        message
    };
    assert_ne!(digest(&property("K")), digest(&property("C")));
}

#[test]
fn ids_forgotten_by_the_broker_make_room_and_later_ones_stay_known() {
    let mut session = Session::default();
    let text = |id: u16| message(id, QoS::ExactlyOnce, false, &format!("{id}"));
    // 21 to 700 are stored, and their broker is killed: it knows of none of them.
    let ids = 21..=700;
    for id in ids.clone() {
        assert_eq!(session.arrive(&text(id)), Arrival::New);
    }
    let stored: Vec<(u16, u32)> = ids.map(|id| (id, digest(&text(id)))).collect();
    session.stored(&stored, &BTreeSet::new());
    assert!(session.awaits_releases());
    session.resume(true);
    assert_eq!(session.arrive(&text(1)), Arrival::TooMany);
    assert!(!session.awaits_releases() && !session.has_much_room());
    // One of them is known to the broker after all.
    assert!(session.released(700) && session.awaits_releases());
    assert_eq!(session.forget(1), IDS_MAX / 2);
    assert!(session.has_much_room());
    assert!(session.released(700), "what the broker knows is kept");
    session.resume(true);
    for (id, arrival) in [(1, Arrival::New), (21, Arrival::Stored), (690, Arrival::New)] {
        assert_eq!(session.arrive(&text(id)), arrival, "{id}");
    }
}
