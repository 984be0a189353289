//! Counts of a report: events, sinks with the places that they send to, and sources for other
//! agents. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent::status::{Level, MemberStatus, Snapshot, SourceStatus, State};
use config::Plan;
use pipeline::secret::MASK;
use pipeline::settings::{Settings, Value};
use wire::fleet_v1::{Counts, Destination, Receiver};

use super::cut;
use crate::configuration::Configuration;

/// Maximum number of sinks in a report, and of sources.
const DESTINATIONS_MAX: usize = 64;
const RECEIVERS_MAX: usize = 16;

/// Maximum number of characters of an address.
const ADDRESS_MAX: usize = 250;

/// Settings that name the server or the directory of a sink, and tables that contain them.
const PLACES: [&str; 6] = ["url", "address", "urls", "brokers", "masters", "directory"];
const TABLES: [&str; 3] = ["broker", "server", "database"];

/// Settings that name a part of the server.
const PARTS: [&str; 6] = ["topic", "table", "index", "collection", "subject", "exchange"];

/// Addresses of the sinks, from their settings.
#[derive(Default)]
pub(super) struct Addresses {
    /// The plan that they are from.
    plan: Option<Arc<Plan>>,
    by_sink: BTreeMap<String, String>,
}

impl Addresses {
    /// Reads the running configuration, if it has changed.
    pub(super) fn update(&mut self, configuration: &Configuration) {
        let plan = configuration.plan();
        if self.plan.as_ref().is_some_and(|known| Arc::ptr_eq(known, &plan)) {
            return;
        }
        let shown = config::redacted(&plan, configuration.catalogue);
        let sinks = shown.groups.iter().flat_map(|group| &group.sinks);
        let found = sinks.filter_map(|it| Some((it.name.clone(), address(&it.settings)?)));
        (self.by_sink, self.plan) = (found.collect(), Some(plan));
    }
}

/// Returns the counts, without those that are not from the snapshot.
pub(super) fn counts(now: &Snapshot, addresses: &Addresses) -> Counts {
    let sum = &now.conservation;
    let oldest = now.channels.iter().filter_map(|it| it.oldest_event_seconds);
    let members = now.groups.iter().flat_map(|group| &group.members);
    // A free place for a discovered sink.
    let members = members.filter(|it| it.state != State::Absent);
    let destinations = members.map(|it| destination(it, addresses));
    let receivers = now.sources.iter().filter_map(receiver);
    Counts {
        accepted: sum.accepted_events,
        delivered: sum.delivered_events,
        held: sum.held_events,
        dropped: sum.dropped_events.values().sum(),
        dead_letters: sum.dead_letter_events + sum.downstream_dead_letter_events,
        difference: sum.difference_events,
        level: match now.verdict.level {
            Level::Good => 0,
            Level::Note => 1,
            Level::Warn => 2,
            Level::Bad => 3,
        },
        oldest_seconds: oldest.max_by(f64::total_cmp).map(|it| it as u32),
        destinations: destinations.take(DESTINATIONS_MAX).collect(),
        receivers: receivers.take(RECEIVERS_MAX).collect(),
        ..Counts::default()
    }
}

fn destination(member: &MemberStatus, addresses: &Addresses) -> Destination {
    let peer = member.peer.as_ref().map(|it| without_login(it));
    let address = peer.or_else(|| addresses.by_sink.get(&member.sink).cloned());
    Destination {
        sink: member.sink.clone(),
        kind: member.kind.clone(),
        address: cut(&address.unwrap_or_default(), ADDRESS_MAX),
        incarnation: member.peer_incarnation.as_deref().and_then(parsed).unwrap_or_default(),
        delivered: member.delivered_events,
    }
}

fn receiver(source: &SourceStatus) -> Option<Receiver> {
    Some(Receiver {
        source: source.name.clone(),
        incarnation: parsed(source.incarnation.as_deref()?)?,
        senders: u32::try_from(source.senders_total).unwrap_or(u32::MAX),
    })
}

fn parsed(incarnation: &str) -> Option<u64> {
    u64::from_str_radix(incarnation, 16).ok()
}

/// Returns the place that a sink with these settings sends to: its first server, and a part of it.
fn address(settings: &Settings) -> Option<String> {
    let nested = TABLES.iter().find_map(|table| place(settings.get(table)?));
    // The address of a broker's client is a part of the broker.
    let queue = nested.as_ref().and_then(|_| text(settings.get("address")?));
    let place = nested.or_else(|| place(settings))?;
    let part = PARTS.iter().find_map(|part| text(settings.get(part)?)).or(queue);
    let place = without_login(&place);
    let whole = part.map_or(place.clone(), |part| format!("{place} {part}"));
    (!whole.contains(MASK)).then_some(whole)
}

fn place(table: &Settings) -> Option<String> {
    PLACES.iter().find_map(|name| text(table.get(name)?))
}

/// A text, or the first one of a list. If it refers to something, such as a variable, the reference
/// is shown.
fn text(setting: &Settings) -> Option<String> {
    match (&setting.written, &setting.value) {
        (Some(written), _) => Some(written.to_string()),
        (None, Value::Text(text)) => Some(text.clone()),
        (None, Value::List(all)) => text(all.first()?),
        _ => None,
    }
}

/// Removes user, password and parameters from a URL.
fn without_login(url: &str) -> String {
    if url.starts_with("odbc:") {
        return "odbc".to_owned();
    }
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // A password with a slash that is not escaped.
    if path.contains('@') {
        return format!("{scheme}://…");
    }
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(settings: &Value) -> Option<String> {
        address(&Settings::from_json(settings))
    }

    #[test]
    fn addresses_are_those_of_the_servers() {
        let hdfs = "hdfs://namenode:8020/logs/day=%Y-%m-%d";
        for (settings, expected) in [
            (json!({ "address": "collector-1:4141" }), "collector-1:4141"),
            (json!({ "url": hdfs }), hdfs),
            (json!({ "brokers": ["b-1:9092", "b-2:9092"], "topic": "logs" }), "b-1:9092 logs"),
            (
                json!({ "address": "alarms", "broker": { "urls": ["amqps://b:5671"] } }),
                "amqps://b:5671 alarms",
            ),
            (
                json!({ "table": "t", "database": { "url": "postgres://db/shop" } }),
                "postgres://db/shop t",
            ),
            (json!({ "directory": "/var/spool" }), "/var/spool"),
        ] {
            assert_eq!(found(&settings).as_deref(), Some(expected), "{settings}");
        }
        assert_eq!(found(&json!({ "body_max": "1KiB" })), None);
        assert_eq!(found(&json!({ "url": MASK })), None);
    }

    #[test]
    fn addresses_have_no_logins() {
        for (url, shown) in [
            ("https://ann:secret@logs:8428/insert?token=secret", "https://logs:8428/insert"),
            ("amqps://b:5671#secret", "amqps://b:5671"),
            ("postgres://ann:se/cret@db/shop", "postgres://…"),
            ("odbc:Driver=x;Pwd=secret", "odbc"),
            ("collector-1:4141", "collector-1:4141"),
        ] {
            assert_eq!(without_login(url), shown);
        }
    }
}
