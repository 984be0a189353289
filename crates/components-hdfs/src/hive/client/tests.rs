//! The client against scripted servers: responses are decoded, and memory stays proportional to the
//! received bytes. `tests/tests/system/hive.rs` runs a real metastore.

use std::sync::Arc;
use std::time::Duration;

use formats::thrift::write::Type;
use formats::thrift::{Extent, Kind, Protocol};
use pipeline::TableForm;
use pipeline::env::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::hive::{Column, Keys, Reader, SettingNames};

const LIMIT: Duration = Duration::from_millis(500);

fn spec(create: bool) -> TableSpec {
    TableSpec {
        database: "logs".into(),
        table: "web".into(),
        create,
        location: "hdfs://nn:8020/logs".into(),
        keys: Keys::from_folders(&["day="]).unwrap(),
        columns: vec![Column { name: "line".into(), kind: "string".into() }],
        reader: Reader::for_form(&TableForm::lines(), None),
    }
}

async fn listen() -> Box<dyn Listener> {
    env::real().net.listen("127.0.0.1:0").await.unwrap()
}

/// Creates a client of these addresses.
fn client(addresses: &[&str], framed: bool, create: bool) -> Metastore {
    let addresses = addresses.iter().map(|it| (*it).to_owned()).collect();
    let names = SettingNames::Hive;
    let places = Places { addresses, framed, user: None, timeout: LIMIT, names };
    Metastore::new(env::real(), places, spec(create))
}

fn partitions(days: &[&str]) -> Vec<Partition> {
    let keys = Keys::from_folders(&["day="]).unwrap();
    days.iter().map(|day| keys.partition(&format!("day={day}")).unwrap()).collect()
}

/// A scripted response: the expected call, and the fields of its result.
type Answer = (&'static str, Vec<u8>);

fn result(put: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new(Protocol::Binary);
    put(&mut writer);
    writer.stop();
    writer.out
}

/// Returns the exception in field `id` of a result.
fn thrown(id: u8, text: &str) -> Vec<u8> {
    result(|writer| {
        writer.field(Type::Struct, id, 1);
        writer.field(Type::Binary, 1, 1);
        writer.bytes(text.as_bytes());
        writer.stop();
    })
}

/// Returns a table with these partition columns and this property.
fn table(keys: &[&str], property: (&str, &str)) -> Vec<u8> {
    result(|writer| {
        writer.field(Type::Struct, 0, 0);
        writer.field(Type::Struct, 1, 1);
        writer.field(Type::Struct, 7, 1);
        for (id, text) in [(2, "hdfs://nn:8020/logs"), (3, "input"), (40, "unknown here")] {
            writer.field(Type::Binary, id, 1);
            writer.bytes(text.as_bytes());
        }
        writer.stop();
        writer.field(Type::List, 8, 1);
        writer.list(Type::Struct, keys.len());
        for key in keys {
            writer.field(Type::Binary, 1, 1);
            writer.bytes(key.as_bytes());
            writer.stop();
        }
        writer.field(Type::Map, 9, 1);
        writer.texts(1, [property].into_iter());
        writer.stop();
        writer.stop();
    })
}

const PLAIN: (&str, &str) = ("EXTERNAL", "TRUE");

/// Responds to the calls of one connection in turn. Returns the received messages.
async fn serve(listener: Box<dyn Listener>, framed: bool, script: Vec<Answer>) -> Vec<Vec<u8>> {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut calls = Vec::new();
    for (index, (name, fields)) in script.into_iter().enumerate() {
        let (mut come, mut extent) = (Vec::new(), Extent::new(1 << 20));
        if framed {
            stream.read_u32().await.unwrap();
        }
        while extent.of(&come).unwrap().is_none() {
            assert!(stream.read_buf(&mut come).await.unwrap() > 0, "{name} does not come");
        }
        let mut writer = Writer::new(Protocol::Binary);
        writer.head(name, Kind::Reply, index as i32 + 1);
        writer.out.extend(fields);
        if framed {
            stream.write_u32(writer.out.len() as u32).await.unwrap();
        }
        // Byte by byte: responses may arrive in any chunks.
        for byte in writer.out {
            stream.write_all(&[byte]).await.unwrap();
        }
        calls.push(come);
    }
    calls
}

/// Returns the result of adding these days with a script, and the calls.
async fn add(
    days: &[&str],
    framed: bool,
    create: bool,
    script: Vec<Answer>,
) -> (Result<(), MetastoreError>, Vec<Vec<u8>>) {
    let listener = listen().await;
    let address = listener.local_address();
    let served = tokio::spawn(serve(listener, framed, script));
    let added = client(&[&address], framed, create).add(&partitions(days)).await;
    (added, served.await.unwrap())
}

/// Returns a partition of this value with these properties, and an unknown field.
fn partition(value: &str, properties: &[(&str, &str)]) -> Vec<u8> {
    result(|writer| {
        writer.field(Type::Struct, 0, 0);
        writer.field(Type::List, 1, 1);
        writer.list(Type::Binary, 1);
        writer.bytes(value.as_bytes());
        writer.field(Type::Map, 7, 1);
        writer.texts(properties.len(), properties.iter().copied());
        writer.field(Type::Binary, 40, 1);
        writer.bytes(b"unknown here");
        writer.stop();
    })
}

#[tokio::test]
async fn properties_are_added_to_a_partition_once_and_its_other_fields_stay() {
    let before = [("numFiles", "3"), ("aqueduct.receipt.hash", "old")];
    let after = [("numFiles", "3"), ("aqueduct.receipt.hash", "new")];
    let script = vec![
        ("get_partition", partition("1", &before)),
        ("alter_partition_with_environment_context", result(|_| ())),
        ("get_partition", partition("1", &after)),
        ("get_partition", thrown(2, "no partition")),
        ("get_table_req", table(&["day"], PLAIN)),
        ("add_partitions_req", result(|_| ())),
        ("get_partition", partition("2", &[])),
        ("alter_partition_with_environment_context", result(|_| ())),
        ("get_partition", partition("1", &before)),
        ("alter_partition_with_environment_context", thrown(1, "is read-only")),
    ];
    let listener = listen().await;
    let address = listener.local_address();
    let served = tokio::spawn(serve(listener, false, script));
    let client = client(&[&address], false, false);
    let wanted = [("aqueduct.receipt.hash".to_owned(), "new".to_owned())];
    let [one, two] = partitions(&["1", "2"]).try_into().unwrap();
    for partition in [&one, &one, &two] {
        client.describe(partition, &wanted).await.unwrap();
    }
    let error = client.describe(&one, &wanted).await.unwrap_err().to_string();
    assert!(error.contains("is read-only"), "{error}");
    let calls = served.await.unwrap();
    for text in ["numFiles", "new", "unknown here", "DO_NOT_UPDATE_STATS"] {
        assert!(contains(&calls[1], text), "{text}");
    }
    assert!(!contains(&calls[1], "old"));
    assert!(contains(&calls[5], "day=2") && contains(&calls[7], "new"));
}

fn contains(message: &[u8], text: &str) -> bool {
    message.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_partition_has_the_descriptor_of_its_table_and_a_location_of_its_own() {
    for framed in [false, true] {
        let script =
            vec![("get_table_req", table(&["day"], PLAIN)), ("add_partitions_req", result(|_| ()))];
        let (added, calls) = add(&["1", "2"], framed, false, script).await;
        added.unwrap();
        for text in ["hdfs://nn:8020/logs/day=1", "hdfs://nn:8020/logs/day=2", "unknown here"] {
            assert!(contains(&calls[1], text), "{text}");
        }
    }
}

#[tokio::test]
async fn accepts_tables_and_partitions_that_others_created() {
    let there = |id| thrown(id, "exists");
    let script = vec![
        ("get_table_req", thrown(2, "no table")),
        ("create_database", there(1)),
        ("create_table", there(1)),
        ("get_table_req", table(&["day"], PLAIN)),
        ("add_partitions_req", there(2)),
        ("add_partitions_req", there(2)),
        ("add_partitions_req", result(|_| ())),
    ];
    let (added, calls) = add(&["1", "2"], false, true, script).await;
    added.unwrap();
    assert!(contains(&calls[5], "day=1") && !contains(&calls[5], "day=2"), "one by one");
    assert!(contains(&calls[6], "day=2"));
    assert!(contains(&calls[2], "EXTERNAL_TABLE"));
}

#[tokio::test]
async fn reports_refusals_of_the_metastore_with_the_remedy() {
    let get = |fields| vec![("get_table_req", fields)];
    let unknown = {
        let mut script = get(table(&["day"], PLAIN));
        script.push(("add_partitions_req", thrown(1, "bad value")));
        script
    };
    for (script, said) in [
        (get(thrown(2, "gone")), "the table `logs.web` does not exist in the metastore"),
        (get(table(&["host"], PLAIN)), "are (host), but those in the path of `url` are (day)"),
        (get(table(&["day"], ("transactional", "true"))), "is transactional"),
        (get(thrown(1, "no database")), "no database; see the log"),
        (unknown, "bad value"),
        (vec![("get_table", table(&["day"], PLAIN))], "if it uses the framed transport"),
    ] {
        let error = add(&["1"], false, false, script).await.0.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

/// Starts a server that sends these bytes and keeps the connection open.
async fn raw(bytes: &'static [u8]) -> (String, tokio::task::JoinHandle<()>) {
    let listener = listen().await;
    let address = listener.local_address();
    let served = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                drop(stream.write_all(bytes).await);
                // Until the client disconnects.
                drop(stream.read_to_end(&mut Vec::new()).await);
            });
        }
    });
    (address, served)
}

