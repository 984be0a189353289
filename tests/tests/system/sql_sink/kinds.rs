//! The result of values of each column type.

use std::fs;
use std::path::Path;

use aqueduct_tests::wait;

use super::{Database, LIMIT, REASONS, letters};

/// Writes a row for each line. Returns the lines among the dead letters.
pub(crate) fn rows(
    dir: &Path,
    database: &dyn Database,
    lines: &[&str],
    good: usize,
) -> Vec<String> {
    fs::write(dir.join("values"), lines.join("\n") + "\n").expect("the test's own folder");
    let text = format!(
        "[agent]\ndata_dir = \"{0}/data\"\n\
         [sources.lines]\ntype = \"tail_dir\"\npaths = [\"{0}/values\"]\nchannels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.out]\ntype = \"sql\"\nchannel = \"main\"\ntable = \"kinds\"\n\
         database = {{ {1} }}\nledger = {{ create = true }}\n",
        dir.display(),
        database.settings(database.address()),
    );
    let mut collector = super::collector(dir, "values", &text);
    collector.start();
    wait::until("the rows", LIMIT, || {
        (database.ask("SELECT count(*) FROM kinds") == good.to_string()).then_some(())
    });
    wait::until("the dead letters", LIMIT, || {
        (letters(&dir.join("data"), &REASONS).len() == lines.len() - good).then_some(())
    });
    collector.stop(LIMIT);
    letters(&dir.join("data"), &REASONS)
}

/// Lines that PostgreSQL accepts, and lines that it rejects.
pub(crate) const POSTGRES: (&str, [&str; 2], [&str; 9]) = (
    "CREATE TYPE mood AS ENUM ('good', 'bad'); \
     CREATE TABLE kinds (i smallint, b bigint, d numeric(30, 10), o boolean, s varchar(10), \
     c char(3), y bytea, j jsonb, u uuid, da date, ts timestamp, tz timestamptz, a text[], \
     n int[], e mood, def int DEFAULT 7, twice int GENERATED ALWAYS AS (def * 2) STORED, \
     ser bigserial)",
    [
        concat!(
            r#"{"i":-7,"b":9223372036854775807,"d":12345678901234567890.0123456789"#,
            r#","o":true,"s":"ä\"b","c":"x","y":"AP8=","j":{"k":[1,null]}"#,
            r#","u":"6f1c1d2e-0000-4000-8000-000000000001","da":"9999-12-31""#,
            r#","ts":"2026-11-26T18:00:00.25+02:00","tz":"1700000000123","a":["a,b""#,
            r#","c\"d",null],"n":[1,2],"e":"good"}"#,
        ),
        r#"{"i":"8","def":null,"s":""}"#,
    ],
    [
        r#"{"i":70000}"#,
        r#"{"s":"eleven char"}"#,
        r#"{"u":"x"}"#,
        r#"{"e":"odd"}"#,
        r#"{"da":"2026-02-30"}"#,
        r#"{"s":"a\u0000b"}"#,
        r#"{"y":"!"}"#,
        r#"{"none":1}"#,
        r#"{"twice":1}"#,
    ],
);

/// The expected rows, except a serial column.
pub(crate) const POSTGRES_ROWS: &str = "\
-7|9223372036854775807|12345678901234567890.0123456789|t|ä\"b|x  |\\x00ff|{\"k\": [1, null]}|\
6f1c1d2e-0000-4000-8000-000000000001|9999-12-31|2026-11-26 16:00:00.25|1700000000.123|\
{\"a,b\",\"c\\\"d\",NULL}|{1,2}|good|7|14\n\
8|||||||||||||||*|*";

/// Same for MariaDB.
pub(crate) const MARIADB: (&str, [&str; 2], [&str; 6]) = (
    "CREATE TABLE kinds (i smallint, b bigint unsigned, d decimal(30, 10), o boolean, \
     s varchar(10), y varbinary(4), j json, da date, ts datetime(3), e enum('good', 'bad'), \
     def int DEFAULT 7)",
    [
        concat!(
            r#"{"i":-7,"b":18446744073709551615,"d":12345678901234567890.0123456789"#,
            r#","o":true,"s":"ä\"b","y":"AP8=","j":{"k":[1,null]},"da":"9999-12-31""#,
            r#","ts":"2026-11-26T18:00:00.25+02:00","e":"good"}"#,
        ),
        r#"{"i":"8","def":null,"s":""}"#,
    ],
    [
        r#"{"i":70000}"#,
        r#"{"i":"12abc"}"#,
        r#"{"s":"eleven char"}"#,
        r#"{"e":"odd"}"#,
        r#"{"da":"2026-02-30"}"#,
        r#"{"none":1}"#,
    ],
);

/// The expected rows.
pub(crate) const MARIADB_ROWS: &str = "\
-7|18446744073709551615|12345678901234567890.0123456789|1|ä\"b|00FF|{\"k\":[1,null]}|9999-12-31|\
2026-11-26 16:00:00.250|good|7\n\
8|NULL|NULL|NULL||NULL|NULL|NULL|NULL|NULL|*";
