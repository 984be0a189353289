//! Keys that several components share.

use super::{As, Key, by, decision, ignored, set};

const TYPE: &str = "ignored: detected from the first bytes of the file";
const STORE: &str = "`tls.keystore`; also `javax.net.ssl.keyStore`, `FLUME_SSL_KEYSTORE_PATH`";
const PASSWORD: &str = "`tls.keystore_password`; also `javax.net.ssl.keyStorePassword`, \
                        `FLUME_SSL_KEYSTORE_PASSWORD`";
const TRUST: &str =
    "`tls.truststore`; also `javax.net.ssl.trustStore`, `FLUME_SSL_TRUSTSTORE_PATH`";
const TRUST_PASSWORD: &str = "`tls.truststore_password`; also `javax.net.ssl.trustStorePassword`, \
                              `FLUME_SSL_TRUSTSTORE_PASSWORD`";

/// TLS of a source, as Flume spells it.
pub(super) const SERVER_TLS: &[Key] = &[
    by("ssl", "false", "`true` adds the table `tls`"),
    by("keystore", "", STORE),
    by("keystore-password", "", PASSWORD),
    by("keystorePassword", "", PASSWORD),
    by("keystore-password-file", "", "`tls.keystore_password`, a reference to the file"),
    by("keystore-type", "JKS", TYPE),
];

/// TLS of a sink, as Flume spells it.
pub(super) const CLIENT_TLS: &[Key] = &[
    by("ssl", "false", "`true` adds the table `tls`, with `check_name = false` as in Flume"),
    by("truststore", "", TRUST),
    by("truststore-password", "", TRUST_PASSWORD),
    by("truststore-type", "JKS", TYPE),
    by("trust-all-certs", "false", "`tls.trust_all`"),
];

/// Versions and suites of TLS, of a source and of a sink.
pub(super) const TLS_SPOKEN: &[Key] = &[
    by("exclude-protocols", "SSLv3", MIN_VERSION),
    by("include-protocols", "", MIN_VERSION),
    by("exclude-cipher-suites", "", "ignored: all available cipher suites are strong"),
    by("include-cipher-suites", "", "the cipher suites of rustls apply"),
];

const MIN_VERSION: &str = "`tls.min_version`: 1.2 or 1.3; older versions are not supported";

/// The address of a server.
pub(super) const BIND: &[Key] =
    &[by("bind", "*", "`listen`, with the port"), by("port", "*", "`listen`, with `bind`")];

/// Pauses of a source that is polled.
pub(super) const POLLED: &[Key] = &[
    ignored("backoffSleepIncrement", "1000", "sources wait for new events and do not poll"),
    ignored("maxBackoffSleep", "5000", "sources wait for new events and do not poll"),
];

/// Kerberos of the clients.
pub(super) const KERBEROS: &[Key] = &[
    decision("kerberos", "false", "Kerberos is not supported for this protocol"),
    ignored("client-principal", "", "it applies only with `kerberos`"),
    ignored("client-keytab", "", "it applies only with `kerberos`"),
    ignored("server-principal", "", "it applies only with `kerberos`"),
    ignored("agent-principal", "", "it applies only with `kerberos`"),
    ignored("agent-keytab", "", "it applies only with `kerberos`"),
];

/// Events of a batch, if the source makes the batches.
pub(super) const BATCH_100: &[Key] = &[set("batchSize", "100", "batch_events", As::Count)];
