//! Messages end where their senders end them, and a wrong count damages few messages.

use proptest::prelude::*;

use super::super::testkit::{self, cut, whole};
use super::*;

fn frames(stream: &[u8], piece: usize, message_max: usize) -> Vec<(String, bool)> {
    testkit::frames(&Syslog, stream, piece, message_max)
}

/// Returns the messages and the number of losses, and checks that piece sizes do not matter.
fn with_losses(stream: &[u8], message_max: usize) -> (Vec<(String, bool)>, usize) {
    let (all, losses) = testkit::frames_and_losses(&Syslog, stream, 1, message_max);
    for piece in [2, 7, 100, stream.len()] {
        let again = testkit::frames_and_losses(&Syslog, stream, piece, message_max);
        assert_eq!(again, (all.clone(), losses.clone()), "in pieces of {piece}");
    }
    assert!(losses.iter().all(|lost| lost.is_found_again), "{losses:?}");
    (all, losses.len())
}

/// Returns the n-th message of a sender.
fn message(n: usize) -> String {
    format!("<34>1 2026-10-11T22:14:15Z web-1 app 7 - - gr\u{fc}n und wei\u{df}: {n}")
}

/// Returns counted messages; `count` computes the count of number 100.
fn counted(messages: usize, count: impl Fn(&str) -> usize) -> String {
    let one = |n: usize| {
        let text = message(n);
        let bytes = if n == 100 { count(&text) } else { text.len() };
        format!("{bytes} {text}")
    };
    (1..=messages).map(one).collect()
}

#[test]
fn both_framings_are_understood_message_by_message_in_any_pieces() {
    let stream = b"<1>one\n5 <2>xy<3>two\r\n9 <4>th\nre\n\n\n6 <5>a\r\n<6>last";
    for piece in 1..stream.len() {
        let expected = whole(&["<1>one", "<2>xy", "<3>two", "<4>th\nre", "<5>a", "<6>last"]);
        assert_eq!(frames(stream, piece, 100), expected, "{piece}");
    }
}

#[test]
fn a_line_that_begins_with_a_digit_and_is_no_count_is_a_line() {
    for line in [
        "2026-11-20 up",
        "12345678 <1>x",
        "007 <7>x",
        "42",
        "200 GET /index.html",
        "200 <html>",
        "9 <1234>x",
        "9 <>",
        "9 ",
        "9 <1",
    ] {
        for piece in [1, 3, 100] {
            let stream = format!("{line}\nnext\n{line}");
            let expected = whole(&[line, "next", line]);
            assert_eq!(frames(stream.as_bytes(), piece, 100), expected, "{piece}");
        }
    }
}

#[test]
fn cuts_a_long_message_and_reads_the_next() {
    let long = "x".repeat(50);
    for piece in [1, 7, 200] {
        let lines = frames(format!("{long}\nnext\n").as_bytes(), piece, 10);
        assert_eq!(lines, [cut("xxxxxxxxxx"), ("next".into(), false)], "{piece}");
        let counted = frames(format!("53 <1>{long}7 <1>next").as_bytes(), piece, 10);
        assert_eq!(counted, [cut("<1>xxxxxxx"), ("<1>next".into(), false)], "{piece}");
    }
    assert_eq!(frames(b"0123456789\n", 1, 10), whole(&["0123456789"]));
}

#[test]
fn a_counted_message_that_ends_too_early_is_cut() {
    assert_eq!(frames(b"10 <1>half", 4, 100), [("<1>half".to_owned(), true)]);
}

#[test]
fn a_count_of_characters_damages_one_message() {
    let (all, losses) = with_losses(counted(300, |text| text.chars().count()).as_bytes(), 64 << 10);
    let intact = (1..=300).filter(|n| all.contains(&(message(*n), false))).count();
    assert_eq!((intact, losses), (299, 1));
    // The message without its end becomes a fragment: "00", of the number.
    assert_eq!(all.len(), 301);
    assert_eq!(all[100], cut("00"));
}

