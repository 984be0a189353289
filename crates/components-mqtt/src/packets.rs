//! Packets of both versions in the form of version 5, which covers 3.1.1.

use bytes::BytesMut;
use rumqttc::mqttbytes::v4;
pub(crate) use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5;
pub(crate) use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Connect, ConnectProperties, ConnectReturnCode, Disconnect, DisconnectReasonCode,
    Filter, LastWill, LastWillProperties, Login, Packet, PingReq, PubAck, PubAckReason, PubComp,
    PubRec, PubRecReason, PubRel, Publish, PublishProperties, RetainForwardRule, SubAck, Subscribe,
    SubscribeReasonCode,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of MQTT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Version {
    /// 3.1.1, without properties and reason codes.
    #[serde(rename = "3.1.1")]
    V311,
    /// 5.
    #[default]
    #[serde(rename = "5")]
    V5,
}

/// Removes the first packet from `bytes`, and returns it; `None` if it is incomplete.
///
/// # Errors
/// Fails if it is invalid, or has more than `max` bytes after its length.
pub(crate) fn decode(
    version: Version,
    bytes: &mut BytesMut,
    max: u32,
) -> Result<Option<Packet>, String> {
    use rumqttc::{mqttbytes, v5::mqttbytes as mqttbytes5};

    let there = bytes.len();
    let too_large = |size: usize| {
        Err(format!(
            "a packet of {size} bytes exceeds the limit of {max}: raise `packet_max`, or limit \
             the packet size at the broker"
        ))
    };
    if version == Version::V5 {
        rename_too_large(bytes);
    }
    let read = match version {
        Version::V5 => match Packet::read(bytes, Some(max)) {
            Ok(packet) => Ok(Some(packet)),
            Err(mqttbytes5::Error::InsufficientBytes(_)) => Ok(None),
            Err(mqttbytes5::Error::PayloadSizeLimitExceeded { pkt_size, .. }) => {
                too_large(pkt_size)
            }
            Err(error) => Err(error.to_string()),
        },
        Version::V311 => match v4::Packet::read(bytes, max as usize) {
            Ok(packet) => newer(packet).map(Some),
            Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
            Err(mqttbytes::Error::PayloadSizeLimitExceeded(size)) => too_large(size),
            Err(error) => Err(error.to_string()),
        },
    };
    match read {
        // The library also returns this for a complete packet with missing fields, which it has
        // removed.
        Ok(None) if bytes.len() < there => Err("the packet is truncated".into()),
        read => read,
    }
}

/// Replaces the reason *packet too large* in a reply, which brokers send and the library does not
/// know, by *payload format invalid*. Both are permanent errors.
fn rename_too_large(bytes: &mut BytesMut) {
    if let [0x40 | 0x50, 3..=0x7f, _, _, reason @ 0x95, ..] = &mut bytes[..] {
        *reason = 0x99;
    }
}

/// Appends a packet.
///
/// # Errors
/// Fails if it has more than `max` bytes, or does not exist in this version.
pub(crate) fn encode(
    version: Version,
    packet: Packet,
    bytes: &mut BytesMut,
    max: Option<u32>,
) -> Result<(), String> {
    let written = match version {
        Version::V5 => packet.write(bytes, max).map_err(|error| error.to_string()),
        Version::V311 => older(packet)?
            .write(bytes, max.map_or(usize::MAX, |max| max as usize))
            .map_err(|error| error.to_string()),
    };
    written.map(drop)
}

fn newer(packet: v4::Packet) -> Result<Packet, String> {
    Ok(match packet {
        v4::Packet::ConnAck(it) => {
            let code = match it.code {
                v4::ConnectReturnCode::Success => ConnectReturnCode::Success,
                v4::ConnectReturnCode::RefusedProtocolVersion => {
                    ConnectReturnCode::UnsupportedProtocolVersion
                }
                v4::ConnectReturnCode::BadClientId => ConnectReturnCode::ClientIdentifierNotValid,
                v4::ConnectReturnCode::ServiceUnavailable => ConnectReturnCode::ServerUnavailable,
                v4::ConnectReturnCode::BadUserNamePassword => {
                    ConnectReturnCode::BadUserNamePassword
                }
                v4::ConnectReturnCode::NotAuthorized => ConnectReturnCode::NotAuthorized,
            };
            Packet::ConnAck(ConnAck { session_present: it.session_present, code, properties: None })
        }
        v4::Packet::Publish(it) => Packet::Publish(Publish {
            dup: it.dup,
            qos: qos_of(it.qos as u8),
            retain: it.retain,
            topic: it.topic.into(),
            pkid: it.pkid,
            payload: it.payload,
            properties: None,
        }),
        v4::Packet::PubAck(it) => Packet::PubAck(PubAck::new(it.pkid, None)),
        v4::Packet::PubRec(it) => Packet::PubRec(PubRec::new(it.pkid, None)),
        v4::Packet::PubRel(it) => Packet::PubRel(PubRel::new(it.pkid, None)),
        v4::Packet::PubComp(it) => Packet::PubComp(PubComp::new(it.pkid, None)),
        v4::Packet::SubAck(it) => {
            let code = |code| match code {
                v4::SubscribeReasonCode::Success(qos) => {
                    SubscribeReasonCode::Success(qos_of(qos as u8))
                }
                v4::SubscribeReasonCode::Failure => SubscribeReasonCode::Failure,
            };
            let return_codes = it.return_codes.into_iter().map(code).collect();
            Packet::SubAck(SubAck { pkid: it.pkid, return_codes, properties: None })
        }
        v4::Packet::PingResp => Packet::PingResp(v5::PingResp),
        other => return Err(format!("a broker must not send {other:?}")),
    })
}

