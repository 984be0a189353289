//! Flume's files and words: recognised, so that an error says where each has gone. They are not read.

use std::collections::BTreeSet;

/// What a type of Flume is called here; `None` = there is nothing like it yet.
const TYPES: &[(&str, &str, Option<&str>)] = &[
    ("sources", "taildir", Some("tail_dir")),
    ("sources", "avro", Some("grpc")),
    ("sources", "thrift", Some("grpc")),
    ("sources", "seq", Some("sequence")),
    ("channels", "file", Some("durable")),
    ("channels", "memory", Some("memory")),
    ("channels", "spillablememory", Some("spill")),
    ("sinks", "avro", Some("grpc")),
    ("sinks", "thrift", Some("grpc")),
    ("sinks", "hdfs", Some("hdfs")),
    ("sinks", "logger", Some("logger")),
    ("sinks", "null", Some("discard")),
    ("sinkgroups", "load_balance", Some("load_balance")),
    ("sinkgroups", "failover", Some("failover")),
    ("sinkgroups", "default", Some("single")),
    ("sources", "exec", None),
    ("sources", "spooldir", None),
    ("sources", "syslogtcp", Some("syslog")),
    ("sources", "syslogudp", Some("syslog")),
    ("sources", "multiport_syslogtcp", Some("syslog")),
    ("sources", "netcat", None),
    ("sources", "netcatudp", None),
    ("sources", "http", Some("http")),
    ("sources", "jms", None),
    ("sources", "org.apache.flume.source.kafka.kafkasource", None),
    ("channels", "jdbc", None),
    ("channels", "org.apache.flume.channel.kafka.kafkachannel", None),
    ("sinks", "file_roll", Some("file_roll")),
    ("sinks", "hbase", None),
    ("sinks", "hbase2", None),
    ("sinks", "hive", None),
    ("sinks", "http", Some("http")),
    ("sinks", "irc", None),
    ("sinks", "org.apache.flume.sink.kafka.kafkasink", None),
];

/// What to say of a `type` that no component here has, if it is one of Flume's.
pub(crate) fn hint(kind: &str, known: &[&str]) -> Option<String> {
    let kind = kind.to_ascii_lowercase();
    let of_kind = |row: &&(&str, &str, Option<&str>)| row.1 == kind;
    let mut rows = TYPES.iter().filter(of_kind).filter_map(|(_, _, ours)| *ours);
    if let Some(ours) = rows.find(|ours| known.contains(ours)) {
        return Some(format!("Flume's `{kind}` is `{ours}` here"));
    }
    let is_missing = TYPES.iter().filter(of_kind).any(|(_, _, ours)| ours.is_none());
    is_missing.then(|| format!("Flume's `{kind}` has no counterpart here yet"))
}

/// What to say of a text if it is a configuration of Flume.
pub(crate) fn recognise(text: &str) -> Option<String> {
    let mut agent = None;
    let mut types: BTreeSet<(String, String)> = BTreeSet::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!'])) {
        let Some((key, value)) = line.split_once(['=', ':']) else { continue };
        let parts: Vec<&str> = key.trim().split('.').collect();
        let (Some(name), Some(section)) = (parts.first(), parts.get(1)) else { continue };
        let is_section = matches!(*section, "sources" | "channels" | "sinks" | "sinkgroups");
        if !is_section || name.is_empty() || name.contains(['[', '"', ' ']) {
            continue;
        }
        agent.get_or_insert(*name);
        let is_type = match parts[2..] {
            [_, "type"] => true,
            [_, "processor", "type"] => *section == "sinkgroups",
            _ => false,
        };
        if is_type {
            types.insert(((*section).to_owned(), value.trim().to_ascii_lowercase()));
        }
    }
    let agent = agent?;
    let says = |(section, kind): &(String, String)| {
        let row = TYPES.iter().find(|(of, flume, _)| of == section && flume == kind);
        match row.and_then(|(_, _, ours)| *ours) {
            Some(ours) => format!("{section}: `{kind}` is `{ours}`"),
            None => format!("{section}: `{kind}` has no counterpart yet"),
        }
    };
    let types: Vec<String> = types.iter().map(says).collect();
    let types = match types.is_empty() {
        true => String::new(),
        false => format!("; its types here: {}", types.join(", ")),
    };
    Some(format!(
        "this is a configuration of Apache Flume (agent `{agent}`), which is not read; write it anew \
         in TOML or YAML after deploy/examples{types}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUME: &str = "\
# an agent
a1.sources = r1
a1.channels=c1
a1.sinks = k1
a1.sources.r1.type = TAILDIR
a1.sources.r1.filegroups.f1 = /var/log/.*log.*
a1.channels.c1.type = file
a1.sinks.k1.type = hdfs
a1.sinks.k1.hdfs.path = /logs/%Y-%m-%d
a1.sources.r2.type = exec
a1.sinkgroups.g1.processor.type = failover
";

    #[test]
    fn a_file_of_flume_is_recognised_and_its_types_are_named() {
        let said = recognise(FLUME).unwrap();
        assert!(said.starts_with("this is a configuration of Apache Flume (agent `a1`)"), "{said}");
        for part in [
            "sources: `taildir` is `tail_dir`",
            "channels: `file` is `durable`",
            "sinks: `hdfs` is `hdfs`",
            "sources: `exec` has no counterpart yet",
            "sinkgroups: `failover` is `failover`",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    #[test]
    fn our_own_files_are_not_taken_for_flumes() {
        for text in [
            "",
            "[sources.tail]\ntype = \"tail_dir\"\nchannels = [\"main\"]\n",
            "agent.data_dir = \"/d\"\nsources.tail.type = \"tail_dir\"\n",
            "sources:\n  tail:\n    type: tail_dir\n",
            "# a1.sources = r1\n",
        ] {
            assert_eq!(recognise(text), None, "{text}");
        }
    }

    #[test]
    fn a_type_of_flume_is_explained_by_its_role() {
        let sinks = ["grpc", "hdfs", "logger", "discard"];
        assert_eq!(hint("avro", &sinks).unwrap(), "Flume's `avro` is `grpc` here");
        let channels = ["durable", "memory", "spill"];
        assert_eq!(hint("FILE", &channels).unwrap(), "Flume's `file` is `durable` here");
        assert_eq!(hint("hive", &sinks).unwrap(), "Flume's `hive` has no counterpart here yet");
        assert_eq!(hint("file", &sinks), None, "a channel");
        assert_eq!(hint("other", &sinks), None);
    }
}
