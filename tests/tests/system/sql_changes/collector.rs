//! A collector with a source of changes.

use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, ROLL};

/// The database of the test.
pub(crate) const DATABASE: &str = "shop";
/// Timeout of a step.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Returns a collector with these settings of the database, and of the source.
pub(crate) fn collector_of(dir: &Path, database: &str, settings: &str) -> Agent {
    let text = format!(
        "[agent]\ndata_dir = \"{0}/data\"\n\
         [sources.changes]\ntype = \"sql_changes\"\nchannels = [\"main\"]\n{settings}\n\
         [sources.changes.database]\n{database}\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.out]\ntype = \"hdfs\"\nurl = \"file://{0}/store/%{{table}}\"\nchannel = \"main\"\n\
         encoder = \"json\"\n{ROLL}\n\
         [sources.kinds]\ntype = \"sql\"\nchannels = [\"kinds\"]\ntable = \"kinds\"\n\
         mode = \"append\"\ncheck_column = \"id\"\ninterval = \"200ms\"\n\
         [sources.kinds.database]\n{database}\n\
         [channels.kinds]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.kinds]\ntype = \"hdfs\"\nurl = \"file://{0}/kinds\"\nchannel = \"kinds\"\n{ROLL}\n",
        dir.display(),
    );
    Agent::configured("aqueduct-collector", dir, "collector", &text)
}
