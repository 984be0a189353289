//! Address of a broker: a host and a port, or the URL of a WebSocket.

use pipeline::address;

/// Example of a WebSocket URL.
const EXAMPLE: &str = "wss://broker-1:443/mqtt";

/// Address of a broker, and the transport of its packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `host:port`, for the network.
    pub(crate) address: String,
    pub(crate) carrier: Carrier,
}

/// Transport of packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// The connection itself, with TLS if it is configured.
    Stream,
    /// Messages of a WebSocket that is opened at this path.
    WebSocket { path: String, is_secure: bool },
}

impl Endpoint {
    /// Parses the setting `broker.address`.
    ///
    /// # Errors
    /// Fails if it is invalid.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let web_socket = [("ws://", false, 80), ("wss://", true, 443)].into_iter().find_map(
            |(scheme, is_secure, port)| Some((text.strip_prefix(scheme)?, is_secure, port)),
        );
        let Some((rest, is_secure, port)) = web_socket else {
            address::check(text, "broker-1:1883", false)?;
            return Ok(Self { address: text.to_owned(), carrier: Carrier::Stream });
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if rest.contains(['?', '#']) {
            let example = format!("write for example \"{EXAMPLE}\"");
            return Err(format!(
                "must not have a query, because addresses are shown in logs; {example}"
            ));
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "`{text}` has characters that are not allowed in a URL: percent-encode them"
            ));
        }
        // A URL without a port uses the default port of HTTP.
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let address = if has_port { host.to_owned() } else { format!("{host}:{port}") };
        address::check(&address, EXAMPLE, false)?;
        let path = if path.is_empty() { "/" } else { path }.to_owned();
        Ok(Self { address, carrier: Carrier::WebSocket { path, is_secure } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_or_the_url_of_a_web_socket() {
        let web_socket = |address: &str, path: &str, is_secure| Endpoint {
            address: address.into(),
            carrier: Carrier::WebSocket { path: path.into(), is_secure },
        };
        for (text, expected) in [
            ("ws://broker:8083/mqtt", web_socket("broker:8083", "/mqtt", false)),
            ("ws://broker", web_socket("broker:80", "/", false)),
            ("wss://[::1]/a/b", web_socket("[::1]:443", "/a/b", true)),
            ("wss://[::1]:9001", web_socket("[::1]:9001", "/", true)),
            ("broker:1883", Endpoint { address: "broker:1883".into(), carrier: Carrier::Stream }),
        ] {
            assert_eq!(Endpoint::parse(text), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("mqtt://broker:1883", "begins with `mqtt://`"),
            ("http://broker/mqtt", "begins with `http://`"),
            ("ws://", "has no host"),
            ("ws://broker:x/mqtt", "has a port that is not a number"),
            ("wss://user@broker/mqtt", "has an invalid host"),
            ("wss://broker/mqtt?token=1", "must not have a query"),
            ("ws://broker/a path", "percent-encode them"),
            ("broker", "has no port"),
        ] {
            let problem = Endpoint::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
