//! Configurations whose translation must not differ silently from Flume, and those that need no
//! decision.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

#[path = "cases/classes.rs"]
mod classes;

use std::collections::BTreeMap;

use aqueduct_flume::{Conversion, File, Jvm, Options, Outcome, World, convert};

/// A host with every component, some variables, and some files.
#[derive(Default)]
struct Host {
    variables: BTreeMap<&'static str, &'static str>,
    files: BTreeMap<&'static str, &'static str>,
    systems: BTreeMap<&'static str, &'static str>,
}

impl World for Host {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|it| (*it).to_owned())
    }
    fn system(&self, name: &str) -> Option<String> {
        self.systems.get(name).map(|it| (*it).to_owned())
    }
    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        let file = self.files.get(path).map(|text| text.as_bytes().to_vec());
        file.ok_or_else(|| "it does not exist".to_owned())
    }
}

impl Host {
    /// A host with Hadoop's configuration, and a user.
    fn with_hadoop() -> Self {
        let site = "<configuration><property><name>fs.defaultFS</name>\
                    <value>hdfs://nn:8020/</value></property></configuration>";
        Self {
            variables: [("HADOOP_CONF_DIR", "/etc/hadoop"), ("USER", "flume"), ("PWD", "/srv/f")]
                .into(),
            files: [("/etc/hadoop/core-site.xml", site)].into(),
            systems: BTreeMap::new(),
        }
    }

    /// Translates the keys of one agent, each without the agent's name.
    fn translated(&self, keys: &[&str]) -> Conversion {
        self.translated_by(keys, None)
    }

    fn translated_by(&self, keys: &[&str], jvm: Option<Jvm>) -> Conversion {
        let options = Options {
            agent: None,
            data_dir: "/var/lib/aqueduct".into(),
            admin: None,
            flume_metrics: None,
            default_fs: None,
            keep_references: false,
            jvm,
        };
        let text = keys.iter().map(|key| format!("a.{key}\n")).collect();
        convert(&[File { name: "f".into(), text }], &options, self).unwrap()
    }
}

/// A source, a memory channel, and a sink, with further keys.
fn agent<'a>(source: &'a str, sink: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut keys = vec!["sources = r", "channels = c", "sinks = k"];
    keys.extend([source, "sources.r.channels = c", sink, "sinks.k.channel = c"]);
    if !more.iter().any(|key| key.starts_with("channels.c.type")) {
        keys.push("channels.c.type = memory");
    }
    keys.extend(more);
    keys
}

const SEQ: &str = "sources.r.type = seq";
const LOGGER: &str = "sinks.k.type = logger";
const HDFS: &str = "sinks.k.type = hdfs";

/// Returns a setting as it is written in a configuration, by its path.
fn setting(conversion: &Conversion, path: &str) -> Option<String> {
    let mut at = &conversion.settings;
    for name in path.split('.') {
        at = at.get(name)?;
    }
    Some(shown(&at.value))
}

fn shown(value: &pipeline::settings::Value) -> String {
    use pipeline::settings::Value;
    match value {
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::List(all) => all.iter().map(|it| shown(&it.value)).collect::<Vec<_>>().join(" "),
        other => format!("{other:?}"),
    }
}

/// Returns the findings of one outcome: key and text.
fn found(conversion: &Conversion, outcome: Outcome) -> Vec<String> {
    conversion.report.of(outcome).map(|it| format!("{}: {}", it.key, it.text)).collect()
}

/// Asserts that nothing needs a decision, and returns the translation.
fn accepted(keys: &[&str]) -> Conversion {
    let conversion = Host::with_hadoop().translated(keys);
    assert_eq!(found(&conversion, Outcome::Decision), Vec::<String>::new(), "{keys:?}");
    conversion
}

#[test]
fn a_path_without_a_name_node_is_below_the_default_file_system() {
    for (path, url) in [
        ("/a/b", "hdfs://nn:8020/a/b"),
        ("hdfs:///a/b", "hdfs://nn:8020/a/b"),
        ("hdfs:/a/b", "hdfs://nn:8020/a/b"),
        ("hdfs://other:9000/a/b", "hdfs://other:9000/a/b"),
        ("events/raw", "hdfs://nn:8020/user/flume/events/raw"),
        ("file:///a", "file:///a"),
    ] {
        let path = format!("sinks.k.hdfs.path = {path}");
        let made = accepted(&agent(SEQ, HDFS, &[&path]));
        assert_eq!(setting(&made, "sinks.k.url").as_deref(), Some(url), "{path}");
    }
    let proxied = ["sinks.k.hdfs.path = x", "sinks.k.hdfs.proxyUser = shop"];
    let made = accepted(&agent(SEQ, HDFS, &proxied));
    assert_eq!(setting(&made, "sinks.k.url").unwrap(), "hdfs://nn:8020/user/shop/x");
    let made = Host::default().translated(&agent(SEQ, HDFS, &["sinks.k.hdfs.path = hdfs:///a"]));
    let problems = found(&made, Outcome::Decision);
    assert!(problems.len() == 1 && problems[0].contains("core-site.xml"), "{problems:?}");
}

