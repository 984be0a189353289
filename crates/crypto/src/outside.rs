//! Cryptography that is not of the library of this crate: the table of it.
//!
//! Protocols and files of others need some, and their clients bring it. In the default build all of
//! it is allowed. A FIPS build refuses it where it protects something, by the setting that asks for
//! it, so that what such a program says of itself is so.

use std::fmt;

/// Something that is protected by another library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// Keys and certificates in PKCS#12 and JKS.
    Keystore,
    /// Hadoop's credential stores (JCEKS).
    CredentialStore,
    /// Logins at PostgreSQL, MySQL and MariaDB by a password.
    DatabasePassword,
    /// TLS to the brokers of Kafka.
    KafkaTls,
    /// Logins at Kafka by SCRAM.
    KafkaScram,
    /// Delegation tokens, and protected transfers of blocks, of HDFS.
    HdfsDigest,
}

impl Outside {
    /// Every row.
    pub const ALL: [Self; 6] = [
        Self::Keystore,
        Self::CredentialStore,
        Self::DatabasePassword,
        Self::KafkaTls,
        Self::KafkaScram,
        Self::HdfsDigest,
    ];

    /// What it is, and what to do instead.
    fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Keystore => (
                "keystores use ciphers of another library",
                "convert it with `openssl pkcs12 -in FILE -nodes -out NEW`, and set the PEM file \
                 as `certificate` and `key`, or as `ca`",
            ),
            Self::CredentialStore => (
                "credential stores use MD5 and Triple-DES",
                "write the password into a file, and refer to it with `${file:PATH}`",
            ),
            Self::DatabasePassword => (
                "database logins by password use hashes of another library",
                "remove `password`, and log in with the client certificate of `database.tls`",
            ),
            Self::KafkaTls => (
                "the Kafka client has its own TLS",
                "connect in plain text to a local proxy with certified TLS, or use another \
                 component",
            ),
            Self::KafkaScram => (
                "the Kafka client has its own SCRAM",
                "use `PLAIN` or `OAUTHBEARER` to a local proxy with certified TLS",
            ),
            Self::HdfsDigest => (
                "the HDFS client has its own DIGEST-MD5 for tokens and block transfers",
                "log in with a keytab, and write to `webhdfs://` with TLS if transfers must be \
                 protected",
            ),
        }
    }
}

/// Why something is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(Outside);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, remedy) = self.0.row();
        write!(f, "not allowed in a FIPS build: {what}, outside of the certified module; {remedy}")
    }
}

impl std::error::Error for Refused {}

/// Nothing, where this build may use it.
///
/// # Errors
/// This is a FIPS build.
pub fn allow(what: Outside) -> Result<(), Refused> {
    if crate::IS_FIPS || pretended() { Err(Refused(what)) } else { Ok(()) }
}

#[cfg(not(feature = "testkit"))]
fn pretended() -> bool {
    false
}

#[cfg(feature = "testkit")]
fn pretended() -> bool {
    PRETENDED.get()
}

#[cfg(feature = "testkit")]
thread_local! {
    static PRETENDED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Does `work`, on this thread, as a FIPS build would refuse it: for tests of what refuses.
#[cfg(feature = "testkit")]
pub fn refusing<T>(work: impl FnOnce() -> T) -> T {
    PRETENDED.set(true);
    let done = work();
    PRETENDED.set(false);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fips_build_refuses_each_and_the_default_build_none() {
        for what in Outside::ALL {
            assert_eq!(allow(what).is_err(), crate::IS_FIPS, "{what:?}");
        }
    }

    /// The page for sites that are held to it says all that a message says.
    #[test]
    fn the_page_has_each_row() {
        let page = include_str!("../../../docs/fips.md");
        for what in Outside::ALL {
            let (reason, remedy) = what.row();
            for text in [reason, remedy] {
                assert!(page.contains(text), "docs/fips.md lacks: {text}");
            }
        }
    }
}
