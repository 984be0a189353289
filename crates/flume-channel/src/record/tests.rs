//! Records of both formats: written records are read back, and nothing else is accepted as a
//! record.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::proto;

/// Builds a record of format 3 with these messages after its header, and the footer.
pub(crate) fn v3(kind: i32, transaction: i64, order: i64, message: &impl Message) -> Vec<u8> {
    let header =
        proto::TransactionEventHeader { kind, transaction_id: transaction, write_order_id: order };
    let mut content = header.encode_length_delimited_to_vec();
    content.extend(message.encode_length_delimited_to_vec());
    content.push(0);
    framed(OP_RECORD, &content)
}

fn framed(op: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[op], &length[..], content].concat()
}

fn v3_put(body: &[u8], checksum: Option<i64>) -> Vec<u8> {
    let header = |key: &str, value: Option<&[u8]>| proto::FlumeEventHeader {
        key: key.into(),
        value: value.map(<[u8]>::to_vec),
    };
    let headers =
        vec![header("host", Some(b"a")), header("none", None), header("b", Some(b"\xff"))];
    let event = Some(proto::FlumeEvent { headers, body: body.to_vec() });
    v3(1, 7, 8, &proto::Put { event, checksum })
}

/// A record of format 2: magic, kind, transaction 7, order 8, fields.
fn v2(kind: u16, fields: &[u8]) -> Vec<u8> {
    let numbers = [7_u64.to_be_bytes(), 8_u64.to_be_bytes()].concat();
    [&[OP_RECORD], &v2::MAGIC[..], &kind.to_be_bytes(), &numbers, fields].concat()
}

