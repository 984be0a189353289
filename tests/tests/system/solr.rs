//! Goal: each event is one Solr document, while agent and Solr are killed, and in a SolrCloud while
//! its nodes are killed and hang. Only events that Solr rejects become dead letters. A missing
//! collection, a login without write access and a wrong authority block the flow, and the error
//! names the fix.
//!
//! Method: real Solr nodes (`aqueduct_tests::solr`), whose documents are read back.
//!
//! ```text
//!   tail_dir ─► durable ─► solr sink ─► POST /solr/lines/update ─► core `lines`
//!                                       TLS, Basic login        ─► core `lines`
//!            ├► durable ─► solr sink ─► any of three nodes      ─► collection `lines`,
//!            └► durable ─► solr sink ─► the same, shorter timeout  two shards of two replicas
//! ```
//!
//! Lane: connector
//! Needs: javac mvn openssl curl
//! Weight: 0
//! Limit: 15m
//! Paths: crates/components-search deploy/solr

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

mod cloud;
mod cuts;
mod node;
mod secured;

/// Timeout of a step.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns a configuration: lines of the files in `dir/in` go to each of these Solr sinks, with
/// these additional settings.
fn flow(dir: &Path, sinks: &[(&str, &str)]) -> String {
    fs::create_dir_all(dir.join("in")).expect("the test's own folder");
    let (at, names) = (dir.display(), sinks.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let mut text = format!(
        "[agent]\ndata_dir = \"{at}/data\"\n\
         [sources.in]\nchannels = {names:?}\ntype = \"tail_dir\"\n\
         paths = [\"{at}/in/*.log\"]\nfile_header = false\nbatch_events = 100\n\
         interceptors = [{{ type = \"static\", headers = {{ app = \"Shop\" }} }}]\n",
    );
    for (name, settings) in sinks {
        text += &format!(
            "[channels.{name}]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
             [sinks.{name}]\ntype = \"solr\"\nchannel = \"{name}\"\nbody = \"json\"\n\
             collection = \"lines\"\n{settings}\n",
        );
    }
    text
}

/// Returns the field `n` of these documents, in ascending order.
fn numbers<'a>(documents: impl IntoIterator<Item = &'a Value>) -> Vec<u64> {
    let number = |document: &Value| document["n"].as_u64().expect("a number");
    let mut numbers: Vec<u64> = documents.into_iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}
