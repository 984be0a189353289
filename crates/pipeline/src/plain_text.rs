//! Addresses to which a component sends plain text, so that the agent can refuse those on other
//! hosts.
//!
//! ```text
//!   Config::build ─► PlainText::speaks(setting, address, remedy)     every address without TLS
//!   agent         ─► PlainText::leaving()    ─► refused, unless the component is `insecure`
//! ```
//!
//! A component only reports addresses; the agent applies the rule. Names are not looked up:
//! building does no I/O, and the address of a name may change while the agent runs. Therefore only
//! `localhost` and addresses of the loopback network count as this host.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The remedy for a component with a table `tls`.
pub const TABLE: &str = "set the table `tls`";

/// The reason to reject `insecure = true` if every address has TLS: it would hide a later one
/// without TLS.
pub const MEANS_NOTHING: &str = "has no effect, because no address uses plain text; remove it";

/// The addresses of one component. Clones are the same set.
#[derive(Debug, Clone, Default)]
pub struct PlainText(Arc<Mutex<Vec<PlainAddress>>>);

/// An address that plain text is spoken with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainAddress {
    /// The setting that names it, dotted.
    pub setting: String,
    /// As it is written there, or `host:port`.
    pub address: String,
    /// How to enable TLS: an instruction, for messages.
    pub remedy: &'static str,
}

impl PlainText {
    /// Plain text is spoken with `address`, which `setting` names; `remedy` is how it gets TLS.
    pub fn speaks(&self, setting: &str, address: &str, remedy: &'static str) {
        let (setting, address) = (setting.to_owned(), address.to_owned());
        let found = PlainAddress { setting, address, remedy };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(&found) {
            all.push(found);
        }
    }

    /// Every address.
    pub fn all(&self) -> Vec<PlainAddress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the addresses on other hosts.
    pub fn leaving(&self) -> Vec<PlainAddress> {
        let mut all = self.all();
        all.retain(|it| leaves_host(&it.address));
        all
    }
}

impl PlainAddress {
    /// Returns why it is refused, with both remedies.
    pub fn problem(&self) -> String {
        let Self { address, remedy, .. } = self;
        format!(
            "`{address}`: data would leave this host in plain text; {remedy}, or set `insecure = \
             true`"
        )
    }
}

/// Returns `true` if data to this address leaves the host. Accepts `host:port`, a host, or a URL.
pub fn leaves_host(address: &str) -> bool {
    let host = host(address);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return !ip.to_canonical().is_loopback();
    }
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    // RFC 6761: the names below it are of this host too.
    name != "localhost" && !name.ends_with(".localhost")
}

fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    if let Some(inner) = rest.strip_prefix('[') {
        return inner.split(']').next().unwrap_or_default();
    }
    match rest.rsplit_once(':') {
        // An address of IPv6 without a port has more colons.
        Some((host, _)) if !host.contains(':') => host,
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_names_of_this_host_stay_and_all_else_leaves() {
        for stays in [
            "127.0.0.1:4141",
            "127.8.9.10",
            "[::1]:4141",
            "::1",
            "[::ffff:127.0.0.1]:1",
            "localhost:4141",
            "LocalHost.:4141",
            "a.localhost:4141",
            "http://127.0.0.1:8080/path?to=10.0.0.1",
            "amqp://localhost:5672",
            "http://u:p@127.0.0.1:1/",
        ] {
            assert!(!leaves_host(stays), "{stays}");
        }
        for leaves in [
            "0.0.0.0:4141",
            "[::]:4141",
            "10.0.0.7:4141",
            "[2001:db8::1]:4141",
            "2001:db8::1",
            "[::ffff:10.0.0.1]:1",
            "collector-1:4141",
            "localhost.example.org:4141",
            "notlocalhost:1",
            "http://collector/127.0.0.1",
            "http://127.0.0.1@collector/",
            "http://127.0.0.1:80@collector/",
            "127.0.0.1.example.org:1",
            "",
        ] {
            assert!(leaves_host(leaves), "{leaves}");
        }
    }

    #[test]
    fn each_address_is_named_once_with_its_remedies() {
        let plain = PlainText::default();
        let clone = plain.clone();
        for _ in 0..2 {
            clone.speaks("listen", "0.0.0.0:1", TABLE);
            clone.speaks("listen", "127.0.0.1:1", TABLE);
        }
        assert_eq!((plain.all().len(), plain.leaving().len()), (2, 1));
        let problem = "`0.0.0.0:1`: data would leave this host in plain text; set the table \
                       `tls`, or set `insecure = true`";
        assert_eq!(plain.leaving()[0].problem(), problem);
    }
}
