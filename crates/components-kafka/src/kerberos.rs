//! Kerberos (SASL/GSSAPI): translates the properties of Kafka and librdkafka for the library that
//! the client uses, `crates/sasl2`.
//!
//! ```text
//!   properties: sasl.kerberos.principal, .keytab ─► client ─► library: a ticket for each new
//!                                                             connection, renewed by the keytab
//! ```
//!
//! Without a keytab, the process's ticket is used. The client would renew tickets with a shell
//! command, which is disabled.

use pipeline::BuildError;
use rdkafka::ClientConfig;

/// The SASL mechanism for Kerberos. As in Kafka's own client, it is the default.
pub(crate) const GSSAPI: &str = "GSSAPI";

const PRINCIPAL: &str = "sasl.kerberos.principal";
const KEYTAB: &str = "sasl.kerberos.keytab";

/// The brokers' error for a rejected ticket, which contains no reason; and a hint.
const REJECTED: &str = "invalid credentials with SASL mechanism GSSAPI";
const REJECTED_HINT: &str = "the brokers reject the Kerberos ticket: the key in their keytab \
                           differs from the KDC's, or clocks differ by more than 5 minutes; see \
                           the log of the broker";

/// Returns why a Kerberos property has no effect here.
pub(crate) fn lacking(name: &str) -> Option<&'static str> {
    match name {
        "sasl.kerberos.kinit.cmd"
        | "sasl.kerberos.min.time.before.relogin"
        | "sasl.kerberos.ticket.renew.window.factor"
        | "sasl.kerberos.ticket.renew.jitter" => Some(
            "has no effect: `sasl.kerberos.keytab` and `sasl.kerberos.principal` fetch and renew \
             the ticket without a command; remove it",
        ),
        "sasl.jaas.config" => Some(
            "has an effect only in Java clients: for Kerberos set `sasl.kerberos.keytab`, \
             `sasl.kerberos.principal` and `sasl.kerberos.service.name`; for other modules \
             `sasl.username` and `sasl.password`",
        ),
        _ => None,
    }
}

/// Prepares a client for Kerberos.
///
/// # Errors
/// A property is missing, or has a wrong value.
pub(crate) fn prepare(config: &mut ClientConfig) -> Result<(), BuildError> {
    let invalid =
        |name: &str, problem: &str| Err(BuildError::invalid(format!("properties.{name}"), problem));
    let mechanism = config.get("sasl.mechanism").or(config.get("sasl.mechanisms"));
    let is_named = mechanism.is_some();
    if mechanism.is_some_and(|name| !name.eq_ignore_ascii_case(GSSAPI)) {
        return Ok(());
    }
    let protocol = config.get("security.protocol").unwrap_or_default();
    if !["sasl_ssl", "sasl_plaintext"].iter().any(|it| protocol.eq_ignore_ascii_case(it)) {
        if is_named || config.get(KEYTAB).is_some() {
            let problem = "must be `sasl_ssl` or `sasl_plaintext`, because Kerberos needs SASL";
            return invalid("security.protocol", problem);
        }
        return Ok(());
    }
    if config.get("sasl.username").or(config.get("sasl.password")).is_some() {
        let problem = "cannot be `GSSAPI` (Kerberos, also the default) with a user and a password: \
                       set another mechanism such as `PLAIN`, or remove `sasl.username` and \
                       `sasl.password`";
        return invalid("sasl.mechanism", problem);
    }
    match (config.get(PRINCIPAL), config.get(KEYTAB)) {
        (Some(_), None) => {
            let problem = "must be set with `sasl.kerberos.principal`: write the path of its \
                           keytab file; to use an existing ticket (KRB5CCNAME), remove both";
            return invalid(KEYTAB, problem);
        }
        (None, Some(_)) => {
            let problem = "must be set with `sasl.kerberos.keytab`: write the principal whose key \
                           is in that file; to use an existing ticket (KRB5CCNAME), remove both";
            return invalid(PRINCIPAL, problem);
        }
        (Some(_), Some(keytab)) => {
            // The client passes the password to the library, which uses it as the keytab.
            let keytab = keytab.to_owned();
            config.set("sasl.password", keytab);
        }
        (None, None) => {}
    }
    config.set("sasl.mechanism", GSSAPI);
    // Disable the shell command.
    config.set("sasl.kerberos.min.time.before.relogin", "0");
    Ok(())
}

/// Returns a hint for a rejected ticket.
pub(crate) fn rejected_hint(said: &str) -> Option<&'static str> {
    said.contains(REJECTED).then_some(REJECTED_HINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(properties: &[(&str, &str)]) -> Result<ClientConfig, String> {
        let mut config = ClientConfig::new();
        for (name, value) in properties {
            config.set(*name, *value);
        }
        prepare(&mut config).map(|()| config).map_err(|error| error.to_string())
    }

    const PROTOCOL: (&str, &str) = ("security.protocol", "SASL_PLAINTEXT");

    #[test]
    fn a_keytab_reaches_the_library_and_no_shell_runs() {
        for mechanism in [None, Some(("sasl.mechanism", "gssapi"))] {
            let mut properties = vec![PROTOCOL, (PRINCIPAL, "a@B"), (KEYTAB, "/k")];
            properties.extend(mechanism);
            let config = prepared(&properties).unwrap();
            assert_eq!(config.get("sasl.password"), Some("/k"));
            assert_eq!(config.get("sasl.mechanism"), Some("GSSAPI"));
            assert_eq!(config.get("sasl.kerberos.min.time.before.relogin"), Some("0"));
        }
        let config = prepared(&[PROTOCOL]).unwrap();
        assert_eq!(config.get("sasl.password"), None);
        assert_eq!(config.get("sasl.kerberos.min.time.before.relogin"), Some("0"));
    }

    #[test]
    fn names_missing_properties_and_ignores_other_mechanisms() {
        for (properties, setting) in [
            (vec![PROTOCOL, (PRINCIPAL, "a@B")], "properties.sasl.kerberos.keytab"),
            (vec![PROTOCOL, (KEYTAB, "/k")], "properties.sasl.kerberos.principal"),
            (vec![("sasl.mechanism", GSSAPI)], "properties.security.protocol"),
            (vec![(PRINCIPAL, "a@B"), (KEYTAB, "/k")], "properties.security.protocol"),
            (vec![PROTOCOL, ("sasl.password", "p")], "properties.sasl.mechanism"),
        ] {
            let said = prepared(&properties).unwrap_err();
            assert!(said.contains(setting), "{said}");
        }
        let scram = [PROTOCOL, ("sasl.mechanism", "SCRAM-SHA-512"), ("sasl.password", "p")];
        let config = prepared(&scram).unwrap();
        assert_eq!(config.get("sasl.password"), Some("p"));
        assert_eq!(config.get("sasl.kerberos.min.time.before.relogin"), None);
        assert!(prepared(&[]).unwrap().get("sasl.mechanism").is_none());
    }
}
