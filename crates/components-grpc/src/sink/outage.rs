//! Reads the report of a downstream agent that cannot store events.

use std::sync::Arc;
use std::time::Duration;

use pipeline::{AgentLink, Outage, address};
use tokio::time::Instant;
use tracing::{info, warn};
use wire::v1;

use super::connection::Connection;

/// Maximum length of a cause in bytes.
const CAUSE_MAX: usize = 1_000;

impl Connection {
    /// Handles the downstream agent's report whether it can store events.
    pub(super) fn told_of_outlet(&self, outlet: v1::Outlet) {
        let (sink, address) = (&self.name, &self.shared.address);
        let outage = read(outlet, address, Instant::now());
        let was_unable = self.shared.unable(outage.clone());
        match outage {
            Some(Outage { cause, agent, .. }) => warn!(
                %sink, %address, agent = agent.address.as_deref(), %cause,
                "the downstream agent cannot store events; they go to other agents of the sink \
                 group, or wait in the channel; fix `cause` at that agent",
            ),
            None if was_unable => self.log_able(),
            None => {}
        }
    }

    /// Logs that an outage of the downstream agent is over.
    pub(super) fn log_able(&self) {
        let (sink, address) = (&self.name, &self.shared.address);
        info!(%sink, %address, "the downstream agent stores events again");
    }
}

/// Returns the outage that the agent at `dialed` reports; `None`: it stores events.
fn read(outlet: v1::Outlet, dialed: &Arc<str>, now: Instant) -> Option<Outage> {
    let v1::Outlet { failing, mut detail, since_ms_ago, agent, page } = outlet;
    if !failing {
        return None;
    }
    detail.truncate(detail.floor_char_boundary(CAUSE_MAX));
    if detail.is_empty() {
        "no cause given".clone_into(&mut detail);
    }
    let address = match is_address(&agent) {
        true => agent.into(),
        false => dialed.clone(),
    };
    let page = page_of(&page, &address);
    let since = now.checked_sub(Duration::from_millis(since_ms_ago)).unwrap_or(now);
    Some(Outage { since, cause: detail.into(), agent: AgentLink { address: Some(address), page } })
}

fn is_address(text: &str) -> bool {
    address::check(text, "", false).is_ok() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns the URL of a status page, on the host of `address` if it has no host of its own. The
/// live page links to it: nothing but a scheme, a host and a port is accepted.
fn page_of(url: &str, address: &str) -> Option<Arc<str>> {
    let (scheme, rest) = url.split_once("://")?;
    let place = rest.strip_suffix('/').unwrap_or(rest);
    let place = match (place.strip_prefix(':'), address.rsplit_once(':')) {
        (Some(port), Some((host, _))) => format!("{host}:{port}"),
        _ => place.to_owned(),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    let is_usable = ["http", "https"].contains(&scheme)
        && place.bytes().all(is_plain)
        && address::check(&place, "", false).is_ok();
    is_usable.then(|| format!("{scheme}://{place}/").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_scheme_a_host_and_a_port_only() {
        for (url, expected) in [
            ("http://:9464/", Some("http://c-1:9464/")),
            ("https://:9464", Some("https://c-1:9464/")),
            ("http://10.0.0.7:9464/", Some("http://10.0.0.7:9464/")),
            ("http://[fe80::1]:9464/", Some("http://[fe80::1]:9464/")),
            ("javascript://:1/", None),
            ("http://c:1/path", None),
            ("http://a@c:1/", None),
            ("http://c:1\"onclick=/", None),
            ("http://c/", None),
            ("c:9464", None),
            ("", None),
        ] {
            assert_eq!(page_of(url, "c-1:4141").as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn a_report_names_the_agent_that_has_the_problem() {
        let (dialed, now) = (Arc::from("relay:4141"), Instant::now());
        let outlet = |agent: &str, page: &str| v1::Outlet {
            failing: true,
            detail: "disk full".into(),
            since_ms_ago: 2_000,
            agent: agent.into(),
            page: page.into(),
        };
        let own = read(outlet("", "http://:9464/"), &dialed, now).unwrap();
        assert_eq!((&*own.cause, now - own.since), ("disk full", Duration::from_secs(2)));
        let link = |address: &str, page: &str| AgentLink {
            address: Some(address.into()),
            page: Some(page.into()),
        };
        assert_eq!(own.agent, link("relay:4141", "http://relay:9464/"));
        let further = read(outlet("c:4141", "http://c:9464/"), &dialed, now).unwrap();
        assert_eq!(further.agent, link("c:4141", "http://c:9464/"));
        assert_eq!(read(v1::Outlet::default(), &dialed, now), None);
    }
}
