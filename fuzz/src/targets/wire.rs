//! Messages between two agents, and data that channels store in the same encodings.

use bytes::Bytes;
use pipeline::Batch;
use pipeline::file_position::{LineRange, PATH_BYTES_MAX, Position};
use prost::Message;
use wire::v1::{FromReceiver, FromSender, from_receiver, from_sender};
use wire::{keys, unpack};

use super::chosen;

/// Maximum size of a batch.
const BODY_MAX: u64 = 64 << 10;

/// A message of a sender or a receiver, a batch, a set of identities, floors, or a file position.
/// Each is rejected, or survives a round trip.
pub(super) fn wire(input: &[u8]) -> usize {
    let (choice, bytes) = chosen(input);
    match choice % 6 {
        0 => FromSender::decode(bytes).map_or(0, from_sender),
        1 => FromReceiver::decode(bytes).map_or(0, from_receiver),
        2 => Batch::decode(Bytes::copy_from_slice(bytes)).map_or(0, |read| batch(&read)),
        3 => usize::from(identities(Bytes::copy_from_slice(bytes))),
        4 => usize::from(floors(Bytes::copy_from_slice(bytes))),
        _ => position(bytes),
    }
}

fn from_sender(message: FromSender) -> usize {
    match message.message {
        Some(from_sender::Message::Hello(hello)) => {
            usize::from(identities(hello.keys)) + usize::from(floors(hello.floors))
        }
        Some(from_sender::Message::Put(put)) => {
            unpack(put, BODY_MAX).map_or(0, |read| batch(&read))
        }
        Some(from_sender::Message::Progress(progress)) => {
            keys::decode_reached(&progress.reached).map_or(0, |read| read.len())
        }
        None => 0,
    }
}

fn from_receiver(message: FromReceiver) -> usize {
    use from_receiver::Message as M;
    let read = |keys: Bytes| usize::from(identities(keys));
    match message.message {
        Some(M::Welcome(welcome)) => read(welcome.stored_keys) + read(welcome.committed_keys),
        Some(M::Stored(stored)) => read(stored.keys),
        Some(M::Committed(committed)) => read(committed.keys),
        Some(M::Busy(busy)) => read(busy.keys),
        Some(M::Refused(refused)) => usize::from(keys::identity(refused.identity.as_ref()).is_ok()),
        _ => 0,
    }
}

fn batch(read: &Batch) -> usize {
    let again = Batch::decode(read.encode()).expect("what was read can be stored");
    assert!(again.iter().map(|event| event.body()).eq(read.iter().map(|event| event.body())));
    let headers = |batch: &Batch| -> Vec<Vec<(String, String)>> {
        let text = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        batch.iter().map(|event| event.headers().map(text).collect()).collect()
    };
    assert_eq!(headers(&again), headers(read), "it comes back as it was");
    read.len()
}

fn identities(bytes: Bytes) -> bool {
    let extent = keys::extent(&bytes);
    let Ok(read) = keys::decode(bytes) else { return false };
    let extent = extent.expect("what can be read can be counted");
    assert!(read.iter().count() as u64 <= extent.lives, "no more lives than were counted");
    assert_eq!(keys::decode(keys::encode(&read)), Ok(read), "it comes back as it was");
    true
}

fn floors(bytes: Bytes) -> bool {
    let Ok(read) = keys::decode_floors(bytes) else { return false };
    let again = keys::decode_floors(keys::encode_floors(&read)).expect("what was read is valid");
    assert!(again.iter().eq(read.iter()), "it comes back as it was");
    true
}

fn position(bytes: &[u8]) -> usize {
    let _ = LineRange::between(None, bytes).map(|stretch| stretch.to_string());
    let Some((read, place)) = Position::decode(bytes) else { return 0 };
    // Longer ones are never stored: a place that does not fit is omitted.
    if read.path.as_os_str().len() + 1 + place.as_os_str().len() > PATH_BYTES_MAX {
        return 0;
    }
    let again = Position::decode(&read.encode(&place));
    assert_eq!(again, Some((read, place)), "it comes back as it was");
    1
}
