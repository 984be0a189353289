//! An entry is read unchanged, or rejected: it is never mistaken for another one.
//!
//! Method: entries of each kind are written and read back; every bit of one is flipped; bytes that
//! a newer program would write are built by hand.

use pipeline::{Epoch, Identity, Origin, Sequence};
use proptest::prelude::*;

use bytes::BufMut;

use super::super::merge::MergedFile;
use super::frame::{HEAD, TAIL, VERSION};
use super::*;

fn author() -> WriterId {
    WriterId { collector: Token([1; 16]), incarnation: Token([2; 16]) }
}

fn entry(kind: Kind) -> Entry {
    Entry { index: 7, author: author(), attempt: Token([3; 16]), kind }
}

fn commit() -> Entry {
    let key = |n| Identity { origin: Origin([9; 16]), epoch: Epoch(4), sequence: Sequence(n) };
    let file = StagedFile {
        temp: "stage/a/b/c".into(),
        target: "2026-11-20/web-1-store-7-0.log".into(),
        len: 12,
        crc: 0xdead_beef,
        events: 3,
        shares: vec![Share { origin: Origin([7; 16]), events: 3, first: (1, 2), last: (1, 9) }],
    };
    entry(Kind::Commit { keys: (0..900).map(key).collect(), files: vec![file] })
}

/// Wraps a body as an entry is wrapped.
fn framed(version: u32, body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(MAGIC);
    out.put_u32_le(version);
    out.put_u32_le(body.len() as u32);
    out.put_slice(body);
    let crc = crc32c::crc32c(&out);
    out.put_u32_le(crc);
    out.freeze()
}

#[test]
fn every_kind_is_read_as_it_was_written() {
    let file = |name: &str| MergedFile { target: format!("day/{name}"), len: 12 };
    let copy = "stage/a/b/c.merged".to_owned();
    let merge = Merge { copy, target: file("a"), sources: vec![file("b"), file("c")], crc: 7 };
    let kinds = [Kind::Fence(author()), Kind::Seal, Kind::Merge(merge)];
    for entry in [commit()].into_iter().chain(kinds.map(entry)) {
        assert_eq!(Entry::decode(entry.encode(), 7).unwrap(), entry);
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let encoded = commit().encode();
    for bit in 0..encoded.len() * 8 {
        let mut damaged = encoded.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Entry::decode(damaged.into(), 7).is_err(), "bit {bit}");
    }
    assert!(Entry::decode(encoded.slice(..encoded.len() - 1), 7).is_err());
}

#[test]
fn an_entry_at_another_place_is_refused() {
    let error = Entry::decode(commit().encode(), 8).unwrap_err();
    assert!(matches!(error, EntryError::Misplaced { said: 7, place: 8 }));
}

#[test]
fn a_field_of_a_newer_program_is_passed_over_and_a_kind_is_not() {
    let encoded = commit().encode();
    let mut body = encoded[HEAD..encoded.len() - TAIL].to_vec();
    body.extend_from_slice(&[0xa0, 0x06, 0x01]); // field 100, varint 1
    assert_eq!(Entry::decode(framed(VERSION, &body), 7).unwrap(), commit());

    let mut unknown = Body::decode(&encoded[HEAD..encoded.len() - TAIL]).unwrap();
    unknown.said = None;
    let mut body = unknown.encode_to_vec();
    body.extend_from_slice(&[0x72, 0x00]); // field 14, an empty message
    let error = Entry::decode(framed(VERSION, &body), 7).unwrap_err();
    assert!(matches!(error, EntryError::Unknown));

    let error = Entry::decode(framed(VERSION + 1, &body), 7).unwrap_err();
    assert!(matches!(error, EntryError::Version { found: 2 }));
}

#[test]
fn a_path_that_leads_out_of_the_dataset_is_refused() {
    for path in ["../x", "/etc/x", "a//b", "a/./b", "a/..", ""] {
        let mut entry = commit();
        let Kind::Commit { files, .. } = &mut entry.kind else { unreachable!() };
        files[0].target = path.into();
        assert!(Entry::decode(entry.encode(), 7).is_err(), "{path:?}");
    }
}

#[test]
fn an_entry_for_ten_thousand_origins_fits_256_kib() {
    let mut keys = KeySet::default();
    for n in 0..10_000_u128 {
        let run = pipeline::IntervalSet::from(5_000..5_900);
        keys.insert_set(Origin(n.to_be_bytes()), Epoch(40), &run);
    }
    let encoded = entry(Kind::Commit { keys, files: Vec::new() }).encode();
    assert!(encoded.len() <= 256 << 10, "{} bytes", encoded.len());
}

proptest! {
    #[test]
    fn any_bytes_are_an_entry_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Entry::decode(framed(VERSION, &body), 7);
        let _ = Entry::decode(body.into(), 7);
    }
}
