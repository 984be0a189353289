//! Goal: a failed connection reports what to do, and values of any length cross the C interface
//! unchanged.
//!
//! Method: real drivers: FreeTDS, for which no server is available here, and SQLite.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use pipeline::{BuildContext, Classify, ErrorClass};
use serde_json::json;

use super::*;
use crate::connection::Connection;
use crate::database::Database;

const DRIVERS: &str = "/usr/lib/x86_64-linux-gnu/odbc";

fn target(url: &str) -> Target {
    let settings = json!({
        "url": url, "user": "me", "password": "hush;}x", "connect_timeout": "5s",
        "statement_timeout": "5s",
    });
    let database: Database = serde_json::from_value(settings).unwrap();
    database.target(&BuildContext::alone("a", Path::new("unused"), env::real())).unwrap()
}

fn freetds(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!("odbc:Driver={DRIVERS}/libtdsodbc.so;Server={ip};Port={port};TDS_Version=7.4")
}

/// Returns why the connection fails, and whether a retry helps.
async fn refusal(url: &str) -> (String, ErrorClass) {
    let Err(error) = Connection::open(&target(url)).await else { panic!("{url}: it connects") };
    let cause = std::error::Error::source(&error).map(|cause| cause.to_string());
    let text = format!("{error}: {}", cause.unwrap_or_default());
    assert!(!text.contains("hush"), "{text}");
    (text, error.class())
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_tried_again_and_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let (text, class) = refusal(&freetds(closed)).await;
    assert!(text.contains("cannot connect to Driver=") && text.contains("08"), "{text}");
    assert_eq!(class, ErrorClass::Transient, "{text}");
}

#[tokio::test]
async fn a_server_that_ends_within_the_login_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = freetds(listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The third and fourth byte contain the length of the packet.
        let mut head = [0; 8];
        stream.read_exact(&mut head).unwrap();
        (head[0], u16::from_be_bytes([head[2], head[3]]))
    });
    let (text, class) = refusal(&url).await;
    let (kind, length) = server.join().unwrap();
    assert!(kind == 0x12 && length > 8, "a packet of TDS before the login: {kind} {length}");
    assert!(text.contains("cannot connect to Driver="), "{text}");
    assert_eq!(class, ErrorClass::Transient, "{text}");
}

#[tokio::test]
async fn a_silent_server_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (text, class) = refusal(&freetds(listener.local_addr().unwrap())).await;
    assert_eq!(class, ErrorClass::Transient, "{text}");
}

#[tokio::test]
async fn names_a_missing_driver_and_the_command_that_lists_drivers() {
    for url in ["odbc:DSN=nowhere", "odbc:Driver=/nowhere/driver.so;Server=db"] {
        let (text, class) = refusal(url).await;
        assert!(text.contains("odbcinst -q -d") && text.contains("database.url"), "{text}");
        assert_eq!(class, ErrorClass::Blocked, "{text}");
    }
}

#[tokio::test]
async fn values_of_any_length_cross_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let target =
        target(&format!("odbc:Driver={DRIVERS}/libsqlite3odbc.so;Database={}", path.display()));
    let mut odbc = Odbc::open(&target).await.unwrap();
    assert_eq!(odbc.dialect, Dialect::Sqlite);
    odbc.run(&target, "CREATE TABLE t (n bigint, t text, b blob)").await.unwrap();
    let limit = target.statement_timeout;
    // Around the size of a chunk, and far above it.
    let lengths = [0, 1, 2046, 2047, 2048, 2049, 4095, 100_000];
    let text = |length: usize| "aé😀".chars().cycle().take(length).collect::<String>();
    let bytes = |length: usize| (0..length).map(|at| at as u8).collect::<Vec<u8>>();
    let rows: Vec<Vec<Theirs>> = lengths
        .iter()
        .map(|length| {
            let number = Theirs::Int(*length as i64);
            vec![number, Theirs::Text(text(*length)), Theirs::Bytes(bytes(*length))]
        })
        .chain([vec![Theirs::Null, Theirs::Null, Theirs::Null]])
        .collect();
    for row in rows.clone() {
        let insert = "INSERT INTO t VALUES (?, ?, ?)";
        odbc.call(&target, move |it| it.execute(insert, &row, limit)).await.unwrap();
    }
    let mut read = odbc.rows(&target, "SELECT n, t, b FROM t ORDER BY rowid", &[]);
    for row in rows {
        let expected: Vec<Value> = row.into_iter().map(of_odbc).collect();
        let found = read.recv().await.unwrap().unwrap();
        let shown = |row: &[Value]| format!("{row:?}").chars().take(200).collect::<String>();
        assert!(found == expected, "{} and not {}", shown(&found), shown(&expected));
    }
    assert!(read.recv().await.is_none());
}
