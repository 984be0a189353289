//! Messages of agents, of foreign ones and of hostile ones.

use std::time::{Duration, UNIX_EPOCH};

use wire::opamp::{AgentDescription, AnyValue, ComponentHealth, CustomMessage, RemoteConfigStatus};

use super::*;
use crate::{Act, Policy, Revision, Saved};

struct Kept(Saved);

impl Save for Kept {
    fn save(&mut self, state: &Saved) -> std::io::Result<()> {
        self.0 = state.clone();
        Ok(())
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.into())) };
    KeyValue { key: key.into(), value: Some(value) }
}

fn message(counts: Option<fleet_v1::Counts>) -> AgentToServer {
    AgentToServer {
        instance_uid: vec![7; 16].into(),
        sequence_num: 1,
        capabilities: AgentCapabilities::AcceptsRemoteConfig as u64,
        agent_description: Some(AgentDescription {
            identifying_attributes: vec![
                attribute("service.name", "aqueduct"),
                attribute("service.instance.id", "edge\u{1b}[31m-1"),
            ],
            non_identifying_attributes: vec![attribute("role", "edge")],
        }),
        health: Some(ComponentHealth { healthy: true, ..ComponentHealth::default() }),
        custom_message: counts.map(|it| CustomMessage {
            capability: CAPABILITY.into(),
            r#type: COUNTS.into(),
            data: it.encode_to_vec().into(),
        }),
        ..AgentToServer::default()
    }
}

fn fleet() -> Fleet {
    Fleet::new(Saved::default(), Revision::default(), Revision::default(), BTreeMap::new())
}

fn ask(fleet: &mut Fleet, identity: Option<&str>, message: &AgentToServer) -> Exchanged {
    let (now, bytes) = (UNIX_EPOCH + Duration::from_secs(1_000), message.encode_to_vec());
    let identity = identity.map(str::to_owned);
    exchange(fleet, now, (identity, &bytes), &mut Kept(Saved::default()))
}

