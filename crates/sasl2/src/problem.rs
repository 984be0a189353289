//! Why a client cannot prove itself, and what helps. Pure.
//!
//! The texts of the library are those of MIT Kerberos 1.20; one that is not known here is passed on
//! as it came. A text is cut by librdkafka behind 500 bytes, its own words included.

use thiserror::Error;

/// Why there is nothing to send.
#[derive(Debug, Error)]
pub(crate) enum Problem {
    #[error(
        "the Kerberos library is missing ({0}): install libgssapi-krb5-2 of Debian, or \
         krb5-libs of Red Hat"
    )]
    Library(String),
    #[error(
        "cannot read `sasl.kerberos.keytab` {0}: {1}; make it readable for the user of this \
         process"
    )]
    Keytab(String, std::io::Error),
    #[error("`sasl.kerberos.principal` or `sasl.kerberos.keytab` contains a zero byte: remove it")]
    Zero,
    #[error("{0}")]
    Refused(String),
    #[error(
        "the broker requires a SASL security layer (auth-int or auth-conf), which Kafka clients do \
         not support; allow `auth` at the broker"
    )]
    Layers,
    #[error(
        "the broker violated the SASL GSSAPI protocol (RFC 4752); check its Kerberos configuration \
         and its log"
    )]
    Order,
}

/// Whose ticket is shown, and to which service.
#[derive(Debug)]
pub(crate) struct Parties {
    /// Principal and the file with its key; none: what the process has.
    pub(crate) login: Option<(String, String)>,
    /// The first part of the brokers' principal.
    pub(crate) service: String,
    /// The broker, as this client names it.
    pub(crate) host: String,
}

/// Part of what the library says, and what helps: `{principal}`, `{keytab}`, `{service}` and
/// `{host}` are filled in.
const ANSWERS: &[(&str, &str)] = &[
    (
        "Cannot contact any KDC",
        "check that a KDC of [realms] in /etc/krb5.conf (or KRB5_CONFIG) is running and reachable \
         from this host",
    ),
    (
        "Cannot find KDC for",
        "name the realm and its KDC under [realms] in /etc/krb5.conf (or KRB5_CONFIG)",
    ),
    ("default realm", "set default_realm in /etc/krb5.conf (or KRB5_CONFIG)"),
    (
        "Clock skew too great",
        "synchronize the clocks of this host and the KDC (chrony, ntp); they may differ by 5 \
         minutes",
    ),
    (
        "Client '",
        "the KDC does not know `sasl.kerberos.principal`: check it with `kadmin listprincs`",
    ),
    (
        "not found in Kerberos database",
        "the KDC has no principal `{service}/{host}`: set `sasl.kerberos.service.name` to the \
         service of the brokers' principal, and use its host name in `brokers` and \
         `advertised.listeners`",
    ),
    ("Preauthentication failed", CHANGED),
    ("Decrypt integrity check failed", CHANGED),
    ("Password incorrect", CHANGED),
];

/// The same where a keytab is set.
const WITH_KEYTAB: &[(&str, &str)] = &[
    // The library tries the keytab only for a principal that it has a key of.
    ("No credentials cache found", LACKING),
    ("No Kerberos credentials available", LACKING),
    ("eytab", LACKING),
];

/// The same where none is.
const WITHOUT_KEYTAB: &[(&str, &str)] = &[("", NOTHING)];

const CHANGED: &str =
    "the key was changed at the KDC: export a new file for `sasl.kerberos.keytab`, {keytab}";
const LACKING: &str = "`sasl.kerberos.keytab`, {keytab}, has no key of `sasl.kerberos.principal`, \
     {principal}: compare with `klist -k {keytab}`";
const NOTHING: &str = "set `sasl.kerberos.principal` and `sasl.kerberos.keytab` to get and renew \
                       tickets automatically; or provide a ticket cache (KRB5CCNAME) or a keytab \
                       (KRB5_CLIENT_KTNAME)";

impl Parties {
    /// What the library said, with what helps.
    pub(crate) fn explain(&self, said: &str) -> Problem {
        let more = if self.login.is_some() { WITH_KEYTAB } else { WITHOUT_KEYTAB };
        let known = ANSWERS.iter().chain(more).find(|(part, _)| said.contains(part));
        let Some((_, helps)) = known else {
            return Problem::Refused(format!("Kerberos: {said}"));
        };
        let (principal, keytab) =
            self.login.as_ref().map_or(("", ""), |(principal, keytab)| (principal, keytab));
        let helps = helps.replace("{principal}", principal).replace("{keytab}", keytab);
        let helps = helps.replace("{service}", &self.service).replace("{host}", &self.host);
        Problem::Refused(format!("Kerberos: {said}; {helps}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, has_keytab: bool) -> String {
        let login = has_keytab.then(|| ("agent@REALM".to_owned(), "/etc/agent.keytab".to_owned()));
        let parties = Parties { login, service: "kafka".into(), host: "b1.test".into() };
        parties.explain(text).to_string()
    }

    #[test]
    fn each_answer_of_the_library_has_the_setting_that_helps() {
        for (text, has_keytab, helps) in [
            ("Client 'agent@REALM' not found in Kerberos database", true, "kerberos.principal"),
            ("Server kafka/b1.test@REALM not found in Kerberos database", true, "kafka/b1.test"),
            ("No credentials cache found (filename: x)", true, "no key of"),
            ("Keytab contains no suitable keys for agent@REALM", true, "/etc/agent.keytab"),
            ("Preauthentication failed", true, "a new file for"),
            ("Clock skew too great", true, "chrony"),
            ("Cannot contact any KDC for realm 'REALM'", true, "[realms]"),
            ("No Kerberos credentials available (default cache: x)", false, "KRB5CCNAME"),
            ("Ticket expired", false, "renew tickets"),
        ] {
            let all = said(text, has_keytab);
            assert!(all.contains(text) && all.contains(helps), "{all}");
            // What librdkafka says before it has room, too.
            assert!(all.len() < 380, "{} bytes: {all}", all.len());
        }
        assert_eq!(said("Something else", true), "Kerberos: Something else");
    }
}
