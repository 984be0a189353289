//! The table `[agent.fleet]`: the fleet server of an agent.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pipeline::units::Period;
use pipeline::{BuildError, address};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ClientTls;

use crate::http_url::{HttpUrl, check_tls};

/// Maximum number of labels, and of characters of a label and its value.
const LABELS_MAX: usize = 64;
const LABEL_CHARACTERS_MAX: usize = 128;

/// Settings of an agent that a fleet server manages.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetSettings {
    /// The fleet server: `http://host:port`, or `https://` for TLS.
    pub url: String,
    /// Labels that select the configuration of this agent on the server.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Pause between two reports, from 1s to 1h.
    #[serde(default = "pipeline::units::seconds::<30>")]
    pub poll: Period,
    /// True: the agent keeps a WebSocket open, so that a roll-out reaches it immediately. If a
    /// proxy refuses it, the agent polls. `aqueduct-edge` always polls.
    #[serde(default = "pipeline::units::yes")]
    pub web_socket: bool,
    /// File with the token of this agent, if the server requires tokens: one line, `NAME TOKEN`.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// TLS of a URL that begins with `https://`. Default: the certificate authorities of the host.
    #[serde(default)]
    pub tls: Option<ClientTls>,
}

/// The address of a fleet server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetTarget {
    /// `host:port`.
    pub address: String,
    /// True for TLS.
    pub is_tls: bool,
}

impl FleetSettings {
    /// Returns the address of the server.
    ///
    /// # Errors
    /// `url` is not a URL of a server.
    pub fn target(&self) -> Result<FleetTarget, BuildError> {
        let example = "write for example \"https://fleet:9470\"";
        let invalid = |problem: &str| BuildError::invalid("url", format!("{problem}; {example}"));
        let url = HttpUrl::new(&self.url);
        let url = url.ok_or_else(|| invalid("must start with `http://` or `https://`"))?;
        if url.host.contains('@') || !url.path.trim_matches('/').is_empty() {
            return Err(invalid("must consist of a host and a port"));
        }
        let (address, is_tls) = (url.address(), url.is_tls);
        address::check(&address, "fleet:9470", false).map_err(|problem| invalid(&problem))?;
        Ok(FleetTarget { address, is_tls })
    }

    /// Checks the combination of settings; reads no file.
    ///
    /// # Errors
    /// The first invalid one.
    pub fn check(&self) -> Result<(), BuildError> {
        let target = self.target()?;
        if !(1..=3_600).contains(&self.poll.0.as_secs()) {
            return Err(BuildError::invalid("poll", "must be from 1s to 1h"));
        }
        let fits = |text: &String| {
            (1..=LABEL_CHARACTERS_MAX).contains(&text.chars().count())
                && !text.contains(char::is_control)
        };
        let all = self.labels.len() <= LABELS_MAX;
        if !all || !self.labels.iter().all(|(label, value)| fits(label) && fits(value)) {
            let problem = format!(
                "must have at most {LABELS_MAX} labels, each with 1 to {LABEL_CHARACTERS_MAX} \
                 characters, and values of the same length"
            );
            return Err(BuildError::invalid("labels", problem));
        }
        check_tls(self.tls.is_some(), target.is_tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> FleetSettings {
        serde_json::from_value(serde_json::json!({ "url": url })).unwrap()
    }

    #[test]
    fn urls_name_a_host_and_a_port() {
        for (url, address, is_tls) in [
            ("http://localhost:9470", "localhost:9470", false),
            ("https://fleet/", "fleet:443", true),
            ("http://[::1]", "[::1]:80", false),
        ] {
            let expected = FleetTarget { address: address.to_owned(), is_tls };
            assert_eq!(settings(url).target().unwrap(), expected, "{url}");
        }
        for url in ["fleet:9470", "http://", "http://h:1/path", "http://a@h:1", "grpc://h:1"] {
            assert_eq!(settings(url).check().unwrap_err().setting, "url", "{url}");
        }
    }

    #[test]
    fn labels_and_pauses_are_limited() {
        let (mut long, mut soon, mut tls) =
            (settings("http://h:1"), settings("http://h:1"), settings("http://h:1"));
        long.labels = [("a".repeat(129), "b".to_owned())].into();
        soon.poll = Period(std::time::Duration::ZERO);
        tls.tls = Some(serde_json::from_str("{}").unwrap());
        for (wrong, setting) in [(long, "labels"), (soon, "poll"), (tls, "tls")] {
            assert_eq!(wrong.check().unwrap_err().setting, setting);
        }
    }
}
