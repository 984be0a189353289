//! The hdfs sink only: Parquet files in a directory, with and without an Iceberg table of them.
//!
//! Batches of access log lines are in memory. A run lasts until every batch is committed to the
//! ledger and the sink is closed. Then the table has all rows, which its metadata shows. A roll
//! lasts a second, so commits are 60 times as frequent as usual.

use std::fs;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use pipeline::Batch;
use serde_json::{Value, json};

use crate::Setup;
use crate::access_log::AccessLog;
use crate::codings::{Options, batches};
use crate::error::{Doing, Error, Result};
use crate::files::named;
use crate::report::{Better, Figure, Report, Series};
use crate::stage;

/// Runs the benchmark.
pub(crate) async fn run(options: &Options, setup: &Setup, report: &mut Report) -> Result<()> {
    let log = AccessLog::cached(&setup.cache, options.lines)?;
    let batches = named(batches(&Bytes::from(fs::read(&log.path).at("read", &log.path)?)));
    let [mut with, mut without] = std::array::from_fn(|_| Series::default());
    let lines = options.lines as f64;
    for round in 0..options.runs {
        let own = setup.cache.scratch()?;
        without.push(lines / seconds(&batches, own.path(), None).await?);
        if !setup.peers_only {
            let own = setup.cache.scratch()?;
            let warehouse = format!("file://{}/store", own.path().display());
            with.push(lines / seconds(&batches, own.path(), Some(&warehouse)).await?);
            check(&own.path().join("store/logs/web/metadata"), options.lines)?;
        }
        crate::progress(&format!("table: run {} of {}", round + 1, options.runs));
    }
    let reference = without.spread().map(|spread| ("Parquet alone", spread));
    let (case, unit, ours) = ("Parquet into a table".to_owned(), "rows/s", with.spread());
    report.add(Figure { bench: "table", case, unit, better: Better::More, ours, reference });
    report.note("access log lines in batches of 3,000; a file and a commit each second");
    Ok(())
}

/// Returns the seconds to write the batches and to append the files to a table of the catalog.
async fn seconds(batches: &[Batch], directory: &Path, catalog: Option<&str>) -> Result<f64> {
    let mut settings = json!({
        "url": format!("file://{}/store/logs/web/data", directory.display()),
        "roll": { "age_max": "1s" },
        "encoder": {
            "type": "parquet",
            "columns": [{ "name": "line", "type": "string", "from": "body" }],
        },
    });
    if let Some(catalog) = catalog {
        let table = json!({ "catalog": catalog, "table": "logs.web", "create": true });
        settings["iceberg"] = table;
    }
    let started = Instant::now();
    stage::deliver(&settings, batches.iter().cloned(), directory).await?;
    Ok(started.elapsed().as_secs_f64())
}

/// Checks that the table has all rows.
fn check(metadata: &Path, lines: u64) -> Result<()> {
    let hint = metadata.join("version-hint.text");
    let version = fs::read_to_string(&hint).at("read", &hint)?;
    let path = metadata.join(format!("v{version}.metadata.json"));
    let table: Value = serde_json::from_slice(&fs::read(&path).at("read", &path)?)
        .map_err(|error| content(&path, error.to_string()))?;
    let newest = table["snapshots"].as_array().and_then(|it| it.last());
    let rows = newest.map(|newest| newest["summary"]["total-records"].clone());
    if rows.as_ref().and_then(Value::as_str) != Some(&lines.to_string()) {
        return Err(content(&path, format!("{rows:?} rows instead of {lines}")));
    }
    Ok(())
}

fn content(path: &Path, detail: String) -> Error {
    Error::Content { path_name: path.display().to_string(), detail }
}
