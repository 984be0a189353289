//! Remedies for the errors of Kerberos and HDFS that an operator meets during the setup of a
//! cluster, or when it fails.
//!
//! The texts are from MIT Kerberos 1.20 and Hadoop 3.4; an unknown answer is passed on unchanged.

use hdfs_native::HdfsError;
use storage::hdfs::{Kind, refusal};

use Kind::{Away, Denied, Unusable};

/// Part of an answer, its meaning, and the remedy.
const ANSWERS: &[(&str, Kind, &str)] = &[
    (
        "Cannot contact any KDC",
        Away,
        "check that a KDC in [realms] of /etc/krb5.conf (or KRB5_CONFIG) is up and reachable from \
         this host",
    ),
    (
        "Cannot find KDC for realm",
        Denied,
        "add the realm and its KDC to [realms] in /etc/krb5.conf (or KRB5_CONFIG)",
    ),
    (
        "Configuration file does not specify default realm",
        Denied,
        "set default_realm in /etc/krb5.conf (or KRB5_CONFIG)",
    ),
    (
        "Clock skew too great",
        Denied,
        "synchronise the clock of this host with the KDC (chrony, ntp); 5 minutes are allowed",
    ),
    (
        "not found in Kerberos database",
        Denied,
        "the KDC does not know this principal: check `kerberos.principal`, or \
         dfs.namenode.kerberos.principal for a server, with `kadmin listprincs`",
    ),
    (
        "Preauthentication failed",
        Denied,
        "the key was changed at the KDC: create a new file for `kerberos.keytab`",
    ),
    (
        "keytab",
        Denied,
        "`kerberos.keytab` has no key for `kerberos.principal`: compare with `klist -k FILE`",
    ),
    (
        // The library tries the keytab only for a principal that it has a key of.
        "No credentials cache found",
        Denied,
        "`kerberos.keytab` has no key for `kerberos.principal`: compare with `klist -k FILE`",
    ),
    (
        "Decrypt integrity check failed",
        Denied,
        "the key was changed at the KDC: create a new file for `kerberos.keytab`",
    ),
    (
        "Ticket expired",
        Denied,
        "set `kerberos.principal` and `kerberos.keytab`, so that tickets are renewed in time",
    ),
    (
        "No Kerberos credentials available",
        Denied,
        "set `kerberos.principal` and `kerberos.keytab`, or set KRB5_CLIENT_KTNAME to a keytab",
    ),
    (
        "SIMPLE authentication is not enabled",
        Denied,
        "this cluster requires Kerberos: set `kerberos.principal` and `kerberos.keytab`",
    ),
    (
        "Failed to load libgssapi_krb",
        Unusable,
        "install MIT Kerberos: libgssapi-krb5-2 on Debian, krb5-libs on Red Hat",
    ),
    (
        "DIGEST-MD5 of a protected block transfer",
        Unusable,
        "a FIPS build does not support it: if the DataNodes protect transfers, write to \
         `webhdfs://` with TLS (docs/fips.md)",
    ),
    ("is not allowed to impersonate", Denied, PROXY_REFUSED),
    (
        "in an HDFS encryption zone",
        Unusable,
        "files in an encryption zone are not supported (no KMS client): set another directory in \
         `url`",
    ),
    (
        "cannot be moved",
        Unusable,
        "a file cannot be renamed across the border of an encryption zone: the whole path of `url` \
         must be outside of it",
    ),
    ("hsync is not supported for erasure-coded files", Unusable, ERASURE_CODED),
    ("required nodes for", Unusable, ERASURE_CODED),
    (
        "No NameNode hosts found",
        Unusable,
        "hdfs-site.xml, in `conf_dir` or HADOOP_CONF_DIR, does not define this name service: it \
         needs dfs.ha.namenodes.NAME and dfs.namenode.rpc-address.NAME.ID; or set host and port in \
         `url`",
    ),
    (
        "No viewfs fallback mount found",
        Unusable,
        "core-site.xml, in `conf_dir` or HADOOP_CONF_DIR, needs \
         fs.viewfs.mounttable.NAME.linkFallback for this mount table; or set the hdfs:// URL of \
         the mount point in `url`",
    ),
    ("Cannot rename across different name services", Unusable, MOUNTS),
    ("no eligible destination in the same namespace", Unusable, MOUNTS),
];

/// The refusal of a mount table of viewfs or of a router.
const MOUNTS: &str = "a file cannot be renamed from one mount to another: the directory before the \
                      first escape of `url`, which contains `_aqueduct`, and everything below must \
                      be in one mount; use one sink for each mount";

const ERASURE_CODED: &str = "erasure-coded files cannot be synced: run `hdfs ec -setPolicy \
                             -replicate -path …/_aqueduct` for the directory below the part of \
                             `url` before its first escape; files staged there keep their \
                             replication after the rename";

/// The remedy if a NameNode does not accept `proxy_user`. The client (0.14.8) ignores its refusal,
/// and reconnects repeatedly.
pub(crate) const PROXY_REFUSED: &str = "check `proxy_user`, too: core-site.xml of the NameNode \
                                        must set hadoop.proxyuser.USER.hosts and \
                                        hadoop.proxyuser.USER.users or .groups, where USER is the \
                                        user that logs in";

/// Returns the kind of a known error, and its text with the remedy.
pub(crate) fn remedy(error: &HdfsError) -> Option<(Kind, String)> {
    let said = match error {
        // Its other parts are numbers.
        HdfsError::GSSAPIError(_, _, said) => format!("Kerberos: {said}"),
        HdfsError::RPCError(exception, said) | HdfsError::FatalRPCError(exception, said) => {
            format!("{}: {said}", exception.rsplit('.').next().unwrap_or_default())
        }
        other => other.to_string(),
    };
    let answer = ANSWERS.iter().find(|(part, ..)| said.contains(part));
    let (kind, helps) =
        answer.map(|(_, kind, helps)| (*kind, *helps)).or_else(|| refusal(&said))?;
    Some((kind, format!("{said}; {helps}")))
}
