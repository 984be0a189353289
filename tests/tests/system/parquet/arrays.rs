//! Arrays of PostgreSQL become lists in Parquet, which pyarrow reads. The file is closed when the
//! table is read, although its limits are an hour away.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::iceberg::python;
use aqueduct_tests::postgres::{self, Postgres};
use aqueduct_tests::wait;
use serde_json::{Value, json};

use super::lake;

const LIMIT: Duration = Duration::from_secs(60);

/// Rows of the table; one of them has an array with two dimensions.
const ROWS: usize = 4;

const TABLE: &str = "
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE lists (id bigint PRIMARY KEY, i int[], n numeric(12,2)[], t text[], tz timestamptz[],
  d date[], f double precision[], b bytea[], m mood[], j jsonb[], u uuid[], iv interval[]);
INSERT INTO lists VALUES
 (1, '{1,NULL,-2147483648}', '{1.10,-9999999999.99}', '{\"a,b\",NULL,\"q\\\"\\\\\",\"\",\"NULL\"}',
  '{\"2026-01-31 12:00:00.25Z\",\"9999-12-31 23:59:59.999999Z\"}', '{2026-01-31}', '{0.1,1e300}',
  ARRAY['\\x00ff'::bytea, NULL], '{sad,ok}', ARRAY['[1, null]', '\"s\"', 'null']::jsonb[],
  '{1f0c4c3e-0000-4000-8000-0000000000ff}', '{1 day}'),
 (2, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
 (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO lists (id, i) VALUES (4, '{{1,2},{3,4}}')";

fn configuration(dir: &Path, server: &Postgres) -> String {
    let (lake, dir) = (lake(dir, "1h"), dir.display());
    let (address, user) = (server.address, postgres::USER);
    format!(
        r#"
[agent]
data_dir = "{dir}/data"
[sources.rows]
type = "sql"
table = "lists"
mode = "full"
key = ["id"]
format = "rows"
arrays = "list"
channels = ["main"]
[sources.rows.database]
url = "postgres://{address}/postgres"
user = "{user}"
{lake}columns = [
    {{ name = "id", type = "int64" }},
    {{ name = "i", type = "list<int32>" }},
    {{ name = "n", type = "list<decimal(12,2)>" }},
    {{ name = "t", type = "list<string>" }},
    {{ name = "tz", type = "list<timestamp_micros>" }},
    {{ name = "d", type = "list<date>" }},
    {{ name = "f", type = "list<double>" }},
    {{ name = "b", type = "list<bytes>" }},
    {{ name = "m", type = "list<string>" }},
    {{ name = "j", type = "list<json_text>" }},
    {{ name = "u", type = "list<string>" }},
    {{ name = "iv", type = "json_text" }},
]
"#
    )
}

#[test]
#[ignore = "needs the programs, PostgreSQL and Python: tests/run"]
fn arrays_of_postgresql_are_lists_for_pyarrow() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = Postgres::start(dir);
    server.ask("postgres", TABLE);
    fs::create_dir(dir.join("lake")).expect("the test's own folder");
    let text = configuration(dir, &server);
    let mut agent = Agent::configured("aqueduct-collector", dir, "collector", &text);
    agent.start();
    wait::until("the rows to be delivered", LIMIT, || {
        let stored = agent.metrics()?.sum("aqueduct_sink_committed_events_total")?;
        (stored >= (ROWS - 1) as f64).then_some(())
    });
    agent.until_logged("column `i.element` (int32) does not accept an array", LIMIT);
    agent.stop(Duration::from_secs(25));

    let script = dir.join("read.py");
    fs::write(&script, include_str!("nested.py")).expect("the test's own folder");
    let output = python().arg(&script).arg(dir.join("lake")).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let rows = text.lines().filter_map(|line| line.strip_prefix("row "));
    let mut rows: Vec<Value> = rows.map(|row| serde_json::from_str(row).expect("JSON")).collect();
    rows.sort_by_key(|row| row["id"].as_u64());
    let names = ["i", "n", "t", "tz", "d", "f", "b", "m", "j", "u"];
    let with = |id: u64, value: Value, iv: Value| {
        let mut row = json!({ "id": id, "iv": iv });
        names.iter().for_each(|name| row[*name] = value.clone());
        row
    };
    let first = json!({
        "id": 1,
        "i": [1, null, i32::MIN],
        "n": ["1.10", "-9999999999.99"],
        "t": ["a,b", null, "q\"\\", "", "NULL"],
        "tz": ["2026-01-31 12:00:00.250000+00:00", "9999-12-31 23:59:59.999999+00:00"],
        "d": ["2026-01-31"],
        "f": [0.1, 1e300],
        "b": ["b'\\x00\\xff'", null],
        "m": ["sad", "ok"],
        "j": ["[1,null]", "\"s\"", "null"],
        "u": ["1f0c4c3e-0000-4000-8000-0000000000ff"],
        "iv": "[\"P1D\"]",
    });
    let expected = [first, with(2, json!([]), json!("[]")), with(3, Value::Null, Value::Null)];
    assert_eq!(rows, expected);
}
