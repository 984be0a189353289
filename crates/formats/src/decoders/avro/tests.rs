//! Goal: the events of a file equal those of Flume's deserializer, each exactly once when reading
//! resumes at any record.
//!
//! Method: files of Avro's own Java library, and the events that Flume 1.11 made of them
//! (`tests/golden/avro`, by the Java program there); then each byte is damaged, and the files are
//! cut at each byte.

use pipeline::{Batch, BatchBuilder, Message, PieceLimits};
use serde_json::{Value, json};

use super::super::testkit::{decoded, decoder, message};
use super::*;

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/avro/", $name)).as_slice()
    };
}

/// The same records in each codec; in blocks of 5, 1 and 6.
const FILES: [&[u8]; 5] = [
    golden!("null.avro"),
    golden!("deflate.avro"),
    golden!("snappy.avro"),
    golden!("zstandard.avro"),
    golden!("bzip2.avro"),
];
const RECORDS: usize = 12;

/// A body in hexadecimal, and the headers.
type Event = (String, Vec<(String, String)>);

fn events(batch: &Batch) -> Vec<Event> {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let event = |event: pipeline::EventRef<'_>| {
        let body = event.body().iter().map(|byte| format!("{byte:02x}")).collect();
        (body, event.headers().map(owned).collect())
    };
    batch.iter().map(event).collect()
}

