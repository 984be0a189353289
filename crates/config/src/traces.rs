//! The table `[agent.traces]`: the sampled part of batches, and the destination of their spans.

use std::collections::BTreeMap;

use pipeline::units::Period;
use pipeline::{BuildError, Secret, address};
use schemars::JsonSchema;
use serde::Deserialize;
use tls::ClientTls;

use crate::http_url::{HttpUrl, check_tls};

/// Settings of traces.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceSettings {
    /// Receiver of OTLP over HTTP: `http://host:4318`, or `https://` for TLS. `/v1/traces` is
    /// appended.
    pub url: String,
    /// Fraction of the batches to trace, greater than 0 and at most 1. Agents with the same rate
    /// trace the same batches; an agent with a higher rate traces these and more.
    #[serde(default = "defaults::sample")]
    pub sample: f64,
    /// Name of the agent as `service.name`. `service.instance.id` is the name of the agent.
    #[serde(default = "defaults::service")]
    pub service: String,
    /// Further headers of each request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Headers whose values are never shown, such as `authorization`. Use references, such as
    /// `"${file:/run/secrets/otlp}"`.
    #[serde(default)]
    pub secret_headers: BTreeMap<String, Secret>,
    /// Timeout of a request, including the connection.
    #[serde(default = "pipeline::units::seconds::<10>")]
    pub timeout: Period,
    /// TLS of a URL that begins with `https://`. Default: the certificate authorities of the host.
    #[serde(default)]
    pub tls: Option<ClientTls>,
}

mod defaults {
    pub(super) fn sample() -> f64 {
        0.001
    }

    pub(super) fn service() -> String {
        "aqueduct".into()
    }
}

/// The destination of spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceTarget {
    /// `host:port`.
    pub address: String,
    /// The path of a request.
    pub path: String,
    /// True for TLS.
    pub is_tls: bool,
}

impl TraceSettings {
    /// Returns the destination of spans.
    ///
    /// # Errors
    /// `url` is not a URL of a server.
    pub fn target(&self) -> Result<TraceTarget, BuildError> {
        let invalid = |problem: &str| {
            let example = "write for example \"http://localhost:4318\"";
            BuildError::invalid("url", format!("{problem}; {example}"))
        };
        let url = HttpUrl::new(&self.url);
        let url = url.ok_or_else(|| invalid("must start with `http://` or `https://`"))?;
        let HttpUrl { is_tls, host, path } = url;
        if host.contains('@') {
            let problem = "must not contain a user, because URLs are shown in logs; set \
                           `authorization` in `secret_headers` instead";
            return Err(BuildError::invalid("url", problem));
        }
        if path.contains(|c: char| matches!(c, '?' | '#') || c.is_whitespace() || !c.is_ascii()) {
            return Err(invalid("must contain only a host, a port and a path"));
        }
        let address = url.address();
        address::check(&address, "localhost:4318", false).map_err(|problem| invalid(&problem))?;
        let path = format!("{}/v1/traces", path.trim_end_matches('/'));
        Ok(TraceTarget { address, path, is_tls })
    }

    /// Checks the combination of settings; reads no file.
    ///
    /// # Errors
    /// The first invalid one.
    pub fn check(&self) -> Result<(), BuildError> {
        let target = self.target()?;
        if !(self.sample > 0.0 && self.sample <= 1.0) {
            let problem = "must be greater than 0 and at most 1 (every batch); to trace \
                           nothing, remove the table";
            return Err(BuildError::invalid("sample", problem));
        }
        if self.timeout.0.is_zero() {
            return Err(BuildError::invalid("timeout", "must be greater than 0"));
        }
        check_tls(self.tls.is_some(), target.is_tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> TraceSettings {
        serde_json::from_value(serde_json::json!({ "url": url })).unwrap()
    }

    #[test]
    fn a_url_is_a_server_with_a_path_below_which_traces_are_taken() {
        for (url, address, path, is_tls) in [
            ("http://localhost:4318", "localhost:4318", "/v1/traces", false),
            ("https://tempo.example/", "tempo.example:443", "/v1/traces", true),
            ("http://[::1]/otlp/", "[::1]:80", "/otlp/v1/traces", false),
            ("https://[::1]:4318/a/b", "[::1]:4318", "/a/b/v1/traces", true),
        ] {
            let target = settings(url).target().unwrap();
            let (address, path) = (address.to_owned(), path.to_owned());
            assert_eq!(target, TraceTarget { address, path, is_tls }, "{url}");
        }
    }

    #[test]
    fn invalid_urls_are_refused_with_the_remedy() {
        for (url, cause) in [
            ("localhost:4318", "must start with `http://`"),
            ("grpc://localhost:4317", "must start with `http://`"),
            ("http://", "has no host"),
            ("http://host:0", "has port 0"),
            ("http://host:4318/?a=b", "must contain only a host"),
            ("http://user:secret@host:4318", "set `authorization` in `secret_headers`"),
        ] {
            let error = settings(url).check().unwrap_err();
            assert!(error.setting == "url" && error.problem.contains(cause), "{url}: {error:?}");
            assert!(!error.problem.contains("secret@"), "{error:?}");
        }
        let (mut none, mut all) = (settings("http://h:1"), settings("http://h:1"));
        (none.sample, all.sample) = (0.0, 1.1);
        for wrong in [none, all, TraceSettings { sample: f64::NAN, ..settings("http://h:1") }] {
            assert_eq!(wrong.check().unwrap_err().setting, "sample");
        }
    }
}
