//! `aqueduct export` of SequenceFiles: from `aqueduct import`, and from Sqoop.

use std::fs;
use std::path::{Path, PathBuf};

use super::export::{call, count, is_as_orders};
use super::{ROWS, Server, ended};

/// Exports a table that was imported into SequenceFiles.
fn rows_come_back(dir: &Path, server: &Server) {
    let url = format!("file://{}", dir.join("as-sequence").display());
    let connection = server.connection(dir);
    let import = ["--table", "orders", "--target-dir", &url, "--as-sequencefile", "-z"];
    let condition = format!("id <= {ROWS}");
    let import = [&import[..], &["--where", &condition]].concat();
    let (code, said) = ended(super::call(dir, &connection, &import));
    assert_eq!(code, Some(0), "{said}");
    server.ask("CREATE TABLE of_sequence (id bigint, part int, n decimal(20, 3), v varchar(99))");
    let arguments = ["--table", "of_sequence", "--export-dir", &url];
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(count(server, "of_sequence"), ROWS);
    is_as_orders(server, "of_sequence");
}

/// A Sqoop file has a class that describes nothing: the call must specify the types, or is
/// rejected.
fn rows_of_sqoop_are_rows_of_a_table(dir: &Path, server: &Server) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/components-hdfs/tests/golden/sequence_file");
    let files: PathBuf = dir.join("of-sqoop");
    fs::create_dir(&files).expect("the test's own folder");
    for name in ["sqoop-none.seq", "sqoop-block-bzip2.seq"] {
        fs::copy(golden.join(name), files.join(name)).expect("the file is there");
    }
    server.ask(
        "CREATE TABLE sqoop_kinds (id bigint, n integer, s smallint, price numeric(30, 4), \
         ok boolean, f real, d double precision, name varchar(200), day date, at timestamp NULL, \
         t time, raw bytea)",
    );
    let url = format!("file://{}", files.display());
    let arguments = ["--table", "sqoop_kinds", "--export-dir", &url];
    let connection = server.connection(dir);
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert!(code == Some(1) && said.contains("class `kinds`"), "{code:?}: {said}");
    assert!(said.contains("--map-column-java id=TYPE,n=TYPE"), "{said}");
    assert_eq!(count(server, "sqoop_kinds"), 0);
    let types = "id=Long,n=Integer,s=Integer,price=java.math.BigDecimal,ok=Boolean,f=Float,\
                 d=Double,name=String,day=java.sql.Date,at=java.sql.Timestamp,t=java.sql.Time,\
                 raw=org.apache.hadoop.io.BytesWritable";
    let wrong = types.replace("n=Integer", "n=Long");
    let refused = [&arguments[..], &["--map-column-java", &wrong]].concat();
    let (code, said) = ended(call(dir, &connection, &refused));
    assert!(code == Some(1) && said.contains("does not match `columns`"), "{code:?}: {said}");
    assert_eq!(count(server, "sqoop_kinds"), 0);
    let arguments = [&arguments[..], &["--map-column-java", types]].concat();
    let data = dir.join("sqoop-data").display().to_string();
    let arguments = [&arguments[..], &["--data-dir", &data]].concat();
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(count(server, "sqoop_kinds"), 8);
    let first = "sqoop_kinds WHERE id = 1 AND n = -7 AND s = 3 AND price = 12.5 AND ok AND \
                 f = 0.1::real AND d = 1e300 AND name = E'ä \"quoted\", line\\nend' AND \
                 day = '2026-11-26' AND at = '2026-11-26 12:34:56.789012' AND t = '23:59:58' AND \
                 raw = '\\x00ff'";
    assert_eq!(count(server, first), 2);
    let last = "sqoop_kinds WHERE id = 4 AND day = '0001-01-01' AND at = '9999-12-31 23:59:59'";
    assert_eq!(count(server, last), 2);
    let nulls = "sqoop_kinds WHERE id = 2 AND num_nulls(n, s, price, ok, f, d, name, day, at, t, \
                 raw) = 11";
    assert_eq!(count(server, nulls), 2);
}

/// Runs both tests if the server is PostgreSQL: file formats do not depend on the database.
pub(super) fn files_are_rows(dir: &Path, server: &Server) {
    rows_come_back(dir, server);
    if matches!(server, Server::Postgres(_)) {
        rows_of_sqoop_are_rows_of_a_table(dir, server);
    }
}
