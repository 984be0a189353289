//! Keys that several components share.

use super::{As, Key, by, decision, ignored, set};

const TYPE: &str = "ignored: the first bytes of the file say it";
const STORE: &str = "`tls.keystore`; also `javax.net.ssl.keyStore`, `FLUME_SSL_KEYSTORE_PATH`";
const PASSWORD: &str = "`tls.keystore_password`; also `javax.net.ssl.keyStorePassword`, \
                        `FLUME_SSL_KEYSTORE_PASSWORD`";
const TRUST: &str =
    "`tls.truststore`; also `javax.net.ssl.trustStore`, `FLUME_SSL_TRUSTSTORE_PATH`";
const TRUST_PASSWORD: &str = "`tls.truststore_password`; also `javax.net.ssl.trustStorePassword`, \
                              `FLUME_SSL_TRUSTSTORE_PASSWORD`";

/// TLS of a source, as Flume spells it.
pub(super) const SERVER_TLS: &[Key] = &[
    by("ssl", "false", "whether there is the table `tls`"),
    by("keystore", "", STORE),
    by("keystore-password", "", PASSWORD),
    by("keystorePassword", "", PASSWORD),
    by("keystore-password-file", "", "`tls.keystore_password`, as a reference to the file"),
    by("keystore-type", "JKS", TYPE),
];

/// TLS of a sink, as Flume spells it.
pub(super) const CLIENT_TLS: &[Key] = &[
    by("ssl", "false", "whether there is the table `tls`, with `check_name = false` as in Flume"),
    by("truststore", "", TRUST),
    by("truststore-password", "", TRUST_PASSWORD),
    by("truststore-type", "JKS", TYPE),
    by("trust-all-certs", "false", "`tls.trust_all`"),
];

/// Versions and suites of TLS, of a source and of a sink.
pub(super) const TLS_SPOKEN: &[Key] = &[
    by("exclude-protocols", "SSLv3", MIN_VERSION),
    by("include-protocols", "", MIN_VERSION),
    by("exclude-cipher-suites", "", "ignored: no weak suite is there"),
    by("include-cipher-suites", "", "suites are those of rustls"),
];

const MIN_VERSION: &str = "`tls.min_version`: TLS 1.2 and 1.3 are spoken, and nothing older";

/// The address of a server.
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

/// Events of a batch, if the source makes the batches.
pub(super) const BATCH_100: &[Key] = &[set("batchSize", "100", "batch_events", As::Count)];
