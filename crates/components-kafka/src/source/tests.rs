//! Tests of rejected settings, and of the start position of each channel.

use std::path::Path;

use pipeline::BuildContext;
use pipeline::testkit::build;
use serde_json::{Value, json};

use super::position::{Position, standing};
use super::*;

fn problem(settings: &Value) -> Option<String> {
    let cx = BuildContext::alone("in", Path::new("unused"), env::real());
    build::<Config>(settings, &cx).err().map(|error| error.to_string())
}

#[test]
fn rejects_invalid_settings_and_names_setting_and_remedy() {
    let good = json!({ "brokers": ["b:9092"], "topics": ["logs"], "group": "g" });
    assert_eq!(problem(&good), None);
    for (name, value, expected) in [
        ("brokers", json!([]), "at least one broker"),
        ("topics", json!([""]), "at least one topic"),
        ("group", json!(""), "the name of the consumer group"),
        ("batch_events", json!(0), "must be at least 1"),
        ("properties", json!({ "group.id": "other" }), "properties.group.id"),
        ("properties", json!({ "sesion.timeout.ms": "1" }), "properties.sesion.timeout.ms"),
        ("properties", json!({ "sasl.password": "x" }), "secret_properties"),
        ("properties", json!({ "ssl.key.pem": "x" }), "secret_properties"),
        ("properties", json!({ "security.protocol": "tls" }), "rejects this property or its value"),
        ("properties", json!({ "sasl.mechanism": "GSSAPI" }), "properties.security.protocol"),
        ("properties", json!({ "sasl.mechanism": "GS2-KRB5" }), "must be `PLAIN`"),
        ("properties", json!({ "sasl.kerberos.kinit.cmd": "kinit" }), "without a command"),
        (
            "properties",
            json!({ "sasl.jaas.config": "x" }),
            "for Kerberos set `sasl.kerberos.keytab`",
        ),
        ("properties", json!({ "sasl.mechanism": "OAUTHBEARER" }), "set `token_file`"),
        ("properties", json!({ "sasl.oauthbearer.method": "oidc" }), "not supported in this build"),
        ("properties", json!({ "enable.sasl.oauthbearer.unsecure.jwt": "true" }), "`token_file`"),
    ] {
        let mut settings = good.clone();
        settings[name] = value;
        let said = problem(&settings).unwrap_or_default();
        assert!(said.contains(expected), "{name}: {said}");
    }
}

#[test]
fn a_fips_build_refuses_what_the_client_protects_by_itself() {
    for (name, value, remedy) in [
        ("security.protocol", "ssl", Some("a local proxy")),
        ("security.protocol", "SASL_SSL", Some("a local proxy")),
        ("sasl.mechanism", "scram-sha-256", Some("use `PLAIN` or `OAUTHBEARER`")),
        ("sasl.mechanisms", "SCRAM-SHA-512", Some("use `PLAIN` or `OAUTHBEARER`")),
        ("sasl.mechanism", "PLAIN", None),
        ("security.protocol", "sasl_plaintext", None),
    ] {
        let settings = json!({
            "brokers": ["b:9092"], "topics": ["logs"], "group": "g",
            "properties": { name: value },
        });
        let said = crypto::refusing(|| problem(&settings));
        let Some(remedy) = remedy else {
            assert_eq!(said, None, "{name} = {value}");
            continue;
        };
        let said = said.unwrap_or_default();
        assert!(said.contains(&format!("properties.{name}")) && said.contains(remedy), "{said}");
    }
}

#[test]
fn a_token_goes_with_sasl_and_with_no_other_mechanism() {
    let problem = |properties: Value| {
        problem(&json!({
            "brokers": ["b:9092"], "topics": ["logs"], "group": "g", "token_file": "/t",
            "properties": properties,
        }))
    };
    let protocol = ("security.protocol", "SASL_SSL");
    assert_eq!(problem(json!({})), None);
    assert_eq!(problem(json!({ protocol.0: protocol.1 })), None);
    let named = json!({ protocol.0: protocol.1, "sasl.mechanism": "oauthbearer" });
    assert_eq!(problem(named), None);
    let other = json!({ protocol.0: protocol.1, "sasl.mechanism": "PLAIN" });
    assert!(problem(other).unwrap_or_default().contains("must be `OAUTHBEARER`"));
    let open = json!({ protocol.0: "ssl" });
    assert!(problem(open).unwrap_or_default().contains("a token needs SASL"));
}

#[test]
fn tokens_of_a_server_go_with_sasl_and_not_with_a_file() {
    let with = |name: &str, value: Value| {
        let mut settings = json!({
            "brokers": ["b:9092"], "topics": ["logs"], "group": "g",
            "oauth": { "url": "https://tokens/t", "client_id": "a", "client_secret": "b" },
        });
        settings[name] = value;
        problem(&settings).unwrap_or_default()
    };
    assert_eq!(with("batch_events", json!(10)), "");
    assert!(with("token_file", json!("/t")).contains("remove one of the two"));
    let said = with("properties", json!({ "security.protocol": "ssl" }));
    assert!(said.starts_with("`oauth`: "), "{said}");
    let url = json!({ "url": "tokens", "client_id": "a", "client_secret": "b" });
    assert!(with("oauth", url).starts_with("`oauth.url`: "));
}

#[test]
fn brokers_are_plain_text_unless_the_protocol_is_one_of_tls() {
    let speaks = |properties: Value| {
        let cx = BuildContext::alone("in", Path::new("unused"), env::real());
        let settings = json!({
            "brokers": ["a:9092", "b:9092"], "topics": ["logs"], "group": "g",
            "properties": properties,
        });
        build::<Config>(&settings, &cx).unwrap();
        cx.plain_text.all().into_iter().map(|it| it.address).collect::<Vec<_>>()
    };
    assert_eq!(speaks(json!({})), ["a:9092", "b:9092"]);
    assert_eq!(speaks(json!({ "security.protocol": "SASL_PLAINTEXT" })), ["a:9092", "b:9092"]);
    for protocol in ["ssl", "SASL_SSL"] {
        assert_eq!(speaks(json!({ "security.protocol": protocol })), [""; 0], "{protocol}");
    }
}

#[test]
fn each_channel_starts_at_its_position_or_at_a_larger_group_offset() {
    let at = |begin, next| Some(Position { begin, next });
    assert_eq!(standing(&[None, None], None), None);
    assert_eq!(standing(&[None, None], Some(7)), Some(vec![7, 7]));
    // Killed between put and commit; then another member had the partition.
    assert_eq!(standing(&[at(0, 100), at(0, 90)], Some(80)), Some(vec![100, 90]));
    assert_eq!(standing(&[at(0, 100), at(0, 90)], Some(500)), Some(vec![500, 500]));
    // Killed during the very first put.
    assert_eq!(standing(&[at(40, 100), None], None), Some(vec![100, 40]));
}

#[test]
fn position_is_read_as_it_is_written() {
    let position = Position { begin: 3, next: u64::MAX };
    assert_eq!(Position::decode(&position.encode()), Some(position));
    assert_eq!(Position::decode(b"short"), None);
}