fn answer(exchanged: &Exchanged) -> ServerToAgent {
    match exchanged {
        Exchanged::Answer(_, message) => message.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_agent_gets_its_text_once_and_its_refusal_is_known() {
    let mut fleet = fleet();
    let own = message(Some(fleet_v1::Counts::default()));
    assert_eq!(answer(&ask(&mut fleet, None, &own)).remote_config, None);
    let fragments = [("a".to_owned(), "[sinks.a]\n".to_owned())].into();
    let assign = "[[assign]]\nlabels = { role = \"edge\" }\nfragments = [\"a\"]\n";
    let revision = Revision::new(assign.into(), fragments).unwrap();
    let act = Act::RollOut(1, Box::new(revision), Policy::default());
    fleet.act((1_000_000, "test"), act, &mut Kept(Saved::default())).unwrap();
    let offered = answer(&ask(&mut fleet, None, &own)).remote_config.unwrap();
    let file = &offered.config.unwrap().config_map["aqueduct.toml"];
    assert_eq!(file.body, "# Fragment a\n[sinks.a]\n");
    assert_eq!(hex(&offered.config_hash), Rendered::new("# Fragment a\n[sinks.a]\n".into()).hash);
    let mut refused = own.clone();
    refused.remote_config_status = Some(RemoteConfigStatus {
        last_remote_config_hash: offered.config_hash,
        status: RemoteConfigStatuses::Failed as i32,
        error_message: "x".repeat(100_000),
    });
    assert_eq!(answer(&ask(&mut fleet, None, &refused)).remote_config, None);
    let rollout = fleet.saved().rollout.as_ref().unwrap();
    let reason = rollout.reason.as_ref().unwrap();
    assert!(reason.len() < 1_000 && reason.contains("refused the configuration"), "{reason}");
    assert!(!reason.contains('\u{1b}'), "{reason}");
}

#[test]
fn foreign_agents_are_shown_and_get_nothing() {
    let mut fleet = fleet();
    assert_eq!(answer(&ask(&mut fleet, None, &message(None))).remote_config, None);
    let agent = &fleet.agents()["07070707070707070707070707070707"];
    assert!(!agent.managed && agent.name == "edge [31m-1", "{agent:?}");
    // A message without a description asks for nothing new: the server asks for all of it.
    let short = AgentToServer { agent_description: None, ..message(None) };
    let flags = answer(&ask(&mut fleet, None, &short)).flags;
    assert_eq!(flags, ServerToAgentFlags::ReportFullState as u64);
}

#[test]
fn a_uid_belongs_to_the_identity_that_proved_it_first() {
    let mut fleet = fleet();
    let own = message(Some(fleet_v1::Counts::default()));
    answer(&ask(&mut fleet, Some("edge-1"), &own));
    answer(&ask(&mut fleet, Some("edge-1"), &own));
    for other in [Some("edge-2"), None] {
        let refused = ask(&mut fleet, other, &own);
        assert!(matches!(refused, Exchanged::Forbidden(_)), "{refused:?}");
    }
}

#[test]
fn hostile_messages_are_refused_and_bounded() {
    let mut fleet = fleet();
    let short = AgentToServer { instance_uid: vec![1; 15].into(), ..message(None) };
    for bytes in [&b"\xff\xff\xff"[..], b"\x0a\xff\xff\xff\xff\x0f", b"", &short.encode_to_vec()] {
        let refused = exchange(&mut fleet, UNIX_EPOCH, (None, bytes), &mut Kept(Saved::default()));
        assert!(matches!(refused, Exchanged::Malformed(_)), "{bytes:?}: {refused:?}");
    }
    let mut many = message(None);
    let labels = (0..10_000).map(|it| attribute(&format!("{it}{}", "k".repeat(1_000)), "v"));
    many.agent_description.as_mut().unwrap().non_identifying_attributes = labels.collect();
    answer(&ask(&mut fleet, None, &many));
    let agent = fleet.agents().values().next().unwrap();
    assert!(agent.labels.len() <= LABELS_MAX);
    assert!(agent.labels.keys().all(|it| it.chars().count() <= NAME_MAX));
}

#[test]
fn sinks_and_sources_are_bounded_and_may_be_missing() {
    let mut fleet = fleet();
    // An older agent reports none.
    answer(&ask(&mut fleet, None, &message(Some(fleet_v1::Counts::default()))));
    let topology = crate::Topology::new(fleet.agents(), 1_000_000);
    assert_eq!(topology, crate::Topology::default());
    let destination = |number: usize| fleet_v1::Destination {
        sink: format!("{number}{}", "s".repeat(1_000)),
        kind: "grpc\u{1b}".into(),
        address: "a".repeat(1_000),
        incarnation: 0,
        delivered: 1,
    };
    let receiver = fleet_v1::Receiver { source: "s".repeat(1_000), incarnation: 7, senders: 9 };
    let counts = fleet_v1::Counts {
        oldest_seconds: Some(7),
        destinations: (0..100).map(destination).collect(),
        receivers: vec![receiver; 100],
        ..fleet_v1::Counts::default()
    };
    answer(&ask(&mut fleet, None, &message(Some(counts))));
    let topology = crate::Topology::new(fleet.agents(), 1_000_000);
    assert_eq!(topology.edges.len(), DESTINATIONS_MAX);
    assert!(topology.edges.iter().all(|it| it.sink.len() <= NAME_MAX && it.kind == "grpc "));
    assert!(topology.nodes.iter().all(|it| it.id.len() <= ADDRESS_MAX + 20), "{topology:?}");
    let own = topology.nodes.iter().find_map(|it| it.connected);
    assert_eq!(own, Some(9 * RECEIVERS_MAX as u32));
    assert_eq!(fleet.agents().values().next().unwrap().oldest_seconds, Some(7));
}
