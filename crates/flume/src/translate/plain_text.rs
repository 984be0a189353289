//! Connections of Flume to other hosts in plain text stay as they are, with `insecure = true`.

use pipeline::Settings;
use pipeline::plain_text::leaves_host;
use pipeline::settings::{Place, Value};

use super::{Translator, flag};
use crate::report::{Finding, Outcome};

/// Settings with addresses or URLs.
const ADDRESSES: [&[&str]; 5] =
    [&["listen"], &["address"], &["url"], &["brokers"], &["broker", "urls"]];

/// Schemes of URLs without TLS. A value without a scheme is an address, whose TLS is configured by
/// a table.
const PLAIN: [&str; 3] = ["http", "amqp", "webhdfs"];

/// Beginning of the text of a finding about plain text.
const PLAIN_TEXT: &str = "plain text leaves this host";

/// Returns `true` for a finding about plain text. A running agent logs each such address itself.
pub fn is_plain_text(finding: &Finding) -> bool {
    finding.text.starts_with(PLAIN_TEXT)
}

impl Translator<'_> {
    /// Permits a component to use plain text as in Flume; `key` is the component's in Flume's file.
    pub(super) fn plain_text(&mut self, settings: &mut Settings, place: &Place, key: &str) {
        // Kafka's client has no table for it.
        let protocol = texts(settings, &["properties", "security.protocol"]);
        let is_tls =
            |it: &String| ["ssl", "sasl_ssl"].iter().any(|tls| it.eq_ignore_ascii_case(tls));
        let has_tls = settings.get("tls").is_some() || protocol.iter().any(is_tls);
        let addresses = ADDRESSES.iter().flat_map(|path| texts(settings, path));
        let mut leaving = addresses.filter(|text| leaves_in_plain_text(text, has_tls));
        let Some(first) = leaving.next() else { return };
        let text = format!(
            "{PLAIN_TEXT}, as in Flume (`insecure = true`): `{first}`; use TLS if the network is \
             not trusted"
        );
        self.report.add(Outcome::Advice, place, key, text);
        settings.set("insecure", flag(true, place));
    }
}

fn leaves_in_plain_text(text: &str, has_tls: bool) -> bool {
    let is_plain = match text.split_once("://") {
        None | Some(("tcp", _)) => !has_tls,
        Some(("udp", _)) => true,
        Some((scheme, _)) => PLAIN.contains(&scheme),
    };
    is_plain && leaves_host(text)
}

/// The text at a path, or the texts of the list there.
fn texts(settings: &Settings, path: &[&str]) -> Vec<String> {
    let found = path.iter().try_fold(settings, |at, name| at.get(name));
    let text = |it: &Settings| match &it.value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    };
    match found.map(|it| &it.value) {
        Some(Value::Text(text)) => vec![text.clone()],
        Some(Value::List(items)) => items.iter().filter_map(text).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_without_tls_and_no_loopback_leaves() {
        for (text, has_tls, leaves) in [
            ("h:1", false, true),
            ("h:1", true, false),
            ("127.0.0.1:1", false, false),
            ("tcp://0.0.0.0:1", false, true),
            ("tcp://0.0.0.0:1", true, false),
            ("udp://0.0.0.0:1", true, true),
            ("http://h/x", false, true),
            ("https://h/x", false, false),
            ("http://localhost:1/x", false, false),
            ("amqp://h:5672", false, true),
            ("amqps://h:5671", false, false),
            ("hdfs://h:8020/x", false, false),
            ("webhdfs://h:9870/x", false, true),
            ("${HOST}:1", false, true),
        ] {
            assert_eq!(leaves_in_plain_text(text, has_tls), leaves, "{text} {has_tls}");
        }
    }
}