#[test]
fn file_names_begin_as_in_flume_and_directories_of_a_prefix_are_directories() {
    for (prefix, url, name) in [
        ("", "hdfs://nn:8020/x", "FlumeData"),
        ("events", "hdfs://nn:8020/x", "events"),
        ("%Y-%m-%d/events", "hdfs://nn:8020/x/%Y-%m-%d", "events"),
        ("%Y/%m/%d/", "hdfs://nn:8020/x/%Y/%m/%d", "FlumeData"),
        ("events-%Y%m%d", "hdfs://nn:8020/x", "events"),
        ("%{host}", "hdfs://nn:8020/x", "FlumeData"),
    ] {
        let key = format!("sinks.k.hdfs.filePrefix = {prefix}");
        let made = accepted(&agent(SEQ, HDFS, &["sinks.k.hdfs.path = /x", &key]));
        assert_eq!(setting(&made, "sinks.k.url").unwrap(), url, "{prefix}");
        assert_eq!(setting(&made, "sinks.k.file_prefix").unwrap(), name, "{prefix}");
    }
}

#[test]
fn limits_of_lines_and_messages_are_those_of_flume() {
    let spool = "sources.r.type = spooldir";
    let made = accepted(&agent(spool, LOGGER, &["sources.r.spoolDir = /in"]));
    assert_eq!(setting(&made, "sources.r.split_chars").unwrap(), "2048");
    let length = "sources.r.deserializer.maxLineLength = 100000000";
    let made = accepted(&agent(spool, LOGGER, &["sources.r.spoolDir = /in", length]));
    assert_eq!(setting(&made, "sources.r.split_chars").unwrap(), "4194304");

    let address = ["sources.r.bind = 127.0.0.1", "sources.r.port = 1"];
    let made = accepted(&agent("sources.r.type = netcat", LOGGER, &address));
    assert_eq!(setting(&made, "sources.r.framing.chars_max").unwrap(), "512");
    assert_eq!(setting(&made, "sources.r.framing.keep_cr").unwrap(), "true");
    assert_eq!(setting(&made, "sources.r.line_max").unwrap(), "1536B");

    let keys = ["sources.r.filegroups = f", "sources.r.filegroups.f = /a/b"];
    let made = accepted(&agent("sources.r.type = TAILDIR", LOGGER, &keys));
    assert_eq!(setting(&made, "sources.r.strip_cr").unwrap(), "true");

    for (kind, layout, split, most) in [
        ("syslogtcp", Some("flume"), Some("true"), "1000B"),
        ("multiport_syslogtcp", None, Some("true"), "1000B"),
        ("syslogudp", Some("flume"), None, "64KiB"),
    ] {
        let kind = format!("sources.r.type = {kind}");
        let ports = if kind.contains("multi") { "ports" } else { "port" };
        let port = format!("sources.r.{ports} = 1");
        let keys = ["sources.r.host = h", &port, "sources.r.eventSize = 1000"];
        let made = accepted(&agent(&kind, LOGGER, &keys));
        assert_eq!(setting(&made, "sources.r.layout").as_deref(), layout, "{kind}");
        assert_eq!(setting(&made, "sources.r.framing.split").as_deref(), split, "{kind}");
        assert_eq!(setting(&made, "sources.r.message_max").unwrap(), most, "{kind}");
    }
}

#[test]
fn syslog_listens_on_all_addresses_or_where_bind_says() {
    for (kind, url) in [("syslogtcp", "tcp"), ("syslogudp", "udp")] {
        let kind = format!("sources.r.type = {kind}");
        let made = accepted(&agent(&kind, LOGGER, &["sources.r.port = 1"]));
        assert_eq!(setting(&made, "sources.r.listen").unwrap(), format!("{url}://0.0.0.0:1"));
        let keys = ["sources.r.bind = 127.0.0.1", "sources.r.port = 1"];
        let made = accepted(&agent(&kind, LOGGER, &keys));
        assert_eq!(setting(&made, "sources.r.listen").unwrap(), format!("{url}://127.0.0.1:1"));
        let differs = found(&made, Outcome::Differs);
        assert!(differs.iter().any(|it| it.contains("`host`")), "{differs:?}");
    }
}

