//! Records of format 3: protobufs.

use prost::Message;

use super::{Event, Fault, Kind, Pointer, RECORD_MAX, Record, Side, Step, checked};
use crate::proto;

/// Length of a header, and the tag of its first field: every record has them after its length.
pub(super) const HEADER_START: [u8; 2] = [23, 0x0d];
/// Op and length.
const FRAME_BYTES: usize = 5;

/// Parses the beginning of `bytes`, which is the start of a record or of a removed one.
pub(super) fn read(bytes: &[u8], is_record: bool) -> Step {
    let Some(length) = bytes.get(1..FRAME_BYTES) else { return Step::More(FRAME_BYTES) };
    let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
    if length > RECORD_MAX {
        return Step::Damaged { problem: "the length of a record is invalid", len: None };
    }
    let len = FRAME_BYTES + length;
    let Some(content) = bytes.get(FRAME_BYTES..len) else { return Step::More(len) };
    if !is_record {
        return Step::Removed(len);
    }
    match parse(content) {
        Ok(record) => Step::Record(record, len),
        Err(Fault::Wrong(problem)) => Step::Damaged { problem, len: Some(len) },
        Err(Fault::Short(_)) => Step::Damaged { problem: "cannot decode a record", len: Some(len) },
    }
}

fn parse(mut content: &[u8]) -> Result<Record, Fault> {
    let header: proto::TransactionEventHeader = next(&mut content)?;
    let kind = match header.kind {
        1 => put(next(&mut content)?)?,
        2 => {
            let proto::Take { file_id, offset } = next(&mut content)?;
            let wrong = Fault::Wrong("a take record has an invalid position");
            Kind::Take(Pointer::new(file_id, offset).ok_or(wrong)?)
        }
        3 => next::<proto::Empty>(&mut content).map(|_| Kind::Rollback)?,
        4 => match next::<proto::Commit>(&mut content)?.kind {
            1 => Kind::Commit(Side::Put),
            2 => Kind::Commit(Side::Take),
            _ => return Err(Fault::Wrong("a commit record has an unknown type")),
        },
        _ => return Err(Fault::Wrong("a record has an unknown type")),
    };
    next::<proto::Empty>(&mut content)?;
    if !content.is_empty() {
        return Err(Fault::Wrong("a record continues after its end"));
    }
    Ok(Record { transaction: header.transaction_id, order: header.write_order_id, kind })
}

/// Reads the next message, which has its length in front.
fn next<M: Message + Default>(content: &mut &[u8]) -> Result<M, Fault> {
    M::decode_length_delimited(content).map_err(|_| Fault::Wrong("cannot decode a record"))
}

fn put(put: proto::Put) -> Result<Kind, Fault> {
    let event = put.event.ok_or(Fault::Wrong("a put record has no event"))?;
    let is = i64::from(crc32fast::hash(&event.body));
    if put.checksum.is_some_and(|checksum| checksum != is) {
        return Err(Fault::Wrong("the checksum of an event does not match"));
    }
    let text = |bytes: Vec<u8>| match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    let header = |header: proto::FlumeEventHeader| {
        (text(header.key), text(header.value.unwrap_or_default()))
    };
    let headers = event.headers.into_iter().map(header).collect();
    checked(Event { headers, body: event.body })
}