fn record(step: Step) -> Kind {
    match step {
        Step::Record(Record { transaction: 7, order: 8, kind }, _) => kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_put_has_its_headers_and_its_body() {
    let crc = i64::from(crc32fast::hash(b"body"));
    for checksum in [None, Some(crc)] {
        let bytes = v3_put(b"body", checksum);
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![text("host", "a"), text("none", ""), text("b", "\u{fffd}")];
        let event = Event { headers, body: b"body".to_vec() };
        let step = read(&[&bytes[..], &bytes].concat(), Format::V3);
        assert!(matches!(step, Step::Record(_, len) if len == bytes.len()), "the next one stays");
        assert_eq!(record(step), Kind::Put(event));
    }
}

#[test]
fn takes_commits_and_rollbacks_are_read_in_both_formats() {
    let event = Pointer::new(3, 77).unwrap();
    let take = proto::Take { file_id: 3, offset: 77 };
    let commit = |kind| proto::Commit { kind };
    let of_3 = [v3(2, 7, 8, &take), v3(3, 7, 8, &proto::Empty {}), v3(4, 7, 8, &commit(1))];
    let of_2 = [v2(2, &[0, 0, 0, 77, 0, 0, 0, 3]), v2(3, &[]), v2(4, &[0, 1])];
    let expected = [Kind::Take(event), Kind::Rollback, Kind::Commit(Side::Put)];
    for (format, records) in [(Format::V3, of_3), (Format::V2, of_2)] {
        for (bytes, expected) in records.iter().zip(&expected) {
            assert_eq!(record(read(bytes, format)), *expected);
        }
    }
    assert_eq!(record(read(&v3(4, 7, 8, &commit(2)), Format::V3)), Kind::Commit(Side::Take));
}

#[test]
fn numbers_of_variable_length_are_hadoops() {
    // A class name to skip, then a header with a value of 200 bytes: -113 means one more byte.
    let value = [b'v'; 200];
    let fields = [
        &[1, 9, 0, 2, b'c', b'c', 0, 0, 0, 1][..],
        &[0x8c, 1, b'k', 0x8c, 0x8f, 200],
        &value,
        &[0, 0, 0, 2, b'h', b'i'],
    ];
    let Kind::Put(event) = record(read(&v2(1, &fields.concat()), Format::V2)) else { panic!() };
    assert_eq!(event.headers, [("k".to_owned(), "v".repeat(200))]);
    assert_eq!(event.body, b"hi");
    let no_body = v2(1, &[0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(record(read(&no_body, Format::V2)), Kind::Put(Event::default()));
}

#[test]
fn a_part_of_a_record_asks_for_more() {
    let bytes = v3_put(b"body", None);
    for end in 0..bytes.len() {
        let step = read(&bytes[..end], Format::V3);
        assert!(matches!(step, Step::More(needed) if needed > end && needed <= bytes.len()));
    }
    let bytes = v2(1, &[0, 0, 0, 0, 0, 0, 0, 0, 2, b'h', b'i']);
    for end in 0..bytes.len() {
        assert!(matches!(read(&bytes[..end], Format::V2), Step::More(needed) if needed > end));
    }
}

#[test]
fn reports_invalid_records_as_damaged() {
    let problem = |bytes: &[u8], format| match read(bytes, format) {
        Step::Damaged { problem, len } => (problem, len),
        other => panic!("{other:?}"),
    };
    let wrong = v3_put(b"body", Some(1));
    let expected = ("the checksum of an event does not match", Some(wrong.len()));
    assert_eq!(problem(&wrong, Format::V3), expected);
    let empty = proto::Empty {};
    assert_eq!(problem(&v3(9, 7, 8, &empty), Format::V3).0, "a record has an unknown type");
    let nowhere = proto::Take { file_id: -1, offset: 5 };
    assert_eq!(
        problem(&v3(2, 7, 8, &nowhere), Format::V3).0,
        "a take record has an invalid position"
    );
    assert_eq!(problem(&framed(OP_RECORD, b"junk"), Format::V3).0, "cannot decode a record");
    let long = [OP_RECORD, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(problem(&long, Format::V3), ("the length of a record is invalid", None));
    assert_eq!(problem(b"text", Format::V3).0, "no record starts at this position");
    assert_eq!(problem(&v2(1, &[0, 0, 0, 0, 0, 0xff, 0, 0, 0]), Format::V2).1, None);
    let negative = v2(1, &[0, 0, 0, 0, 1, 0x8c, 0x87]);
    assert_eq!(problem(&negative, Format::V2).0, "a length is invalid");
}

#[test]
fn the_filling_is_the_end_and_what_was_taken_out_is_passed_over() {
    assert_eq!(read(&[OP_END], Format::V3), Step::End);
    assert_eq!(read(&framed(OP_NOOP, b"gone"), Format::V3), Step::Removed(9));
}

#[test]
fn reading_is_resumed_at_the_next_thing_that_looks_like_a_record() {
    let next = v3_put(b"body", None);
    let bytes = [b"\x7fjunk and \x7f more", &next[..]].concat();
    assert_eq!(resume(&bytes, Format::V3), Some(bytes.len() - next.len()));
    assert_eq!(resume(&next, Format::V3), None, "not the one that is damaged");
}

#[test]
fn an_event_that_no_batch_can_hold_is_damaged() {
    let key = vec![b'n'; NAME_MAX + 1];
    let headers = vec![proto::FlumeEventHeader { key, value: None }];
    let event = Some(proto::FlumeEvent { headers, body: Vec::new() });
    let bytes = v3(1, 7, 8, &proto::Put { event, checksum: None });
    assert!(matches!(read(&bytes, Format::V3), Step::Damaged { len: Some(_), .. }));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        begins in prop_oneof![Just(OP_RECORD), Just(OP_NOOP), any::<u8>()],
        v3 in any::<bool>(),
    ) {
        let bytes = [&[begins], &bytes[..]].concat();
        let format = if v3 { Format::V3 } else { Format::V2 };
        if let Step::Record(_, len) | Step::Removed(len) = read(&bytes, format) {
            prop_assert!(len > 0 && len <= bytes.len());
        }
        if let Some(next) = resume(&bytes, format) {
            prop_assert!(next > 0 && next < bytes.len());
        }
    }
}
