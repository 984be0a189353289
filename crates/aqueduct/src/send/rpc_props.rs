//! Translates the properties of Flume's RPC client into settings of the corresponding sink.
//!
//! The sinks `avro` and `thrift` of Flume have the same keys, so their translation tables apply to
//! them.

use std::path::Path;

use config::CONFIG_BYTES_MAX;
use flume::{File, Options, Outcome};
use pipeline::{Env, Settings};

use crate::migrate::HostContext;

/// Keys that list the clients and their addresses.
const OF_HOSTS: &[&str] = &["client.type", "hosts"];

/// The agent, source, channel and sink around the keys.
const AGENT_TEMPLATE: &str = "a.sources = s\na.channels = c\na.sinks = k\na.sources.s.type = seq\n\
                      a.sources.s.channels = c\na.channels.c.type = memory\n\
                      a.sinks.k.channel = c\n";

/// Parses a file of Java properties. A later pair replaces an earlier one of the same name.
///
/// # Errors
/// The file cannot be read or parsed; the message names it.
pub(super) fn properties(path: &Path, env: &Env) -> Result<Vec<(String, String)>, String> {
    let name = path.display().to_string();
    let text = config::file_text(path, CONFIG_BYTES_MAX, env);
    let text = text.map_err(|problem| format!("{name}: the file {problem}"))?;
    let read = flume::properties::read(&name.into(), &text).map_err(|error| error.to_string())?;
    let mut pairs: Vec<(String, String)> = Vec::new();
    for property in read {
        pairs.retain(|(key, _)| *key != property.key);
        pairs.push((property.key, property.value));
    }
    Ok(pairs)
}

/// Returns the kind of the sink and its settings.
///
/// # Errors
/// A key has no counterpart or is wrong; the message names it and the fix.
pub(super) fn read(path: &Path, env: &Env) -> Result<(String, Settings), String> {
    let name = path.display().to_string();
    let pairs = properties(path, env).map_err(|problem| format!("--rpc-props {problem}"))?;
    let problem = |text: String| format!("--rpc-props {name}: {text}");
    let get = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| &**value);
    let kind = match get("client.type").map_or("default", |kind| kind.trim()) {
        kind if kind.eq_ignore_ascii_case("default") => "avro",
        kind if kind.eq_ignore_ascii_case("thrift") => "thrift",
        kind => {
            let text =
                "is not supported, because events go to one address; write `default` or `thrift`";
            return Err(problem(format!("client.type = {kind} {text}")));
        }
    };
    let hosts: Vec<&str> = get("hosts").unwrap_or_default().split_whitespace().collect();
    let [host] = hosts[..] else {
        let text = "must name one host, because events go to one address; write `hosts = h1` and \
                    `hosts.h1 = HOST:PORT`";
        return Err(problem(format!("hosts {text}")));
    };
    let host = format!("hosts.{host}");
    let address = get(&host).and_then(|address| address.trim().rsplit_once(':'));
    let (hostname, port) = address.ok_or_else(|| problem(format!("{host} must be HOST:PORT")))?;
    let mut text = format!("{AGENT_TEMPLATE}a.sinks.k.type = {kind}\n");
    let place = [("hostname", hostname), ("port", port)];
    let rest = pairs.iter().map(|(key, value)| (&**key, &**value));
    let rest = rest.filter(|(key, _)| !OF_HOSTS.contains(key) && !key.starts_with("hosts."));
    for (key, value) in place.into_iter().chain(rest) {
        text += &format!("a.sinks.k.{} = {}\n", escaped(key), escaped(value));
    }
    let options = Options {
        agent: None,
        data_dir: "unused".to_owned(),
        admin: None,
        flume_metrics: None,
        default_fs: None,
        keep_references: false,
        jvm: None,
    };
    let files = [File { name: name.clone().into(), text }];
    let converted = flume::convert(&files, &options, &HostContext::new(env, &[], false));
    let mut converted = converted.map_err(|error| problem(error.to_string()))?;
    let of_sink = |key: &str| key.rsplit_once("sinks.k.").map(|(_, key)| key.to_owned());
    let mut wrong = converted.report.of(Outcome::Decision).chain(
        // Also reject keys that Flume does not have.
        converted.report.of(Outcome::Unknown),
    );
    if let Some((key, text)) = wrong.find_map(|it| Some((of_sink(&it.key)?, &it.text))) {
        return Err(problem(format!("{key}: {text}")));
    }
    let sink = converted.settings.take("sinks").and_then(|mut sinks| sinks.take("k"));
    let mut sink = sink.ok_or_else(|| {
        problem(
            "the file does not configure a client; write `hosts = h1` and `hosts.h1 = HOST:PORT`"
                .to_owned(),
        )
    })?;
    sink.take("type");
    sink.take("channel");
    Ok((kind.to_owned(), sink))
}

/// Escapes a key or a value for a properties file.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\n' => escaped += "\\n",
            '\r' => escaped += "\\r",
            '\t' => escaped += "\\t",
            '\\' | ' ' | '=' | ':' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "the test prepares files as a user would")]

    use super::*;

    fn of(text: &str) -> Result<(String, Settings), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpc.properties");
        std::fs::write(&path, text).unwrap();
        read(&path, &env::real())
    }

    #[test]
    fn settings_of_flumes_client_become_settings_of_the_sink() {
        let text = "client.type = default\nhosts = h1\nhosts.h1 = flume-1:4141\n\
                    batch-size = 250\nconnect-timeout=5000\ncompression-type = deflate\n\
                    ssl = true\ntruststore = /etc/a b.jks\ntruststore-password = s=e\\\\c\n";
        let (kind, settings) = of(text).unwrap();
        let get = |name: &str| settings.get(name).unwrap_or_else(|| panic!("{name}: {settings:?}"));
        assert_eq!(kind, "avro");
        assert_eq!(get("address").read::<String>().unwrap(), "flume-1:4141");
        assert_eq!(get("events_max").read::<u64>().unwrap(), 250);
        assert_eq!(get("compression").read::<String>().unwrap(), "deflate");
        let tls = get("tls");
        assert_eq!(tls.get("truststore").unwrap().read::<String>().unwrap(), "/etc/a b.jks");
        let password = tls.get("truststore_password").unwrap().read::<String>();
        assert_eq!(password.unwrap(), "s=e\\c");
        let thrift = of("client.type=THRIFT\nhosts=x\nhosts.x=h:1\nprotocol=binary\n").unwrap();
        assert_eq!(thrift.0, "thrift");
        assert_eq!(thrift.1.get("protocol").unwrap().read::<String>().unwrap(), "binary");
    }

    #[test]
    fn keys_without_counterpart_are_refused() {
        let host = "hosts = h1\nhosts.h1 = h:1\n";
        for (text, wanted) in [
            ("client.type = default_failover\n", "client.type = default_failover is not supported"),
            ("hosts = h1 h2\n", "hosts must name one host"),
            ("hosts = h1\nhosts.h1 = h\n", "hosts.h1 must be HOST:PORT"),
            (&format!("{host}bach-size = 5\n"), "bach-size: "),
            (&format!("{host}compression-type = lzo\n"), "compression-type: "),
            ("hosts = \\u00\n", "rpc.properties:1"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.starts_with("--rpc-props ") && error.contains(wanted), "{error}");
        }
    }
}
