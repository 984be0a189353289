//! Tables in directories of stores other than a disk: a bucket of S3, and HDFS. Two collectors are
//! killed in turn. Another program counts the rows.

use std::time::Instant;

use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::iceberg::hadoop_catalog;
use aqueduct_tests::killed::{collectors_are_killed, edge_channel};
use aqueduct_tests::objects::{S3, Server};
use aqueduct_tests::reconcile::{prove, proved, verify};
use aqueduct_tests::seed;
use rand::prelude::*;

use super::{KILLS, PAUSE_MAX, append_the_rest, read_and_compare, settings};

#[test]
#[ignore = "needs the programs and Python: tests/run"]
fn table_in_a_bucket_has_each_line_once_through_kills() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let (server, mut rng) = (S3::start(dir), seed::rng("iceberg-s3"));
    let url = S3::url("warehouse/logs/web/data/at=%Y%m%d-%H%M%S");
    let settings = format!("{}\n{}", settings(&S3::url("warehouse")), server.settings());
    let written = collectors_are_killed(dir, &url, &settings, &mut rng, (KILLS, PAUSE_MAX));
    append_the_rest(dir);
    let endpoint = format!("s3.endpoint={}", server.endpoint());
    let access = ["s3.access-key-id=key", "s3.secret-access-key=secret", "s3.region=us-east-1"];
    let table = S3::url("warehouse/logs/web");
    let table = [&[&*table, &endpoint], &access[..]].concat();
    let numbers = read_and_compare(dir, &table, &written);
    let mut command = verify(&url, &[edge_channel(dir)]);
    command.envs(server.variables());
    proved(command).unwrap_or_else(|said| panic!("{said}"));
    eprintln!("{numbers}; {:?}", began.elapsed());
}

#[test]
#[ignore = "needs the programs, a JDK, Maven and HDFS: tests/run"]
fn table_in_hdfs_has_each_line_once_through_kills() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began, hdfs) = (folder.path(), Instant::now(), Hdfs::shared());
    let mut rng = seed::rng("iceberg-hdfs");
    let path = format!("/iceberg-{:x}", rng.random::<u64>());
    let warehouse = format!("{}{path}", hdfs.url());
    let url = format!("{warehouse}/logs/web/data/at=%Y%m%d-%H%M%S");
    let settings = settings(&warehouse);
    let written = collectors_are_killed(dir, &url, &settings, &mut rng, (KILLS, PAUSE_MAX));
    append_the_rest(dir);
    let counted = hadoop_catalog(dir, &[&warehouse, "count"]);
    let rows = written.split(|byte| *byte == b'\n').count() - 1;
    assert_eq!(counted.trim(), format!("{rows} rows, null changes"));
    prove(&url, Some(&hdfs.conf_dir()), &[edge_channel(dir)]);
    hdfs.fs(&["-rm", "-r", "-skipTrash", &path]);
    eprintln!("{rows} rows; {:?}", began.elapsed());
}
