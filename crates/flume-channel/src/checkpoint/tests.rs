//! A checkpoint is taken whole or not at all.

use super::*;

const CAPACITY: u64 = 4;

fn event(offset: i32) -> Pointer {
    Pointer::new(1, offset).unwrap()
}

fn long(event: Pointer) -> i64 {
    i64::from(event.file()) << 32 | event.offset() as i64
}

/// A checkpoint with two events, the first at the end of the ring, and its metadata.
fn checkpoint(version: i64, incomplete: i64) -> (Vec<u8>, Vec<u8>) {
    let mut numbers = vec![0; HEADER as usize];
    (numbers[VERSION], numbers[ORDER], numbers[INCOMPLETE]) = (version, 50, incomplete);
    (numbers[SIZE], numbers[HEAD]) = (2, 3);
    numbers.extend([long(event(20)), 99, 99, long(event(10))]);
    let bytes = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    let meta = proto::Checkpoint { version: 3, write_order_id: 50, queue_size: 2, queue_head: 3 };
    (bytes, meta.encode_length_delimited_to_vec())
}

fn parse(bytes: &[u8], meta: Option<&[u8]>) -> Result<State, BadCheckpoint> {
    read(&mut &bytes[..], HEADER + CAPACITY, meta)
}

#[test]
fn the_queue_is_a_ring() {
    for version in [2, 3] {
        let (bytes, meta) = checkpoint(version, 0);
        let mut state = parse(&bytes, (version == 3).then_some(&meta[..])).unwrap();
        state.queue.sort_unstable();
        assert_eq!(state.queue, [(0, event(10)), (1, event(20))]);
        assert_eq!(state.order, 50);
    }
}

#[test]
fn one_that_is_not_whole_is_of_no_use() {
    let problem = |bytes: &[u8], meta: Option<&[u8]>| parse(bytes, meta).unwrap_err().to_string();
    let (bytes, meta) = checkpoint(3, 1);
    assert_eq!(
        problem(&bytes, Some(&meta)),
        "it is incomplete, because Flume was killed while it wrote the file"
    );
    let (mut bytes, meta) = checkpoint(3, 0);
    assert_eq!(problem(&bytes, None), "checkpoint.meta is missing");
    assert_eq!(problem(&bytes, Some(&meta[1..])), "cannot decode checkpoint.meta");
    assert!(parse(&bytes[..bytes.len() - 1], Some(&meta)).is_err(), "cut off");
    bytes[8 * ORDER + 7] += 1;
    let other = "checkpoint and checkpoint.meta were written at different times";
    assert_eq!(problem(&bytes, Some(&meta)), other);
    let (mut bytes, _) = checkpoint(2, 0);
    bytes[8 * SIZE + 7] = 3;
    bytes.truncate(bytes.len() - 8 * 3);
    bytes.extend([0; 24]);
    assert_eq!(problem(&bytes, None), "an entry of its queue is empty");
    bytes[8 * SIZE + 7] = 5;
    assert_eq!(problem(&bytes, None), "the size of its queue is invalid");
    assert!(read(&mut &bytes[..], 7, None).is_err(), "too short");
}

fn in_flight_file(numbers: &[i64]) -> Vec<u8> {
    let content: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    [&Md5::digest(&content)[..], &content].concat()
}

#[test]
fn in_flight_events_are_read_by_their_transaction() {
    let ends_in_zeros = [7, 2, long(event(10)), long(event(20)), 0, 0];
    let open = in_flight(&in_flight_file(&ends_in_zeros)).unwrap();
    assert_eq!(open, [(7, vec![event(10), event(20)])].into());
    assert_eq!(in_flight(&[]).unwrap(), BTreeMap::new());
}

#[test]
fn an_in_flight_file_that_does_not_fit_its_checksum_or_itself_is_refused() {
    let mut bytes = in_flight_file(&[7, 1, long(event(10))]);
    bytes[20] ^= 1;
    assert!(in_flight(&bytes).unwrap_err().to_string().contains("checksum"));
    assert!(in_flight(&in_flight_file(&[7])).is_err());
    assert!(in_flight(&in_flight_file(&[7, i64::MAX, long(event(10))])).is_err());
    assert!(in_flight(&bytes[..9]).is_err());
}

#[test]
fn a_stream_of_snappy_is_unpacked_and_a_hostile_one_refused() {
    let block = snap::raw::Encoder::new().compress_vec(b"hello ").unwrap();
    let length = u32::try_from(block.len()).unwrap().to_be_bytes();
    let head = [&SNAPPY[..], &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
    let packed = [&head[..], &length, &block, &length, &block].concat();
    let mut text = String::new();
    Unsnappy::new(&packed[..]).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello hello ");

    let mut cut = Unsnappy::new(&packed[..packed.len() - 1]).unwrap();
    assert!(cut.read_to_string(&mut text).is_err());
    let long = [&head[..], &[0xff; 4]].concat();
    assert!(Unsnappy::new(&long[..]).unwrap().read_to_string(&mut text).is_err());
    // A block that claims to expand to 4 GiB.
    let bomb = [&head[..], &[0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    assert!(Unsnappy::new(&bomb[..]).unwrap().read_to_string(&mut text).is_err());
    assert!(Unsnappy::new(&b"PK\x03\x04 and some more bytes"[..]).is_err());
}
