//! `aqueduct export` of files other than text: Avro rows as Sqoop writes them, and unsupported
//! files.

use std::fs;
use std::path::Path;

use aqueduct_tests::letters::letters;
use serde_json::json;

use super::export::{call, count};
use super::{Server, ended};

/// Rows of a file.
const ROWS: i64 = 3_000;

fn put_long(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// Returns a container file as Sqoop writes it: each field is a union with null.
fn file() -> Vec<u8> {
    let logical = |kind: &str, name: &str| json!({ "type": kind, "logicalType": name });
    let n = json!({ "type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 3 });
    let field = |name: &str, kind: serde_json::Value| {
        let kind = json!(["null", kind]);
        json!({ "name": name, "type": kind, "default": null })
    };
    let schema = json!({ "type": "record", "name": "orders", "fields": [
        field("id", json!("long")),
        field("flag", json!("boolean")),
        field("n", n),
        field("d", json!("double")),
        field("day", logical("int", "date")),
        field("at", logical("long", "timestamp-millis")),
        // Like times and dates without logical types in Sqoop.
        field("millis", json!("long")),
        field("ms_of_day", json!("long")),
        field("ms_day", json!("long")),
        field("of_day", logical("long", "time-micros")),
        field("local", logical("long", "local-timestamp-micros")),
        field("u", json!({ "type": "fixed", "name": "U", "size": 16, "logicalType": "uuid" })),
        field("raw", json!("bytes")),
        field("v", json!("string")),
    ] });
    let mut file = b"Obj\x01".to_vec();
    put_long(&mut file, 1);
    put_bytes(&mut file, b"avro.schema");
    put_bytes(&mut file, schema.to_string().as_bytes());
    put_long(&mut file, 0);
    file.extend([7; 16]);
    for block in 0..ROWS / 100 {
        let mut records = Vec::new();
        for id in block * 100..block * 100 + 100 {
            put_record(&mut records, id);
        }
        put_long(&mut file, 100);
        put_bytes(&mut file, &records);
        file.extend([7; 16]);
    }
    file
}

fn put_record(out: &mut Vec<u8>, id: i64) {
    let is_null = id % 10 == 0;
    put_long(out, 1);
    put_long(out, id);
    for field in 0..13 {
        put_long(out, i64::from(!is_null || field == 12));
        match field {
            12 => put_bytes(out, format!("say \"{id}\", e").as_bytes()),
            _ if is_null => {}
            0 => out.push(u8::from(id % 2 == 0)),
            1 => put_bytes(out, &(-id).to_be_bytes()),
            2 => out.extend((id as f64 + 0.5).to_le_bytes()),
            3 => put_long(out, id),
            4 | 5 => put_long(out, 1_700_000_000_000 + id),
            6 => put_long(out, 123_000),
            7 => put_long(out, id * 86_400_000),
            8 => put_long(out, 3_600_000_000),
            9 => put_long(out, 157_766_400_000_001),
            10 => out.extend(id.to_be_bytes().repeat(2)),
            _ => put_bytes(out, &[0, 255, b'\\']),
        }
    }
}

/// Exports Avro rows to a table, with all of their fields or some.
pub(super) fn rows_of_avro_are_rows_of_a_table(dir: &Path, server: &Server) {
    let (bytes, time, raw, begin) = match server {
        Server::Postgres(_) => ("bytea", "timestamp", "'\\x00ff5c'", "date '1970-01-01' + id::int"),
        Server::Mariadb(_) => {
            ("varbinary(9)", "datetime(3)", "X'00FF5C'", "date_add('1970-01-01', INTERVAL id DAY)")
        }
    };
    let (of_day, micros, uuid, same) = match server {
        Server::Postgres(_) => {
            ("time", "timestamp", "uuid", "repeat(lpad(to_hex(id), 16, '0'), 2)::uuid")
        }
        Server::Mariadb(_) => {
            ("time(6)", "datetime(6)", "binary(16)", "unhex(repeat(lpad(hex(id), 16, '0'), 2))")
        }
    };
    server.ask(&format!(
        "CREATE TABLE typed (id bigint, flag boolean, n decimal(20, 3), d double precision, \
         day date, at {time}, millis {time}, ms_of_day {of_day}, ms_day date, of_day {of_day}, \
         local {micros}, u {uuid}, raw {bytes}, v varchar(99))"
    ));
    let files = dir.join("avro");
    fs::create_dir(&files).expect("the test's own folder");
    fs::write(files.join("part-m-00000.avro"), file()).expect("a file is written");
    let (url, data) = (format!("file://{}", files.display()), dir.join("avro-data"));
    let data_dir = data.display().to_string();
    let arguments = ["--table", "typed", "--export-dir", &url, "--data-dir", &data_dir];
    let connection = server.connection(dir);
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(count(server, "typed"), ROWS as usize);
    let nulls = "typed WHERE id % 10 = 0 AND flag IS NULL AND n IS NULL AND d IS NULL AND day IS \
                 NULL AND at IS NULL AND millis IS NULL AND raw IS NULL AND v LIKE 'say%'";
    assert_eq!(count(server, nulls), ROWS as usize / 10);
    let right = format!(
        "typed WHERE id % 10 <> 0 AND flag = (id % 2 = 0) AND n = -0.001 * id AND d = id + 0.5 \
         AND day = {begin} AND at = millis AND raw = {raw} AND v = concat('say \"', id, '\", e') \
         AND ms_of_day = '00:02:03' AND ms_day = {begin} AND of_day = '01:00:00' AND u = {same} \
         AND local = '1975-01-01 00:00:00.000001'"
    );
    assert_eq!(count(server, &right), ROWS as usize * 9 / 10);
    let at = "typed WHERE id = 123 AND at = '2023-11-14 22:13:20.123'";
    assert_eq!(count(server, at), 1);
    assert!(letters(&data, &["refused", "unwritable_event"]).is_empty());
    // Some of the fields, by name.
    server.ask("CREATE TABLE fewer (v varchar(99), id bigint)");
    let some = ["--table", "fewer", "--export-dir", &url, "--columns", "id,v"];
    let (code, said) = ended(call(dir, &connection, &some));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(count(server, "fewer WHERE v LIKE concat('say \"', id, '\"%')"), ROWS as usize);
    for (name, head, expected) in [
        ("sequence", &b"SEQ\x05"[..], "not of version 6"),
        ("orc", b"ORC", "ORC"),
        ("columns", b"PAR1", "too short"),
    ] {
        let file = dir.join(name).with_extension("x");
        fs::write(&file, head).expect("a file is written");
        let url = format!("file://{}", file.display());
        let arguments = ["--table", "fewer", "--export-dir", &url];
        let (code, said) = ended(call(dir, &connection, &arguments));
        assert!(code == Some(1) && said.contains(expected), "{code:?}: {said}");
        let has_remedy = said.contains("as text, Avro or Parquet") || name == "columns";
        assert!(has_remedy, "the remedy: {said}");
    }
}