#[tokio::test]
async fn a_hostile_answer_ends_the_call_without_memory_for_what_it_announces() {
    for (bytes, said) in [
        (&b"\x04\x00\x00\x00\x05wrong"[..], "requires Kerberos"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "cannot decode the response"),
        (b"\x80\x01\x00\x02\x7f\xff\xff\xff", "cannot decode the response"),
        (b"\x80\x01\x00\x02", "no response to `get_table_req`"),
        (b"", "no response to `get_table_req`"),
    ] {
        let (address, _served) = raw(bytes).await;
        let added = client(&[&address], false, false).add(&partitions(&["1"])).await;
        let error = added.unwrap_err();
        let mut text = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            text += &cause.to_string();
        }
        assert!(text.contains(said), "{text}");
    }
}

#[tokio::test]
async fn the_next_metastore_is_tried_and_stays_the_one_that_is_asked() {
    let listener = listen().await;
    let works = listener.local_address();
    // Its listener is closed.
    let closed = listen().await.local_address();
    let (silent, _served) = raw(b"").await;
    let twice =
        || [("get_table_req", table(&["day"], PLAIN)), ("add_partitions_req", result(|_| ()))];
    let script = twice().into_iter().chain(twice()).collect();
    let served = tokio::spawn(serve(listener, false, script));
    let client = Arc::new(client(&[&closed, &silent, &works], false, false));
    client.add(&partitions(&["1"])).await.unwrap();
    let again = tokio::time::Instant::now();
    client.add(&partitions(&["2"])).await.unwrap();
    assert!(again.elapsed() < LIMIT, "the silent one is not asked again");
    assert_eq!(served.await.unwrap().len(), 4, "one connection serves both");
}
