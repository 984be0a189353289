//! Local replacements in a configuration of the corpus, as a second file: free ports, directories
//! of the test, and the peer instead of unavailable hosts. The configuration itself is passed
//! unchanged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use aqueduct_tests::http::free_address;
use flume::Property;

/// Events of a counting source if the configuration sets no end.
pub(super) const EVENTS: u64 = 1_000;

/// The target of a configuration's sinks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) avro: u16,
    /// The port for compressed data: in Flume both sides need the same setting.
    pub(super) deflate: u16,
    pub(super) thrift: u16,
    pub(super) http: u16,
}

/// One agent of a configuration, on this machine.
#[derive(Debug)]
pub(super) struct Local {
    /// The keys of the agent, without its name, with their effective values.
    pub(super) keys: BTreeMap<String, String>,
    /// The second file.
    pub(super) text: String,
    /// The environment variable of one configuration.
    pub(super) nc_port: u16,
}

impl Local {
    /// `root` is the directory used instead of `/`.
    pub(super) fn of(agent: &str, all: &[Property], root: &Path, peer: Peer) -> Self {
        let own = all.iter().filter_map(|it| {
            let key = it.key.trim().strip_prefix(agent)?.strip_prefix('.')?;
            Some((key.to_owned(), it.value.trim().to_owned()))
        });
        let mut keys: BTreeMap<String, String> =
            own.filter(|(_, value)| !value.is_empty()).collect();
        let mut changed: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in &keys {
            let of = |name: &str| {
                let value = keys.get(&format!("{}.{name}", component(key)));
                value.map_or_else(String::new, |it| it.to_lowercase())
            };
            let port = match (of("type").contains("thrift"), of("compression-type").as_str()) {
                (true, _) => peer.thrift,
                (false, "deflate") => peer.deflate,
                (false, _) => peer.avro,
            };
            if let Some(here) = local(key, value, root, port, peer.http)
                && here != *value
            {
                changed.insert(key.clone(), here);
            }
        }
        for (key, kind) in &keys {
            let total = format!("{}.totalEvents", component(key));
            let is_endless = kind.eq_ignore_ascii_case("seq") && !keys.contains_key(&total);
            if is_endless && key.ends_with(".type") {
                changed.insert(total, EVENTS.to_string());
            }
        }
        let mut text = String::new();
        for (key, value) in &changed {
            writeln!(text, "{agent}.{key} = {}", value.replace('\\', "\\\\")).expect("a string");
        }
        keys.extend(changed);
        let nc_port = free_address().port();
        for value in keys.values_mut() {
            *value = value.replace("${env:NC_PORT}", &nc_port.to_string());
        }
        Self { keys, text, nc_port }
    }

    /// Returns the components of a section with their types, in lower case.
    pub(super) fn all<'a>(
        &'a self,
        section: &'a str,
    ) -> impl Iterator<Item = (&'a str, String)> + use<'a> {
        let names = self.keys.get(section).map_or("", String::as_str).split_whitespace();
        names.filter_map(move |name| {
            let kind = self.get(section, name, "type")?;
            let short = kind.rsplit('.').next().unwrap_or(kind).to_lowercase();
            let short = short.trim_end_matches(&section[..section.len() - 1]);
            Some((name, short.trim_end_matches("event").to_owned()))
        })
    }

    /// Returns a key of a component.
    pub(super) fn get(&self, section: &str, name: &str, key: &str) -> Option<&str> {
        self.keys.get(&format!("{section}.{name}.{key}")).map(String::as_str)
    }
}

/// Returns `sources.r1` of `sources.r1.port`.
fn component(key: &str) -> &str {
    key.match_indices('.').nth(1).map_or(key, |(at, _)| &key[..at])
}

/// Returns the value of a key on this machine; `None` if the configuration's value works.
fn local(key: &str, value: &str, root: &Path, rpc: u16, http: u16) -> Option<String> {
    let root = root.display().to_string();
    let name = key.splitn(3, '.').nth(2)?;
    let is_reference = value.contains("${");
    match key.split('.').next()? {
        "sources" => match name {
            "port" if !is_reference => Some(free_address().port().to_string()),
            "ports" => {
                let ports = value.split_whitespace().map(|_| free_address().port().to_string());
                Some(ports.collect::<Vec<_>>().join(" "))
            }
            "bind" | "host" if !is_reference && !matches!(value, "localhost" | "0.0.0.0") => {
                Some("127.0.0.1".to_owned())
            }
            "spoolDir" | "trackerDir" | "positionFile" => Some(format!("{root}{value}")),
            // Paths are words that begin with a slash; `/bin/bash` is not changed.
            "command" => Some(format!(" {value}").replace(" /", &format!(" {root}/"))),
            name if name.starts_with("filegroups.") => Some(format!("{root}{value}")),
            name if name.ends_with(".morphlineFile") => Some(format!("{root}{value}")),
            _ => None,
        },
        "sinks" => match name {
            "hostname" => Some("127.0.0.1".to_owned()),
            "port" => Some(rpc.to_string()),
            "endpoint" => Some(format!("http://127.0.0.1:{http}/in")),
            "sink.directory" => Some(format!("{root}{value}")),
            "hdfs.path" => {
                let rest = value.strip_prefix("hdfs://");
                let rest = rest.and_then(|it| it.find('/').map(|at| &it[at..]));
                let path = rest.or_else(|| value.strip_prefix("file:")).unwrap_or(value);
                // Other stores are not available.
                path.starts_with('/').then(|| format!("file://{root}{path}"))
            }
            _ => None,
        },
        "configfilters" => match name {
            "command" => Some(format!("{root}{value}")),
            "credential.provider.path" => {
                let (scheme, path) = value.split_once("//file")?;
                Some(format!("{scheme}//file{root}{path}"))
            }
            _ => None,
        },
        _ => None,
    }
}
