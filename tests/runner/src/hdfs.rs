//! The HDFS that tests share.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::supervise;

/// Longer than any run.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// A running HDFS; dropping it stops it and removes its files.
#[derive(Debug)]
pub(crate) struct Hdfs {
    supervisor: Child,
    /// The environment variables that tests read.
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Hdfs {
    /// Starts an HDFS, and waits until it is writable.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub(crate) fn start() -> Result<Self, String> {
        let folder = env::temp_dir().join(format!("aqueduct-tests-{}", std::process::id()));
        let folder = folder.display().to_string();
        let mut command = supervise::command(LIMIT, false, Some(&folder));
        command.args(["deploy/hadoop/hdfs", "serve", &folder]).stdout(Stdio::piped());
        let supervisor = command.spawn();
        let mut supervisor = supervisor.map_err(|error| format!("cannot start HDFS: {error}"))?;
        let mut url = String::new();
        if let Some(output) = supervisor.stdout.take() {
            let _length = BufReader::new(output).read_line(&mut url);
        }
        let url = url.trim().to_owned();
        let environment = vec![
            ("AQUEDUCT_TEST_HDFS", url.clone()),
            ("HADOOP_CONF_DIR", format!("{folder}/conf")),
        ];
        let hdfs = Self { supervisor, environment };
        match url.starts_with("hdfs://") {
            true => Ok(hdfs),
            false => Err("HDFS did not start; its messages are above".to_owned()),
        }
    }
}

impl Drop for Hdfs {
    fn drop(&mut self) {
        // Its supervisor kills all of it when this pipe closes.
        drop(self.supervisor.stdin.take());
        let _status = self.supervisor.wait();
    }
}
