//! Avro records with nested and logical types become typed rows, and pyarrow reads the values of
//! nested columns, their types and their ids in the files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::iceberg::python;
use aqueduct_tests::wait;
use serde_json::{Value, json};

use super::bodies::{bytes, long};
use super::lake;

const RECORDS: usize = 3_000;

const SCHEMA: &str = r#"{"type":"record","name":"Order","fields":[
    {"name":"id","type":"long"},
    {"name":"tags","type":{"type":"array","items":["null","string"]}},
    {"name":"user","type":["null",{"type":"record","name":"User","fields":[
        {"name":"name","type":"string"},
        {"name":"born","type":{"type":"int","logicalType":"date"}}]}]},
    {"name":"prices","type":{"type":"map","values":
        {"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}},
    {"name":"points","type":{"type":"array","items":{"type":"record","name":"Point","fields":[
        {"name":"x","type":"double"},{"name":"y","type":["null","float"]}]}}},
    {"name":"big","type":{"type":"bytes","logicalType":"decimal","precision":60,"scale":3}},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"lasts","type":
        {"type":"fixed","name":"D","size":12,"logicalType":"duration"}}]}"#;

const COLUMNS: &str = r#"[
    { name = "id", type = "int64", required = true, field_id = 3 },
    { name = "tags", type = "list<string>" },
    { name = "user", type = "struct<name: string required, born: date>", field_id = 1 },
    { name = "prices", type = "map<string, decimal(9,2)>" },
    { name = "points", type = "list<struct<x: double required, y: float>>" },
    { name = "big", type = "decimal", precision = 60, scale = 3 },
    { name = "at", type = "timestamp_micros" },
    { name = "lasts", type = "struct<months: uint32, days: uint32, millis: uint32>" },
]"#;

/// Parts of the schema as pyarrow prints it, without spaces.
const FIELDS: [&str; 8] = [
    "requiredint64field_id=3id;",
    "tags(List){repeatedgroupfield_id=-1list{optionalbinaryfield_id=9element(String)",
    "field_id=1user{requiredbinaryfield_id=10name(String);optionalint32field_id=11born(Date",
    "prices(Map){repeatedgroupfield_id=-1key_value{requiredbinaryfield_id=12key(String)",
    "optionalint32field_id=13value(Decimal(precision=9,scale=2))",
    "optionalgroupfield_id=14element",
    "field_id=6big(Decimal(precision=60,scale=3))",
    "optionalint32field_id=17months(Int(bitWidth=32,isSigned=false))",
];

fn record(out: &mut Vec<u8>, n: usize) {
    let number = n as i64;
    long(out, number);
    if n.is_multiple_of(3) {
        long(out, 2);
        out.push(0);
        long(out, 1);
        bytes(out, format!("t{n}").as_bytes());
    }
    out.push(0);
    long(out, i64::from(n.is_multiple_of(2)));
    if n.is_multiple_of(2) {
        bytes(out, "Łódź".as_bytes());
        long(out, -1);
    }
    if n.is_multiple_of(5) {
        long(out, 1);
        bytes(out, b"EUR");
        bytes(out, &(-(n as i32)).to_be_bytes());
    }
    out.push(0);
    if n.is_multiple_of(7) {
        long(out, 1);
        out.extend((n as f64 / 4.0).to_le_bytes());
        out.push(0);
    }
    out.push(0);
    // 2^150 + n.
    let mut big = [0; 19];
    big[0] = 0x40;
    big[11..].copy_from_slice(&(n as u64).to_be_bytes());
    bytes(out, &big);
    long(out, 1_764_072_000_000_000 + number);
    for part in [1, u32::MAX, n as u32] {
        out.extend(part.to_le_bytes());
    }
}