/// Returns Flume's events.
fn of_flume(golden: &[u8]) -> Vec<Event> {
    let line = |line: &str| {
        let mut parts = line.split('\t');
        let body = parts.next().unwrap().to_owned();
        let header = |header: &str| {
            let (name, value) = header.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        (body, parts.map(header).collect())
    };
    std::str::from_utf8(golden).unwrap().lines().map(line).collect()
}

/// Returns the events after the skipped ones, and the reason for the end.
fn read(
    mut file: &[u8],
    settings: &Value,
    passed: u64,
    at_once: usize,
) -> (Vec<Event>, Option<String>) {
    let decoder = decoder(settings).unwrap();
    let mut reading = decoder.begin_file().unwrap();
    if let Err(error) = reading.skip_events(&mut file, passed) {
        return (Vec::new(), Some(error.to_string()));
    }
    let limits = PieceLimits { bytes: 1 << 20, events: at_once };
    let mut all = Vec::new();
    loop {
        let mut builder = BatchBuilder::default();
        match reading.next(&mut file, limits, &[], &mut builder) {
            Ok(is_more) => {
                assert!(builder.len() <= at_once);
                assert!(!is_more || !builder.is_empty());
                all.extend(events(&builder.finish()));
                if !is_more {
                    return (all, None);
                }
            }
            Err(error) => {
                assert!(builder.is_empty());
                return (all, Some(error.to_string()));
            }
        }
    }
}

#[test]
fn records_are_the_events_that_flume_makes_of_them_in_each_codec() {
    for (schema_type, expected) in
        [("hash", golden!("flume-hash.txt")), ("literal", golden!("flume-literal.txt"))]
    {
        let settings = json!({ "type": "avro", "schema_type": schema_type });
        let expected = of_flume(expected);
        assert_eq!(expected.len(), RECORDS);
        for file in FILES {
            assert_eq!(read(file, &settings, 0, 1000), (expected.clone(), None));
        }
    }
    let error = read(golden!("xz.avro"), &json!("avro"), 0, 9).1.unwrap();
    assert!(error.contains("codec `xz` of the file is not supported"), "{error}");
}

#[test]
fn reading_goes_on_at_any_record_and_gives_each_of_the_others_once() {
    let all = of_flume(golden!("flume-hash.txt"));
    for file in FILES {
        for passed in 0..=RECORDS {
            for at_once in [1, 2, 5, 7, 100] {
                let rest = read(file, &json!("avro"), passed as u64, at_once);
                assert_eq!(rest, (all[passed..].to_vec(), None), "{passed} {at_once}");
            }
        }
        let error = read(file, &json!("avro"), RECORDS as u64 + 1, 1).1.unwrap();
        assert!(error.contains("fewer records"), "{error}");
    }
}

#[test]
fn pieces_keep_to_the_limit_of_bytes_and_a_larger_record_is_one_alone() {
    let decoder = decoder(&json!("avro")).unwrap();
    for (bytes, largest) in [(0, 1), (100, 3), (1 << 20, RECORDS)] {
        let (mut file, mut reading) = (FILES[0], decoder.begin_file().unwrap());
        let (mut lengths, mut is_more) = (Vec::new(), true);
        while is_more {
            let mut piece = BatchBuilder::default();
            let limits = PieceLimits { bytes, events: 100 };
            is_more = reading.next(&mut file, limits, &[], &mut piece).unwrap();
            let batch = piece.finish();
            let sum: usize = batch.iter().map(|event| event.body().len()).sum();
            assert!(batch.len() == 1 || sum <= bytes, "{sum}");
            lengths.push(batch.len());
        }
        assert_eq!(lengths.iter().sum::<usize>(), RECORDS);
        assert!(lengths.iter().all(|length| *length <= largest), "{lengths:?}");
    }
}

#[test]
fn a_file_that_is_cut_anywhere_gives_whole_blocks_and_says_that_it_is_cut() {
    let all = of_flume(golden!("flume-hash.txt"));
    for file in FILES {
        let mut whole = Vec::new();
        for length in 1..file.len() {
            let (events, problem) = read(&file[..length], &json!("avro"), 0, 4);
            assert_eq!(events, all[..events.len()]);
            assert!([0, 5, 6].contains(&events.len()), "{}", events.len());
            match problem {
                Some(problem) => assert!(problem.contains("too early"), "{problem}"),
                None => whole.push(events.len()),
            }
        }
        assert_eq!(whole, [0, 5, 6], "a cut between two blocks cannot be seen");
    }
}

#[test]
fn damage_at_any_byte_ends_the_file_there_and_not_before() {
    let all = of_flume(golden!("flume-hash.txt"));
    for file in FILES {
        let sync = &file[file.len() - 16..];
        let ends: Vec<usize> =
            (16..=file.len()).filter(|end| &file[end - 16..*end] == sync).collect();
        assert_eq!(ends.len(), 4);
        for at in 0..file.len() {
            for change in [1, 0x80, 0xff] {
                let mut damaged = file.to_vec();
                damaged[at] ^= change;
                let (events, _) = read(&damaged, &json!("avro"), 0, 100);
                if at >= ends[0] {
                    let before = [0, 5, 6][ends.iter().filter(|end| **end <= at).count() - 1];
                    assert!(events.len() >= before && events[..before] == all[..before], "{at}");
                }
            }
        }
        // Damage each byte of each block's marker: the records of that block must not be returned.
        for (end, before) in ends[1..].iter().zip([0, 5, 6]) {
            let mut damaged = file.to_vec();
            damaged[end - 3] ^= 4;
            let (events, problem) = read(&damaged, &json!("avro"), 0, 100);
            assert_eq!(events.len(), before);
            assert!(problem.unwrap().contains("sync marker"));
        }
    }
}

#[test]
fn a_message_is_a_container_without_a_codec() {
    let headers = [("site", "fra"), ("flume.avro.schema.hash", "of the request")];
    let plain = Message { headers: &headers, ..message(FILES[0]) };
    let batch = decoded(&json!("avro"), &plain).unwrap();
    assert_eq!(batch.len(), RECORDS);
    assert_eq!(batch.shared_header("site"), Some("fra"));
    assert_eq!(batch.shared_header("flume.avro.schema.hash"), Some("adaeb18a83d2bf1c"));
    for file in &FILES[1..] {
        let error = decoded(&json!("avro"), &message(file)).unwrap_err();
        assert!(error.problem.contains("`Content-Encoding: gzip`"), "{error}");
    }
    let cut = decoded(&json!("avro"), &message(&FILES[0][..1300])).unwrap_err();
    assert!(cut.problem.contains("too early"), "{cut}");
    assert_eq!(decoded(&json!("avro"), &message(b"")).unwrap().len(), 0);
}

#[test]
fn a_schema_is_news_once_and_a_limit_that_can_never_work_is_refused() {
    let logged = Arc::<Mutex<BTreeSet<String>>>::default();
    let schemas = Schemas { schema_type: SchemaType::Hash, logged: logged.clone() };
    let avro = Avro { block_max: 1, schemas };
    for n in 0..2 * LOGGED_MAX {
        let file = avro.begin(false);
        assert!(file.schemas.is_news(&n.to_string()));
        assert!(
            !avro.begin(false).schemas.is_news(&n.to_string()),
            "known to the next file as well"
        );
        assert!(logged.lock().unwrap().len() <= LOGGED_MAX);
    }
    for size in ["0B", "257MiB"] {
        let error = decoder(&json!({ "type": "avro", "block_max": size })).err().unwrap();
        assert!(error.contains("block_max"), "{error}");
    }
}
