//! Valid entries in pieces of any size, entries over the limits, and invalid input.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

type Fields = Vec<(String, Vec<u8>)>;

/// Returns the journal's format: text for values without a line end.
fn exported(entries: &[Fields], as_bytes: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for fields in entries {
        for (name, value) in fields {
            bytes.extend_from_slice(name.as_bytes());
            if as_bytes || value.contains(&b'\n') {
                bytes.push(b'\n');
                bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
            } else {
                bytes.push(b'=');
            }
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        bytes.push(b'\n');
    }
    bytes
}

fn read(export: &mut Export, pieces: &[&[u8]]) -> Result<Vec<Entry>, Malformed> {
    let mut entries = Vec::new();
    for mut piece in pieces.iter().copied() {
        while let Some(entry) = export.next(&mut piece)? {
            entries.push(entry);
        }
        assert!(piece.is_empty());
    }
    Ok(entries)
}

fn fields(entry: &Entry) -> Fields {
    entry.fields().map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}

fn entries() -> impl Strategy<Value = Vec<Fields>> {
    let byte = prop_oneof![Just(b'\n'), Just(b'='), Just(0), any::<u8>()];
    let name = prop_oneof![Just("MESSAGE".to_owned()), "[A-Z_0-9]{1,12}"];
    vec(vec((name, vec(byte, 0..24)), 1..6), 0..5)
}

proptest! {
    #[test]
    fn entries_are_read_as_they_are_written_wherever_the_bytes_are_cut(
        entries in entries(), as_bytes: bool, cuts in vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let bytes = exported(&entries, as_bytes);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect();
        let mut export = Export::new(Kept::All, 1 << 20);
        let read = read(&mut export, &pieces).unwrap();
        prop_assert!(export.is_between_entries());
        prop_assert_eq!(read.iter().map(fields).collect::<Vec<_>>(), entries);
    }

    #[test]
    fn whatever_comes_it_says_the_same_in_one_piece_and_byte_by_byte(
        bytes in vec(prop_oneof![Just(b'\n'), Just(b'='), Just(b'A'), 0..12_u8, any::<u8>()],
            0..200),
    ) {
        let whole = read(&mut Export::new(Kept::All, 16), &[&bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(whole, read(&mut Export::new(Kept::All, 16), &single));
    }

    #[test]
    fn an_entry_over_its_limits_takes_no_more_and_what_follows_is_whole(
        entries in entries(), value_max in 0..40_usize,
    ) {
        let bytes = exported(&entries, false);
        let read = read(&mut Export::new(Kept::All, value_max), &[&bytes]).unwrap();
        prop_assert_eq!(read.len(), entries.len());
        for (entry, expected) in read.iter().zip(&entries) {
            let (mut room, mut is_cut, mut had_message) = (value_max, false, false);
            for ((name, value), (expected_name, expected)) in entry.fields().zip(expected) {
                prop_assert_eq!(name, expected_name);
                let is_message = name == MESSAGE && !had_message;
                had_message |= is_message;
                let keep = expected.len().min(if is_message { value_max } else { room });
                is_cut |= keep < expected.len();
                room -= if is_message { 0 } else { keep };
                prop_assert_eq!(value, &expected[..keep]);
            }
            prop_assert_eq!(entry.is_cut, is_cut);
        }
    }
}

#[test]
fn fields_that_are_not_kept_take_nothing_and_cut_nothing() {
    let bytes = b"A=long and longer\nMESSAGE=m\nB\n\x03\0\0\0\0\0\0\0x\ny\nC=c\n\n";
    let mut export = Export::new(Kept::Named(vec!["MESSAGE".into(), "C".into()]), 4);
    let read = read(&mut export, &[bytes]).unwrap();
    assert_eq!(fields(&read[0]), [("MESSAGE".into(), b"m".to_vec()), ("C".into(), b"c".to_vec())]);
    assert!(!read[0].is_cut && read.len() == 1);
}

#[test]
fn empty_lines_between_entries_are_no_entries() {
    let bytes = b"\n\nA=x\n\n\n\nA=y\n\n\n";
    let mut export = Export::new(Kept::All, 9);
    let read = read(&mut export, &[bytes]).unwrap();
    assert_eq!(read.iter().map(|it| it.text("A")).collect::<Vec<_>>(), [Some("x"), Some("y")]);
    assert!(export.is_between_entries());
}

#[test]
fn refuses_invalid_journal_output() {
    let long = [b'A'; NAME_MAX + 1];
    let long_then_odd = [&long[..], b"-"].concat();
    let odd_then_long = [b"-", &long[..]].concat();
    for (bytes, problem) in [
        (&b"=x\n"[..], Malformed::NoName),
        (b"A\n\x01\0\0\0\0\0\0\0xy", Malformed::NoEnd),
        (b"A b=x\n", Malformed::OddName),
        (b"-- No entries --\n", Malformed::OddName),
        (&long, Malformed::LongName),
        (&long_then_odd, Malformed::LongName),
        (&odd_then_long, Malformed::OddName),
    ] {
        for size in [1, bytes.len()] {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            let read = read(&mut Export::new(Kept::All, 9), &pieces);
            assert_eq!(read.as_ref(), Err(&problem), "in pieces of {size}");
        }
    }
}

#[test]
fn fields_without_number_take_memory_within_a_limit() {
    let bytes = ["A=x\n".repeat(3 * FIELDS_MAX).as_str(), "\nB=y\n\n"].concat();
    let read = read(&mut Export::new(Kept::All, 1 << 20), &[bytes.as_bytes()]).unwrap();
    assert_eq!(read[0].fields().count(), FIELDS_MAX);
    assert!(read[0].is_cut && !read[1].is_cut);
    assert_eq!(read[1].text("B"), Some("y"));
}
