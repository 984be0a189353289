//! Goal: the tutorial works as written, from nginx to an SQL query.
//!
//! Method: every configuration and command comes from `docs/tutorial.md`, with other addresses and
//! folders. A real nginx logs the page's requests, an edge and a collector move the lines into a
//! real HDFS, Spark runs the page's query, and `verify` the page's proof. The result must equal the
//! one on the page.
//!
//! Lane: connector
//! Needs: curl hdfs java nginx python3
//! Weight: 1
//! Limit: 10m
//! Paths: docs/tutorial.md deploy/spark crates/components-parquet crates/components-hdfs

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program, wait_until_delivered};
use aqueduct_tests::docs::Page;
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::nginx::WebServer;
use aqueduct_tests::{engines, http, wait};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs the programs, nginx, HDFS and Spark: tests/run"]
fn tutorial_counts_the_requests_to_nginx_by_a_query() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, page, hdfs) = (folder.path(), Page::read("tutorial.md"), Hdfs::shared());
    let own = dir.display().to_string();
    let root = format!("{}/tutorial-{}", hdfs.url(), std::process::id());
    let store = ("hdfs://namenode:8020", &*root);
    let [web, listen] = [(); 2].map(|()| http::free_address().to_string());
    let log = ("/var/log/nginx", &*own);
    let data = ("/var/lib/aqueduct", &*own);

    let format = page.example("1. Write the access log as JSON", "nginx", &[log]);
    let site = "location = / { return 200; } location / { return 404; }";
    let _nginx = WebServer::start_with(dir, &format!("{format}server {{ listen {web}; {site} }}"));

    let heading = "2. Start a collector";
    let listen = ("127.0.0.1:4141", &*listen);
    let text = page.example(heading, "toml", &[store, data, listen]);
    let mut collector = Agent::configured("aqueduct-collector", dir, "collector", &text);
    let heading_of_edge = "3. Start an edge";
    let text = page.example(heading_of_edge, "toml", &[log, data, listen]);
    let mut edge = Agent::configured("aqueduct-edge", dir, "edge", &text);
    for heading in [heading, heading_of_edge] {
        let commands = page.example(heading, "sh", &[]);
        shell(dir, commands.lines().next().expect("`check` comes first"));
    }
    collector.start();
    edge.start();

    shell(dir, &page.example("4. Send requests", "sh", &[("127.0.0.1", &web)]));
    collector.until_logged("file is visible", PATIENCE);
    wait_until_delivered(&edge, PATIENCE);

    let query = page.example("5. Query", "sh", &[store]);
    let expected = page.example("5. Query", "text", &[]);
    let without_seconds = |table: &str| -> Vec<String> {
        let rows = table.lines().filter_map(|row| row.rsplit_once('\t'));
        rows.map(|(row, _)| row.to_owned()).collect()
    };
    // The requests of one second before midnight and one second after it are in two files.
    let found = wait::until("all rows to be visible", PATIENCE, || {
        let found = shell(dir, &query);
        (without_seconds(&found) == without_seconds(&expected)).then_some(found)
    });
    eprintln!("{found}");

    let admin = edge.admin().to_string();
    let verify = [store, ("127.0.0.1:9464", &*admin)];
    shell(dir, &page.example("6. Prove that nothing is missing", "sh", &verify));
}

/// Runs commands in `dir`, with the programs of Aqueduct and Spark in the search path, and returns
/// their output.
fn shell(dir: &Path, commands: &str) -> String {
    let ours = program("aqueduct");
    let spark = engines::spark();
    let folders = [&ours, &spark].map(|it| {
        Path::new(it.get_program())
            .parent()
            .expect("a program is in a folder")
            .display()
            .to_string()
    });
    let path = std::env::var("PATH").expect("there is a PATH");
    let mut shell = Command::new("bash");
    shell.args(["-euc", commands]).current_dir(dir);
    shell.env("PATH", format!("{}:{path}", folders.join(":"))).env_remove("HADOOP_CONF_DIR");
    shell.env("SPARK_LOCAL_IP", "127.0.0.1").env("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1");
    let done = shell.output().expect("bash runs");
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{commands}\n{errors}");
    String::from_utf8(done.stdout).expect("output is UTF-8")
}