fn expected(n: usize) -> Value {
    let tags = if n.is_multiple_of(3) { json!([null, format!("t{n}")]) } else { json!([]) };
    let point = json!([{ "x": n as f64 / 4.0, "y": null }]);
    let points = if n.is_multiple_of(7) { point } else { json!([]) };
    let user = json!({ "name": "Łódź", "born": "1969-12-31" });
    let cents = format!("{}{}.{:02}", if n == 0 { "" } else { "-" }, n / 100, n % 100);
    let big = (1_u128 << 127).to_string();
    // The digits of 2^150 + n, by the schoolbook.
    let big = (0..23).fold(big, |digits, _| {
        let mut carry = 0;
        let doubled: Vec<u8> = digits
            .bytes()
            .rev()
            .map(|digit| {
                let sum = 2 * (digit - b'0') + carry;
                carry = sum / 10;
                b'0' + sum % 10
            })
            .collect();
        let digits: String = doubled.into_iter().rev().map(char::from).collect();
        if carry > 0 { format!("{carry}{digits}") } else { digits }
    });
    let (high, low) = big.split_at(big.len() - 9);
    let low = low.parse::<usize>().expect("digits") + n;
    let (low, digits) = (format!("{low:09}"), high.to_owned());
    let (whole, fraction) = low.split_at(6);
    json!({
        "id": n,
        "tags": tags,
        "user": if n.is_multiple_of(2) { user } else { Value::Null },
        "prices": if n.is_multiple_of(5) { json!({ "EUR": cents }) } else { json!({}) },
        "points": points,
        "big": format!("{digits}{whole}.{fraction}"),
        "at": 1_764_072_000_000_000_i64 + n as i64,
        "lasts": { "months": 1, "days": u32::MAX, "millis": n },
    })
}

fn container() -> Vec<u8> {
    let mut out = b"Obj\x01\x02".to_vec();
    bytes(&mut out, b"avro.schema");
    bytes(&mut out, SCHEMA.as_bytes());
    out.push(0);
    out.extend([7; 16]);
    for first in (0..RECORDS).step_by(1_000) {
        let mut records = Vec::new();
        (first..first + 1_000).for_each(|n| record(&mut records, n));
        long(&mut out, 1_000);
        bytes(&mut out, &records);
        out.extend([7; 16]);
    }
    out
}

fn configuration(dir: &Path) -> String {
    let (lake, dir) = (lake(dir, "1s"), dir.display());
    format!(
        r#"
[agent]
data_dir = "{dir}/data"
[sources.orders]
type = "spool_dir"
directory = "{dir}/spool"
decoder = {{ type = "avro_rows", format = "rows" }}
channels = ["main"]
{lake}columns = {COLUMNS}
row_group_size = "64KiB"
"#
    )
}

#[test]
#[ignore = "needs the programs and Python: tests/run"]
fn nested_columns_have_the_values_of_avro_for_pyarrow() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    for part in ["spool", "lake"] {
        fs::create_dir(dir.join(part)).expect("the test's own folder");
    }
    let text = configuration(dir);
    let mut agent = Agent::configured("aqueduct-collector", dir, "collector", &text);
    agent.start();
    fs::write(dir.join("orders.new"), container()).expect("the test's own folder");
    fs::rename(dir.join("orders.new"), dir.join("spool/orders.avro")).expect("a rename");
    wait::until("the records to be delivered", Duration::from_secs(60), || {
        let metrics = agent.metrics()?;
        let stored = metrics.sum("aqueduct_sink_committed_events_total")?;
        (stored >= RECORDS as f64).then_some(())
    });
    agent.stop(Duration::from_secs(25));

    let script = dir.join("read.py");
    fs::write(&script, include_str!("nested.py")).expect("the test's own folder");
    let output = python().arg(&script).arg(dir.join("lake")).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut rows = Vec::new();
    let mut schemas = 0;
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("schema", schema)) => {
                schemas += 1;
                for field in FIELDS {
                    assert!(schema.contains(field), "{field} in {schema}");
                }
            }
            Some(("row", row)) => rows.push(serde_json::from_str::<Value>(row).expect("JSON")),
            _ => panic!("{line}"),
        }
    }
    assert!(schemas > 0, "{text}");
    rows.sort_by_key(|row| row["id"].as_u64());
    assert_eq!(rows.len(), RECORDS);
    for (n, row) in rows.into_iter().enumerate() {
        assert_eq!(row, expected(n));
    }
}