#[test]
fn a_count_that_is_too_small_or_too_large_damages_few_messages() {
    let length = message(100).len();
    for count in 1..190 {
        let (all, losses) = with_losses(counted(120, |_| count).as_bytes(), 64 << 10);
        let is_intact = |n: &usize| all.iter().any(|(text, _)| *text == message(*n));
        let damaged = (1..=120).filter(|n| !is_intact(n)).count();
        if count == length {
            assert_eq!((damaged, losses), (0, 0));
            continue;
        }
        // A count that leads to the beginning of a later message is valid.
        if count > length && (count - length).is_multiple_of(length + 3) {
            continue;
        }
        // A count that ends within the count of the next message damages that message too.
        assert!(damaged <= 3, "{count}: {damaged} damaged");
        if count < length + 60 {
            assert!(damaged <= 2, "{count}: {damaged} damaged");
        }
        assert!(losses > 0, "{count}");
    }
}

#[test]
fn a_count_with_digits_of_the_message_before_is_not_taken_for_its_own() {
    let tail = "11 <1>nextones".repeat(100);
    // 911 bytes lead into the middle of a message, and 7611 exceed the limit.
    for (digits, message_max) in [("9", 1000), ("76", 100)] {
        let stream = format!("7 <1>abcx{digits}{tail}");
        let (all, losses) = with_losses(stream.as_bytes(), message_max);
        assert_eq!(all[..2], [("<1>abcx".to_owned(), false), cut(digits)]);
        assert_eq!(all.iter().filter(|(text, _)| text == "<1>nextones").count(), 100);
        assert_eq!((all.len(), losses), (102, 1));
    }
}

#[test]
fn text_of_a_message_that_looks_like_messages_does_not_divide_it() {
    let forged = "<34>a user wrote: 7 <1>evil7 <1>evil7 <1>evil";
    for next in ["7 <1>next", "<1>next\n", ""] {
        let stream = format!("{} {forged}{next}", forged.len());
        let (all, losses) = with_losses(stream.as_bytes(), 1000);
        assert_eq!((&*all[0].0, losses), (forged, 0), "{next}");
        assert_eq!(all.len(), 2 - usize::from(next.is_empty()));
    }
}

#[test]
fn lines_between_counted_messages_are_messages() {
    let (all, losses) = with_losses(b"5 <2>xyno syslog\n<13>line\nand more\n5 <2>zz", 1000);
    assert_eq!(all, whole(&["<2>xy", "no syslog", "<13>line", "and more", "<2>zz"]));
    assert_eq!(losses, 2, "once for each time that text follows a message");
}

#[test]
fn a_stream_without_counts_and_line_ends_is_reported_as_lost() {
    let stream = vec![b'x'; 20 << 20];
    let (all, losses) = testkit::frames_and_losses(&Syslog, &stream, 1 << 20, 8);
    assert_eq!((all, losses.len()), (vec![cut("xxxxxxxx")], 1));
    assert!(!losses[0].is_found_again);
}

proptest! {
    /// For any bytes in any pieces: no panic, no message over the limit, the same messages, and
    /// never more memory than a message and a read.
    #[test]
    fn hostile_streams_are_cut_the_same_way_in_any_pieces(
        stream in prop::collection::vec(prop_oneof![
            4 => Just(b'\n'), 4 => b'0'..=b'9', 4 => Just(b' '), 4 => Just(b'<'),
            4 => Just(b'>'), 1 => any::<u8>(),
        ], 0..200),
        piece in 1_usize..50,
    ) {
        let all = testkit::frames_and_losses(&Syslog, &stream, 1, 8);
        prop_assert!(all.0.iter().all(|(text, _)| text.chars().count() <= 8));
        prop_assert_eq!(testkit::frames_and_losses(&Syslog, &stream, piece, 8), all);
    }

    /// As above, for messages with right and wrong counts.
    #[test]
    fn wrong_counts_are_handled_the_same_way_in_any_pieces(
        messages in prop::collection::vec((0_usize..40, "[0-9a<> ]{0,30}", "\n?"), 0..20),
        piece in 1_usize..50,
    ) {
        let one = |(count, text, end): &(usize, String, String)| {
            format!("{} <1>{text}{end}", if *count < 20 { text.len() + 3 } else { *count })
        };
        let stream: String = messages.iter().map(one).collect();
        let all = testkit::frames_and_losses(&Syslog, stream.as_bytes(), 1, 64);
        prop_assert_eq!(testkit::frames_and_losses(&Syslog, stream.as_bytes(), piece, 64), all);
    }
}
