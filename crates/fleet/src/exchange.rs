//! OpAMP messages to reports, and offers to messages. Pure.
//!
//! Every text of an agent is cut to a limit, and control characters are replaced: it appears on the
//! page and in logs.

use std::collections::BTreeMap;

use bytes::Bytes;
use pipeline::env::unix_millis;
use prost::Message;
use support::hex::hex;
use wire::fleet_v1;
use wire::opamp::{
    AgentCapabilities, AgentConfigFile, AgentConfigMap, AgentRemoteConfig, AgentToServer,
    CAPABILITY, COUNTS, ComponentHealth, KeyValue, RemoteConfigStatuses, ServerCapabilities,
    ServerErrorResponse, ServerErrorResponseType, ServerToAgent, ServerToAgentFlags,
    any_value::Value,
};

use crate::agents::{Failure, Report};
use crate::gate::{Counts, Level};
use crate::revision::Rendered;
use crate::state::{Fleet, Offer, Refused, Save};
use crate::topology::{Destination, Receiver};

/// Maximum size of a message, in bytes.
pub const MESSAGE_MAX: usize = 256 << 10;

/// Maximum number of labels.
const LABELS_MAX: usize = 64;

/// Maximum number of characters of a name, a label or its value.
const NAME_MAX: usize = 128;

/// Maximum number of characters of an error or a verdict.
const TEXT_MAX: usize = 500;

/// Maximum number of characters of an address.
const ADDRESS_MAX: usize = 250;

/// Maximum number of sinks of an agent, and of its sources for other agents.
const DESTINATIONS_MAX: usize = 64;
const RECEIVERS_MAX: usize = 16;

/// Pause between the reports of agents that do not state it.
const POLL_MS: u64 = 30_000;

/// The answer to a message.
#[derive(Debug)]
pub enum Exchanged {
    /// The uid of the agent, and a message for it.
    Answer(Bytes, ServerToAgent),
    /// The bytes are no message of OpAMP, or the uid is wrong: the reason.
    Malformed(&'static str),
    /// The identity may not use this uid: the reason.
    Forbidden(String),
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let texts = attributes.iter().filter_map(|it| match it.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some((cut(&it.key, NAME_MAX), cut(text, NAME_MAX))),
        _ => None,
    });
    texts.take(LABELS_MAX).collect()
}

fn level(number: u32) -> Level {
    match number {
        0 => Level::Good,
        1 => Level::Note,
        2 => Level::Warn,
        _ => Level::Bad,
    }
}