#[test]
fn channels_that_flume_runs_are_accepted() {
    for (key, setting_of, value) in [
        ("channels.c.capacity = 0", "capacity_events", "100"),
        ("channels.c.byteCapacity = 800000", "capacity", "64MiB"),
        ("channels.c.byteCapacity = 100000000", "capacity", "100000000B"),
    ] {
        let made = accepted(&agent(SEQ, LOGGER, &[key]));
        let path = format!("channels.c.{setting_of}");
        assert_eq!(setting(&made, &path).unwrap(), value, "{key}");
    }
    let file = ["channels.c.type = file", "channels.c.fsyncPerTransaction = false"];
    accepted(&agent(SEQ, LOGGER, &file));
}

#[test]
fn kafka_needs_no_decision_where_brokers_are_named() {
    let kafka = "sources.r.type = org.apache.flume.source.kafka.KafkaSource";
    let old = [
        "sources.r.kafka.bootstrap.servers = h:1",
        "sources.r.kafka.topics = t",
        "sources.r.zookeeperConnect = z:2181",
        "sources.r.kafka.consumer.timeout.ms = 100",
        "sources.r.kafka.consumer.partition.assignment.strategy = range",
        "channels.c.type = org.apache.flume.channel.kafka.KafkaChannel",
        "channels.c.kafka.bootstrap.servers = h:1,h:2",
        "channels.c.zookeeperConnect = z:2181",
    ];
    let made = accepted(&agent(kafka, LOGGER, &old));
    assert_eq!(setting(&made, "channels.c.create_with_replicas").unwrap(), "2");
    let by_zookeeper = ["sources.r.topic = t", "sources.r.zookeeperConnect = z:2181"];
    let made = Host::with_hadoop().translated(&agent(kafka, LOGGER, &by_zookeeper));
    let problems = found(&made, Outcome::Decision);
    assert!(problems.len() == 1 && problems[0].contains("cannot be looked up"), "{problems:?}");
}

#[test]
fn a_listed_name_without_keys_is_skipped_with_what_uses_it() {
    let mut keys = agent(SEQ, LOGGER, &["sinkgroups.g.sinks = k x"]);
    keys[..3].copy_from_slice(&["sources = r s", "channels = c d", "sinks = k x"]);
    keys.extend(["sinkgroups = g", "sinkgroups.g.processor.type = failover"]);
    keys.extend(["sources.s.type = seq", "sources.s.channels = d"]);
    let made = accepted(&keys);
    assert_eq!(setting(&made, "sources.s.type"), None);
    assert_eq!(setting(&made, "channels.d.type"), None);
    assert_eq!(setting(&made, "groups.g.sinks").unwrap(), "k");
    let ignored = found(&made, Outcome::Ignored);
    for name in ["a.channels.d", "a.sources.s", "a.sinks.x"] {
        assert!(ignored.iter().any(|it| it.starts_with(&format!("{name}: "))), "{ignored:?}");
    }
}

#[test]
fn files_of_this_host_and_avro_with_snappy_are_accepted() {
    let roll = "sinks.k.type = file_roll";
    let made = accepted(&agent(SEQ, roll, &["sinks.k.sink.directory = data/out"]));
    assert_eq!(setting(&made, "sinks.k.directory").unwrap(), "/srv/f/data/out");
    let snappy = [
        "sinks.k.hdfs.path = hdfs://nn:8020/x",
        "sinks.k.hdfs.fileType = DataStream",
        "sinks.k.serializer = avro_event",
        "sinks.k.serializer.compressionCodec = snappy",
    ];
    let made = accepted(&agent(SEQ, HDFS, &snappy));
    assert_eq!(setting(&made, "sinks.k.encoder.codec").unwrap(), "snappy");
}

#[test]
fn an_unknown_key_suggests_the_one_with_another_prefix() {
    let keys = ["sinks.k.hdfs.path = /x", "sinks.k.batchSize = 10"];
    let unknown = found(&accepted(&agent(SEQ, HDFS, &keys)), Outcome::Unknown);
    assert!(unknown[0].contains("did you mean `hdfs.batchSize`?"), "{unknown:?}");
    let kafka = "sinks.k.type = org.apache.flume.sink.kafka.KafkaSink";
    let keys = ["sinks.k.kafka.bootstrap.servers = h:1", "sinks.k.kafka.flumeBatchSize = 10"];
    let unknown = found(&accepted(&agent(SEQ, kafka, &keys)), Outcome::Unknown);
    assert!(unknown[0].contains("did you mean `flumeBatchSize`?"), "{unknown:?}");
}

/// The first example of Flume's guide, and of most tutorials.
#[test]
fn the_first_example_of_the_guide_has_no_warning() {
    let netcat = [
        "sources.r.bind = localhost",
        "sources.r.port = 44444",
        "channels.c.capacity = 1000",
        "channels.c.transactionCapacity = 100",
    ];
    let made = accepted(&agent("sources.r.type = netcat", LOGGER, &netcat));
    for outcome in [Outcome::Unknown, Outcome::Differs, Outcome::Advice] {
        assert_eq!(found(&made, outcome), Vec::<String>::new());
    }
}
