//! Files of an Iceberg table, which is compacted like a program that maintains tables does it.

use iceberg::manifest::{DataFile, ListedManifest, NewManifest};
use iceberg::metadata::Table;
use iceberg::partition::Partitioning;
use iceberg::request::NewSnapshot;
use iceberg::versions::{committed, name};

use super::*;

/// Accepts and delivers batches of three lines into the files of a table.
async fn appended(dir: &TempDir, batches: u64) {
    let channel = filled(dir, batches).await;
    let line = json!({ "name": "line", "type": "string", "from": "body" });
    let settings = json!({
        "url": url(dir),
        "encoder": { "type": "parquet", "columns": [line] },
        "iceberg": { "catalog": root(dir), "table": "logs.web", "create": true },
    });
    deliver_with(&channel, dir, &settings, batches).await;
}

fn root(dir: &TempDir) -> String {
    format!("file://{}/tables", dir.path().display())
}

async fn report(dir: &TempDir, has_table: bool) -> Report {
    let mut args = args(dir, true, dir.path().join("main"));
    args.table = has_table.then(|| format!("{}/logs/web", root(dir)));
    verified(&args, &env::real()).await.unwrap()
}

/// Returns the newest version of the metadata, and its number.
fn version(dir: &TempDir) -> (u64, Vec<u8>) {
    let at = |n| dir.path().join("tables/logs/web/metadata").join(name(n));
    let n = (1..).take_while(|n| env::real().disk.stat(&at(*n)).is_ok()).last().unwrap();
    (n, bytes_of(&at(n), &env::real()).unwrap())
}

/// Replaces all files of the table by one with `rows` rows, and deletes them.
fn compact(dir: &TempDir, rows: u64) {
    let (n, before) = version(dir);
    let table = Table::from_metadata(&before).unwrap();
    let folder = dir.path().join("tables/logs/web");
    let url_of = |name: &str| format!("file://{}/{name}", folder.display());
    write(&folder.join("compacted.parquet"), b"PAR1 all rows PAR1");
    let file = DataFile {
        url: url_of("compacted.parquet"),
        path: "compacted.parquet".to_owned(),
        rows,
        bytes: 18,
        columns: Vec::new(),
    };
    let partitioning = Partitioning::new(&table.spec, &table.schema, &[], &[]).unwrap();
    let manifest = NewManifest::new(&table, &partitioning, &[file], [1; 16]);
    let listed = ListedManifest::added(&manifest, url_of("metadata/m.avro"), 77, 99);
    let list = ListedManifest::write_list(&[listed], 77, None, 99, [2; 16]);
    write(&folder.join("metadata/m.avro"), &manifest.content);
    write(&folder.join("metadata/l.avro"), &list);
    let (manifest_list, manifests) = (url_of("metadata/l.avro"), [manifest]);
    let new = NewSnapshot {
        id: 77,
        at_ms: 2,
        manifest_list: &manifest_list,
        manifests: &manifests,
        properties: &[],
    };
    let version = serde_json::from_slice(&before).unwrap();
    let after = committed(&version, "", &table.commit(&new)).unwrap();
    write(&folder.join("metadata").join(name(n + 1)), after.to_string().as_bytes());
    let logs = dir.path().join("logs");
    for (name, _) in env::real().disk.list(&logs).unwrap() {
        if name.ends_with(".parquet") {
            env::real().disk.remove_file(&logs.join(name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compacted_files_are_replaced_if_the_table_has_all_rows() {
    let dir = TempDir::new().unwrap();
    appended(&dir, 4).await;
    let whole = report(&dir, true).await;
    assert_eq!(whole.verdict(), Verdict::Complete, "{}", whole.text());
    assert!(whole.text().contains("  table                12 rows in"), "{}", whole.text());
    compact(&dir, 12);
    let proved = report(&dir, true).await;
    assert_eq!(proved.verdict(), Verdict::Complete, "{}", proved.text());
    assert!(!proved.text().contains("replaced              0 "), "{}", proved.text());
    let without = report(&dir, false).await;
    assert_eq!(without.verdict(), Verdict::NotProved);
    assert!(without.text().contains("pass --table if the Iceberg table"), "{}", without.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_foreign_rows_of_a_table_are_counted() {
    for (rows, expected) in [(11, "1 fewer than the sink"), (13, "1 more than the sink")] {
        let dir = TempDir::new().unwrap();
        appended(&dir, 4).await;
        compact(&dir, rows);
        let report = report(&dir, true).await;
        let text = report.text();
        assert_eq!(report.verdict(), Verdict::NotProved, "{text}");
        assert!(text.contains(expected), "{text}");
        // As far as anyone knows, the files are lost.
        assert!(text.contains(".parquet is missing"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_file_of_a_table_is_named() {
    let dir = TempDir::new().unwrap();
    appended(&dir, 2).await;
    compact(&dir, 6);
    env::real().disk.remove_file(&dir.path().join("tables/logs/web/compacted.parquet")).unwrap();
    let report = report(&dir, true).await;
    assert_eq!(report.verdict(), Verdict::NotProved);
    let text = report.text();
    assert!(text.contains("compacted.parquet of the table is missing; restore it"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn table_of_another_ledger_proves_nothing() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    appended(&dir, 2).await;
    appended(&other, 2).await;
    let file = dir.path().join("table.json");
    write(&file, &version(&other).1);
    let mut args = args(&dir, false, dir.path().join("main"));
    args.table = Some(file.display().to_string());
    let report = verified(&args, &env::real()).await.unwrap();
    assert_eq!(report.verdict(), Verdict::NotProved);
    assert!(report.text().contains("no file of this ledger is in the table"), "{}", report.text());
}