/// Returns the report of a message; `None` if it lacks its description, which an agent may leave
/// out when nothing has changed.
fn report(uid: String, identity: Option<String>, message: &AgentToServer) -> Option<Report> {
    let description = message.agent_description.as_ref()?;
    let names = texts(&description.identifying_attributes);
    let name = |key: &str| names.get(key).cloned().unwrap_or_default();
    // An agent that does not report its health is not unhealthy.
    let unknown = ComponentHealth { healthy: true, ..ComponentHealth::default() };
    let health = message.health.clone().unwrap_or(unknown);
    let accepts = message.capabilities & AgentCapabilities::AcceptsRemoteConfig as u64 != 0;
    let custom = message.custom_message.as_ref();
    let custom = custom.filter(|it| it.capability == CAPABILITY && it.r#type == COUNTS);
    let own = custom.and_then(|it| fleet_v1::Counts::decode(it.data.clone()).ok());
    let own = own.filter(|_| accepts);
    let mut report = Report {
        uid,
        identity,
        sequence: message.sequence_num,
        name: match name("service.instance.id") {
            empty if empty.is_empty() => name("service.name"),
            name => name,
        },
        version: name("service.version"),
        labels: texts(&description.non_identifying_attributes),
        level: if health.healthy { Level::Good } else { Level::Bad },
        verdict: cut(
            if health.status.is_empty() { &health.last_error } else { &health.status },
            TEXT_MAX,
        ),
        started_ms: health.start_time_unix_nano / 1_000_000,
        poll_ms: POLL_MS,
        ..Report::default()
    };
    let Some(own) = own else { return Some(report) };
    report.level = level(own.level);
    report.poll_ms = 1_000 * u64::from(own.poll_seconds.clamp(1, 3_600));
    report.in_force = (!own.in_force.is_empty()).then(|| hex(&own.in_force));
    report.oldest_seconds = own.oldest_seconds;
    (report.destinations, report.receivers) = links(&own);
    report.counts = Some(Counts {
        accepted: own.accepted,
        delivered: own.delivered,
        held: own.held,
        dropped: own.dropped,
        dead_letters: own.dead_letters,
        difference: own.difference,
    });
    let status = message.remote_config_status.as_ref();
    let failed = status.filter(|it| it.status == RemoteConfigStatuses::Failed as i32);
    report.failure = failed.map(|it| Failure {
        hash: hex(&it.last_remote_config_hash),
        error: cut(&it.error_message, TEXT_MAX),
    });
    Some(report)
}

/// The sinks of an agent, and its sources for other agents.
fn links(own: &fleet_v1::Counts) -> (Vec<Destination>, Vec<Receiver>) {
    let destinations = own.destinations.iter().map(|it| Destination {
        sink: cut(&it.sink, NAME_MAX),
        kind: cut(&it.kind, NAME_MAX),
        address: cut(&it.address, ADDRESS_MAX),
        incarnation: it.incarnation,
        delivered: it.delivered,
    });
    let receivers = own.receivers.iter().map(|it| Receiver {
        source: cut(&it.source, NAME_MAX),
        incarnation: it.incarnation,
        senders: it.senders,
    });
    (destinations.take(DESTINATIONS_MAX).collect(), receivers.take(RECEIVERS_MAX).collect())
}

/// Answers a message of an agent with this proved identity.
pub fn exchange(
    fleet: &mut Fleet,
    now: std::time::SystemTime,
    (identity, bytes): (Option<String>, &[u8]),
    save: &mut impl Save,
) -> Exchanged {
    let Ok(message) = AgentToServer::decode(bytes) else {
        return Exchanged::Malformed("the body is not a message of OpAMP");
    };
    if message.instance_uid.len() != 16 {
        return Exchanged::Malformed("`instance_uid` must have 16 bytes");
    }
    let mut answer = to_agent(message.instance_uid.clone());
    let uid = hex(&message.instance_uid);
    let now_ms = unix_millis(now);
    if message.agent_description.is_none()
        && fleet.heartbeat(now_ms, (&uid, identity.as_deref()), message.sequence_num)
    {
        return Exchanged::Answer(message.instance_uid, answer);
    }
    let Some(report) = report(uid, identity, &message) else {
        answer.flags = ServerToAgentFlags::ReportFullState as u64;
        return Exchanged::Answer(message.instance_uid, answer);
    };
    match fleet.report(now_ms, report, save) {
        Ok(Offer::Nothing) => {}
        Ok(Offer::Text(text)) => answer.remote_config = Some(remote_config(&text)),
        Err(error @ Refused::Identity(_)) => return Exchanged::Forbidden(error.to_string()),
        Err(error @ (Refused::Full | Refused::Storage(_))) => {
            answer.error_response = Some(ServerErrorResponse {
                r#type: ServerErrorResponseType::Unavailable as i32,
                error_message: support::causes::chain(&error),
            });
        }
    }
    Exchanged::Answer(message.instance_uid, answer)
}

fn to_agent(instance_uid: Bytes) -> ServerToAgent {
    let capabilities =
        ServerCapabilities::AcceptsStatus as u64 | ServerCapabilities::OffersRemoteConfig as u64;
    ServerToAgent { instance_uid, capabilities, ..ServerToAgent::default() }
}

/// Returns the message that a connected agent should get now, without having asked.
pub(crate) fn pending(fleet: &Fleet, uid: &Bytes) -> Option<ServerToAgent> {
    match fleet.pending(&hex(uid)) {
        Offer::Nothing => None,
        Offer::Text(text) => {
            let remote_config = Some(remote_config(&text));
            Some(ServerToAgent { remote_config, ..to_agent(uid.clone()) })
        }
    }
}

fn remote_config(Rendered { hash, text }: &Rendered) -> AgentRemoteConfig {
    let pairs = hash.as_bytes().chunks(2);
    let bytes = pairs.map(|it| u8::from_str_radix(str::from_utf8(it).unwrap_or("0"), 16));
    let hash: Vec<u8> = bytes.map(Result::unwrap_or_default).collect();
    let file =
        AgentConfigFile { body: text.clone().into(), content_type: "application/toml".into() };
    let config_map = [("aqueduct.toml".to_owned(), file)].into();
    AgentRemoteConfig { config: Some(AgentConfigMap { config_map }), config_hash: hash.into() }
}

#[cfg(test)]
mod tests;