fn older(packet: Packet) -> Result<v4::Packet, String> {
    Ok(match packet {
        Packet::Connect(it, will, login) => v4::Packet::Connect(v4::Connect {
            protocol: rumqttc::mqttbytes::Protocol::V4,
            keep_alive: it.keep_alive,
            client_id: it.client_id,
            clean_session: it.clean_start,
            last_will: will.map(|will| v4::LastWill {
                topic: String::from_utf8_lossy(&will.topic).into_owned(),
                message: will.message,
                qos: older_qos(will.qos),
                retain: will.retain,
            }),
            login: login.map(|login| v4::Login::new(login.username, login.password)),
        }),
        Packet::Publish(it) => {
            let topic = String::from_utf8_lossy(&it.topic).into_owned();
            let mut publish = v4::Publish::from_bytes(topic, older_qos(it.qos), it.payload);
            (publish.dup, publish.retain, publish.pkid) = (it.dup, it.retain, it.pkid);
            v4::Packet::Publish(publish)
        }
        Packet::PubAck(it) => v4::Packet::PubAck(v4::PubAck::new(it.pkid)),
        Packet::PubRec(it) => v4::Packet::PubRec(v4::PubRec::new(it.pkid)),
        Packet::PubRel(it) => v4::Packet::PubRel(v4::PubRel::new(it.pkid)),
        Packet::PubComp(it) => v4::Packet::PubComp(v4::PubComp::new(it.pkid)),
        Packet::Subscribe(it) => {
            let filter = |it: Filter| v4::SubscribeFilter::new(it.path, older_qos(it.qos));
            let mut subscribe = v4::Subscribe::new_many(it.filters.into_iter().map(filter));
            subscribe.pkid = it.pkid;
            v4::Packet::Subscribe(subscribe)
        }
        Packet::PingReq(_) => v4::Packet::PingReq,
        Packet::Disconnect(_) => v4::Packet::Disconnect,
        other => return Err(format!("a client must not send {other:?}")),
    })
}

/// Converts a setting to a quality of service.
pub(crate) fn qos_of(number: u8) -> QoS {
    rumqttc::v5::mqttbytes::qos(number).unwrap_or(QoS::ExactlyOnce)
}

fn older_qos(qos: QoS) -> rumqttc::mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => rumqttc::mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => rumqttc::mqttbytes::QoS::AtLeastOnce,
        QoS::ExactlyOnce => rumqttc::mqttbytes::QoS::ExactlyOnce,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u32 = 1000;

    fn packets() -> Vec<Packet> {
        let properties = PublishProperties {
            user_properties: vec![("unit".into(), "K".into())],
            content_type: Some("text/plain".into()),
            ..Default::default()
        };
        let mut message = Publish::new("site/a", QoS::ExactlyOnce, "body", Some(properties));
        message.pkid = 7;
        let granted = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)];
        vec![
            Packet::Publish(message),
            Packet::PubAck(PubAck::new(7, None)),
            Packet::PubRel(PubRel::new(7, None)),
            Packet::SubAck(SubAck { pkid: 1, return_codes: granted, properties: None }),
            Packet::Disconnect(Disconnect::new(DisconnectReasonCode::SessionTakenOver)),
        ]
    }

    #[test]
    fn any_bytes_of_a_broker_yield_packets_or_an_error_without_a_panic() {
        let mut all = BytesMut::new();
        for packet in packets() {
            packet.write(&mut all, None).unwrap();
        }
        // Knuth's 64-bit generator; only the upper half of its output is random enough.
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        let (mut whole, mut refused) = (0, 0);
        for _ in 0..100_000 {
            let mut bytes = all.clone();
            for _ in 0..random(4) {
                let place = random(bytes.len());
                bytes[place] = random(256) as u8;
            }
            bytes.truncate(random(bytes.len()) + 1);
            for version in [Version::V5, Version::V311] {
                let mut bytes = bytes.clone();
                loop {
                    let there = bytes.len();
                    match decode(version, &mut bytes, MAX) {
                        Ok(Some(_)) => whole += 1,
                        Ok(None) => {
                            assert_eq!(bytes.len(), there, "what is not whole stays");
                            break;
                        }
                        Err(_) => {
                            refused += 1;
                            break;
                        }
                    }
                    assert!(bytes.len() < there);
                }
            }
        }
        assert!(whole > 10_000 && refused > 10_000, "{whole} {refused}");
    }

    #[test]
    fn a_packet_that_lacks_something_is_an_error_and_not_waited_for() {
        let mut bytes = BytesMut::from(&[0x32, 5, 0, 1, b't', 0, 7][..]);
        let error = decode(Version::V5, &mut bytes, MAX).unwrap_err();
        assert!(error.contains("truncated"), "{error}");
        let mut bytes = BytesMut::from(&[0x32, 5, 0, 1, b't', 0, 7][..]);
        assert!(decode(Version::V311, &mut bytes, MAX).unwrap().is_some());
    }

    #[test]
    fn a_packet_over_the_limit_is_refused_before_it_is_read() {
        for version in [Version::V5, Version::V311] {
            let mut bytes = BytesMut::from(&[0x32, 0xff, 0xff, 0x7f][..]);
            let error = decode(version, &mut bytes, MAX).unwrap_err();
            assert!(error.contains("raise `packet_max`"), "{error}");
        }
    }

    #[test]
    fn too_large_is_an_answer_that_is_understood() {
        for (kind, name) in [(0x40, "PubAck"), (0x50, "PubRec")] {
            let mut bytes = BytesMut::from(&[kind, 3, 0, 7, 0x95][..]);
            let packet = decode(Version::V5, &mut bytes, MAX).unwrap().unwrap();
            let text = format!("{packet:?}");
            assert!(text.starts_with(name) && text.contains("PayloadFormatInvalid"), "{text}");
        }
    }
}
