//! Keys that several components share.

use super::{As, Key, by, decision, ignored, set};

const WITHOUT_TLS: &str = "it counts with `ssl` alone";

/// TLS of sources and sinks, as Flume spells it.
pub(super) const TLS: &[Key] = &[
    decision(
        "ssl",
        "false",
        "TLS is not there; put a TLS proxy in front, or use the `grpc` components in a private \
         network",
    ),
    ignored("keystore", "", WITHOUT_TLS),
    ignored("keystore-password", "", WITHOUT_TLS),
    ignored("keystore-type", "JKS", WITHOUT_TLS),
    ignored("keystorePassword", "", WITHOUT_TLS),
    ignored("keystore-password-file", "", WITHOUT_TLS),
    ignored("truststore", "", WITHOUT_TLS),
    ignored("truststore-password", "", WITHOUT_TLS),
    ignored("truststore-type", "JKS", WITHOUT_TLS),
    ignored("trust-all-certs", "false", WITHOUT_TLS),
    ignored("exclude-protocols", "SSLv3", WITHOUT_TLS),
    ignored("include-protocols", "", WITHOUT_TLS),
    ignored("exclude-cipher-suites", "", WITHOUT_TLS),
    ignored("include-cipher-suites", "", WITHOUT_TLS),
];

/// Where a server listens.
pub(super) const BIND: &[Key] =
    &[by("bind", "*", "`listen`, with the port"), by("port", "*", "`listen`, with `bind`")];

/// Pauses of a source that is polled.
pub(super) const POLLED: &[Key] = &[
    ignored("backoffSleepIncrement", "1000", "sources wait for new events, not for a time"),
    ignored("maxBackoffSleep", "5000", "sources wait for new events, not for a time"),
];

/// Kerberos of the clients.
pub(super) const KERBEROS: &[Key] = &[
    decision("kerberos", "false", "Kerberos is not there for this protocol"),
    ignored("client-principal", "", "it counts with `kerberos` alone"),
    ignored("client-keytab", "", "it counts with `kerberos` alone"),
    ignored("server-principal", "", "it counts with `kerberos` alone"),
    ignored("agent-principal", "", "it counts with `kerberos` alone"),
    ignored("agent-keytab", "", "it counts with `kerberos` alone"),
];

/// Events of a batch, where the source makes the batches.
pub(super) const BATCH_100: &[Key] = &[set("batchSize", "100", "batch_events", As::Count)];
