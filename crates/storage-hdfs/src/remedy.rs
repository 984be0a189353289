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
        "is a KDC of [realms] in /etc/krb5.conf (or KRB5_CONFIG) up and reachable from this host?",
    ),
    (
        "Cannot find KDC for realm",
        Denied,
        "name the realm and its KDC under [realms] in /etc/krb5.conf (or KRB5_CONFIG)",
    ),
    (
        "Configuration file does not specify default realm",
        Denied,
        "set default_realm in /etc/krb5.conf (or KRB5_CONFIG)",
    ),
    (
        "Clock skew too great",
        Denied,
        "set the clock of this host by the one of the KDC (chrony, ntp); 5 minutes are allowed",
    ),
    (
        "not found in Kerberos database",
        Denied,
        "the KDC does not know this principal: check `kerberos.principal`, or, for a server, \
         dfs.namenode.kerberos.principal, with `kadmin listprincs`",
    ),
    (
        "Preauthentication failed",
        Denied,
        "the key was changed at the KDC: write a new file for `kerberos.keytab`",
    ),
    (
        "keytab",
        Denied,
        "`kerberos.keytab` has no key of `kerberos.principal`: compare with `klist -k FILE`",
    ),
    (
        // The library tries the keytab only for a principal that it has a key of.
        "No credentials cache found",
        Denied,
        "`kerberos.keytab` has no key of `kerberos.principal`: compare with `klist -k FILE`",
    ),
    (
        "Decrypt integrity check failed",
        Denied,
        "the key was changed at the KDC: write a new file for `kerberos.keytab`",
    ),
    (
        "Ticket expired",
        Denied,
        "set `kerberos.principal` and `kerberos.keytab`: with these a ticket is renewed in time",
    ),
    (
        "No Kerberos credentials available",
        Denied,
        "set `kerberos.principal` and `kerberos.keytab`, or name a keytab by KRB5_CLIENT_KTNAME",
    ),
    (
        "SIMPLE authentication is not enabled",
        Denied,
        "this cluster asks for Kerberos: set `kerberos.principal` and `kerberos.keytab`",
    ),
    (
        "Failed to load libgssapi_krb",
        Unusable,
        "install MIT Kerberos: libgssapi-krb5-2 of Debian, krb5-libs of Red Hat",
    ),
    (
        "DIGEST-MD5 of a protected block transfer",
        Unusable,
        "a FIPS build refuses it, as it is outside of its module: write to `webhdfs://` with TLS \
         where the DataNodes protect transfers (docs/fips.md)",
    ),
    ("is not allowed to impersonate", Denied, PROXY_REFUSED),
    (
        "in an HDFS encryption zone",
        Unusable,
        "files of an encryption zone cannot be written, as there is no client of a KMS: set \
         another directory in `url`",
    ),
    (
        "cannot be moved",
        Unusable,
        "a name cannot be moved over the border of an encryption zone: the whole path of `url` has \
         to be outside of it",
    ),
    ("hsync is not supported for erasure-coded files", Unusable, ERASURE_CODED),
    ("required nodes for", Unusable, ERASURE_CODED),
    (
        "No NameNode hosts found",
        Unusable,
        "hdfs-site.xml, in `conf_dir` or HADOOP_CONF_DIR, does not name this name service: it \
         needs dfs.ha.namenodes.NAME and dfs.namenode.rpc-address.NAME.ID; or set host and port \
         in `url`",
    ),
    (
        "No viewfs fallback mount found",
        Unusable,
        "core-site.xml, in `conf_dir` or HADOOP_CONF_DIR, needs \
         fs.viewfs.mounttable.NAME.linkFallback for this mount table; or set the hdfs:// URL \
         behind the mount point in `url`",
    ),
    ("Cannot rename across different name services", Unusable, MOUNTS),
    ("no eligible destination in the same namespace", Unusable, MOUNTS),
];

/// The refusal of a mount table of viewfs or of a router.
const MOUNTS: &str = "a name cannot be moved from one mount to another: the directory in front of \
     the first escape of `url`, which has `_aqueduct` in it, and all that is written below it have \
     to lie on one; have a sink for each mount";

const ERASURE_CODED: &str = "files that are erasure-coded cannot be synced: have the files \
     staged with copies by `hdfs ec -setPolicy -replicate -path …/_aqueduct`, the directory below \
     the part of `url` before its first escape; they keep that when they are renamed";

/// The remedy if a NameNode does not accept `proxy_user`. The client (0.14.8) ignores its refusal,
/// and reconnects repeatedly.
pub(crate) const PROXY_REFUSED: &str = "a NameNode that does not take `proxy_user` looks the same: \
     its core-site.xml has to allow hadoop.proxyuser.USER.hosts and hadoop.proxyuser.USER.users or \
     .groups, USER being the one that logs in";

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
